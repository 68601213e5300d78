#!/bin/sh
# SPDX-License-Identifier: MIT
# test_digits.sh PROGRAM IMAGE: a convolutional network learns handwritten digits with no operating system: 98.5 % of those
# held out, and the parameters of the same program on POSIX and of `qorus train`, bit for bit.
#
# Boots: TCG with AVX2 (-cpu max), one processor; KVM where there is one, two. What QEMU cannot do here, and digits that
# cannot be had, are skipped.
set -u
program=$1 image=$2
recipe=examples/train/digits-cnn.train
least=985 # thousandths
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
passed=0 failed=0 skipped=0

skips() {
    echo "UNAVAILABLE $1"
    skipped=$((skipped + 1))
}

# checks NAME FILE WAYS: each line of FILE has the one hash and enough images right; together they are WAYS.
checks() {
    ways=$(awk '{ printf "%s %s;", $4, $5 }' "$2")
    bad=$(awk -v hash="$hash" -v least="$least" '$1 != hash || $2 * 1000 < $3 * least' "$2")
    if [ "$ways" = "$3" ] && [ -z "$bad" ]; then
        passed=$((passed + 1))
        echo "$1: $(awk 'NR == 1 { print $2 " of " $3 " held out are right" }' "$2"), one hash: $ways"
    else
        failed=$((failed + 1))
        echo "FAIL $1: not $hash, or less than $least of 1000 right, or not by $3:"
        cat "$2" "$2.err"
    fi
}

# boot NAME WAYS WORD...
boot() {
    name=$1 ways_wanted=$2
    shift 2
    begin=$(date +%s)
    sh port/bare-x86/run-qemu.sh --timeout 600 --module "$dir/pack" "$image" "$@" >"$dir/$name" 2>"$dir/$name.err"
    if [ $? -eq 125 ]; then
        skips "$name: $(tail -n 1 "$dir/$name.err")"
        return
    fi
    checks "bare x86 ($name, $(($(date +%s) - begin)) s)" "$dir/$name" "$ways_wanted"
}

if ! ${PYTHON:-python3} tools/make_digits.py "$dir" >"$dir/said" 2>&1; then
    skips "digits: $(tail -n 1 "$dir/said")"
    echo "$passed passed, $failed failed, $skipped skipped"
    exit 0
fi
cat "$dir/train-images.idx" "$dir/train-labels.idx" "$dir/test-images.idx" "$dir/test-labels.idx" >"$dir/pack"
"$BUILD/qorus" train "$recipe" --data "$dir/train-images.idx" --targets "$dir/train-labels.idx" \
    --validate-data "$dir/test-images.idx" --validate-targets "$dir/test-labels.idx" --out "$dir/cnn.qorus" >"$dir/said" 2>&1
"$program" "$dir/pack" "$dir/cnn.qorus" >"$dir/posix" 2>"$dir/posix.err"
hash=$(awk '$4 == "command" { print $1 }' "$dir/posix")
best=$(awk 'NR == 1 { print $4 }' "$dir/posix")
checks "posix" "$dir/posix" "$best 1;$best 3;command 1;"

ACCEL=tcg CPU=max SMP=1 boot tcg 'avx2 1;' avx2
if [ -w /dev/kvm ]; then
    ACCEL=kvm SMP=2 boot kvm 'avx2 2;' avx2
else
    skips "kvm: /dev/kvm cannot be used"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
