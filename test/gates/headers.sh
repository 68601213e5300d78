#!/bin/sh
# SPDX-License-Identifier: MIT
# headers.sh: each public header compiles alone as C11 and as C++17, with both compilers, and needs no libc header.
. "$(dirname "$0")/gate.sh"

C_WARNINGS="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wdouble-promotion -Wpointer-arith
            -Wwrite-strings -Werror"
CXX_WARNINGS=$C_WARNINGS

# compiles_alone HEADER COMPILER...: prints what the compiler says.
compiles_alone() {
    header=$1
    shift
    echo "#include \"${header#include/}\"" | "$@" -Iinclude -fsyntax-only - 2>&1
}

control() { # what header-text compiler...
    what=$1 text=$2
    shift 2
    mkdir -p "$GATES/bad"
    echo "$text" >"$GATES/bad/bad.h"
    full "$what" "$(echo '#include "bad.h"' | "$@" "-I$GATES/bad" -fsyntax-only - 2>&1)"
    rm -rf "$GATES/bad"
}

headers=$(find include -name '*.h' | sort)
# shellcheck disable=SC2086
{
    control "a header that needs another" 'static inline uint32_t q_f(void) { return 1; }' gcc -x c -std=c11 $C_WARNINGS
    control "an implicit cast in C++" 'static inline int *q_f(void *p) { return p; }' g++ -x c++ -std=c++17 $CXX_WARNINGS
    for cc in gcc clang; do
        have $cc || { skips "$cc is missing"; continue; }
        for header in $headers; do
            empty "$header alone, $cc, C11" \
                "$(compiles_alone "$header" $cc -x c -std=c11 -ffreestanding $C_WARNINGS -Wstrict-prototypes)"
        done
    done
    for cxx in g++ clang++; do
        have $cxx || { skips "$cxx is missing"; continue; }
        for header in $headers; do
            empty "$header alone, $cxx, C++17" "$(compiles_alone "$header" $cxx -x c++ -std=c++17 $CXX_WARNINGS)"
        done
    done
    if have clang; then
        for header in $headers; do
            empty "$header without a libc" \
                "$(compiles_alone "$header" clang -x c -std=c11 -ffreestanding -nostdlibinc $C_WARNINGS)"
            empty "$header in the double build" \
                "$(compiles_alone "$header" clang -x c -std=c11 -ffreestanding -DQ_REAL_DOUBLE $C_WARNINGS)"
        done
    fi
}
gate_end
