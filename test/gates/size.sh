#!/bin/sh
# SPDX-License-Identifier: MIT
# size.sh: text + rodata of the core and of the scalar backend on a Cortex-M4 (Thumb, -Os, clang and lld), as linked
# with unused sections dropped. `make size` prints the table.
#
#   run-only   what opens a file and runs its model: numbers in, numbers out
#   text       also tokenizer, sampler, generation and chat: text in, text out
#   full       every public function: also training, quantisation, verification
. "$(dirname "$0")/gate.sh"

# What the design aims at for the core's run-only profile, kernels apart, and what it may not exceed meanwhile: 58 KiB since
# steps of several sequences and plans with devices (before them 56).
AIM=46080
LIMIT=59392
# Objects that running a model does not need: text, ops called singly and their views, state in files, devices, printing (what
# of it a builder of names calls is linked all the same).
NOT_MODEL='/core-(text|ops|tensor|optim|train)-|core-base-text|snapshot|plan_print|write|devices'
NOT_RUN='backward|sgd|adam|grad|train|loss|quantize|panel_pack|panel_unpack|verify|sha256|_mse'

if ! have clang || ! have ld.lld || ! have llvm-nm || ! have llvm-size; then
    skips "clang, lld or llvm is missing"
    gate_end
fi

dir=$GATES/size
flags="$(make_value FREE_FLAGS CROSS=thumb VARIANT=size) -fno-pie -ffunction-sections -fdata-sections -nostdlibinc"
empty "core compiles" "$(core_sources | compile_all "$dir/core" "clang $flags")"
empty "scalar compiles" "$(backend_sources scalar | compile_all "$dir/scalar" "clang $flags")"

# linked NAME OBJECTS...: bytes of text and rodata with the symbols on stdin as roots.
linked() {
    out=$dir/$1.elf
    shift
    roots=$(sed 's/^/-u /' | tr '\n' ' ')
    # shellcheck disable=SC2086
    ld.lld --gc-sections --unresolved-symbols=ignore-all -e 0 $roots -o "$out" "$@" 2>/dev/null || return 1
    llvm-size -A "$out" | awk '$1 ~ /^\.(text|rodata|ARM\.ex)/ { n += $2 } END { print n + 0 }'
}

exports() {
    llvm-nm -g --defined-only "$@" | awk '$2 == "T" { print $3 }' | sort -u
}

roots_run() {
    exports $(ls "$dir"/core/*.o | grep -vE "$NOT_MODEL") | grep -vE "$NOT_RUN"
}

roots_text() {
    exports "$dir"/core/*.o | grep -vE "$NOT_RUN"
}

roots_full() {
    exports "$dir"/core/*.o
}

core_run=$(roots_run | linked core-run "$dir"/core/*.o)
core_text=$(roots_text | linked core-text "$dir"/core/*.o)
core_full=$(roots_full | linked core-full "$dir"/core/*.o)
both_run=$({ roots_run; echo q_backend_scalar; } | linked both-run "$dir"/core/*.o "$dir"/scalar/*.o)
both_text=$({ roots_text; echo q_backend_scalar; } | linked both-text "$dir"/core/*.o "$dir"/scalar/*.o)
both_full=$({ roots_full; echo q_backend_scalar; } | linked both-full "$dir"/core/*.o "$dir"/scalar/*.o)

if [ -z "$core_run" ] || [ -z "$both_full" ]; then
    fails "the images do not link"
else
    echo "Cortex-M4, Thumb, -Os, clang: bytes of text + rodata"
    printf '  %-10s %8s %16s\n' profile core '+ scalar backend'
    printf '  %-10s %8s %16s\n' run-only "$core_run" "$both_run" \
        text "$core_text" "$both_text" full "$core_full" "$both_full"
    echo "  aim for the core, run-only: $AIM"
    empty "run-only core within $LIMIT bytes" "$([ "$core_run" -le $LIMIT ] || echo "$core_run bytes")"
    empty "each profile is larger than the one before" \
        "$([ "$core_run" -lt "$core_text" ] && [ "$core_text" -lt "$core_full" ] || echo "$core_run $core_text $core_full")"
fi
gate_end
