A=1 sh -c "echo \$A"; export B=2; sh -c "echo \$B"; env -i C=3 sh -c "echo \$B\$C"; unset B; echo ${B-unset}; env | grep -c ^PATH=; readonly R=1; (R=2) 2>/dev/null; echo $?
