sleep 100 &
kill $!
wait $!
echo $?
sleep 100 &
kill -KILL $!
wait $!
echo $?
