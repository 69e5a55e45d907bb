printf 'alpha beta\ngamma\ndelta\nepsilon\n' >f
printf 'dwjyyGp:s/ga/GA/\nggOtop\033:2,3>\n:$d\n:wq\n' | vi f >/dev/null 2>&1; echo $?; cat f
printf 'one two three\n' >g; printf '2wcwTHREE\0330iX\033$aY\033u:wq\n' | vi g >/dev/null 2>&1; cat g
printf 'a\nb\nc\nd\ne\n' >h; printf 'ma2j"xd'"'"'aG"xp:wq\n' | vi h >/dev/null 2>&1; cat h
printf '/c\nxZZ' | vi h >/dev/null 2>&1; cat h
printf 'A!\033j.j.:w other\n:q!\n' | vi h >/dev/null 2>&1; cat other; cat h
