i=0; while [ $i -lt 5 ]; do i=$((i+1)); [ $i = 3 ] && continue; [ $i = 5 ] && break; echo $i; done
until [ $i -eq 0 ]; do i=$((i-1)); done; echo $i
for a in 1 2; do for b in x y; do [ $b = y ] && continue 2; echo $a$b; done; done
seq 1 3 | while read n; do echo "n=$n"; done
