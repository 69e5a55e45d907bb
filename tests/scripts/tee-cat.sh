seq 1 3 | tee a b | wc -l; cmp a b; seq 4 5 | tee -a a >/dev/null; cat a; cat a - b <<EOF
middle
EOF
echo -n no; echo newline; cat /nonexistent a 2>/dev/null | tail -n 1; echo $?
