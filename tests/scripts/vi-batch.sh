printf "one\ntwo\nthree\n" >f; printf ":2d\n:wq\n" | vi f >/dev/null 2>&1; cat f; printf "1d\nw\nq\n" | ed f 2>/dev/null; cat f; printf "a\nadded\n.\nw\nq\n" | ed f; cat f
