#!/bin/sh
# SPDX-License-Identifier: MIT
# need.sh: runs a suite if what it needs is there, else counts it as skipped.
#
#   need.sh THING... -- COMMAND...     a THING is a command, or a file if it holds a slash
thing=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
    */*) [ -e "$1" ] || thing="$thing $1" ;;
    *) command -v "$1" >/dev/null 2>&1 || thing="$thing $1" ;;
    esac
    shift
done
shift
if [ -n "$thing" ]; then
    echo "missing:$thing (make deps, make model)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
exec "$@"
