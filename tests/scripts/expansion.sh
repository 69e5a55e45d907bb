x=path/to/file.tar.gz
echo ${x##*/} ${x#*/} ${x%.*} ${x%%.*} ${#x} ${x:5:2} ${u:-default} ${x:+set} ${x/to/from}
unset y; echo ${y:=assigned} $y; (echo ${z:?missing}) 2>/dev/null; echo $?
echo "$@" $#; set -- a "b c" d; echo $#; for i in "$@"; do echo "[$i]"; done; for i in $*; do echo "($i)"; done; shift; echo $1 $#
