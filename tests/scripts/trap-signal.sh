trap "echo got USR1" USR1
kill -USR1 $$
trap "echo got TERM; exit 9" TERM
kill -TERM $$
echo never
