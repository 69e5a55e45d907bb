printf "root:x:0\nuser:y:1000\n" | awk -F: '$3 >= 1000 { print $1 } $1 ~ /^r/ { print NR ": " $0; $2 = "*"; OFS = "|"; print }'
