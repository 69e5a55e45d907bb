x=1; (x=2; echo $x; exit 4); echo $? $x; { x=3; }; echo $x
y=$(echo a; echo b); echo "$y" | wc -l; echo $(echo $(echo nested))
(cd /; pwd); [ "$(pwd)" = / ] || echo back
