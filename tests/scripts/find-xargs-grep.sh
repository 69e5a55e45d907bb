mkdir -p d/a d/b/c
echo needle >d/a/1; echo hay >d/a/2; echo "a needle too" >d/b/c/3; echo NEEDLE >d/b/4
find d -type f | sort | xargs grep needle
find d -type f | sort | xargs grep -il needle
find d -type d | sort
