mkdir -p t/a/b; echo x >t/a/x; ln t/a/x t/hard; ln -s a/x t/sym; mkfifo t/p; printf '%5000s' '' >t/big; chmod 4751 t/big
find t | sort | cpio -o -H newc 2>/dev/null >t.cpio; cpio -t <t.cpio 2>/dev/null | sort
mkdir o; (cd o; cpio -idm <../t.cpio 2>/dev/null; find . | sort | while read f; do ls -ld "$f" | cut -c1-10; done; cmp t/a/x t/hard; readlink t/sym; ls -l t/hard | awk '{print $2}')
mkdir q; (cd q; cpio -id 't/a*' <../t.cpio 2>/dev/null; find . | sort)
find t | sort | cpio -p -d r 2>/dev/null; find r | sort
cpio -i <t.cpio 2>&1 | head -n 3; echo bad | cpio -t 2>&1; echo $?
