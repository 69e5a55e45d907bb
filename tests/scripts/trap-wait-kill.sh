exec 2>&1
trap 'echo usr1' USR1; trap 'echo usr2; exit 9' USR2
(sleep 0.2; kill -USR1 $$) & wait $!; echo "a $?"
sleep 30 & p=$!; (sleep 0.2; kill -USR1 $$) & wait $p; echo "b $?"; kill $p; wait $p 2>/dev/null; echo "c $?"
for s in HUP INT QUIT ABRT ALRM TERM PIPE USR1 USR2 XCPU VTALRM PROF SYS; do sh -c "kill -$s \$\$" 2>/dev/null >/dev/null; echo $s $?; done
sh -c 'trap "" TERM; kill -TERM $$; echo survived; trap - TERM; kill -TERM $$; echo no' ; echo $?
sh -c 'trap "echo bye" EXIT; kill -INT $$; echo no'; echo $?; sh -c 'trap "echo bye; exit 3" EXIT; exit 5'; echo $?
(trap 'echo sub' EXIT; exit 4); echo $?; sh -c 'trap "echo in" USR1; kill -USR1 $$; echo after'; trap; (trap); f() { trap 'echo ff' USR1; }; f; kill -USR1 $$
sh -c 'sleep 20 & wait' & q=$!; sleep 0.1; kill -9 $q; wait $q 2>/dev/null; echo "d $?"; kill -0 $$ && echo alive; kill -0 999999; echo $?; kill -l 9; kill -l 143; kill -USR2 $$; echo no
