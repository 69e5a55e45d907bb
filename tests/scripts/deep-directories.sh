d=.; i=0; while [ $i -lt 40 ]; do d=$d/level$i; i=$((i+1)); done; mkdir -p $d; echo deep >$d/f; find . -name f | wc -c; cd $d; pwd | sed "s/.*level3/level3/" | cut -c1-30; cat f; cd ../..; ls; cd /; 
