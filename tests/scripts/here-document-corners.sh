x=val; cat <<A; cat <<'B'; cat <<-C
$x \$x `echo cmd` $(echo sub) $((1+1)) \\ "q" 'q' \
joined
A
$x \$x `echo`
B
	tabs	$x
		C
	C
cat <<A <<B
first
A
second
B
cat <<"E O F"
spaced
E O F
while read l; do echo "[$l]"; done <<X
  a  b
c\\d
X
f() { cat <<F
in f $1
F
}; f 1; f 2; cat <<X | tr a-z A-Z | sed 's/^/> /'
piped ${x:-d} ${y:-def} ${x#v}
X
if cat <<X
cond
X
then cat <<Y; fi
body
Y
sh <<'X'
echo nested; cat <<Y
inner $((2*3))
Y
X
v=$(cat <<X
in subst "$x"
X
); echo "$v"; cat <<X; printf '%s\n' end
$(cat <<Y
deep $x
Y
)
X
i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "line $i of a long here document"; done >long; { echo 'cat <<X'; cat long; echo X; } >big.sh; sh big.sh | cmp - long && echo big; cat <<X >&2 2>/dev/null
X
cat <<\X
$no
X
cat <<X
unterminated $x
