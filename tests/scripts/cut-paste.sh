printf "a:b:c\nd:e:f\n" >f; cut -d: -f2 f; cut -c1-3 f; cut -d: -f1,3 f
paste f f; seq 1 4 | paste - -; seq 1 3 | paste -s -d,
