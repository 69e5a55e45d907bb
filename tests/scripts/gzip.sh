seq 1 5000 >f; md5sum f
gzip f; ls; gunzip f.gz; md5sum f
gzip -c f | gzip -dc | md5sum
echo broken | gunzip -c; echo $?
