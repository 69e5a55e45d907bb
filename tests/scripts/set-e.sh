sh -ec "echo a; false; echo b"; echo $?; sh -ec "if false; then :; fi; false || true; echo ok"; sh -uc "echo \$undefined" 2>/dev/null; echo $?; sh -xc "echo traced" 2>&1
