awk 'BEGIN { while (("echo a b; echo c d" | getline l) > 0) n = n " " l; print n; close("echo x"); print length(n), system("exit 3"); "date +%Y" | getline y; print (y > 2000) }'
seq 1 10 | awk '{ a[$1 % 3] = a[$1 % 3] " " $1 } END { for (i = 0; i < 3; i++) print i ":" a[i]; delete a[1]; print (1 in a), (2 in a) }'
echo 'a:b:c' | awk -F: -v OFS=- '{ $2 = "X"; print; print NF; NF = 2; print; $5 = "e"; print }'
awk 'BEGIN { print substr("abcdef", 3), substr("abc", 0, 2), index("abc", "c"), match("foobar", /o+/), RSTART, RLENGTH; s = "aaa"; print gsub(/a/, "&b", s), s; print toupper("x") tolower("Y"), sprintf("%03d|%-4s|%.2f|%c|%e", 7, "ab", 3.14159, 65, 12345.678) }'
printf 'k1 5\nk2 7\nk1 3\n' | awk '{ s[$1] += $2 } END { for (k in s) print k, s[k] | "sort"; close("sort"); print "done" }'
printf 'a b\n\nc d\ne\n\n\nf\n' | awk 'BEGIN { RS = "" } { print NR ": " $1 "|" $NF "|" NF }'; printf 'x1y22z' | awk 'BEGIN { RS = "[0-9]+" } { print }'
awk 'function f(n, r) { r = n <= 1 ? 1 : n * f(n - 1); return r } BEGIN { print f(10); printf "%d %s\n", 2 ^ 31, 2 ^ 53; print 1 / 3; OFMT = "%.2g"; print 1 / 3; print 1e6, 1e300 * 10, -7 % 3, int(-3.7), "10" < "9", 10 < 9, "a" "b" 1 + 1 }'
awk 'BEGIN { getline; print "got " $0; getline x < "f"; print x; print "out" > "g"; print "more" >> "g"; close("g"); while ((getline l < "g") > 0) print "g:" l; printf "e\n" > "/dev/stderr" }' <<X 2>&1
in
X
awk 'NR == 2, NR == 4 { print NR; next } /6/ { exit 5 } END { print "end" }' <<X; echo $?
1
2
3
4
5
6
X
awk 'BEGIN { exit } END { print "e" }'; awk '{ print $NF; print $(NF - 1) }' <<X
p q r
X
awk 'BEGIN { do { i++; if (i == 3) continue; if (i > 5) break; printf "%d ", i } while (1); print "" ; srand(1); a = rand(); srand(1); print (a == rand()), split("", z), length(z) }'; awk 'BEGIN { print ENVIRON["HOME"] != "", ARGC, ARGV[1] }' one; awk 'BEGIN { x["a","b"] = 1; for (k in x) { split(k, p, SUBSEP); print p[1], p[2] } ; if (("a", "b") in x) print "yes"; print !x, -"3", +"0x10" }' 2>&1; awk 'BEGIN { print 1/0 }' 2>&1; echo $?; awk '{' /dev/null 2>&1; echo $?; awk -f nothere 2>&1; echo $?
