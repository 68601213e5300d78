#!/bin/sh
# SPDX-License-Identifier: MIT
# size.sh: text + rodata of the core and of the scalar backend on a Cortex-M4 (Thumb, -Os, clang and lld), as linked
# with unused sections dropped. `make size` prints the table.
#
#   decoder    what opens a file and runs the language model in it (q_build_decoder): numbers in, numbers out
#   graphs     also any graph of layers that a file describes (q_build_from_file), so every class
#   text       also tokenizer, sampler, generation and chat: text in, text out
#   full       every public function: also training, quantisation, verification
#
# All but the last are built with Q_NO_TRAINING.
. "$(dirname "$0")/gate.sh"

# What the design aims at for the core's smallest profile, kernels apart, and what it may not exceed meanwhile: 60 KiB since
# BatchNorm folds into products and attention has samples and full rows (58 before, for several sequences and devices).
AIM=46080
LIMIT=61440
# Objects that running a model does not need: text, ops called singly and their views, state in files, devices, printing (what
# of it a builder of names calls is linked all the same).
NOT_MODEL='/core-(text|ops|tensor|optim|train)-|core-base-text|memory-pool|snapshot|plan_print|write|devices'
NOT_RUN='backward|sgd|adam|grad|train|loss|moment|init_params|load_param|quantize|panel_pack|panel_unpack|verify|sha256|_mse'
NOT_DECODER='q_build_from_file|q_layer_builtin'

if ! have clang || ! have ld.lld || ! have llvm-nm || ! have llvm-size; then
    skips "clang, lld or llvm is missing"
    gate_end
fi

dir=$GATES/size
flags="$(make_value FREE_FLAGS CROSS=thumb VARIANT=size) -fno-pie -ffunction-sections -fdata-sections -nostdlibinc"
empty "core compiles" "$(core_sources | compile_all "$dir/core" "clang $flags")"
run_flags="$flags -DQ_NO_TRAINING -Wno-unused-function -Wno-unneeded-internal-declaration"
empty "core compiles without training" \
    "$(core_sources | grep -vE '^core/(train|optim)/' | compile_all "$dir/run" "clang $run_flags")"
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

# Functions that headers offer and these objects have.
exports() {
    grep -ohE '\bq_[a-z0-9_]+\(' include/*.h include/qorus/*.h include/qorus/base/*.h | tr -d '(' | sort -u >"$dir/public"
    llvm-nm -g --defined-only "$@" | awk '$2 == "T" { print $3 }' | sort -u | comm -12 - "$dir/public"
}

roots_graphs() {
    exports $(ls "$dir"/run/*.o | grep -vE "$NOT_MODEL") | grep -vE "$NOT_RUN"
}

roots_decoder() {
    roots_graphs | grep -vE "$NOT_DECODER"
}

roots_text() {
    exports "$dir"/run/*.o | grep -vE "$NOT_RUN"
}

roots_full() {
    exports "$dir"/core/*.o
}

# core PROFILE OBJECTS: without kernels; with: and with those of the scalar backend.
core() {
    "roots_$1" | linked "core-$1" "$dir/$2"/*.o
}

with() {
    { "roots_$1"; echo q_backend_scalar; } | linked "both-$1" "$dir/$2"/*.o "$dir"/scalar/*.o
}

core_run=$(core decoder run)
core_graphs=$(core graphs run)
core_text=$(core text run)
core_full=$(core full core)
both_full=$(with full core)

if [ -z "$core_run" ] || [ -z "$both_full" ]; then
    fails "the images do not link"
else
    echo "Cortex-M4, Thumb, -Os, clang: bytes of text + rodata"
    printf '  %-10s %8s %16s\n' profile core '+ scalar backend'
    printf '  %-10s %8s %16s\n' decoder "$core_run" "$(with decoder run)" graphs "$core_graphs" "$(with graphs run)" \
        text "$core_text" "$(with text run)" full "$core_full" "$both_full"
    echo "  aim for the core, decoder: $AIM"
    empty "core of a decoder within $LIMIT bytes" "$([ "$core_run" -le $LIMIT ] || echo "$core_run bytes")"
    empty "each profile is larger than the one before" \
        "$([ "$core_run" -lt "$core_graphs" ] && [ "$core_graphs" -lt "$core_text" ] && [ "$core_text" -lt "$core_full" ] ||
           echo "$core_run $core_graphs $core_text $core_full")"
fi
gate_end
