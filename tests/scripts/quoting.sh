echo "a  b" a  b '$x' "\$x" \* "it's" a"b"c
x="a  b"; echo $x; echo "$x"; IFS=:; y=a:b:c; for i in $y; do echo $i; done; printf "%s\n" "tab\there"; printf "%b\n" "tab\there"; printf "%d %x %o %c %5s|%-5s|\n" 10 255 8 A r l
