mkdir -p t/x/y; for i in 1 2 3; do echo $i >t/x/f$i; done; echo >t/x/y/g
find t -name "f*" -exec cat {} \; | sort
find t -type f ! -name "f*"
find t -maxdepth 2 -name "f[12]" | sort
find t -empty | sort; find t -size -2 -type f | wc -l
