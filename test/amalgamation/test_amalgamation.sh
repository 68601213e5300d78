#!/bin/sh
# SPDX-License-Identifier: MIT
# test_amalgamation.sh: what tools/amalgamate writes, compiled by one command each in an empty folder, as somebody
# who copied it would: gcc, clang, other processors, a C++ program beside it. Programs linked with it answer as those
# linked with the library, with AVX2 too.
. "$(dirname "$0")/../gates/gate.sh"

BUILD=${BUILD:-build}
TOP=$(pwd)
OUT=$TOP/build/amalgamation-test
FILE=$TOP/vectors/files/mlp.qorus
STRICT='-std=c11 -Wall -Wextra -Werror'
NUMERIC='-ffp-contract=off -fno-math-errno'

rm -rf "$OUT"
mkdir -p "$OUT/full" "$OUT/run" "$OUT/again" "$OUT/empty"
for name in full again; do
    empty "amalgamate $name" "$(tools/amalgamate "$OUT/$name" 2>&1 >/dev/null)"
done
empty "amalgamate --run-only" "$(tools/amalgamate --run-only "$OUT/run" 2>&1 >/dev/null)"
empty "the same bytes each time" "$(diff -rq "$OUT/full" "$OUT/again")"
empty "no #line, nothing of this machine" "$(grep -rnE '^[ \t]*#[ \t]*line' "$OUT/full" | head -n 3; grep -rlF "$TOP" "$OUT/full" "$OUT/run")"
for file in full/qorus.c full/qorus.h run/qorus.c run/qorus.h full/qorus_mem.c; do
    empty "$file begins with its license and version" \
        "$(head -n 12 "$OUT/$file" | grep -cE 'SPDX-License-Identifier: MIT|Qorus-IA [0-9]+\.[0-9]+\.[0-9]+' | grep -vx 2)"
    empty "$file includes no file of the tree" "$(grep -E '^[ \t]*#[ \t]*include[ \t]+"' "$OUT/$file" | grep -vx '#include "qorus.h"')"
done
empty "run only holds no training" "$(grep -nE '^(q_error_code|Q_NODISCARD q_error_code) q_(trainer_step|model_train)\(|core/train/' "$OUT/run/qorus.c" | head -n 3)"

# alone FROM NAME COMMAND...: a folder with nothing but qorus.h, qorus.c and qorus_mem.c, and one command in it.
alone() {
    from=$1 name=$2
    shift 2
    rm -rf "$OUT/empty"
    mkdir "$OUT/empty"
    cp "$OUT/$from/qorus.h" "$OUT/$from/qorus.c" "$OUT/full/qorus_mem.c" "$OUT/empty/"
    empty "$name" "$(cd "$OUT/empty" && "$@" 2>&1)"
}

for from in full run; do
    for cc in gcc clang; do
        have $cc || { skips "$cc is missing"; continue; }
        alone $from "$from: one command, $cc" $cc $STRICT -c qorus.c
    done
    if have arm-none-eabi-gcc; then
        alone $from "$from: arm-none-eabi-gcc, Cortex-M4" arm-none-eabi-gcc $STRICT -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 \
            -mfloat-abi=hard -ffreestanding -Os -c qorus.c
    else
        skips "arm-none-eabi-gcc is missing"
    fi
    have clang || continue
    for target in thumb riscv32 aarch64; do
        case $target in
        riscv32) flags='--target=riscv32-unknown-elf -march=rv32imac -mabi=ilp32' ;;
        *) flags=$(make_value TARGET_FLAGS CROSS=$target) ;;
        esac
        # shellcheck disable=SC2086
        alone $from "$from: one command, clang for $target" clang $flags $STRICT -ffreestanding -nostdlibinc -c qorus.c
        # shellcheck disable=SC2086
        alone $from "$from: qorus_mem.c, clang for $target" \
            clang $flags $STRICT -ffreestanding -fno-builtin -nostdlibinc -c qorus_mem.c
    done
done

printf '%s\n' '#include "qorus.h"' 'int f(void); int f() { return Q_VERSION_MAJOR + q_strerror(Q_OK)[0]; }' >"$OUT/full/user.cpp"
for cxx in g++ clang++; do
    have $cxx || { skips "$cxx is missing"; continue; }
    empty "qorus.h in C++17, $cxx" "$(cd "$OUT/full" && $cxx -std=c++17 -Wall -Wextra -Werror -c user.cpp -o user.o 2>&1)"
done

# ---- Programs: the library's answers ------------------------------------------------------------------------

