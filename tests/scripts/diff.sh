seq 1 10 >a; seq 1 10 | sed "5s/5/five/;8d" >b; diff a b; echo $?; diff -u a b | tail -n +3; diff a a; echo $?; cmp a b; diff -q a b; mkdir x y; cp a x; cp b y/a; diff -r x y | tail -n 3
