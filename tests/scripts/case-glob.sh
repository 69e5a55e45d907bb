for f in a.c b.h c.txt README; do case $f in *.c|*.h) echo "$f source";; [A-Z]*) echo "$f doc";; *) echo "$f other";; esac; done
touch 1 2 3 .hidden "a b"; echo *; echo [12]; echo ?; echo .h*; echo nomatch*; for f in *; do echo "<$f>"; done
