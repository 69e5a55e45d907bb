printf "%s\n" b a c b a b | sort | uniq -c | sort -rn
printf "%s\n" b a c b a b | sort | uniq -d
printf "%s\n" b a c b a b | sort | uniq -u
