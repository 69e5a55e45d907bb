seq 1 100 >f; i=0; while dd if=f of=part$i bs=50 skip=$i count=1 2>/dev/null && [ -s part$i ]; do i=$((i+1)); done; rm part$i; ls part* | wc -l
j=0; while [ $j -lt $i ]; do cat part$j; j=$((j+1)); done | cmp - f && echo same
head -n 30 f >a; tail -n +31 f >b; cat a b | md5sum; md5sum <f
