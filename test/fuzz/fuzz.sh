#!/bin/sh
# SPDX-License-Identifier: MIT
# fuzz.sh: runs libFuzzer on parsers, so many seconds each.
#
#   fuzz.sh PROGRAM SECONDS TARGET...
#
# New inputs go to build/fuzz/TARGET and are read again next time; what breaks a target goes to
# build/fuzz/bad/TARGET-* and ends the run.
set -u
cd "$(dirname "$0")/../.." || exit 1
program=$1
seconds=$2
shift 2
for target in "$@"; do
    mkdir -p "build/fuzz/$target" build/fuzz/bad
    echo "-- $target, $seconds s"
    QORUS_FUZZ=$target "$program" -max_total_time="$seconds" -max_len=9216 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/bad/$target-" "build/fuzz/$target" "test/fuzz/corpus/$target" \
        >"build/fuzz/$target.log" 2>&1 || { tail -n 40 "build/fuzz/$target.log"; exit 1; }
    grep -E 'DONE|number_of_executed_units' "build/fuzz/$target.log"
done
