#!/bin/sh
# SPDX-License-Identifier: MIT
# old_cpu.sh: the release command and the golden vectors on processors that lack instructions, under qemu-user: a
# stray one is an illegal instruction there. Core 2 and Nehalem have no AVX and must run scalar; Haswell has AVX2 and
# no AVX-512. The logits are those of every other machine.
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=${BUILD:-$(make -s print-FREE_DIR)}
model=vectors/files/llama.qorus
sum=$(sha256sum "$model" | cut -d ' ' -f 1)
qemu=$(command -v qemu-x86_64 || command -v qemu-x86_64-static)
passed=0 failed=0 skipped=0

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

good() {
    passed=$((passed + 1))
    echo "ok   $1"
}

bad() {
    failed=$((failed + 1))
    echo "FAIL $1"
}

if [ "$(uname -m)" != x86_64 ] || [ -z "$qemu" ]; then
    echo "UNAVAILABLE: qemu-x86_64 (Debian: qemu-user), or this is no x86-64"
    skipped=1
    finish
fi

# vectors CPU BACKEND PACK...: all pass there.
vectors() {
    name="$1: vectors on $2"
    cpu=$1 backend=$2
    shift 2
    last=$("$qemu" -cpu "$cpu" "$dir/test/bin/run_vectors" "$backend" "$@" 2>&1 | tail -n 1)
    case $last in
    *' 0 failed, 0 skipped') good "$name: $last" ;;
    *) bad "$name: $last" ;;
    esac
}

# hashes CPU BACKEND: the model's logits in both modes are the committed ones.
hashes() {
    out=$("$qemu" -cpu "$1" "$dir/qorus" conform "$model" --backend "$2" -t 2 2>&1)
    for mode in fast exact; do
        want=$(awk -v s="$sum" -v m=$mode '$1 == s && $2 == m { print $3 }' test/fingerprints.txt)
        if [ -n "$want" ] && echo "$out" | grep -q "^logits $mode $want $2"; then
            good "$1: logits $mode $want"
        else
            bad "$1: logits $mode: $(echo "$out" | tail -n 1)"
        fi
    done
}

# chooses CPU BACKEND: what `run` takes of its own accord.
chooses() {
    out=$("$qemu" -cpu "$1" "$dir/qorus" run "$model" -p ab -n 4 -t 2 2>&1 | tail -n 1)
    case $out in
    "[$2, "*) good "$1 chooses $2" ;;
    *) bad "$1 chooses $2: $out" ;;
    esac
}

# refuses CPU BACKEND: asked for by name, it is refused, not run.
refuses() {
    out=$("$qemu" -cpu "$1" "$dir/qorus" run "$model" -p ab -n 4 --backend "$2" 2>&1)
    status=$?
    if [ "$status" -eq 1 ] && echo "$out" | grep -q 'lacks'; then
        good "$1 refuses $2"
    else
        bad "$1 refuses $2: status $status, $out"
    fi
}

for cpu in core2duo Nehalem; do
    chooses $cpu scalar
    refuses $cpu avx2
    refuses $cpu avx512
    hashes $cpu scalar
done
vectors core2duo scalar vectors/kernels/*.qvec
chooses Haswell avx2
refuses Haswell avx512
hashes Haswell avx2
vectors Haswell avx2 vectors/kernels/*.qvec
# Haswell's CPUID without the registers: AVX2 in the leaf, no OSXSAVE.
chooses Haswell,-xsave scalar
finish
