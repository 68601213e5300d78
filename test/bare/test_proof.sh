#!/bin/sh
# SPDX-License-Identifier: MIT
# test_proof.sh PROOF IMAGE: the same proof on the host and with no operating system: every line must be the same.
#
# Boots: TCG with AVX2 (-cpu max), and KVM where there is one. Under TCG without AVX2 (-cpu qemu64) the vectors run on
# scalar alone. Ends with the summary line; what QEMU cannot do here is printed as UNAVAILABLE and skipped.
set -u
proof=$1
image=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
files="$dir/vectors.qvec vectors/files/decoder.qorus vectors/files/graph.qorus vectors/files/mlp.qorus vectors/files/llama.qorus
       vectors/tokenizer/small.qtok vectors/files/quantize.bin"
passed=0 failed=0 skipped=0
cat vectors/kernels/*.qvec >"$dir/vectors.qvec"

# One module: 64 bytes with the size before each file, zeros up to the next multiple of 64 behind it.
for f in $files; do
    size=$(wc -c <"$f")
    n=$size
    for _ in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $((n % 256)))"
        n=$((n / 256))
    done
    head -c 56 /dev/zero
    cat "$f"
    head -c $(((64 - size % 64) % 64)) /dev/zero
done >"$dir/module"
head -c 128 /dev/zero >>"$dir/module"

# shellcheck disable=SC2086
"$proof" $files >"$dir/host" || { echo "FAIL the proof on the host"; failed=1; }
tail -n 1 "$dir/host" | sed 's/^/host: /'
echo "verdicts on the host:"
sed -n '/^bad files/,/^[0-9]* passed/p' "$dir/host" | grep -v "^ok   [^ ]* q_op_" | head -n 1000

# The catalogue of bad inputs: the entries that a verdict above names, and the public exploits of other loaders.
named() {
    sed -n "s/^ok   \($1\)_.*/\1/p" "$dir/host" | sort -u
}
entries=$(named '[MTARPNXDC][0-9][0-9]')
n_entries=$(printf '%s\n' "$entries" | wc -l)
n_exploits=$(named 'CVE_[0-9]*_[0-9]*' | wc -l)
printf '%s\n' "$entries" | tr '\n' ' '
echo
if [ "$n_entries" -ge 215 ]; then
    echo "ok   $n_entries entries of the catalogue of bad inputs (at least 215), $n_exploits public exploits"
    passed=$((passed + 1))
else
    echo "FAIL $n_entries entries of the catalogue of bad inputs, fewer than 215"
    failed=$((failed + 1))
fi

# guest NAME: the host's lines with the backends that NAME printed: QEMU may hide features of this CPU. Bits of Q_CPU_*.
guest() {
    bits=$((0xffffffff))
    grep -q '^avx2: vectors UNAVAILABLE' "$dir/$1" && bits=$((bits & ~1))
    grep -q '^avx2vnni: vectors UNAVAILABLE' "$dir/$1" && bits=$((bits & ~2))
    grep -q '^avx512: vectors UNAVAILABLE' "$dir/$1" && bits=$((bits & ~12))
    grep 'vectors UNAVAILABLE' "$dir/$1" | sed "s/^/$1: /"
    # shellcheck disable=SC2086
    "$proof" --features $bits $files >"$dir/$1.host"
}

# boot NAME LINES: runs the image with the environment as it is, compares its lines with the host's: LINES, or, if that
# is empty, those of the same backends.
boot() {
    sh port/bare-x86/run-qemu.sh --timeout 600 --module "$dir/module" "$image" >"$dir/$1" 2>"$dir/$1.err"
    status=$?
    tail -n 1 "$dir/$1" | sed "s/^/$1: /"
    if [ "$status" -eq 125 ]; then
        echo "UNAVAILABLE $1: $(tail -n 1 "$dir/$1.err")"
        skipped=$((skipped + 1))
        return
    fi
    lines=$2
    [ -n "$lines" ] || { guest "$1"; lines=$dir/$1.host; }
    if [ "$status" -eq 0 ] && cmp -s "$lines" "$dir/$1"; then
        passed=$((passed + 1))
    else
        echo "FAIL $1 (status $status) differs from the host:"
        diff "$lines" "$dir/$1" | head -n 10
        failed=$((failed + 1))
    fi
}

# An emulated CPU has AVX2 and nothing above it: bit 0 of Q_CPU_*.
# shellcheck disable=SC2086
"$proof" --features 1 $files >"$dir/avx2" || { echo "FAIL the proof on the host with AVX2 alone"; failed=$((failed + 1)); }
if grep -q 'avx2: vectors UNAVAILABLE' "$dir/host"; then
    echo "UNAVAILABLE: this CPU has no AVX2, so its lines cannot be compared with those of an emulated one"
    skipped=$((skipped + 1))
else
    ACCEL=tcg CPU=max boot tcg-avx2 "$dir/avx2"
fi
if [ -w /dev/kvm ]; then
    ACCEL=kvm boot kvm ""
else
    echo "UNAVAILABLE kvm: /dev/kvm cannot be used"
    skipped=$((skipped + 1))
fi
cases=$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' "$dir/host" | tail -n 1)
echo "$((passed + ${cases:-0})) passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
