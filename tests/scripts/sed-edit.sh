printf "one\ntwo\nthree\nfour\n" >f
sed "s/o/0/g" f; sed -n "2,3p" f; sed "/two/d" f; sed "2i inserted" f; sed "\$a last" f; sed -e 1d -e "s/\(t\)\(w\)/\2\1/" f
sed -i "s/four/4/" f; cat f; sed -n "\$=" f
