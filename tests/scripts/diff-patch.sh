mkdir o n; seq 1 40 >o/f; sed -e 3d -e 's/^2\(.\)$/two\1/' -e '35a\
new' o/f >n/f; echo only >o/gone; echo fresh >n/new; cp o/f o/same; cp o/f n/same
diff o/f n/f | head -n 5; diff -u o/f n/f | sed 1,2d >d1; cat d1; diff -rq o n; diff -q o/f o/same; echo $?; diff -r -N -u o n | grep -v '^[-+][-+][-+]' | md5sum
(cd o; diff -u f ../n/f | sed 's,\.\./n/,,' | patch f; echo $?); cmp o/f n/f && echo patched
(cd o; seq 1 40 >orig; diff -u orig f | patch -R f >/dev/null; cmp orig f && echo back)
printf 'a\nb' >x; printf 'a\nb\n' >y; diff -u x y | tail -n +3; diff -b - y <<'X'
a 
b
X
echo $?; printf '\001\000' >b1; printf '\001\002' >b2; diff b1 b2; diff -a b1 b2 | wc -l; diff -i -w x y; echo $?; echo garbage | patch 2>&1; echo $?
seq 1 5 >r; printf -- '--- r\n+++ r\n@@ -1,2 +1,2 @@\n-9\n+8\n 2\n' | patch r 2>&1 | sed 's/at .*//'; echo $?; ls r*
