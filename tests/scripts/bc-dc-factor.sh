echo "2 3 + 4 * p" | dc; factor 1001 97 2>/dev/null; seq 5 -2 -5 | tr "\n" " "; echo; seq -w 8 11; seq 1 0.5 2
