ps -o pid,ppid,stat,comm | awk 'NR == 1 { print $1, $2, $3, $4 }'
ps -o pid,comm | awk -v me=$$ '$1 == me { print "ps" }'
top -b -n 1 | awk '/^Mem:/ { print "memory" } /^CPU:/ { print "processor" } /^Load average:/ { print "load" }'
top -b -n 1 | awk '$1 == "PID" { print $2, $NF }'
free | awk 'NR == 2 && $2 > 0 && $3 + $4 <= $2 { print "free" }'
uptime | awk '/up .*load average: [0-9.]+, [0-9.]+, [0-9.]+$/ { print "uptime" }'
awk '$1 == "cpu" { print (NF > 7) }' /proc/stat
awk '{ print NF }' /proc/loadavg /proc/uptime
awk '$1 == "pgfault" { print "vmstat" }' /proc/vmstat
awk '/^Rss:/ { rss += $2 } END { print (rss > 0) }' /proc/self/smaps
awk '/^Max open files/ { print NF }' /proc/self/limits
awk '/^SigCgt:/ { print length($2) }' /proc/self/status
cat /proc/self/wchan; echo
sleep 10 & sleep 1; cut -d ' ' -f 1 /proc/$!/syscall; kill $!; wait $! 2>/dev/null
nproc | grep -c '^[1-9]'
