awk 'function fib(n) { return n < 2 ? n : fib(n-1) + fib(n-2) }
BEGIN { for (i = 0; i < 18; i++) printf "%d ", fib(i); print ""; print substr("hello", 2, 3), toupper("abc"), length("four"), index("banana", "nan"); s = "aXbXc"; gsub(/X/, "-", s); print s; n = split("a:b:c", p, ":"); print n, p[3]; printf "%5.2f|%-5s|%05d\n", 3.14159, "ab", 42 }'
