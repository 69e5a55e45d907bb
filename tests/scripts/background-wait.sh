sleep 0.1 && echo slow &
echo first
wait
echo last
(exit 5) &
wait $!
echo $?
