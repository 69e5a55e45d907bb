sh -c 'for i in "$@"; do printf "[%s]" "$i"; done; echo' name "a b" "" 'c"d' "e'f"
set -- "x y" z; sh -c "echo $*"; sh -c 'echo "$0 $#"' zero 1 2 3
