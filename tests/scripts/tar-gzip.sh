mkdir d; for i in $(seq 1 40); do seq $i 200 >d/$i; done
tar czf a.tgz d; mv d e; tar xzf a.tgz
for i in $(seq 1 40); do cmp d/$i e/$i || echo differ; done
tar tzf a.tgz | wc -l
