seq 1 12 >f
ed -s f <<'X' 2>&1
3,5d
$a
last
.
1i
first
.
/8/s/8/EIGHT/
g/1/s/1/I/
2,4n
.=
$=
1,3m$
2t5
w out
q
X
echo $?; cat out; cat f | wc -l
printf 'H\nxyz\n99p\n1,2j\n,p\nQ\n' | ed f 2>&1
