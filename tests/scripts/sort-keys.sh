printf "c 3 z\na 10 y\nb 2 x\na 1 w\n" >f
sort f; echo; sort -k2n f; echo; sort -k1,1 -k2,2nr f; echo; sort -rk3 f; echo; sort -u -k1,1 f
printf "a:3\nb:1\n" | sort -t: -k2
