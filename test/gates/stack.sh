#!/bin/sh
# SPDX-License-Identifier: MIT
# stack.sh: no recursion, and at most 4 KiB of stack below every public function, at -O2 and -Os (gcc). Writes the
# table build/stack.txt. Calls through pointers are those of indirect_calls.txt.
. "$(dirname "$0")/gate.sh"

LIMIT=4096
# Compiled for size, vector code keeps larger frames: half a KiB more below the products of recurrent layers.
LIMIT_SMALL=4608
RULES=test/gates/indirect_calls.txt

if ! have gcc; then
    skips "gcc is missing"
    gate_end
fi

# Controls.
mkdir -p "$GATES/bad"
control() { # name source
    echo "$2" >"$GATES/bad/bad.c"
    (cd "$GATES/bad" && gcc -std=c11 -O1 -fno-optimize-sibling-calls -fcallgraph-info=su -c bad.c -o bad.o)
    full "$1" "$(awk -f test/gates/stack.awk $RULES "$GATES"/bad/bad.ci | awk -v limit=$LIMIT '/recursion|unlisted/ || $2 > limit')"
}
control "recursion" 'int q_f(int n); int q_g(int n) { return q_f(n - 1) + 1; } int q_f(int n) { return n ? q_g(n) * 2 : 0; }'
control "a large frame" 'void g(char *); static __attribute__((noinline)) void h(void) { char a[4096]; g(a); } void q_f(void) { h(); }'
control "an unlisted call through a pointer" 'int q_f(int (*p)(void)) { return p() + 1; }'
rm -rf "$GATES/bad"

for level in -O2 -Os; do
    [ $level = -O2 ] && most=$LIMIT || most=$LIMIT_SMALL
    dir=$GATES/stack$level
    rm -rf "$dir"
    flags="$(make_value FREE_FLAGS CC=gcc | sed 's/ -O[0-9s]//') $level -fcallgraph-info=su"
    empty "$level: core and scalar compile" \
        "$({ core_sources; backend_sources scalar; } | compile_all "$dir/free" "gcc $flags")"
    graphs=$dir/free
    for isa in $(make_value ISA_BACKENDS CC=gcc); do
        [ -n "$(backend_sources "$isa")" ] || continue
        # Files of an extension have their own flags: gemm_a8_vnni.c of avx2 those of avx2vnni.
        empty "$level: $isa compiles" \
            "$(backend_sources "$isa" | grep -v '_vnni\.c$' |
               compile_all "$dir/$isa" "gcc $flags $(make_value "ISA_FLAGS_$isa")"
               backend_sources "$isa" | grep '_vnni\.c$' |
               compile_all "$dir/${isa}vnni" "gcc $flags $(make_value "ISA_FLAGS_${isa}vnni")")"
        graphs="$graphs $dir/$isa $dir/${isa}vnni"
    done
    # shellcheck disable=SC2086
    find $graphs -name '*.ci' | xargs awk -v limit=$most -f test/gates/stack.awk $RULES >"$dir/table"
    empty "$level: no recursion, every call through a pointer listed" "$(grep '^!' "$dir/table" | sort -u)"
    grep '^WAY' "$dir/table"
    grep -Ev '^(!|WAY)' "$dir/table" | sort >"$dir/sorted"
    [ "$(wc -l <"$dir/sorted")" -gt 50 ] || fails "$level: the call graphs hold too few functions"
    empty "$level: at most $most bytes below every public function" \
        "$(awk -v limit=$most '$2 > limit { print $1 ": " $2 " bytes" }' "$dir/sorted")"
done

{
    echo "Stack below each public function, in bytes, gcc $(gcc -dumpversion): function, -O2, -Os"
    join -a 1 -a 2 -e - -o 0,1.2,2.2 "$GATES/stack-O2/sorted" "$GATES/stack-Os/sorted" |
        sort -k2,2nr | awk '{ printf "%-40s %6s %6s\n", $1, $2, $3 }'
} >build/stack.txt
echo "largest:"
sed -n '2,6s/^/  /p' build/stack.txt
rm -rf "$GATES"/stack-O*
gate_end
