#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The disk of the bare x86 port: what an image wrote and read, compared on the host with its disk image.

Usage: test_disk.py IMAGE, which is made of test/bare/disk.c. Boots under TCG and, where there is one, KVM.
"""
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOT_FOUND, IO, NOT_SUPPORTED = -36, -50, -52
BYTES = 4 << 20

counts = {"passed": 0, "failed": 0, "skipped": 0}


def expect(what, got, want):
    counts["passed" if got == want else "failed"] += 1
    if got != want:
        print(f"FAIL {what}: {got!r} instead of {want!r}")


def content(n, seed):
    return bytes((seed * 31 + i * 7 + (i >> 8)) & 255 for i in range(n))


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return format(value, "x")


class Machine:
    def __init__(self, image, folder, accel):
        self.image, self.folder, self.accel = image, folder, accel
        self.disk = folder / "disk, with a comma.img"

    def boot(self, words, drive=None, settings=None):
        """Lines of the words, each as (word, code, what follows); the exit status where it is not 0."""
        options = ["--disk", str(self.disk)] if drive is None else ["--drive", drive] if drive else []
        run = subprocess.run([str(ROOT / "port/bare-x86/run-qemu.sh"), "--timeout", "90", *options, self.image, *words],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             env={**os.environ, "ACCEL": self.accel, **(settings or {})})
        if run.returncode != 0:
            return run.returncode
        lines = [line.split() for line in run.stdout.splitlines()]
        return [(line[0], int(line[1]), " ".join(line[2:])) for line in lines]

    def codes(self, words, **how):
        lines = self.boot(words, **how)
        return lines if isinstance(lines, int) else [code for _, code, _ in lines]


def ranges():
    """Writes that cover every way a range can lie on sectors, then some by chance."""
    chance = random.Random(5)
    fixed = [(0, 512), (1024, 511), (2049, 511), (3073, 1), (4000, 1000), (5120, 4096), (9999, 513), (BYTES - 1, 1),
             (BYTES - 513, 513), (1 << 20, (1 << 20) + 512), ((1 << 20) + 1, 2 << 20)]
    return fixed + [(chance.randrange(BYTES - 70000), chance.choice([1, 100, 511, 512, 513, 5000, 65536])) for _ in range(60)]


def test_bytes(machine):
    before = content(BYTES, 99)
    machine.disk.write_bytes(before)
    model = bytearray(before)
    words = ["rw=disk", "size", "facts"]
    want = [("rw=disk", 0, ""), ("size", 0, str(BYTES)), ("facts", 0, "512 1")]
    for seed, (offset, n) in enumerate(ranges()):
        words.append(f"write={offset}+{n}+{seed}")
        want.append((words[-1], 0, ""))
        model[offset:offset + n] = content(n, seed)
        if seed % 8 == 0:
            first = max(0, offset - 700)
            words += ["sync", f"read={first}+{n}"]
            want += [("sync", 0, ""), (words[-1], 0, fnv(model[first:first + n]))]
    words += ["sync", "close", "open=disk", f"read=0+{BYTES}"]
    want += [("sync", 0, ""), ("close", 0, ""), ("open=disk", 0, ""), (words[-1], 0, fnv(model))]
    lines = machine.boot(words)
    expect(f"{machine.accel}: what the image saw", lines, want)
    expect(f"{machine.accel}: what the host finds on the disk", machine.disk.read_bytes() == bytes(model), True)


def test_refusals(machine):
    before = content(BYTES, 3)
    machine.disk.write_bytes(before)
    out = [f"write={BYTES}+1+1", f"write={BYTES - 512}+513+1", f"write={(1 << 64) - 1}+2+1", f"read={BYTES - 1}+2",
           f"read={1 << 63}+1"]
    expect("out of range", machine.codes(["rw=disk", *out]), [0] + [IO] * len(out))
    expect("not opened for writing", machine.codes(["open=disk", "write=0+512+1", "read=0+512"]), [0, IO, 0])
    expect("names and modes", machine.codes(["open=disk2", "open=dis", "rw=other", "new=disk", "new=other", "remove=disk"]),
           [NOT_FOUND] * 3 + [IO, NOT_SUPPORTED, NOT_SUPPORTED])
    expect("refused writes change nothing", machine.disk.read_bytes() == before, True)
    expect("no disk", machine.codes(["open=disk", "rw=disk"], drive=""), [NOT_FOUND] * 2)
    plain = str(machine.disk).replace(",", ",,")
    expect("a read-only disk", machine.codes(["rw=disk", "open=disk", "read=0+512"],
                                             drive=f"format=raw,readonly=on,file={plain}"), [IO, 0, 0])
    expect("a disk of another machine", machine.codes(["open=disk"], settings={"MACHINE": "q35"}), 2)


def test_failing(machine):
    """Errors of the medium become errors, and the disk goes on."""
    plain = str(machine.disk).replace(",", ",,")
    for event, words, want in [("write_aio", ["write=4608+512+1", "write=4608+512+1"], [IO, 0]),
                               ("read_aio", ["read=4608+512", "read=4608+512"], [IO, 0]),
                               ("read_aio", ["write=4610+7+1", "write=4610+7+1"], [IO, 0]),
                               ("flush_to_disk", ["write=0+512+1", "sync", "sync"], [0, IO, 0])]:
        sector = "" if event == "flush_to_disk" else ",file.inject-error.0.sector=9"
        drive = (f"driver=raw,rerror=report,werror=report,file.driver=blkdebug,file.image.driver=file,"
                 f"file.image.filename={plain},file.inject-error.0.event={event},file.inject-error.0.errno=5,"
                 f"file.inject-error.0.once=on{sector}")
        expect(f"an error of {event}", machine.codes(["rw=disk", *words], drive=drive), [0, *want])


def test_silent(machine):
    """A device that takes a write and does not answer for minutes: an error after 30 s, and then at once."""
    plain = str(machine.disk).replace(",", ",,")
    codes = machine.codes(["rw=disk", "write=0+65536+1", "write=0+512+1", "sync", "read=0+512", "open=disk"],
                          drive=f"format=raw,throttling.bps-write=100,file={plain}")
    expect("a device that does not answer", codes, [0, 0, IO, IO, IO, IO])


def main(image):
    with tempfile.TemporaryDirectory() as folder:
        for accel in ("tcg", "kvm"):
            machine = Machine(image, pathlib.Path(folder), accel)
            machine.disk.write_bytes(bytes(BYTES))
            if accel == "kvm" and machine.boot(["size"]) == 125:
                print("UNAVAILABLE: KVM")
                counts["skipped"] += 2
                continue
            test_bytes(machine)
            test_refusals(machine)
            test_failing(machine)
        test_silent(machine)
    print(", ".join(f"{n} {name}" for name, n in counts.items()))
    return 0 if counts["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
