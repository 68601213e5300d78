#!/bin/sh
# SPDX-License-Identifier: MIT
# build_peers.sh: fetches and builds, once, the programs `make bench-peers` measures beside: llama.cpp twice (for this CPU, and
# limited to AVX2), oneDNN, and PyTorch in an environment of its own. All of it lies in build/peers/; sources and libraries are PyPI packages, fetched by name.
#
#   build_peers.sh [llama] [onednn] [torch]       JOBS=N (default: all processors)
set -u
cd "$(dirname "$0")/../.." || exit 1

PEERS=build/peers
PYTHON=build/venv/bin/python
LLAMA_PACKAGE=llama-cpp-python
TARGETS='llama-bench llama-quantize'
JOBS=${JOBS:-$(nproc)}

fail() {
    echo "build_peers: $1" >&2
    exit 1
}

# fetch PIP_OPTION... : packages into build/peers/download
fetch() {
    sh tools/deps.sh --python || fail "pip is in build/venv: make deps"
    mkdir -p $PEERS/download
    echo "build_peers: fetching $*" >&2
    $PYTHON -m pip download -q --disable-pip-version-check --no-deps -d $PEERS/download "$@" ||
        fail "pip could not fetch $* (no network?)"
}

# one_file PATTERN: the file of build/peers/download that fits
one_file() {
    find $PEERS/download -name "$1" 2>/dev/null | sort | tail -n 1
}

llama_source() {
    [ -d $PEERS/llama.cpp ] && return 0
    [ -n "$(one_file 'llama_cpp_python-*.tar.gz')" ] || fetch --no-binary $LLAMA_PACKAGE $LLAMA_PACKAGE
    archive=$(one_file 'llama_cpp_python-*.tar.gz')
    rm -rf $PEERS/unpacked && mkdir -p $PEERS/unpacked
    tar -xzf "$archive" -C $PEERS/unpacked || fail "cannot unpack $archive"
    basename "$archive" .tar.gz >$PEERS/llama.version
    mv $PEERS/unpacked/*/vendor/llama.cpp $PEERS/llama.cpp || fail "$archive has no vendor/llama.cpp"
    rm -rf $PEERS/unpacked
}

# llama_build FOLDER OPTION... ; what goes into the figures is Release, static, without network and server.
llama_build() {
    folder=$PEERS/$1
    shift
    [ -x "$folder/bin/llama-bench" ] && [ -x "$folder/bin/llama-quantize" ] && return 0
    command -v cmake >/dev/null 2>&1 || fail "cmake is missing; on Debian, as root: apt-get install cmake"
    echo "build_peers: building llama.cpp ($*)" >&2
    cmake -S $PEERS/llama.cpp -B "$folder" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DBUILD_SHARED_LIBS=OFF "$@" \
        >"$folder.log" 2>&1 || fail "cmake failed: $folder.log"
    # shellcheck disable=SC2086
    cmake --build "$folder" -j "$JOBS" --target $TARGETS >>"$folder.log" 2>&1 || fail "the build failed: $folder.log"
}

# oneDNN's newest package needs a SYCL runtime, so it is the newest built on OpenMP.
onednn() {
    onednn_library
    [ $PEERS/onednn_gemm -nt tools/bench/onednn_gemm.c ] && return 0
    # shellcheck disable=SC2016
    gcc -std=c11 -O2 -Wall -Wextra -o $PEERS/onednn_gemm tools/bench/onednn_gemm.c -I$PEERS/onednn/include \
        -L$PEERS/onednn/lib -ldnnl -Wl,-rpath,'$ORIGIN/onednn/lib' || fail "onednn_gemm.c does not build"
}

onednn_library() {
    [ -f $PEERS/onednn/include/dnnl.h ] && return 0
    [ -n "$(one_file 'onednn_cpu_gomp-*.whl')" ] || fetch onednn-cpu-gomp onednn-devel-cpu-gomp
    rm -rf $PEERS/unpacked && mkdir -p $PEERS/unpacked $PEERS/onednn/lib
    for name in onednn_cpu_gomp onednn_devel_cpu_gomp; do
        $PYTHON -m zipfile -e "$(one_file "$name-*.whl")" $PEERS/unpacked || fail "cannot unpack $name"
    done
    header=$(find $PEERS/unpacked -name dnnl.h | head -n 1)
    library=$(find $PEERS/unpacked -name 'libdnnl.so*' -size +1000k | sort | head -n 1)
    [ -n "$header" ] && [ -n "$library" ] || fail "the oneDNN packages hold no dnnl.h or libdnnl.so"
    cp -R "$(dirname "$header")" $PEERS/onednn/include
    soname=$(objdump -p "$library" | awk '$1 == "SONAME" { print $2 }')
    cp "$library" "$PEERS/onednn/lib/${soname:-libdnnl.so}"
    ln -sf "${soname:-libdnnl.so}" $PEERS/onednn/lib/libdnnl.so
    basename "$(one_file 'onednn_cpu_gomp-*.whl')" .whl >$PEERS/onednn.version
    rm -rf $PEERS/unpacked
}

# The package for GPUs runs on CPUs too, with the same kernels.
torch() {
    [ -x $PEERS/torch/bin/python ] && $PEERS/torch/bin/python -c 'import torch, numpy' 2>/dev/null && return 0
    echo "build_peers: fetching PyTorch" >&2
    python3 -m venv $PEERS/torch || fail "python3 -m venv failed"
    $PEERS/torch/bin/python -m pip install -q --disable-pip-version-check numpy torch || fail "pip could not fetch torch (no network?)"
}

mkdir -p $PEERS
[ $# -ne 0 ] || set -- llama onednn torch
for what in "$@"; do
    case $what in
    llama)
        llama_source
        llama_build native -DGGML_NATIVE=ON
        llama_build avx2 -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON
        ;;
    onednn) onednn ;;
    torch) torch ;;
    *) fail "usage: build_peers.sh [llama] [onednn] [torch]" ;;
    esac
done
