#!/bin/sh
# SPDX-License-Identifier: MIT
# objects.sh: what the core and the scalar backend are made of, at every optimisation level, by both compilers, in
# debug and release: they link with nothing, hold no writable data, export only q_ names and use no variable stack.
. "$(dirname "$0")/gate.sh"

# Names a linker would see that are not the library's.
foreign_names() {
    "$NM" -g --defined-only "$1" | awk '$NF !~ /^q_/ { print "exported: " $NF }'
}

# Functions whose frame has no bound known to the compiler: VLA, alloca. ("dynamic,bounded": arguments are pushed.)
variable_frames() {
    cat "$1"/*.su 2>/dev/null | awk -F '\t' '$3 == "dynamic" { print $1 ": " $3 }'
}

# Controls: each check must find its defect.
control() { # name source check...
    name=$1 text=$2
    shift 2
    echo "$text" >"$GATES/bad.c"
    rm -f "$GATES"/bad.o "$GATES"/*.su
    gcc -std=c11 -O0 -ffreestanding -fstack-usage -c "$GATES/bad.c" -o "$GATES/bad.o" 2>/dev/null
    full "$name" "$("$@" 2>&1)"
    rm -f "$GATES"/bad.c "$GATES"/bad.su
}

control "a call of strlen" 'int strlen(const char *); int q_f(const char *s) { return strlen(s); }' \
    undefined_beyond nm "$GATES/bad.o" $ALLOWED_SYMBOLS
control "a static variable" 'int q_f(void) { static int n = 3; return n++; }' writable_data objdump "$GATES/bad.o"
control "a zeroed variable" 'int q_f(void) { static int n; return n++; }' writable_data objdump "$GATES/bad.o"
control "a foreign name" 'int helper(void) { return 1; }' foreign_names "$GATES/bad.o"
control "a VLA" 'void g(int *); void q_f(int n) { int a[n]; g(a); }' variable_frames "$GATES"

sources=$({ core_sources; backend_sources scalar; })
for cc in gcc clang; do
    if ! have $cc; then
        skips "$cc is missing"
        continue
    fi
    for variant in release debug; do
        flags=$(make_value FREE_FLAGS CC=$cc VARIANT=$variant | sed 's/ -O[0-9s]//')
        for level in -O0 -Os -O2 -O3; do
            name="$cc $level $variant"
            dir=$GATES/$cc$level-$variant
            empty "$name: compiles without a warning" \
                "$(echo "$sources" | compile_all "$dir" "$cc $flags $level -fstack-usage")"
            ld -r -o "$dir/all.lo" "$dir"/*.o || fails "$name: ld -r"
            empty "$name: links with nothing" "$(undefined_beyond nm "$dir/all.lo" $ALLOWED_SYMBOLS)"
            empty "$name: no writable data" "$(writable_data objdump "$dir/all.lo")"
            empty "$name: exports q_ names only" "$(foreign_names "$dir/all.lo")"
            empty "$name: every frame has a fixed size" "$(variable_frames "$dir")"
            [ -s "$(ls "$dir"/*.su | head -n 1)" ] || fails "$name: the compiler wrote no stack usage"
            rm -rf "$dir"
        done
    done
    # Without PIC constant tables need no relocation, and nothing at all is left outside read-only sections.
    dir=$GATES/$cc-no-pic
    flags=$(make_value FREE_FLAGS CC=$cc)
    empty "$cc without PIC: compiles" "$(echo "$sources" | compile_all "$dir" "$cc $flags -fno-pie -fno-pic")"
    ld -r -o "$dir/all.lo" "$dir"/*.o
    empty "$cc without PIC: .data and .bss are 0 bytes" \
        "$(size "$dir/all.lo" | awk 'NR == 2 && ($2 != 0 || $3 != 0) { print "data " $2 ", bss " $3 }')"
    rm -rf "$dir"
    # All sources in one: names of statics are unique across the tree.
    { for f in $sources; do echo "#include \"$f\""; done; } >"$GATES/all.c"
    empty "$cc: the sources compile as one file" \
        "$($cc $(make_value FREE_FLAGS CC=$cc) -I. -fsyntax-only "$GATES/all.c" 2>&1 | head -n 20)"
    # mem.c: calls nothing, least of all itself.
    for level in -O0 -Os -O2 -O3; do
        $cc $(make_value FREE_FLAGS CC=$cc | sed 's/ -O[0-9s]//') $level $(make_value MEM_FLAGS CC=$cc) \
            -c core/base/mem.c -o "$GATES/mem.o" || fails "$cc $level: mem.c"
        empty "$cc $level: mem.c needs nothing" "$(nm -u "$GATES/mem.o")"
        empty "$cc $level: mem.c does not call itself" \
            "$(objdump -dr "$GATES/mem.o" | grep -E 'R_.*(memcpy|memmove|memset|memcmp)|(call|jmp) .*<mem(cpy|move|set|cmp)>')"
        empty "$cc $level: mem.c uses no vector register" "$(objdump -d "$GATES/mem.o" | grep -E '%[xyz]mm')"
    done
done
rm -f "$GATES"/all.c "$GATES"/bad.* "$GATES"/mem.o
gate_end
