printf 'pear 3\napple 10\nfig 2\napple 1\nBanana 7\n' > a.txt
seq 12 | tr 0-9 a-j > n.txt
printf 'a:b:c\nd:e:f\nnocolon\n:x:\n' > c.txt
printf 'x\nx\ny\nx\nX\nz\nz\nz\n' > u.txt
printf 'Hello World\nfoo bar\nfoobar\n  indented\n\nFOO\n' > g.txt
printf 'no newline' > nn.txt
: > empty
mkdir -p d/e
echo hi > d/e/f
ln -s a.txt l
ln -s nowhere dang
