seq 1 1000 | tr 0-9 a-j | rev | sort | uniq | head -n 20 | tr a-j 0-9
