seq 1 50 >f; head -n 3 f; tail -n 3 f; tail -n +48 f; head -c 10 f; echo; tail -c 5 f; head -n -47 f
