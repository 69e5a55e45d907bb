# Whether the shell tells how a job ended depends on when it looks.
exec 2>/dev/null
sleep 100 &
kill $!
wait $!
echo $?
sleep 100 &
kill -KILL $!
wait $!
echo $?
