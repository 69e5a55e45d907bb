seq 1 3000 >f; md5sum f; bzip2 f; ls; bunzip2 f.bz2; md5sum f
