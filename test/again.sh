#!/bin/sh
# SPDX-License-Identifier: MIT
# again.sh: builds the test programs under other settings and runs suites of test/suites.txt on them.
#
#   again.sh SETTING... -- SUITE...        for instance: again.sh SAN=address,undefined -- port host
#
# PROGRAMS names the test programs that those suites run, or the command; without it all are built. LEAKS=1 looks for leaks.
set -u
cd "$(dirname "$0")/.." || exit 1
settings=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    settings="$settings $1"
    shift
done
shift
# No leak search in test programs: nothing under test allocates, and they end without freeing.
export ASAN_OPTIONS=detect_leaks=${LEAKS:-0}:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
# shellcheck disable=SC2086
folder=$(make -s print-FREE_DIR $settings)
wanted=
for program in ${PROGRAMS:-}; do
    [ "$program" = command ] && wanted="$wanted command" || wanted="$wanted $folder/test/bin/$program"
done
# shellcheck disable=SC2086
make -k ${wanted:-command test-programs} $settings || export BUILT=no
BUILD=$folder TEST_LOG="build/test-log/$(echo "$settings" | tr -cs 'a-zA-Z0-9\n' -)" \
    exec sh test/run.sh full "$@"
