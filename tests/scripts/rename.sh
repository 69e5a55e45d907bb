echo 1 >a; mv a b; cat b; mkdir d e; mv b d; ls d; mv d/b d/c; echo 2 >x; mv x d/c; cat d/c; mv d e; find . | sort; mv e e/d 2>/dev/null; echo $?; mkdir f; mv f/../e g; ls
