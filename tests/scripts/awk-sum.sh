seq 1 100 | awk '{ s += $1 } END { print s, NR, s/NR }'
printf "a 1\nb 2\na 3\n" | awk '{ n[$1] += $2 } END { for (k in n) print k, n[k] }' | sort
