#!/bin/sh
# SPDX-License-Identifier: MIT
# isa.sh: what instructions the library really contains, by disassembly: core, scalar backend and ports keep to the
# baseline of x86-64 (SSE2), and so does each backend's table; AVX2 stays in backends/avx2, AVX-512 in backends/avx512.
. "$(dirname "$0")/gate.sh"

if [ "$(uname -m)" != x86_64 ]; then
    skips "not an x86-64 machine"
    gate_end
fi

# classes_of OBJECT...: the classes found, one a line, each once.
classes_of() {
    sh tools/inspect_isa.sh --classes "$@" | awk '{ n = split($NF, c, ","); for (i = 1; i <= n; i++) print c[i] }' | sort -u
}

# beyond ALLOWED OBJECT...: functions that hold a class not in ALLOWED (a regular expression).
beyond() {
    allowed=$1
    shift
    sh tools/inspect_isa.sh --classes "$@" |
        awk -v allowed="^($allowed)\$" '{ n = split($NF, c, ","); for (i = 1; i <= n; i++) if (c[i] !~ allowed) { print; next } }'
}

# Controls: a 512-bit register, a mask on 128 bits, AVX, BMI; in a function of plain C.
control() { # flags class
    # shellcheck disable=SC2086
    printf '%s\n' 'void q_f(float *restrict a, const float *restrict b) { for (int i = 0; i < 64; i++) a[i] += b[i]; }' \
        'unsigned long q_g(unsigned long a, unsigned long b) { return ~a & b; }' |
        gcc -O3 $1 -x c -c - -o "$GATES/isa.o"
    full "$2 by $1" "$(classes_of "$GATES/isa.o" | grep -x "$2")"
}
control -msse2 sse
control -mavx2 avx
control "-mavx512f -mprefer-vector-width=512" avx512
control "-mavx512f -mavx512vl -mprefer-vector-width=128 -mavx" avx
control -mbmi bmi
echo '__attribute__((target("avx512vl"))) void q_f(void) { __asm__("vaddps %xmm1, %xmm2, %xmm17"); }' |
    gcc -x c -c - -o "$GATES/isa.o"
full "a 128-bit AVX-512 instruction" "$(classes_of "$GATES/isa.o" | grep -x avx512)"
rm -f "$GATES/isa.o"

# with_vnni OBJECT...: those that hold vpdpbusd in the VEX encoding, which is AVX-VNNI, not AVX2.
with_vnni() {
    for object in "$@"; do
        "${OBJDUMP:-objdump}" -d -w "$object" | awk -F '\t' -v object="$object" '$3 ~ /vpdpbusd/ && $2 ~ /^c4/ { print object; exit }'
    done
}
echo '__attribute__((target("avxvnni"))) void q_f(void) { __asm__("{vex} vpdpbusd %ymm1, %ymm2, %ymm3"); }' |
    gcc -x c -c - -o "$GATES/isa.o"
full "an AVX-VNNI instruction" "$(with_vnni "$GATES/isa.o")"
rm -f "$GATES/isa.o"

for cc in gcc clang; do
    have $cc || { skips "$cc is missing"; continue; }
    built=$(make lib CC=$cc 2>&1) || { fails "$cc: the library does not build"; echo "$built" | tail -n 5; continue; }
    dir=$(make_value FREE_DIR CC=$cc)
    members=$(make_value LIB_OBJ CC=$cc)
    plain=$(echo "$members" | tr ' ' '\n' | grep -vE "^$dir/backends/(avx2|avx512)/" ; ls "$dir"/backends/avx*/avx*.o | grep -E '/(avx[0-9]*)/\1\.o$')
    # shellcheck disable=SC2086
    empty "$cc: core, scalar and ports hold SSE2 only" "$(beyond sse $plain)"
    # shellcheck disable=SC2086
    empty "$cc: AVX-VNNI only in backends/avx2/*_vnni.c" "$(with_vnni $members | grep -vE '/backends/avx2/[a-z0-9_]*_vnni\.o$')"
    # shellcheck disable=SC2086
    full "$cc: AVX-VNNI in backends/avx2/gemm_a8_vnni.c" "$(with_vnni $members | grep -E '/gemm_a8_vnni\.o$')"
    for isa in avx2 avx512; do
        objects=$(echo "$members" | tr ' ' '\n' | grep -E "^$dir/backends/$isa/" | grep -v "/$isa.o\$")
        [ -n "$objects" ] || continue
        allowed='sse|avx|bmi'
        [ $isa = avx512 ] && allowed='sse|avx|bmi|avx512'
        # shellcheck disable=SC2086
        empty "$cc: backends/$isa holds nothing above it" "$(beyond "$allowed" $objects)"
        for object in $objects; do
            kernels=$("$NM" -g --defined-only "$object" | awk '$2 == "T" && $3 !~ /^q_backend/ { print $3 }')
            [ -n "$kernels" ] || continue
            full "$cc: $isa code in $object" "$(classes_of "$object" | grep -xE 'avx|avx512')"
        done
    done
done
gate_end
