#!/bin/sh
# SPDX-License-Identifier: MIT
# one_hash.sh: one SHA-256 over all logits of 256 prompt tokens and 64 decoded ones, whatever computes them: backend,
# threads, chunks, fusion, POSIX or bare x86. The hashes are committed in fingerprints.txt.
#
#   one_hash.sh small     the sample model vectors/files/llama.qorus; bare x86 under TCG
#   one_hash.sh brief     the same in few ways; bare x86 under KVM, else under TCG
#   one_hash.sh large     SmolLM2-135M-Instruct, if `make model` has made it; bare x86 under KVM
#   one_hash.sh print MODEL   the lines for fingerprints.txt
set -u
cd "$(dirname "$0")/.." || exit 1
TABLE=test/fingerprints.txt
QORUS=${BUILD:-$(make -s print-FREE_DIR)}/qorus
passed=0 failed=0 skipped=0

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

# expect WHAT OUTPUT MODES: OUTPUT has a line "logits MODE HASH ..." for each of MODES, all as in the table.
expect() {
    for mode in $3; do
        want=$(awk -v s="$sum" -v m="$mode" '$1 == s && $2 == m { print $3 }' $TABLE)
        have=$(echo "$2" | awk -v m="$mode" '$1 == "logits" && $2 == m { print $3 }' | sort -u)
        if [ -n "$want" ] && [ "$want" = "$have" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAIL $1, $mode: $(echo "$have" | tr '\n' ' ')instead of ${want:-a hash in $TABLE}"
        fi
    done
}

posix() { # options
    # shellcheck disable=SC2086
    expect "posix $1" "$("$QORUS" conform "$model" $1 2>&1)" 'fast exact'
}

bare() { # accel options
    # shellcheck disable=SC2086
    for exact in '' --exact; do
        mode=fast
        [ -n "$exact" ] && mode=exact
        expect "bare $1 $2" "$(ACCEL=$1 sh port/bare-x86/run-qemu.sh --timeout 500 --module "$model" "$image" conform $2 $exact 2>&1)" $mode
    done
}

# The option that names this machine's best backend.
best() {
    echo "--backend $("$QORUS" conform vectors/files/llama.qorus --exact | awk '$1 == "logits" { print $4 }' | tail -n 1)"
}

if [ "${1-}" = print ]; then
    sum=$(sha256sum "$2" | cut -d ' ' -f 1)
    # shellcheck disable=SC2046
    { "$QORUS" conform "$2"; "$QORUS" conform "$2" --kv q8_0 $(best); "$QORUS" conform "$2" -p 1200 $(best); } | awk -v s="$sum" -v n="$(basename "$2")" '$1 == "logits" && !seen[$2]++ { print s, $2, $3, n }'
    exit
fi
model=vectors/files/llama.qorus
[ "${1-}" = large ] && model=models/smollm2-135m-instruct.qorus
if [ ! -f "$model" ]; then
    echo "missing: $model (make model)"
    skipped=1
    finish
fi
sum=$(sha256sum "$model" | cut -d ' ' -f 1)
if [ "${1-}" = large ]; then
    best=$(best)
    for options in "$best -t 1" "$best -t 2" "$best -t 3" "$best -t 2 --chunk 1" "$best -t 2 --chunk 7" \
        "$best -t 2 --chunk 256" "$best -t 7" "$best -t 2 --no-fuse" "-t 2"; do
        posix "$options"
    done
    expect "posix --kv q8_0 $best" "$("$QORUS" conform "$model" --kv q8_0 $best 2>&1)" 'fast-q8_0 exact-q8_0'
    expect "posix -p 1200 $best" "$("$QORUS" conform "$model" -p 1200 $best 2>&1)" 'fast-1200 exact-1200'
elif [ "${1-}" = brief ]; then
    posix '-t 1 --chunk 7'
    posix '-t 2 --chunk 64 --no-fuse'
else
    for threads in 1 2 3; do
        for chunk in 1 7 64 256; do
            posix "-t $threads --chunk $chunk"
        done
    done
    posix '-t 7'
    expect 'posix -p 1200' "$("$QORUS" conform "$model" -p 1200 2>&1)" 'fast-1200 exact-1200'
    posix --no-fuse
    small=$model small_sum=$sum model=vectors/files/heads32.qorus
    sum=$(sha256sum "$model" | cut -d ' ' -f 1)
    for options in '-t 1 --chunk 1' '-t 2 --chunk 7' '-t 3'; do
        # shellcheck disable=SC2086
        expect "posix --kv q8_0 $options" "$("$QORUS" conform "$model" --kv q8_0 $options 2>&1)" 'fast-q8_0 exact-q8_0'
    done
    model=$small sum=$small_sum
fi

if ! command -v qemu-system-x86_64 >/dev/null 2>&1; then
    echo "SKIP bare x86: qemu-system-x86_64 is missing (make deps)"
    skipped=$((skipped + 1))
    finish
fi
make PORT=bare-x86 >/dev/null || failed=$((failed + 1))
image=$(make -s print-IMAGE)
if [ "${1-}" = large ]; then
    if [ -w /dev/kvm ]; then
        bare kvm ''
    else
        echo "SKIP bare x86 with the large model: no KVM"
        skipped=$((skipped + 1))
    fi
elif [ "${1-}" = brief ]; then
    if [ -w /dev/kvm ]; then
        SMP=2 bare kvm ''
    else
        bare tcg '--backend avx2'
    fi
else
    bare tcg '--backend scalar'
    bare tcg '--backend avx2'
    [ -w /dev/kvm ] && SMP=2 bare kvm ''
fi
finish
