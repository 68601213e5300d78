#!/bin/sh
# SPDX-License-Identifier: MIT
# has.sh FLAG... -- COMMAND...: runs a suite if this processor has the flags (of /proc/cpuinfo), else counts it as
# skipped, naming the first that lacks.
while [ "$1" != -- ]; do
    if [ "$(uname -m)" != x86_64 ] || ! grep -qw "$1" /proc/cpuinfo; then
        echo "$1: UNAVAILABLE on this processor"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
    shift
done
shift
exec "$@"
