seq 1 10000 >f; sha1sum f; sha256sum f; sha512sum f; sha256sum f >sums; sha256sum -c sums; echo x >>f; sha256sum -c sums; echo $?
