timeout 5 true; echo $?; timeout 0.1 sleep 10; echo $?; timeout -s KILL 0.1 sleep 10; echo $?; time -p true 2>/dev/null; echo $?; usleep 1000; echo ok
