seq 1 10 >f
sed -n '$=' f; sed '2~3d' f | tr '\n' ' '; sed '0,/3/s/^/x/' f | head -n 4; sed '/3/,/5/!d' f; sed -n '/4/{n;p}' f; sed '1!G;h;$!d' f | head -n 3; sed 'N;P;D' f | wc -l; sed '5q;s/./&&/' f; sed -e '3i\
before' -e '3a after' -e '4c changed' f | head -n 7; sed 's/\([0-9]\)\([0-9]\)*/[\2\1]/' f | tail -n 2; sed -E 's/(1)(0)?/<\1|\2>/g' f | tail -n 1; sed 's/1/a\nb/' f | head -n 2; sed 'y/123/abc/' f | head -n 3; sed '/5/w out' f >/dev/null; cat out; sed '2r out' f | head -n 4; echo 'a.b.c' | sed 's/\./-/2'; echo aaa | sed 's/a/b/2g'; echo 'Path/x' | sed 's,/,\\,'; echo abc | sed 's/b*/X/g'; echo hello | sed 's/l/L/gI'; sed = f | sed 'N;s/\n/ /' | head -n 2; sed -i.bak 's/^1$/one/' f; head -n 1 f f.bak; sed --posix 1d f 2>/dev/null | wc -l; printf 'a\nb' | sed p; sed -n 'l' <<X
tab	é\
X
sed ':a;s/^\(x*\)a/\1x/;ta' <<X
aaab
X
sed -n '/2/,+2p' f; sed '/^$/d;s/^ *//' <<X
  lead

x
X
sed 's/x' f 2>&1; echo $?; sed 1,3p nothere 2>&1; echo $?; sed -s -n '1p;$p' f f.bak; sed '3Q7' f | wc -l; sed -n '3{p;q5}' f; echo $?; sed '1~4s/$/ four/' f | head -n 5; sed '1d;n;d' f | tr '\n' ' '; sed '/8/e echo ran' f 2>&1 | tail -n 4; sed 'T;s/x/y/' f | head -n 1; sed -z 's/\n/,/g' f 2>&1
