#!/bin/sh
# SPDX-License-Identifier: MIT
# lane.sh: runs suites of test/suites.txt one after the other, but for those that another lane has begun. run.sh starts lanes.
#
#   lane.sh "KIND..."     all of the first kind, then all of the next
#
# ONLY names suites if it is not blank: only those. WORK is a folder that the lanes of a run share: a folder there for each
# suite begun, and a line "passed failed skipped" in WORK/counts for each that ended. LOGS: where the output of suites goes.
set -u

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
    log=$LOGS/$1.log began=$(date +%s)
    timeout -k 10 "$2" sh -c "$3" >"$log" 2>&1 </dev/null 9<&-
    status=$?
    set -- "$1" $(summary_of "$log")
    none=
    if [ $# -ne 4 ]; then
        set -- "$1" 0 1 0
        none="   no summary line (exit $status)"
    elif [ "$status" -ne 0 ] && [ "$3" -eq 0 ]; then
        set -- "$1" "$2" 1 "$4"
    fi
    echo "$2 $3 $4" >>"$WORK/counts"
    echo "$1: $2 passed, $3 failed, $4 skipped in $(($(date +%s) - began)) s"
    [ "$3" -eq 0 ] || { [ -z "$none" ] || echo "$none"; show_failure "$log" "$status"; }
}

for kind in $1; do
    while read -r name when limit command <&9; do
        case $name in
        '#'* | '') continue ;;
        esac
        case " $ONLY " in
        '  ' | *" $name "*) ;;
        *) continue ;;
        esac
        # Of two lanes, one makes the folder. What a suite says appears in one piece.
        if [ "$when" = "$kind" ] && mkdir "$WORK/$name" 2>/dev/null; then
            said=$(run_suite "$name" "$limit" "$command")
            printf '%s\n' "$said"
        fi
    done 9<test/suites.txt
done
