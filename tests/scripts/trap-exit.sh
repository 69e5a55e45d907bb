trap "echo bye" EXIT
echo hello
(trap "echo inner" EXIT; echo sub)
exit 3
