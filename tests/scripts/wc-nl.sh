printf "one two\nthree\n" >f; wc f; wc -l <f; wc -w <f; wc -c <f; nl f; cat -n f 2>/dev/null; tac f; rev f; fold -w 3 f; expand f
