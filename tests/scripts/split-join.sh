seq 1 100 >f; split -l 30 f part; ls part*; cat part* | cmp - f && echo same; split -b 50 f b; ls b* | wc -l; cat b* | md5sum; md5sum <f
