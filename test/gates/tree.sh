#!/bin/sh
# SPDX-License-Identifier: MIT
# tree.sh: who may include what, and where flags of an instruction set may stand.
#
#   include/        include/ and the freestanding headers of C11
#   core/           include/ and core/, the freestanding headers and <stdatomic.h>
#   backends/X/     include/ and backends/X/, the freestanding headers, and intrinsics
#   backends/avx*/  backends/x86/ too
#   port/x86/       include/ and port/x86/, the freestanding headers
#   port/bare-x86/  the same and itself, <stdatomic.h>, <stdarg.h>
#   port/cortex-m/  include/ and itself, the freestanding headers
#   port/X/         include/, port/x86/ and itself, and the system's headers
. "$(dirname "$0")/gate.sh"

# rule_breaks ROOT: prints every #include under ROOT that its folder may not have.
rule_breaks() {
    (cd "$1" && find include core backends port -name '*.[chS]' -o -path 'backends/*.inc' 2>/dev/null | sort | xargs awk '
    function normal(path,    part, n, i, out, depth) {
        n = split(path, part, "/")
        depth = 0
        for (i = 1; i <= n; i++) {
            if (part[i] == "..") depth--
            else if (part[i] != "." && part[i] != "") stack[++depth] = part[i]
        }
        out = ""
        for (i = 1; i <= depth; i++) out = out (i > 1 ? "/" : "") stack[i]
        return out
    }
    function exists(path,    line, r) {
        r = (getline line < path)
        close(path)
        return r >= 0
    }
    function owner(file,    part) {
        split(file, part, "/")
        return part[1] == "backends" || part[1] == "port" ? part[1] "/" part[2] : part[1]
    }
    BEGIN {
        n = split("stdint.h stddef.h stdbool.h limits.h", list, " ")
        for (i = 1; i <= n; i++) free[list[i]] = 1
    }
    /^[ \t]*#[ \t]*include/ {
        own = owner(FILENAME)
        line = $0
        sub(/^[^<"]*/, "", line)
        if (substr(line, 1, 1) == "<") {
            name = substr(line, 2, index(line, ">") - 2)
            ok = (name in free) || (own == "core" && name == "stdatomic.h")
            ok = ok || (own ~ /^backends\// && name ~ /^(imm|x86)intrin\.h$/)
            ok = ok || (own ~ /^port\// && own != "port/x86" && own != "port/bare-x86" && own != "port/cortex-m")
            if (own == "port/x86" && name == "cpuid.h") ok = 1
            if (own == "port/bare-x86" && name ~ /^(stdatomic|stdarg)\.h$/) ok = 1
            if (own == "backends/cuda") ok = 1
            if (!ok) print FILENAME ":" FNR ": <" name ">"
            next
        }
        name = substr(line, 2, index(substr(line, 2), "\"") - 1)
        folder = FILENAME
        sub(/[^\/]*$/, "", folder)
        target = normal(folder name)
        if (!exists(target)) target = normal("include/" name)
        if (!exists(target)) { print FILENAME ":" FNR ": \"" name "\" is in neither its folder nor include/"; next }
        to = owner(target)
        ok = to == own || to == "include" || (own ~ /^port\// && to == "port/x86")
        ok = ok || (own ~ /^backends\/avx/ && to == "backends/x86")
        if (!ok) print FILENAME ":" FNR ": " target
    }')
}

# Control: a small tree with one defect of each kind.
bad=$GATES/tree
rm -rf "$bad"
mkdir -p "$bad/include" "$bad/core/a" "$bad/backends/scalar" "$bad/backends/avx2" "$bad/backends/x86" "$bad/port/posix" "$bad/port/x86"
echo 'int q_x;' >"$bad/include/ok.h"
echo '#include <string.h>' >"$bad/core/a/libc.c"
echo '#include "../../backends/scalar/s.h"' >"$bad/core/a/backend.c"
echo '#include "../../port/posix/p.h"' >"$bad/backends/scalar/port.c"
echo '#include "../scalar/s.h"' >"$bad/backends/avx2/other.c"
echo '#include "../x86/x.h"' >"$bad/backends/scalar/shared.c"
echo '#include "../x86/x.h"' >"$bad/backends/avx2/fine.c"
echo '#include "../../core/a/c.h"' >"$bad/port/posix/core.c"
echo '#include "ok.h"' >"$bad/core/a/fine.c"
touch "$bad/backends/scalar/s.h" "$bad/backends/x86/x.h" "$bad/port/posix/p.h" "$bad/core/a/c.h"
found=$(rule_breaks "$bad")
for file in core/a/libc.c core/a/backend.c backends/scalar/port.c backends/scalar/shared.c backends/avx2/other.c port/posix/core.c; do
    full "the include of $file" "$(echo "$found" | grep "^$file:")"
done
empty "control: a right include is accepted" "$(echo "$found" | grep fine.c)"
rm -rf "$bad"

for folder in include core backends/scalar backends/x86 backends/avx2 backends/avx512 backends/mock port/posix port/bare-x86 port/cortex-m port/x86; do
    [ -d "$folder" ] || { skips "no folder $folder"; continue; }
    empty "$folder includes only what it may" "$(rule_breaks . | grep "^$folder/")"
done

# not_commands ROOT: prints every script of ROOT/tools that cannot be started by its name.
not_commands() {
    grep -rlI '^#!/' "$1/tools" | while read -r script; do [ -x "$script" ] || echo "$script"; done
}

mkdir -p "$bad/tools"
echo '#!/bin/sh' >"$bad/tools/script"
full "a script of tools/ that is not executable" "$(not_commands "$bad")"
rm -rf "$bad"
empty "every script of tools/ is a command" "$(not_commands .)"

# ---- Flags of instruction sets -------------------------------------------------------------------------------

# From the commands that make would run: each source with its -m flags. Those that only take away, and the target's
# own on a cross build, are nobody's instruction set. backends/X/X.c looks at the CPU, so it runs on every CPU.
flag_breaks() {
    awk '
    / -c / {
        src = $NF
        isa = ""
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^-m/ && $i !~ /^-m(general-regs-only|no-|cmodel|branch)/) isa = isa " " $i
        }
        split(src, part, "/")
        table = part[2] ".c"
        if (part[1] == "backends" && part[2] != "scalar" && part[3] != table) {
            if (isa == "") print src ": no flag of its instruction set"
            if (part[2] == "avx2" && isa ~ /avx512|amx/) print src ":" isa
        } else if (isa != "") {
            print src ":" isa
        }
    }'
}

full "an ISA flag on the core" "$(echo 'gcc -mavx2 -c -o x.o core/model/plan.c' | flag_breaks)"
full "AVX-512 flags on avx2" "$(echo 'gcc -mavx2 -mavx512f -c -o x.o backends/avx2/gemm.c' | flag_breaks)"
full "an ISA flag on the table" "$(echo 'gcc -mavx2 -c -o x.o backends/avx2/avx2.c' | flag_breaks)"
full "a backend without flags" "$(echo 'gcc -O2 -c -o x.o backends/avx2/gemm.c' | flag_breaks)"
for cc in gcc clang; do
    have $cc || { skips "$cc is missing"; continue; }
    commands=$(make -n -B lib command CC=$cc V=1 2>/dev/null | grep ' -c ')
    [ "$(echo "$commands" | wc -l)" -gt 50 ] || fails "$cc: make -n lists too few commands"
    empty "$cc: instruction sets only in backends/<isa>/" "$(echo "$commands" | flag_breaks)"
    empty "$cc: no fast-math, no -march" "$(echo "$commands" | grep -E -- '-ffast-math|-funsafe|-march=|-Ofast' | head -n 3)"
    empty "$cc: contraction is off everywhere" "$(echo "$commands" | grep -v -- '-ffp-contract=off' | head -n 3)"
done
gate_end
