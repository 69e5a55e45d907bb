add() { echo $(($1 + $2)); return 4; }
x=$(add 3 4); echo $x $?
fact() { if [ $1 -le 1 ]; then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }
fact 10
f() { local v=in; echo $v; }; v=out; f; echo $v
