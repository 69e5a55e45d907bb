printf "a:b:c d\n  lead trail  \nback\\slash\n" >f
while IFS=: read x y z; do echo "[$x][$y][$z]"; done <f
while IFS= read -r line; do echo "<$line>"; done <f
echo "1 2 3 4" | { read a b rest; echo $b $rest; }
