false | true; echo $?; true | false; echo $?; set -o pipefail; false | true; echo $?
