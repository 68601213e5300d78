#!/bin/sh
# SPDX-License-Identifier: MIT
# bare_resume.sh DURABLE IMAGE: a language model trained in a machine without an operating system, and gone on with in this one.
#
# QEMU trains the network NETWORK (transformer, of vectors/train) and saves it to a disk every 10 steps; after three saves the
# machine is killed. DURABLE, the same training on POSIX, goes on from that disk to step 100 and must end with the bits of a
# training that was never stopped. The disk stays: build/bare-resume/disk.img.
set -u
durable=$1 image=$2 network=${NETWORK:-transformer} qemu=${QEMU:-qemu-system-x86_64}
dir=build/bare-resume
disk=$dir/disk.img

fail() {
    echo "bare_resume: $1" >&2
    exit 1
}

# train FILE: on POSIX to the end; prints its lines.
train() {
    "$durable" vectors/train "$1" "$network" 100 10 || fail "the training on POSIX failed"
}

command -v "$qemu" >/dev/null || fail "$qemu is not installed; on Debian: apt-get install qemu-system-x86"
rm -rf "$dir"
mkdir -p "$dir"
head -c 524288 /dev/zero >"$disk"
head -c 524288 /dev/zero >"$dir/whole.img"
# Its process is known: what is killed is the machine, at whatever it is doing.
printf '#!/bin/sh\necho $$ >"%s/pid"\nexec %s "$@"\n' "$dir" "$qemu" >"$dir/qemu"
chmod +x "$dir/qemu"

QEMU=$dir/qemu sh port/bare-x86/run-qemu.sh --timeout 300 --disk "$disk" --module "vectors/train/$network.qtrj" "$image" \
    "$network" 100 10 2>"$dir/errors" | while read -r word number step hash; do
    [ "$word" = saved ] || continue
    echo "no operating system: step $step, checkpoint $number on the disk: $(echo "$hash" | cut -c 1-16)..."
    [ "$number" != 3 ] || kill -9 "$(cat "$dir/pid")"
done
train "$disk" >"$dir/here"
read -r word number step hash <"$dir/here"
[ "$word $number" != "start none" ] || fail "the machine saved nothing: $(grep -v usage "$dir/errors" | tail -n 1)"
if [ "$number" -lt 3 ] || [ "$step" -ge 100 ]; then
    fail "it was not killed in time: checkpoint $number is of step $step"
fi
echo "the machine is killed; here, from step $step of checkpoint $number: $(echo "$hash" | cut -c 1-16)..."
train "$dir/whole.img" >"$dir/whole"
end=$(tail -n 1 "$dir/here")
[ "$end" = "$(tail -n 1 "$dir/whole")" ] || fail "other bits: $end, and never stopped: $(tail -n 1 "$dir/whole")"
echo "step 100: ${end##* }: the bits of a training that was never stopped"
