cat >f <<'X'
b 10 x
a 9 y
c 1e1 z
a -3 w
B 010 v
 d 5.5 u
A 9 t
X
for o in '' -r -n '-k2n' '-k2,2g' '-k1,1 -k2,2nr' '-f' '-fu' '-u -k1,1' '-b' '-k1.2' '-d' '-s -k2n' '-t x' '-h' '-M' '-c' '-z'; do echo "[$o]"; sort $o f 2>&1; echo $?; done
printf '10K\n2M\n3\n1G\n' | sort -h; printf 'Feb\nJan\nDec\n' | sort -M; printf 'b:2:z\na:2:y\nc:1:x\n' | sort -t: -k2,2n -k3; printf '1\n2\n' | sort -c; echo $?; sort -o f f; head -n 1 f; sort -V <<'X'
v1.10
v1.9
v1.2b
X
seq 1 30000 | shuf --random-source=/dev/zero 2>/dev/null | sort -n | md5sum; seq 30000 -1 1 | sort -n | md5sum
