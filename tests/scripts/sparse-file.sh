printf end | dd of=s bs=1 seek=20000000 2>/dev/null; wc -c <s; tail -c 3 s; echo; head -c 5 s | od -c; [ $(du -k s | cut -f1) -lt 100 ] && echo sparse; md5sum s
