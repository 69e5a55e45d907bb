for i in 1 2 3 4; do (j=0; while [ $j -lt 50 ]; do echo line$i >>log; j=$((j+1)); done) & done; wait; wc -l <log; sort log | uniq -c | awk "{print \$1, \$2}"
