for i in 1 2 3; do seq 1 $((i*100)) >f$i; done
md5sum f1 f2 f3 >sums; cat sums; md5sum -c sums
echo changed >>f2; md5sum -c sums; echo $?
