echo "y=sourced; echo in \$1" >lib; . ./lib arg; echo $y; eval "z=\$y; echo \$z"; cmd="echo one;echo two"; eval $cmd; command -v echo; type cd | head -n 1; alias ll="echo aliased"; eval ll
