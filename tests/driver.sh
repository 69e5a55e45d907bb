# Runs scripts one after the other and frames what they write: on the host and in the guest alike.
#
#   busybox ash driver.sh TOP WORK [NAME…]
#
# TOP holds bin/ (busybox and links to it) and scripts/. Each script runs in a directory of its own
# below WORK. On standard output:
#
#   == begin NAME
#   what it wrote on both of its outputs
#   == end NAME STATUS
top=$1 work=$2
shift 2
export PATH="$top/bin" LANG=C
unset PWD OLDPWD TERM
mkdir -p "$work"
cp -r "$top/scripts" "$work/scripts"
for name; do
    export HOME="$work/$name"
    mkdir "$HOME"
    cd "$HOME" || exit 1
    echo "== begin $name"
    # A script that hangs is killed, so that the others still run.
    timeout -s KILL 100 ash "../scripts/$name" >"$work/output" 2>&1 </dev/null
    status=$?
    cat "$work/output"
    echo "== end $name $status"
    cd /
    rm -rf "$HOME"
done
