#!/bin/sh
# SPDX-License-Identifier: MIT
# cross_vectors.sh: builds the golden vectors for another processor, without a libc, and runs them under qemu-user.
#
#   cross_vectors.sh aarch64|riscv64|arm|i686
set -u
cd "$(dirname "$0")/.." || exit 1
target=$1
qemu=qemu-$target
[ "$target" = i686 ] && qemu=qemu-i386
for tool in clang ld.lld "$qemu"; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "missing: $tool (make deps)"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
done
make CROSS="$target" cross-vectors || exit 1
exec "$qemu" "$(make -s print-TEST_DIR CROSS="$target")/vectors.elf"
