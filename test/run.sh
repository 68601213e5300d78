#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh: runs the suites of test/suites.txt and adds up their summary lines.
#
#   run.sh quick|full|long [SUITE...]     names: only these
#
# BUILD names another folder of test programs, TEST_LOG another one for the output. BUILT=no: something did not
# compile, which is one failure; what could be built is tested all the same.
#
# A suite is a command that ends with the line "N passed, N failed, N skipped". One that prints none, or fails
# without having counted a failure, or takes longer than its limit, counts as one failure. Its output goes to
# build/test-log/SUITE.log and, where something failed, the interesting part of it to the screen.
#
# A quick or full run has two lanes at once, each with one suite at a time: of a full run one begins with the suites marked
# "aside", the other with those marked "full"; the quick ones are for both. A long run, and one of names, has one lane.
set -u
cd "$(dirname "$0")/.." || exit 1

speed=${1:-full}
[ $# -gt 0 ] && shift
ONLY=$*
LOGS=${TEST_LOG:-build/test-log}
mkdir -p "$LOGS"
# Suites that call make are no children of the make that runs this.
unset MAKEFLAGS MFLAGS MAKELEVEL
BUILD=${BUILD:-$(make -s print-FREE_DIR)}
MODEL=${MODEL:-models/smollm2-135m-instruct.qorus}
PYTHON=python3
[ -x build/venv/bin/python ] && PYTHON=build/venv/bin/python
T=$BUILD/test/bin
TEXT=${TEXT:-}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
export ONLY LOGS BUILD MODEL PYTHON T TEXT WORK
unset TEST_LOG

started=$(date +%s)
: >"$WORK/counts"
if [ "${BUILT:-yes}" = no ]; then
    echo "build: 0 passed, 1 failed, 0 skipped"
    echo "0 1 0" >>"$WORK/counts"
fi
unset BUILT

case $speed in
quick) set -- 'brief quick' 'brief quick' ;;
long) set -- long ;;
*) set -- 'aside quick' 'full quick' ;;
esac
[ -z "$ONLY" ] || set -- 'brief quick full aside long'
printf '%s\n' "$@" | xargs -P 2 -I '{}' sh test/lane.sh '{}' || echo "0 1 0" >>"$WORK/counts"

if [ ! -s "$WORK/counts" ]; then
    echo "no suite of that name: $ONLY" >&2
    echo "0 1 0" >>"$WORK/counts"
fi
echo "time: $(($(date +%s) - started)) s"
awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$WORK/counts"
