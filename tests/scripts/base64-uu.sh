seq 1 40 >f; base64 f >g; head -n 1 g; base64 -d g | cmp - f && echo same; uuencode f name <f | uudecode -o h; cmp f h && echo same; printf abc | base64; echo YWJj | base64 -d; echo
