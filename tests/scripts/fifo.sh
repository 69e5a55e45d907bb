mkfifo p; (echo through; echo fifo) >p & cat p; wait; ls -l p | cut -c1; (cat p | tr a-z A-Z) & echo again >p; wait
