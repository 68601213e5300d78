#!/bin/sh
# SPDX-License-Identifier: MIT
# run-qemu.sh: boots a bare x86 image in QEMU and ends with the image's own exit code.
#
# usage: run-qemu.sh [--module FILE] [--disk FILE] [--timeout SECONDS] [--interactive] IMAGE [WORD...]
#
# --disk FILE: a raw disk image; --drive OPTIONS: one described as for QEMU's -drive. Machine microvm only.
#
# The words become the command line, quoted so that q_bare_split() gives them back. The image's
# results go to stdout, its diagnostics (COM2) to stderr, stdin to its serial line with a Ctrl-D at
# the end. With --interactive, Ctrl-C goes to the image; twice within two seconds ends it.
#
# environment: ACCEL=kvm|tcg (default: kvm where it works), CPU, SMP=1,
#              MEM=MiB (default: 512 + the module),
#              MACHINE=microvm|q35|pc (default: microvm where QEMU has it), QEMU=qemu-system-x86_64
# exit status: the image's (0 to 29), 124 after a timeout, 125 if QEMU could not run it or the
#              machine reset

QEMU=${QEMU:-qemu-system-x86_64}
SMP=${SMP:-1}
module=
drive=
seconds=0
interactive=

say() {
    printf 'run-qemu: %s\n' "$1" >&2
}

usage() {
    say "$1"
    say "usage: run-qemu.sh [--module FILE] [--disk FILE] [--timeout SECONDS] [--interactive] IMAGE [WORD...]"
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --module | --timeout | --disk | --drive)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case $1 in
        --module) module=$2 ;;
        --timeout) seconds=$2 ;;
        --drive) drive=$2 ;;
        --disk)
            [ -w "$2" ] || usage "no disk image at $2 that can be written"
            drive=format=raw,file=$(printf '%s.' "$2" | sed 's/,/,,/g')
            drive=${drive%.}
            ;;
        esac
        shift 2
        ;;
    --interactive) interactive=1; shift ;;
    --) shift; break ;;
    -*) usage "unknown option $1" ;;
    *) break ;;
    esac
done
[ $# -ge 1 ] || usage "no image given"
image=$1
shift
[ -r "$image" ] || usage "no image at $image; build it first"
[ -z "$module" ] || [ -r "$module" ] || usage "no module file at $module"

if ! command -v "$QEMU" >/dev/null 2>&1; then
    say "$QEMU is not installed; on Debian: apt-get install qemu-system-x86"
    exit 125
fi

# ---- Machine -------------------------------------------------------------------------------------

kvm_works() {
    [ -r /dev/kvm ] && [ -w /dev/kvm ] &&
        echo quit | "$QEMU" -M none -nodefaults -accel kvm -display none -monitor stdio \
            >/dev/null 2>&1
}

if [ -z "$ACCEL" ]; then
    ACCEL=tcg
    kvm_works && ACCEL=kvm
elif [ "$ACCEL" = kvm ] && ! kvm_works; then
    say "KVM cannot be used on this machine (/dev/kvm); use ACCEL=tcg"
    exit 125
fi
case $ACCEL in
kvm) CPU=${CPU:-host,arch-capabilities=off} ;;
tcg) CPU=${CPU:-max} ;;
*) usage "ACCEL=$ACCEL is neither kvm nor tcg" ;;
esac
if [ -z "$MACHINE" ]; then
    MACHINE=q35
    "$QEMU" -M help 2>/dev/null | grep -q '^microvm ' && MACHINE=microvm
fi
if [ -n "$drive" ] && [ "$MACHINE" != microvm ]; then
    usage "a disk needs the machine microvm, not $MACHINE"
fi
machine=$MACHINE
[ "$MACHINE" = microvm ] && machine=microvm,isa-serial=off,auto-kernel-cmdline=off
if [ -z "$MEM" ]; then
    MEM=512
    [ -z "$module" ] || MEM=$((512 + $(wc -c <"$module") / 1048576))
fi
say "accel $ACCEL, cpu $CPU, $SMP processor(s), $MEM MiB, machine $MACHINE"

# ---- Command line and streams --------------------------------------------------------------------

cmdline=
for word in "$@"; do
    quoted=$(printf '%s.' "$word" | sed "s/'/'\\\\''/g")
    cmdline="$cmdline'${quoted%.}' "
done
cmdline=${cmdline% }

dir=$(mktemp -d "${TMPDIR:-/tmp}/run-qemu.XXXXXX") || exit 125
feeder=
copier=
machine_pid=
cleanup() {
    trap - EXIT INT TERM HUP
    [ -z "$machine_pid" ] || kill "$machine_pid" 2>/dev/null
    [ -z "$feeder" ] || kill "$feeder" 2>/dev/null
    [ -z "$copier" ] || kill "$copier" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'cleanup; exit 143' TERM HUP
last_interrupt=0
on_interrupt() {
    now=$(date +%s)
    if [ -z "$interactive" ] || [ $((now - last_interrupt)) -le 2 ]; then
        cleanup
        exit 130
    fi
    last_interrupt=$now
    printf '\003' >&5
}
trap on_interrupt INT

mkfifo "$dir/in" "$dir/err" || exit 125
(: <&0) 2>/dev/null || exec 0</dev/null
exec 4<&0
# Open for both, so that no open waits and the line stays open after the feeder has ended.
exec 5<>"$dir/in"
(
    exec 2>/dev/null
    trap 'kill "$reader"; exit 0' TERM
    cat <&4 >&5 &
    reader=$!
    wait "$reader"
    printf '\004' >&5
) &
feeder=$!
cat "$dir/err" >&2 &
copier=$!

# timeout(1) gives QEMU a process group of its own: a terminal's Ctrl-C stops at this script.
timeout -k 5 "$seconds" "$QEMU" -M "$machine" -accel "$ACCEL" -cpu "$CPU" -smp "$SMP" -m "$MEM" \
    -nodefaults -no-user-config -display none -monitor none -no-reboot \
    -chardev stdio,id=out,signal=off -device isa-serial,index=0,chardev=out \
    -chardev file,id=err,path="$dir/err" -device isa-serial,index=1,chardev=err \
    -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
    ${drive:+-global virtio-mmio.force-legacy=false -drive "if=none,id=disk,$drive"} \
    ${drive:+-device virtio-blk-device,drive=disk} \
    -kernel "$image" ${module:+-initrd "$module"} -append "$cmdline" <"$dir/in" 4<&- 5>&- &
machine_pid=$!
status=
while :; do
    wait "$machine_pid"
    status=$?
    kill -0 "$machine_pid" 2>/dev/null || break
done
machine_pid=

# ---- Exit status ---------------------------------------------------------------------------------

if [ "$status" -ge 65 ] && [ "$status" -le 123 ] && [ $((status % 2)) -eq 1 ]; then
    wait "$copier"
    copier=
    exit $(((status - 65) / 2))
fi
sleep 0.2
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    say "no end after $seconds seconds; stopped"
    exit 124
fi
[ "$status" -eq 0 ] && say "the machine reset before the image had ended"
[ "$status" -eq 0 ] || say "QEMU ended with status $status"
exit 125
