#!/bin/sh
# SPDX-License-Identifier: MIT
# size.sh [TARGET...]: text + rodata of the core and of the scalar backend (-Os, clang and lld), as linked with unused
# sections dropped, on a Cortex-M4 (thumb, the default; it has the limit) and as x86-64. `make size` prints both tables.
#
#   decoder    run only: what opens a file and runs the language model in it (q_build_decoder): numbers in, numbers out
#   graphs     run only: also any graph of layers that a file describes (q_build_from_file), so every class
#   text       run only: also tokenizer, sampler, generation and chat: text in, text out
#   train      graphs, run and trained: every backward, trainer, optimizers; no text
#   full       every public function: also quantisation, verification, writing of files
#
# The first three are built with Q_NO_TRAINING.
. "$(dirname "$0")/gate.sh"

# What the design aims at for the core's smallest profile, kernels apart, and what it may not exceed meanwhile: 60 KiB since
# BatchNorm folds into products and attention has samples and full rows (58 before, for several sequences and devices).
AIM=46080
LIMIT=61440
# Objects that running a model does not need: text, ops called singly and their views, describing networks, state in files,
# devices, printing (what of it a builder of names calls is linked all the same).
NOT_MODEL='/core-(text|ops|tensor|optim|train)-|core-base-text|memory-pool|model-net|snapshot|plan_print|write|devices'
NOT_TRAIN='/core-(text|ops|tensor)-|core-base-text|memory-pool|snapshot|plan_print|devices'
NOT_RUN='backward|sgd|adam|grad|train|loss|moment|init_params|load_param|quantize|panel_pack|panel_unpack|verify|sha256|_mse'
NOT_DECODER='q_build_from_file|q_graph_file|q_layer_builtin'

if ! have clang || ! have ld.lld || ! have llvm-nm || ! have llvm-size; then
    skips "clang, lld or llvm is missing"
    gate_end
fi

# build TARGET: objects in $dir/{core,run,scalar}.
build() {
    dir=$GATES/size/$1
    case $1 in
    x86-64) flags=$(make_value FREE_FLAGS CC=clang VARIANT=size) ;;
    *) flags=$(make_value FREE_FLAGS CROSS="$1" VARIANT=size) ;;
    esac
    flags="$flags -fno-pie -ffunction-sections -fdata-sections -nostdlibinc"
    empty "$1: core compiles" "$(core_sources | compile_all "$dir/core" "clang $flags")"
    run_flags="$flags -DQ_NO_TRAINING -Wno-unused-function -Wno-unneeded-internal-declaration"
    empty "$1: core compiles without training" \
        "$(core_sources | grep -vE '^core/(train|optim)/' | compile_all "$dir/run" "clang $run_flags")"
    empty "$1: scalar compiles" "$(backend_sources scalar | compile_all "$dir/scalar" "clang $flags")"
}

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

roots_train() {
    exports $(ls "$dir"/core/*.o | grep -vE "$NOT_TRAIN")
}

roots_full() {
    exports "$dir"/core/*.o
}

# objects PROFILE: the folder it is linked from.
objects() {
    case $1 in
    train | full) echo "$dir/core" ;;
    *) echo "$dir/run" ;;
    esac
}

# core PROFILE: without kernels; with: and with those of the scalar backend.
core() {
    "roots_$1" | linked "core-$1" "$(objects "$1")"/*.o
}

with() {
    { "roots_$1"; echo q_backend_scalar; } | linked "both-$1" "$(objects "$1")"/*.o "$dir"/scalar/*.o
}

# figures TARGET: the table, and that it can be right.
figures() {
    build "$1"
    sizes=
    echo "$1, -Os, clang: bytes of text + rodata"
    printf '  %-10s %8s %16s\n' profile core '+ scalar backend'
    for profile in decoder graphs text train full; do
        size=$(core $profile)
        sizes="$sizes ${size:-0}"
        printf '  %-10s %8s %16s\n' "$profile" "$size" "$(with $profile)"
    done
    # shellcheck disable=SC2086
    set -- "$1" $sizes
    empty "$1: each profile is larger than those it holds" \
        "$([ "$2" -gt 0 ] && [ "$2" -lt "$3" ] && [ "$3" -lt "$4" ] && [ "$3" -lt "$5" ] && [ "$4" -lt "$6" ] &&
           [ "$5" -lt "$6" ] || echo "$sizes")"
    [ "$1" != thumb ] || empty "core of a decoder within $LIMIT bytes (aim: $AIM)" "$([ "$2" -le $LIMIT ] || echo "$2 bytes")"
}

[ $# -ne 0 ] || set -- thumb
for target in "$@"; do
    figures "$target"
done
gate_end
