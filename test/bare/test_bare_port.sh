#!/bin/sh
# SPDX-License-Identifier: MIT
# test_bare_port.sh: boots the bare x86 selftest wherever QEMU can and checks what it says.
#
# usage: test_bare_port.sh [IMAGE]      without IMAGE, builds the selftest with $CC (default gcc)
# Ends with "N passed, N failed, N skipped"; what cannot run here is printed as UNAVAILABLE and
# counts as skipped.

root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
run=$root/port/bare-x86/run-qemu.sh
qemu=${QEMU:-qemu-system-x86_64}
dir=$(mktemp -d "${TMPDIR:-/tmp}/test-bare.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
limit=60
passed=0
failed=0
skipped=0
unset ACCEL CPU SMP MEM MACHINE

pass() {
    passed=$((passed + 1))
}

fail() {
    failed=$((failed + 1))
    printf 'FAILED: %s: %s\n' "$name" "$1"
    sed 's/^/    /' "$dir/out" "$dir/err" 2>/dev/null | tail -n 12
}

# boot NAME "VARIABLE=VALUE ..." WORD...: runs the image; sets $code, fills $dir/out, $dir/err.
boot() {
    name=$1
    settings=$2
    shift 2
    # shellcheck disable=SC2086
    env $settings "$run" --timeout $limit $options "$image" "$@" <"${input:-/dev/null}" \
        >"$dir/out" 2>"$dir/err"
    code=$?
}

# expect CODE PATTERN...: every extended pattern occurs on a line of either stream.
expect() {
    if [ "$code" -ne "$1" ]; then
        fail "exit code $code instead of $1"
        return
    fi
    shift
    for pattern in "$@"; do
        if ! cat "$dir/out" "$dir/err" | grep -Eq -e "$pattern"; then
            fail "nothing matches: $pattern"
            return
        fi
    done
    pass
}

# expect_output CODE TEXT: stdout is exactly that text.
expect_output() {
    printf '%s' "$2" >"$dir/expected"
    if [ "$code" -ne "$1" ]; then
        fail "exit code $code instead of $1"
    elif ! cmp -s "$dir/expected" "$dir/out"; then
        fail "stdout differs"
    else
        pass
    fi
}

unavailable() {
    printf 'UNAVAILABLE: %s\n' "$1"
    skipped=$((skipped + $2))
}

build() {
    image=$dir/selftest.elf
    (
        cd "$root" || exit 1
        cat >"$dir/build.mk" <<'MAKE'
include port/bare-x86/port.mk
$(OUT)/selftest.elf: $(BARE_SRC) $(BARE_ASM) $(BARE_HDR) $(BARE_LDS)
	for f in $(BARE_SRC) $(BARE_ASM); do \
	    $(CC) $(BARE_CFLAGS) -c $$f -o $(OUT)/$$(basename $$f).o || exit 1; done
	$(CC) -std=c11 -O2 -ffreestanding -fPIE -fno-stack-protector -c port/bare-x86/selftest.c \
	    -o $(OUT)/selftest.o
	$(CC) $(BARE_CFLAGS) -fno-builtin -Iinclude -c core/base/mem.c -o $(OUT)/mem.o
	$(CC) $(BARE_LDFLAGS) -o $@ $(OUT)/*.o
MAKE
        make -s -f "$dir/build.mk" OUT="$dir" CC="${CC:-gcc}" "$dir/selftest.elf"
    )
}

# ---- The list ------------------------------------------------------------------------------------

options=
input=

test_report() { # ACCEL
    if [ "$1" = tcg ]; then
        boot "tcg qemu64" "ACCEL=tcg CPU=qemu64"
        expect 0 '^features: none$' '^parallel: 1 processors, right$' '^selftest: passed$'
        boot "tcg qemu64 2 processors" "ACCEL=tcg CPU=qemu64 SMP=2"
        expect 0 '^features: none$' '^parallel: 2 processors, right$' '^selftest: passed$'
        boot "tcg max" "ACCEL=tcg CPU=max"
        expect 0 '^features: avx2$' '^vectors: right$' '^selftest: passed$'
        for feature in avx2 avx xsave fma f16c; do
            boot "tcg max without $feature" "ACCEL=tcg CPU=max,-$feature SMP=2"
            expect 0 '^features: none$' '^parallel: 2 processors, right$' '^selftest: passed$'
        done
        boot "tcg max 4 processors" "ACCEL=tcg CPU=max SMP=4"
        expect 0 '^parallel: 4 processors, right$' '^vectors: right$' '^selftest: passed$'
        boot "tcg no 64-bit mode" "ACCEL=tcg CPU=qemu32"
        expect 16 '^qorus: this processor has no 64-bit mode$'
        boot "tcg q35 with a BIOS" "ACCEL=tcg MACHINE=q35 SMP=2"
        expect 0 '^loader: PVH$' '^parallel: 2 processors, right$' '^selftest: passed$'
        boot "tcg pc with a BIOS" "ACCEL=tcg MACHINE=pc SMP=2"
        expect 0 '^parallel: 2 processors, right$' '^selftest: passed$'
    fi
    boot "$1 2 processors" "ACCEL=$1 SMP=2"
    expect 0 '^features: .*avx2' '^counter: [1-9][0-9]* kHz' '^parallel: 2 processors, right$' \
        '^vectors: right$' '^selftest: passed$'
    if [ "$1" = kvm ]; then
        boot "kvm host AVX-512" "ACCEL=kvm"
        if grep -q ' avx512vl' /proc/cpuinfo; then
            expect 0 '^features: .*avx512' '^vectors: right$'
        else
            unavailable "AVX-512 under KVM: this host has none" 1
        fi
        boot "kvm host without AVX-512" "ACCEL=kvm CPU=host,arch-capabilities=off,-avx512f"
        if grep -q '^features: .*avx512' "$dir/out"; then
            unavailable "KVM without AVX-512: this hypervisor does not hide it" 1
        else
            expect 0 '^features: avx2' '^vectors: right$'
        fi
    fi
}

test_memory() { # ACCEL
    boot "$1 8 MiB of RAM" "ACCEL=$1 MEM=8 SMP=2"
    expect 0 '^selftest: passed$'
    boot "$1 too little RAM" "ACCEL=$1 MEM=8" eat=100000000
    expect 19 'too little memory: [0-9]+ bytes are missing \(100000000 needed'
    free=$(sed -n 's/.*in one block, \([0-9]*\) free.*/\1/p' "$dir/err")
    missing=$(sed -n 's/.*: \([0-9]*\) bytes are missing.*/\1/p' "$dir/err")
    name="$1 the bytes missing add up"
    [ "$((${free:-0} + ${missing:-0}))" -eq 100000000 ] && pass || fail "$free free, $missing missing"
    boot "$1 exactly all RAM" "ACCEL=$1 MEM=8" "eat=$free"
    expect 0 "^eat: $free bytes at an address that is 0 modulo 64"
    boot "$1 one byte too much" "ACCEL=$1 MEM=8" "eat=$((free + 1))"
    expect 19 ': 1 bytes are missing'
    options="--module $dir/module"
    boot "$1 module in place" "ACCEL=$1"
    expect 0 "^module: 1234567 bytes, cksum $sum, address modulo 4096 is 0,"
    boot "$1 module survives all memory in use" "ACCEL=$1 MEM=48 SMP=2" alloc
    expect 0 "^module: 1234567 bytes, cksum $sum," '^alloc: 1[0-9][0-9] blocks .* all apart$' \
        '^parallel: 2 processors, right$'
    boot "$1 module is read-only" "ACCEL=$1" fault=module
    expect 17 'exception 14 \(page fault\)'
    options=
    for cpu in qemu64 max; do
        if [ "$1" = tcg ]; then
            boot "tcg $cpu above 4 GiB" "ACCEL=tcg CPU=$cpu MEM=5120" eat=1900000000
            expect 0 '^eat: 1900000000 bytes'
        fi
    done
}

test_faults() { # ACCEL
    for case in "ud:6 (invalid opcode)" "de:0 (divide error)" "gp:13 (general protection)" \
        "pf:14 (page fault)" "null:14 (page fault)" "text:14 (page fault)" "nx:14 (page fault)" \
        "stack:14 (page fault)" "df:8 (double fault)"; do
        boot "$1 exception ${case%%:*}" "ACCEL=$1" "fault=${case%%:*}"
        text=$(printf '%s' "${case#*:}" | sed 's/[()]/\\&/g')
        expect 17 "exception $text on processor 0: error code 0x[0-9a-f]+, RIP 0x1[0-9a-f]+, CR2"
    done
    boot "$1 address of a page fault" "ACCEL=$1" fault=pf
    expect 17 'error code 0x6, .*CR2 0x9000000000,'
    boot "$1 exception on another processor" "ACCEL=$1 SMP=2" fault=other
    expect 17 'exception 6 \(invalid opcode\) on processor 1:'
}

test_streams() { # ACCEL
    boot "$1 words" "ACCEL=$1" words -p "it's \"a\" \\ b  ünï" 'two
lines' ''
    expect_output 0 "[words]
[-p]
[it's \"a\" \\ b  ünï]
[two
lines]
[]
"
    printf 'one\r\nzwei ü\n\n%0100d\nxy\b\bü\bend\nlast' 0 >"$dir/lines"
    input=$dir/lines
    boot "$1 lines" "ACCEL=$1" lines
    expect_output 0 "3 [one]
7 [zwei ü]
0 []
too long
3 [end]
4 [last]
end
"
    printf 'ab\003' >"$dir/lines"
    boot "$1 Ctrl-C" "ACCEL=$1" interrupt
    expect_output 0 "interrupted after ab
"
    input=
    boot "$1 log" "ACCEL=$1" log
    expect 0 '^error: one line$' '^warning: one line$' '^one line$' '^debug: one line$'
    boot "$1 log stays off stdout" "ACCEL=$1" log
    expect_output 0 ""
    boot "$1 panic" "ACCEL=$1" panic
    expect 18 'broken contract: error -16, selftest, ne\[3\], offset 1, need 2, have 3'
    for n in 0 1 2 15 29; do
        boot "$1 exit code $n" "ACCEL=$1" exit=$n
        expect $n
    done
    boot "$1 exit code too large" "ACCEL=$1" exit=77
    expect 29
    boot "$1 long command line" "ACCEL=$1" words "$(printf '%06000d' 7)"
    expect 0 '^\[0{5999}7\]$'
    boot "$1 command line too long" "ACCEL=$1" words "$(printf '%070000d' 7)"
    expect 16 'the command lines are longer than 65535 bytes'
}

test_time() { # ACCEL
    from=$(date +%s%N)
    boot "$1 3 seconds by the counter" "ACCEL=$1" time=3
    ms=$((($(date +%s%N) - from) / 1000000))
    if [ "$code" -eq 0 ] && [ $ms -ge 3000 ] && [ $ms -lt 9000 ]; then
        pass
    else
        fail "exit code $code after $ms ms"
    fi
}

# No COM2 and no isa-debug-exit: diagnostics go to COM1, and the machine halts.
test_plain_machine() {
    name="plain machine"
    timeout 15 "$qemu" -M q35 -accel tcg -nodefaults -display none -monitor none -no-reboot -serial stdio \
        -kernel "$image" -append fault=ud </dev/null >"$dir/out" 2>"$dir/err"
    code=$?
    expect 124 'exception 6 \(invalid opcode\)' 'ended with code 17; halted'
}

# The same image, booted by GRUB from a CD: the multiboot2 form.
test_grub() {
    if ! command -v grub-mkrescue >/dev/null 2>&1 || ! command -v xorriso >/dev/null 2>&1; then
        unavailable "GRUB (Debian: apt-get install grub-pc-bin xorriso mtools)" 1
        return
    fi
    name="GRUB, 2 processors, 5 GiB"
    mkdir -p "$dir/cd/boot/grub"
    cp "$image" "$dir/cd/boot/selftest.elf"
    cp "$dir/module" "$dir/cd/boot/module"
    printf '%s\n' 'set timeout=0' 'multiboot2 /boot/selftest.elf' \
        'module2 /boot/module its name' boot >"$dir/cd/boot/grub/grub.cfg"
    if ! grub-mkrescue -o "$dir/cd.iso" "$dir/cd" >"$dir/out" 2>"$dir/err"; then
        fail "grub-mkrescue"
        return
    fi
    timeout 90 "$qemu" -M q35 -accel tcg -cpu max -smp 2 -m 5120 -nodefaults -display none \
        -monitor none -no-reboot -serial stdio -cdrom "$dir/cd.iso" \
        -device isa-debug-exit,iobase=0xf4,iosize=0x04 </dev/null >"$dir/out" 2>"$dir/err"
    code=$?
    expect 65 '^loader: multiboot2$' '^parallel: 2 processors, right$' '^selftest: passed$' \
        "cksum $sum, address modulo 4096 is 0, command line 'its name'"
}

test_script() {
    for case in "no image:2:$dir/absent:$qemu" "no QEMU:125:$image:$dir/absent" \
        "QEMU fails:125:$image:false"; do
        name="run-qemu.sh: ${case%%:*}"
        rest=${case#*:}
        expected=${rest%%:*}
        rest=${rest#*:}
        ACCEL=tcg MACHINE=q35 QEMU=${rest#*:} "$run" "${rest%%:*}" </dev/null >"$dir/out" 2>"$dir/err"
        code=$?
        expect "$expected" '^run-qemu: '
    done
    limit=2
    boot "timeout" "ACCEL=tcg" time=100
    expect 124 'no end after 2 seconds'
    limit=60
}

main() {
    if ! command -v "$qemu" >/dev/null 2>&1; then
        unavailable "QEMU is not installed (Debian: apt-get install qemu-system-x86)" 1
        return
    fi
    if [ -z "$image" ] && ! build; then
        name=build
        fail "the selftest does not build"
        return
    fi
    head -c 1234567 /dev/urandom >"$dir/module"
    sum=$(cksum <"$dir/module" | cut -d' ' -f1)
    for accel in tcg kvm; do
        boot "$accel" "ACCEL=$accel" exit=0
        if [ $accel = kvm ] && [ "$code" -eq 125 ]; then
            unavailable "KVM" 37
            continue
        fi
        test_report $accel
        test_memory $accel
        test_faults $accel
        test_streams $accel
        test_time $accel
    done
    test_plain_machine
    test_grub
    test_script
}

image=$1
main
printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed -eq 0 ]
