x=0; (x=1; (x=2; (x=3; echo $x; exit 5); echo $? $x); echo $x); echo $x
a=$( (echo in; exit 3) ); echo $? $a; echo $(echo $(echo $(echo $(echo deep)))); b=`echo \`echo \\\`echo old\\\`\``; echo $b
{ { { echo a; echo b >&2; } 2>&1 | sed 's/^/1:/'; } 3>&1; } | sed 's/^/2:/'
( (sleep 0.1; echo slow) & echo fast; wait ); (cd /; pwd; cd /usr 2>/dev/null || cd /bin; ); [ "$PWD" = "$HOME" ] && echo home
f() { (return 7); echo $?; (exit 8); return; }; f; echo $?; (set -e; false; echo no); echo $?; (set -u; echo $nothere; echo no) 2>/dev/null; echo $?
i=0; while [ $i -lt 20 ]; do i=$((i + 1)); (exit $i) || s=$?; done; echo $s; echo $( ( ( ( ( (echo five) ) ) ) ) ); n=$(i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo $i; done | wc -l); echo $n
eval "$(printf '(%.0s' 1 2 3 4 5 6) echo parens $(printf ')%.0s' 1 2 3 4 5 6)"