answers() { # NAME WANT PROGRAM...
    name=$1 want=$2
    shift 2
    "$@" >"$OUT/said" 2>&1 || fails "$name: exit status $?"
    empty "$name: the answers of the library" "$(diff "$want" "$OUT/said" 2>&1)"
}

cp test/amalgamation/stranger.c examples/05_xor.c examples/training.h "$OUT/full/"
cp test/amalgamation/stranger.c "$OUT/run/"
for name in stranger 05_xor; do
    empty "$name with the library" "$(cd "$OUT" && gcc $STRICT -I"$TOP/include" full/$name.c "$TOP/$BUILD/libqorus.a" -pthread -o with 2>&1)"
    "$OUT/with" "$FILE" >"$OUT/$name.want" 2>&1 || fails "$name with the library: exit status $?"
done
full "the network's answers" "$(grep -E '^[0-9a-f]{8} ' "$OUT/stranger.want")"
# By the command of its first lines; and by a compiler's defaults, which may want a libm for sqrt.
for how in "gcc -O2 $NUMERIC" 'clang -O0'; do
    cc=${how%% *} flags=${how#* } libm=
    [ "$cc" = gcc ] || libm=-lm
    have "$cc" || continue
    empty "qorus.c, $how" "$(cd "$OUT/full" && $cc $STRICT $flags -c qorus.c -o $cc.o 2>&1)"
    for name in stranger 05_xor; do
        empty "$name, $how" "$(cd "$OUT/full" && $cc $STRICT -DSCALAR_ONLY $flags $name.c $cc.o $libm -o program 2>&1)"
        answers "$name, $how" "$OUT/$name.want" "$OUT/full/program" "$FILE"
    done
done
empty "run only" "$(cd "$OUT/run" && gcc $STRICT stranger.c qorus.c -lm -o program 2>&1)"
answers "run only" "$OUT/stranger.want" "$OUT/run/program" "$FILE"

# ---- The commands of the README -----------------------------------------------------------------------------

sed -n '/^<!-- commands: vendoring -->$/,/^```$/p' README.md | grep -v -e '^<!--' -e '^```' >"$OUT/commands"
full "the README's commands" "$(grep amalgamation "$OUT/commands")"
empty "the README's commands" "$(sh -e "$OUT/commands" 2>&1 >"$OUT/said" || echo failed)"
full "what they answer" "$(grep -a '^Hello there.' "$OUT/said")"

# ---- AVX2 ----------------------------------------------------------------------------------------------------

# flags_of GLOB: as the first lines of qorus.c say.
flags_of() {
    sed -n "s|^// *$(echo "$1" | sed 's/[*.]/\\&/g')  *||p" "$OUT/full/qorus.c"
}

# compile FLAGS SOURCE...: in $OUT/full, what the compiler says.
compile() {
    flags=$1
    shift
    printf '%s\n' "$@" | (cd "$OUT/full" && xargs -P "$NPROC" -I '{}' sh -c \
        'gcc $1 -c "$2" -o "$(echo "$2" | tr / -).o"' compile "$STRICT -O1 $NUMERIC -Iinclude $flags" '{}' 2>&1)
}

# sources FOLDER: those with its instructions, VNNI apart.
sources() {
    (cd "$OUT/full" && ls "backends/$1"/*.c | grep -vF -e _vnni -e "/$1.c")
}

if [ "$(uname -m)" = x86_64 ]; then
    # shellcheck disable=SC2046
    empty "the AVX2 folder compiles" "$(compile "$(flags_of 'backends/avx2/*.c')" $(sources avx2)
        compile "$(flags_of 'backends/avx2/*_vnni.c')" backends/avx2/gemm_a8_vnni.c
        compile '' backends/avx2/avx2.c port/x86/cpu_detect.c)"
    # shellcheck disable=SC2046
    empty "the AVX-512 folder is complete" "$(compile "$(flags_of 'backends/avx512/*.c') -fsyntax-only" $(sources avx512)
        compile -fsyntax-only backends/avx512/avx512.c)"
    empty "a program that takes AVX2 links" \
        "$(cd "$OUT/full" && gcc $STRICT -DWITH_AVX2 -I. -Iinclude stranger.c gcc.o ./*-*.c.o -o avx2 2>&1)"
    status=0
    "$OUT/full/avx2" "$FILE" >"$OUT/said" 2>&1 || status=$?
    if [ $status = 3 ]; then
        skips "no AVX2 in this processor"
    else
        empty "AVX2: the same bits" "$(diff "$OUT/stranger.want" "$OUT/said" 2>&1)"
    fi
else
    skips "not an x86-64 machine"
fi
rm -rf "$OUT"
gate_end
