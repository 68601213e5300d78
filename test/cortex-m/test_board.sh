#!/bin/sh
# SPDX-License-Identifier: MIT
# test_board.sh: a Cortex-M4F board under QEMU, no allocator, no libc: a perceptron is trained to the bits of this
# machine, and every golden vector is right. The compiler's library brings arithmetic on doubles, which that FPU lacks.
. "$(dirname "$0")/../gates/gate.sh"

OUT=build/cortex-m
for tool in clang arm-none-eabi-gcc qemu-system-arm; do
    have $tool || { skips "$tool is missing (make deps)"; gate_end; }
done
rm -rf "$OUT"
mkdir -p "$OUT"
objects=$(make -s print-VECTORS_OBJ CROSS=thumb)
memory=$(make -s print-MEM_OBJ CROSS=thumb)
# shellcheck disable=SC2086
make CROSS=thumb lib $objects $memory build/vectors.qvec >"$OUT/log" 2>&1 || fails "the library for a Cortex-M4: $(tail -n 1 "$OUT/log")"

flags="$(make_value FREE_FLAGS CROSS=thumb) -fno-pie -I. -DQ_VECTORS_PACK=\"build/vectors.qvec\""
for source in port/cortex-m/start.c port/cortex-m/aeabi.S test/cortex-m/main_board.c test/cortex-m/mlp.c test/vectors/pack.S; do
    # shellcheck disable=SC2086
    empty "$source compiles" "$(clang $flags -Wno-unused-command-line-argument -c "$source" -o "$OUT/${source##*/}.o" 2>&1)"
done
# shellcheck disable=SC2086
empty "the image links" "$(arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard -nostdlib -static \
    -Wl,--gc-sections,--no-warn-rwx-segments,--no-enum-size-warning -T port/cortex-m/board.ld "$OUT"/*.o $objects \
    "$(make -s print-LIB CROSS=thumb)" $memory -lgcc -o "$OUT/board.elf" 2>&1 | grep -v 'GNU-stack\|NOTE: This')"
empty "no heap" "$(arm-none-eabi-nm "$OUT/board.elf" 2>&1 | grep -wE 'malloc|free|_sbrk')"
# shellcheck disable=SC2046
empty "the program for this machine" "$(gcc $(make_value HOST_FLAGS CC=gcc) -I. test/cortex-m/main_posix.c test/cortex-m/mlp.c \
    "${BUILD:-build}/libqorus.a" -o "$OUT/mlp" 2>&1)"

timeout 240 qemu-system-arm -M mps2-an386 -display none -serial none -monitor none -semihosting-config enable=on,target=native \
    -kernel "$OUT/board.elf" </dev/null >"$OUT/said" 2>&1 || fails "the board: exit status $?: $(tail -n 1 "$OUT/said")"
full "the board trains" "$(grep -E '^[0-9a-f]{64}$' "$OUT/said")"
empty "the same parameters as here, bit for bit" "$("$OUT/mlp" 2>&1 | grep -vxF -e "$(grep -xE '[0-9a-f]{64}' "$OUT/said")")"
empty "every golden vector is right" "$(tail -n 1 "$OUT/said" | grep -vE '^[1-9][0-9]* passed, 0 failed, 0 skipped$')"
echo "golden vectors on the board: $(tail -n 1 "$OUT/said")"
gate_end
