echo "Hello World" | tr a-z A-Z; echo aabbcc | tr -s ab; echo hello | tr -d l; echo abc | tr -c a-b x; echo; echo "a b  c" | tr -s " " "\n"
