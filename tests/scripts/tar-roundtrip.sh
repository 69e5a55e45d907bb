mkdir -p src/deep/er
seq 1 500 >src/numbers; head -c 100000 /dev/zero >src/deep/zeros; echo x >src/deep/er/x; ln -s numbers src/link; ln src/numbers src/hard
chmod 640 src/numbers
tar cf a.tar src
mkdir out; tar xf a.tar -C out
(cd src && find . | sort | xargs ls -ld | awk '{print $1, $2, $NF}') >1
(cd out/src && find . | sort | xargs ls -ld | awk '{print $1, $2, $NF}') >2
cmp 1 2 && cat 1 | grep -v "^d"
md5sum <src/numbers; md5sum <out/src/hard; tar tf a.tar | sort
