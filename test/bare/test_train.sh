#!/bin/sh
# SPDX-License-Identifier: MIT
# test_train.sh IMAGE: the trainings of test/trajectory/fingerprints.txt with no operating system: the same hash of all
# parameters after 100 steps, for every backend and number of processors.
#
# Boots: TCG with AVX2 (-cpu max), one processor; KVM where there is one, three. What QEMU cannot do here is skipped.
set -u
image=$1
table=test/trajectory/fingerprints.txt
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
passed=0 failed=0 skipped=0

# Files of all networks, in the order of the table, which is that of the image.
networks=$(awk '!/^#/ { print $2 }' $table)
for network in $networks; do
    cat "vectors/train/$network.qtrj"
done >"$dir/module"

# boot NAME WAYS: the image with the environment as it is; each network must be there in each of WAYS ("BACKEND WORKERS;...")
# and all lines must be the table's.
boot() {
    sh port/bare-x86/run-qemu.sh --timeout 600 --module "$dir/module" "$image" >"$dir/$1" 2>"$dir/$1.err"
    status=$?
    if [ "$status" -eq 125 ]; then
        echo "UNAVAILABLE $1: $(tail -n 1 "$dir/$1.err")"
        skipped=$((skipped + 1))
        return
    fi
    for network in $networks; do
        want=$(awk -v n="$network" '$2 == n { print $1 }' $table)
        lines=$(awk -v n="$network" '$2 == n' "$dir/$1")
        ways=$(echo "$lines" | awk '{ printf "%s %s;", $4, $5 }')
        hashes=$(echo "$lines" | awk '{ print $1 }' | sort -u)
        case $status:$hashes:$ways in
        0:$want:*$2*)
            passed=$((passed + $(echo "$lines" | wc -l)))
            echo "$1: $network: one hash: $ways"
            ;;
        *)
            failed=$((failed + 1))
            echo "FAIL $1, $network (status $status): $ways $hashes instead of $want, in $2 at least"
            ;;
        esac
    done
}

ACCEL=tcg CPU=max SMP=1 boot tcg 'scalar 1;avx2 1;'
if [ -w /dev/kvm ]; then
    ACCEL=kvm SMP=3 boot kvm 'scalar 1;scalar 2;scalar 3;'
else
    echo "UNAVAILABLE kvm: /dev/kvm cannot be used"
    skipped=$((skipped + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
