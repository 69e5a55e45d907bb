echo piped | cat /dev/stdin; echo piped | cat /proc/self/fd/0; echo out >/dev/stdout | cat
{ echo err >/dev/stderr; } 2>&1 | cat; cat /dev/stdin <<X
here
X
echo other | cmp - /dev/stdin <<X; echo $?
here
X
echo a | { cat /dev/fd/0; echo b >/dev/fd/1; } | tr a-z A-Z
