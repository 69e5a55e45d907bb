# Whether the shell tells how a job ended depends on when it looks.
exec 2>/dev/null
sh -c 'kill -STOP $$; echo resumed' &
p=$!; sleep 0.2; kill -CONT $p; wait $p; echo $?
sleep 100 & p=$!; kill -STOP $p; kill -TERM $p; kill -CONT $p; wait $p; echo $?
