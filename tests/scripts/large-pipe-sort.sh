i=0; while [ $i -lt 2000 ]; do echo $(((i * 7919) % 2003)); i=$((i+1)); done | sort -n | uniq | md5sum
