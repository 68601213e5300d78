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
# A full run has two lanes at once: the suites marked "aside", which build in folders of their own, and the others. A long
# run has those marked "long" alone, one after the other.
set -u
cd "$(dirname "$0")/.." || exit 1

speed=${1:-full}
[ $# -gt 0 ] && shift
only=" $* "
logs=${TEST_LOG:-build/test-log}
mkdir -p "$logs"
# Suites that call make are no children of the make that runs this.
unset MAKEFLAGS MFLAGS MAKELEVEL
BUILD=${BUILD:-$(make -s print-FREE_DIR)}
MODEL=${MODEL:-models/smollm2-135m-instruct.qorus}
PYTHON=python3
[ -x build/venv/bin/python ] && PYTHON=build/venv/bin/python
T=$BUILD/test/bin
export BUILD MODEL PYTHON T
unset TEST_LOG
export TEXT="${TEXT:-}"

passed=0 failed=0 skipped=0 started=$(date +%s)

# The last summary line of a log, as three numbers; nothing if there is none.
summary_of() {
    sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed, \([0-9][0-9]*\) skipped$/\1 \2 \3/p' "$1" | tail -n 1
}

# Lines worth showing of a failed suite.
show_failure() {
    echo "   its command exited with $2; the end of $1:"
    { grep -inE 'fail|error|not true|mismatch|differ' "$1" | head -n 20; tail -n 15 "$1"; } | cut -c 1-200 | sed 's/^/   | /'
}

run_suite() { # name limit command
    log=$logs/$1.log
    printf -- '-- %s\n' "$1"
    timeout -k 10 "$2" sh -c "$3" >"$log" 2>&1 </dev/null 9<&-
    status=$?
    set -- "$1" $(summary_of "$log")
    if [ $# -ne 4 ]; then
        set -- "$1" 0 1 0
        echo "   no summary line (exit $status)"
    elif [ "$status" -ne 0 ] && [ "$3" -eq 0 ]; then
        set -- "$1" "$2" 1 "$4"
    fi
    [ "$3" -eq 0 ] || show_failure "$log" "$status"
    echo "$1: $2 passed, $3 failed, $4 skipped"
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + $4))
}

if [ "${BUILT:-yes}" = no ]; then
    echo "build: 0 passed, 1 failed, 0 skipped"
    failed=1
fi
unset BUILT

table=$(mktemp)
aside=$(mktemp)
trap 'rm -f "$table" "$aside" "$aside.sum"' EXIT INT TERM
sed -e '/^#/d' -e '/^[[:space:]]*$/d' test/suites.txt >"$table"

run_those() { # kinds
    while read -r name when limit command <&9; do
        case $only in
        '  ' | *" $name "*) ;;
        *) continue ;;
        esac
        case " $1 " in
        *" $when "*) run_suite "$name" "$limit" "$command" ;;
        esac
    done 9<"$table"
}

if [ "$only" != '  ' ]; then
    run_those 'quick full aside long'
elif [ "$speed" = long ]; then
    run_those long
elif [ "$speed" != full ]; then
    run_those quick
else
    {
        passed=0 failed=0 skipped=0
        run_those aside
        echo "$passed $failed $skipped" >"$aside.sum"
    } >"$aside" 2>&1 &
    run_those 'quick full'
    wait
    cat "$aside"
    read -r p f s <"$aside.sum"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
fi

if [ $((passed + failed + skipped)) -eq 0 ]; then
    echo "no suite of that name: $*" >&2
    failed=1
fi
echo "time: $(($(date +%s) - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
