#!/bin/sh
# SPDX-License-Identifier: MIT
# inspect_isa.sh: which vector instructions each function of x86-64 objects really contains.
#
#   inspect_isa.sh OBJECT...            FUNCTION: CLASSES | COUNT INSTRUCTION ...   commonest first
#   inspect_isa.sh --classes OBJECT...  OBJECT FUNCTION CLASSES
#
# Classes come from the encoding, not from names: sse (legacy), avx (VEX), avx512 (EVEX, or mask registers), amx
# (tile registers), bmi (VEX without a vector register). A function without any of them is left out.
set -u
LC_ALL=C
export LC_ALL
classes=0
if [ "${1-}" = --classes ]; then
    classes=1
    shift
fi
if [ $# -eq 0 ]; then
    echo "usage: inspect_isa.sh [--classes] OBJECT..." >&2
    exit 2
fi
for object in "$@"; do
    "${OBJDUMP:-objdump}" -d -w "$object" | awk -F '\t' -v classes=$classes -v object="$object" '
    function finish(    key, list, n, i, j, t, text) {
        if (function_name == "" || kinds == "") { kinds = ""; split("", count); return }
        if (classes) { print object, function_name, kinds; kinds = ""; split("", count); return }
        n = 0
        for (key in count) list[++n] = key
        for (i = 2; i <= n; i++) {
            for (j = i; j > 1 && (count[list[j]] > count[list[j - 1]] || (count[list[j]] == count[list[j - 1]] && list[j] < list[j - 1])); j--) {
                t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
            }
        }
        text = ""
        for (i = 1; i <= n; i++) text = text " " count[list[i]] " " list[i]
        print function_name ": " kinds " |" text
        kinds = ""
        split("", count)
    }
    function add(kind) {
        if (index("," kinds ",", "," kind ",") == 0) kinds = kinds == "" ? kind : kinds "," kind
    }
    /^[0-9a-f]+ <.*>:/ {
        finish()
        function_name = $0
        sub(/^[^<]*</, "", function_name)
        sub(/>:.*$/, "", function_name)
        next
    }
    NF >= 3 {
        bytes = $2
        while (bytes ~ /^(67|2e|3e|64|65) /) bytes = substr(bytes, 4)
        first = substr(bytes, 1, 2)
        kind = ""
        if (first == "62" || $3 ~ /%k[0-7]/) kind = "avx512"
        else if ($3 ~ /%tmm/) kind = "amx"
        else if (first == "c4" || first == "c5") kind = $3 ~ /%[xyz]mm|vzero/ ? "avx" : "bmi"
        else if ($3 ~ /%xmm/) kind = "sse"
        if (kind == "") next
        add(kind)
        split($3, word, " ")
        i = word[1] ~ /^\{|^(lock|rep|data16|notrack)$/ ? 2 : 1
        count[word[i]]++
    }
    END { finish() }'
done
