echo out >f; echo more >>f; cat <f; ls /nonexistent 2>err; [ -s err ] && echo error; ls /nonexistent >both 2>&1; cat both | wc -l
{ echo 1; echo 2 >&2; } 2>&1 | sort; exec 3>g; echo three >&3; exec 3>&-; cat g; exec 4<g; read v <&4; echo $v
echo x >|f; set -C; echo y >f; echo $?; : >>f; cat f
