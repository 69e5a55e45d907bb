dd if=/dev/zero bs=4096 count=512 2>/dev/null | tr "\000" x | wc -c
