ln -s nothere l; mkdir l/ 2>&1; echo $?; mkdir d; ln -s d m; rmdir m/ 2>&1; echo $?; mv m/ n 2>&1; echo $?
rm m/ 2>&1; echo $?; ls -F; ls -d m/; : >m/f; ls d; mkdir new/; ls -d new; ln -s d x/ 2>&1; echo $?; touch y/ 2>&1; echo $?
