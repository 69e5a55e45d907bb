seq 1 1000 >f
dd if=f of=g bs=7 count=13 skip=3 2>/dev/null; md5sum g
dd if=f of=g bs=1 seek=5 count=4 conv=notrunc 2>/dev/null; md5sum g
dd if=f bs=100 count=2 2>&1 >/dev/null | head -n 2
dd if=/dev/zero of=z bs=1k count=1 seek=9 2>/dev/null; wc -c <z; cmp z /dev/zero 2>&1 | head -n 1
dd if=f of=h ibs=10 obs=33 2>/dev/null; cmp f h && echo same
(dd bs=10 count=2; dd bs=5 count=1) <f 2>/dev/null | od -c 2>/dev/null || true
dd if=f conv=sync bs=300 2>/dev/null | wc -c
dd if=nothere 2>&1; echo $?
dd if=f of=/dev/full bs=1k count=1 2>&1 | sed 's/,.*//'
seq 1 20 | dd bs=4 skip=2 count=3 2>/dev/null; echo
dd if=f iflag=skip_bytes,count_bytes skip=3 count=5 2>/dev/null; echo; dd if=f iflag=fullblock bs=64k 2>/dev/null | md5sum
