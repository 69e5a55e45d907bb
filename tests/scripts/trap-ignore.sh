trap "" INT
kill -INT $$
echo alive
trap - INT
sh -c 'kill -INT $$; echo never'
echo $?
