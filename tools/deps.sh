#!/bin/sh
# SPDX-License-Identifier: MIT
# deps.sh: installs what tests and tools need: Debian packages (as root; else names them) and the venv build/venv.
#
#   deps.sh             everything
#   deps.sh --python    the venv only
#   deps.sh --missing   installs nothing; exit 0 if nothing is missing
set -u
cd "$(dirname "$0")/.." || exit 1

VENV=build/venv
REQUIREMENTS=tools/requirements.txt

# command or file : package that brings it
NEEDS='gcc:gcc clang:clang ld.lld:lld llvm-size:llvm objdump:binutils qemu-aarch64:qemu-user qemu-system-x86_64:qemu-system-x86
/usr/include/cmocka.h:libcmocka-dev g++:g++ grub-mkrescue:grub-common /usr/lib/grub/i386-pc/kernel.img:grub-pc-bin
xorriso:xorriso mformat:mtools dot:graphviz cmake:cmake pkg-config:pkg-config
arm-none-eabi-gcc:gcc-arm-none-eabi qemu-system-arm:qemu-system-arm'

missing_packages() {
    for need in $NEEDS; do
        thing=${need%%:*}
        case $thing in
        /*) [ -e "$thing" ] || echo "${need#*:}" ;;
        *) command -v "$thing" >/dev/null 2>&1 || echo "${need#*:}" ;;
        esac
    done
}

venv_ready() {
    [ -x $VENV/bin/python ] && cmp -s $REQUIREMENTS $VENV/requirements.txt
}

install_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "deps: missing Debian packages; as root: apt-get install $packages" >&2
        return 1
    fi
    echo "deps: installing $packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null 2>&1
    apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
        { echo "deps: apt-get could not install $packages" >&2; return 1; }
}

# A venv without pip of its own where ensurepip is missing (Debian's python3-venv).
make_venv() {
    rm -rf $VENV
    mkdir -p build
    if ! python3 -m venv $VENV >/dev/null 2>&1; then
        rm -rf $VENV
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            echo "deps: installing python3-venv"
            apt-get update -qq >/dev/null 2>&1
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        else
            echo "deps: python3 cannot make a venv; as root: apt-get install python3-venv" >&2
        fi
        python3 -m venv $VENV
    fi
}

install_venv() {
    venv_ready && return 0
    command -v python3 >/dev/null 2>&1 ||
        { echo "deps: python3 is missing; as root: apt-get install python3 python3-venv" >&2; return 1; }
    echo "deps: making $VENV from $REQUIREMENTS"
    { make_venv && $VENV/bin/pip install -q --disable-pip-version-check -r $REQUIREMENTS &&
        cp $REQUIREMENTS $VENV/requirements.txt; } ||
        { echo "deps: pip could not install $REQUIREMENTS (no network?)" >&2; return 1; }
}

case ${1-} in
--missing) [ -z "$(missing_packages)" ] && venv_ready ;;
--python) install_venv ;;
'')
    status=0
    install_packages || status=1
    install_venv || status=1
    exit $status
    ;;
*)
    echo "usage: deps.sh [--python|--missing]" >&2
    exit 2
    ;;
esac
