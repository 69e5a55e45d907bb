for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i; exit $i) & pids="$pids $!"; done
for p in $pids; do wait $p; echo $?; done
