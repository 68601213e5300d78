# SPDX-License-Identifier: MIT
# gate.sh: what the gates share; sourced by each of them. Gates run at the top of the tree and end with one
# summary line.

cd "$(dirname "$0")/../.." || exit 1
LC_ALL=C
export LC_ALL
NPROC=$(nproc 2>/dev/null || echo 1)
GATES=build/gates/$(basename "$0" .sh)
mkdir -p "$GATES"
gate_passed=0 gate_failed=0 gate_skipped=0

# The four functions a compiler may call on its own; and a name that PIC code mentions and every linker makes itself.
ALLOWED_SYMBOLS="memcpy memmove memset memcmp _GLOBAL_OFFSET_TABLE_"

passes() {
    gate_passed=$((gate_passed + 1))
}

fails() { # what, details on stdin or none
    gate_failed=$((gate_failed + 1))
    echo "FAIL $1"
}

# empty NAME TEXT: passes if TEXT is empty, else fails and prints it.
empty() {
    if [ -z "$2" ]; then
        passes
    else
        fails "$1"
        echo "$2" | head -n 8 | sed 's/^/    /'
    fi
}

# full NAME TEXT: a control; passes if TEXT is not empty, that is, if the check can find a defect at all.
full() {
    if [ -n "$2" ]; then
        passes
    else
        fails "control: $1 was not noticed"
    fi
}

skips() {
    gate_skipped=$((gate_skipped + 1))
    echo "SKIP $1"
}

have() {
    command -v "$1" >/dev/null 2>&1
}

gate_end() {
    echo "$gate_passed passed, $gate_failed failed, $gate_skipped skipped"
    [ "$gate_failed" -eq 0 ]
    exit $?
}

# Sources of the core without mem.c, and of one backend.
core_sources() {
    find core -name '*.c' ! -path core/base/mem.c | sort
}

backend_sources() {
    find "backends/$1" -name '*.c' 2>/dev/null | sort
}

# A variable of the Makefile under settings: make_value FREE_FLAGS CC=gcc VARIANT=debug
make_value() {
    name=$1
    shift
    make -s "print-$name" "$@"
}

# compile_all DIR "CC FLAGS": compiles the sources on stdin into DIR, in parallel; prints what the compiler says.
# Object of a/b.c: DIR/a-b.o.
compile_all() {
    mkdir -p "$1"
    rm -f "$1"/*.o "$1"/*.su "$1"/*.ci
    xargs -P "$NPROC" -I '{}' sh -c '
        src=$1 dir=$2
        shift 2
        name=$(echo "$src" | tr / - | sed "s/\.c$//")
        "$@" -c "$src" -o "$dir/$name.o" || echo "$src does not compile"
    ' compile '{}' "$1" $2 2>&1
}

# Undefined symbols of a relocatable object beyond those allowed: undefined_beyond NM OBJECT ALLOWED...
undefined_beyond() {
    nm=$1 object=$2
    shift 2
    "$nm" -u "$object" | awk -v allowed="$*" '
        BEGIN { n = split(allowed, a, " "); for (i = 1; i <= n; i++) ok[a[i]] = 1 }
        NF >= 2 && !($2 in ok) { print "undefined: " $2 }'
}

# Sections with writable data: writable_data OBJDUMP OBJECT. Constant tables of pointers lie in .data.rel.ro under
# PIC; a linker maps them read-only.
writable_data() {
    "$1" -h "$2" | awk '
        $2 ~ /^\.(data|bss|tdata|tbss|sdata|sbss)/ && $2 !~ /^\.data\.rel\.ro/ && $3 !~ /^0+$/ { print $2 " holds 0x" $3 " bytes" }'
    "$NM" "$2" | awk '$2 == "C" || $1 == "C" { print "common symbol " $NF }'
}

NM=nm
