sh -c 'kill -STOP $$; echo resumed' &
p=$!; sleep 0.2; kill -CONT $p; wait $p; echo $?
sleep 100 & p=$!; kill -STOP $p; kill -TERM $p; kill -CONT $p; wait $p; echo $?
