#!/bin/sh
# SPDX-License-Identifier: MIT
# cross.sh: core and scalar backend for Cortex-M4, ARMv7, AArch64, RISC-V 64 and i686, by clang and lld, without any
# libc: no warning, no writable data, and no undefined symbol beyond mem* and the compiler's own arithmetic.
. "$(dirname "$0")/gate.sh"

# What a 32-bit compiler may call for 64-bit integers and, on a Cortex-M4, for doubles (its FPU has none): functions
# of compiler-rt and libgcc, which every toolchain for the target brings along.
HELPERS_thumb='__aeabi_uldivmod __aeabi_ldivmod __aeabi_lmul __aeabi_llsl __aeabi_llsr __aeabi_lasr
    __aeabi_dadd __aeabi_dsub __aeabi_dmul __aeabi_ddiv __aeabi_dcmpeq __aeabi_dcmplt __aeabi_dcmple __aeabi_dcmpge
    __aeabi_dcmpgt __aeabi_dcmpun __aeabi_d2iz __aeabi_d2uiz __aeabi_d2lz __aeabi_d2ulz __aeabi_d2f __aeabi_f2d
    __aeabi_i2d __aeabi_ui2d __aeabi_l2d __aeabi_ul2d __aeabi_l2f __aeabi_ul2f __aeabi_f2lz __aeabi_f2ulz
    __aeabi_memcpy __aeabi_memcpy4 __aeabi_memcpy8 __aeabi_memmove __aeabi_memmove4 __aeabi_memmove8
    __aeabi_memset __aeabi_memset4 __aeabi_memset8 __aeabi_memclr __aeabi_memclr4 __aeabi_memclr8'
HELPERS_arm='__aeabi_uldivmod __aeabi_ldivmod __aeabi_uidiv __aeabi_uidivmod __aeabi_idiv __aeabi_idivmod
    __aeabi_l2d __aeabi_ul2d __aeabi_l2f __aeabi_ul2f __aeabi_d2lz __aeabi_d2ulz __aeabi_f2lz __aeabi_f2ulz'
HELPERS_i686='__udivdi3 __umoddi3 __divdi3 __moddi3 __udivmoddi4 __divmoddi4'
HELPERS_aarch64=''
HELPERS_riscv64=''

if ! have clang || ! have ld.lld || ! have llvm-nm; then
    skips "clang, lld or llvm is missing"
    gate_end
fi
NM=llvm-nm

# Control: a helper of another target is noticed.
mkdir -p "$GATES/bad"
echo 'unsigned __int128 q_f(unsigned __int128 a, unsigned __int128 b) { return a / b; }' >"$GATES/bad/bad.c"
clang --target=aarch64-linux-gnu -std=gnu11 -c "$GATES/bad/bad.c" -o "$GATES/bad/bad.o"
full "a 128-bit division" "$(undefined_beyond llvm-nm "$GATES/bad/bad.o" $ALLOWED_SYMBOLS $HELPERS_aarch64)"
rm -rf "$GATES/bad"

for target in thumb arm aarch64 riscv64 i686; do
    for variant in release size; do
        name="$target $variant"
        dir=$GATES/cross-$target
        flags=$(make_value FREE_FLAGS CROSS=$target VARIANT=$variant)
        empty "$name: compiles without a warning or a libc" \
            "$({ core_sources; backend_sources scalar; } | compile_all "$dir" "clang $flags -nostdlibinc")"
        if ! ld.lld -r -o "$dir/all.lo" "$dir"/*.o 2>"$dir/lld.txt"; then
            fails "$name: ld.lld -r: $(head -n 3 "$dir/lld.txt")"
            continue
        fi
        eval "helpers=\$HELPERS_$target"
        # shellcheck disable=SC2086
        empty "$name: links with nothing but mem* and arithmetic" \
            "$(undefined_beyond llvm-nm "$dir/all.lo" $ALLOWED_SYMBOLS $helpers)"
        empty "$name: no writable data" "$(writable_data llvm-objdump "$dir/all.lo")"
        rm -rf "$dir"
    done
done
gate_end
