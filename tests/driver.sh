# Runs scripts one after the other and frames what they write: on the host and in the guest alike.
#
#   busybox ash driver.sh BUSYBOX SCRIPTS WORK [NAME…]
#
# Each script SCRIPTS/NAME runs in a directory of its own below WORK, with BUSYBOX as its only
# program under all of its names. On standard output:
#
#   == begin NAME
#   what it wrote on both of its outputs
#   == end NAME STATUS
busybox=$1 scripts=$2 work=$3
shift 3
bin=$work/bin
$busybox mkdir -p "$bin"
$busybox cp -r "$scripts" "$work/scripts"
$busybox --install -s "$bin"
for name; do
    here=$work/$name
    $busybox mkdir -p "$here"
    cd "$here" || exit 1
    echo "== begin $name"
    # A script that hangs is killed, so that the others still run.
    $busybox env -i PATH="$bin" HOME="$here" TMPDIR=/tmp LANG=C \
        $busybox timeout -s KILL 100 $busybox ash "../scripts/$name" >"$work/output" 2>&1 </dev/null
    status=$?
    $busybox cat "$work/output"
    echo "== end $name $status"
    cd /
    $busybox rm -rf "$here"
done
