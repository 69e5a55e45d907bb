mkdir -p a/b/c d; echo 1 >a/one; printf '%3000s' '' >a/b/three; ln -s one a/link; touch -d '2001-02-03 04:05:06' d/old; mkfifo d/fifo; chmod 700 d; chmod 640 a/one; : >d/empty
for e in '-type f' '-type l' '-type d' '-type p' '-type f -size +1k' '-size 0' '-empty' '-perm 640' '-perm -u+x' '-newer d/old' '-mtime +1000' '-name *e' '-iname *E' '-path */b/*' '-maxdepth 1' '-mindepth 3' '-links 1' '! -name *e' '-name one -o -name old' '-regex .*/th.*e' '-user 0' '-inum 0'; do echo "$e: $(set -f; find . $e | sort | tr '\n' ' ')"; done
find . -type f -exec wc -c {} + | awk '{s+=$1} END {print s}'; find a -depth | tail -n 1; find a -depth | sort; find a -name b -prune -o -print | sort
find . -type f -exec sh -c 'echo $# ${1##*/}' _ {} \; | sort; find a -type f -print0 | tr '\0' '\n' | sort
find d -name empty -delete; ls d; find nothere 2>&1; echo $?; find . -name one -exec false \; -print; find . -name one -ok true \; </dev/null 2>&1; find . -xdev -type f | wc -l
