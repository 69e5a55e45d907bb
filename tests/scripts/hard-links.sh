echo one >a; ln a b; echo two >>b; cat a; ls -l a | awk "{print \$2}"; [ a -ef b ] && echo same; rm a; cat b; ls -l b | awk "{print \$2}"; ln b . 2>&1 | wc -l; ln nosuch x 2>&1
