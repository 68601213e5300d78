#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A training with no operating system that saves itself to a disk, and whatever happens on the way.

Usage: test_durable.py DURABLE IMAGE [KILLS]: the program of test/durable for the host and for the bare x86 port; how often
QEMU is killed (default 6).

  there and back  POSIX, bare x86 and POSIX again make one training of each network: its hash is the committed one
  kills           QEMU killed in every phase of a save: the disk holds the checkpoint before or this one, bit for bit, and the
                  training gone on with on POSIX ends with the committed hash
  cuts            the log of what the machine wrote, played with writes that were not flushed dropped, reordered and torn:
                  every image that may be left holds the checkpoint before or this one; once a save has ended, this one
  left out        the same with flushes left out: the cuts must find those that matter
"""
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from write_log import Disk, SECTOR, read_log  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vectors/train"
NETWORK, STEPS, EVERY = "cnn", 100, 20
DISK_BYTES = 512 << 10
PHASES = ["record zeroed", "zeroed record synced", "payload piece 1", "payload synced", "read back", "record written"]
# What a disk holds before its first save has ended: no checkpoint, or none that is whole (not qorus, truncated, corrupt, hash).
NOTHING = {"none", "error -30", "error -32", "error -33", "error -35"}
# Flushes of the second and third save (three each) that do nothing, and whether a checkpoint can be lost by it: where the
# last one is left out, a save has ended that is not there; without the others the payload's hash tells.
LEFT_OUT = [("every flush of two saves", range(4, 10), True), ("the last flush of two saves", (6, 9), True),
            ("the flush of the zeroed record", (4, 7), False), ("the flush of the payload", (5, 8), False)]

counts = {"passed": 0, "failed": 0, "skipped": 0}


def expect(what, ok, why=""):
    counts["passed" if ok else "failed"] += 1
    if not ok:
        print(f"FAIL {what}: {why}")
    return ok


def committed():
    """Network -> hash of its parameters after 100 steps."""
    lines = (ROOT / "test/trajectory/fingerprints.txt").read_text().splitlines()
    return {line.split()[1]: line.split()[0] for line in lines if not line.startswith("#")}


# ---- The two programs --------------------------------------------------------------------------------------------

class Host:
    """The program on POSIX."""

    def __init__(self, program):
        self.program = program
        self.looker = subprocess.Popen([program, FOLDER, "look", NETWORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True)

    def train(self, disk, network, steps, every):
        run = subprocess.run([self.program, FOLDER, disk, network, str(steps), str(every)], stdout=subprocess.PIPE, text=True)
        return run.stdout.splitlines()

    def look(self, disk):
        """What a disk image holds: (sequence, step and hash), or (0, the line)."""
        self.looker.stdin.write(f"{disk}\n")
        self.looker.stdin.flush()
        line = self.looker.stdout.readline().strip()
        found = re.fullmatch(r"(\d+) (\d+ [0-9a-f]{64})", line)
        return (int(found[1]), found[2]) if found else (0, line)

    def end(self):
        self.looker.stdin.close()
        self.looker.wait()


class Machine:
    """The program in QEMU."""

    def __init__(self, image, folder):
        self.image = image
        self.pid = folder / "pid"
        self.qemu = folder / "qemu"
        self.qemu.write_text(f'#!/bin/sh\necho $$ >"{self.pid}"\nexec qemu-system-x86_64 "$@"\n')
        self.qemu.chmod(0o755)
        self.accels = ["tcg"]
        if subprocess.run([self.qemu, "-M", "none", "-accel", "kvm", "-display", "none", "-monitor", "stdio"], input="quit\n",
                          capture_output=True, text=True).returncode == 0:
            self.accels.append("kvm")
        else:
            print("UNAVAILABLE: KVM; everything runs under TCG")

    def can_log(self, folder):
        return subprocess.run([self.qemu, "-M", "none", "-display", "none", "-monitor", "stdio", "-drive",
                               f"if=none,{logged(blank(folder / 'none.img'), folder / 'none.log')}"], input="quit\n",
                              capture_output=True, text=True).returncode == 0

    def start(self, drive, accel, network, words):
        return subprocess.Popen([ROOT / "port/bare-x86/run-qemu.sh", "--timeout", "300", "--drive", drive,
                                 "--module", FOLDER / f"{network}.qtrj", self.image, network, *map(str, words)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                env={**os.environ, "ACCEL": accel, "QEMU": str(self.qemu)})

    def train(self, drive, accel, network, *words):
        return self.start(drive, accel, network, words).communicate()[0].splitlines()

    def kill(self):
        os.kill(int(self.pid.read_text()), signal.SIGKILL)


def raw(disk):
    return f"format=raw,file={disk}"


def logged(disk, log):
    log.write_bytes(b"")
    return (f"driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={disk},"
            f"log.driver=file,log.filename={log}")


def blank(path):
    path.write_bytes(bytes(DISK_BYTES))
    return path


# ---- What the program tells --------------------------------------------------------------------------------------

def saves_of(lines):
    """Sequence -> step and hash."""
    return {int(line.split()[1]): line.split(" ", 2)[2] for line in lines if line.startswith("saved ")}


def phases_of(lines):
    """For every save of a run the names of its calls of the port, in order."""
    saves, calls = [], []
    for line in lines[1:-1]:
        if line.startswith("saved "):
            saves.append(names_of(calls))
            calls = []
        else:
            calls.append(line.split()[0])
    return saves


def names_of(calls):
    names, syncs, pieces = [], 0, 0
    for call in calls:
        syncs += call == "sync"
        pieces += call == "write" and syncs == 1
        names.append({
            "sync": ["", "zeroed record synced", "payload synced", "record synced"][min(syncs, 3)],
            "read": "read back" if syncs else "slots read",
            "write": ["record zeroed", f"payload piece {pieces}", "record written"][min(syncs, 2)]}[call])
    return names


# ---- The tests ---------------------------------------------------------------------------------------------------

def there_and_back(host, machine, folder):
    for number, (network, want) in enumerate(committed().items()):
        disk = blank(folder / f"{network}.img")
        accel = machine.accels[number % len(machine.accels)]
        lines = host.train(disk, network, 34, 17)[-1:]
        lines += machine.train(raw(disk), accel, network, 68, 17)
        starts = [line for line in lines if line.startswith("start ")]
        lines += host.train(disk, network, STEPS, 25)
        ok = [line for line in lines if line.startswith("start ")][-1:] != starts and starts[0].split()[1:3] == ["2", "34"]
        expect(f"{network}: POSIX, bare x86 under {accel}, POSIX", ok and lines[-1] == f"end {STEPS} {want}", lines[-1])
        print(f"{network}: 34 steps on POSIX, 34 in QEMU ({accel}), 32 on POSIX: {lines[-1].split()[-1][:16]}...")


def command(program, image):
    """What make bare-resume runs."""
    run = subprocess.run(["sh", "tools/bare_resume.sh", program, image], cwd=ROOT, capture_output=True, text=True)
    last = (run.stdout.splitlines() or [run.stderr])[-1]
    expect("make bare-resume", run.returncode == 0 and committed()["transformer"] in last, last + run.stderr)


def judge(found, saves, low, high):
    """Why what was found is none of the checkpoints low .. high, or None."""
    sequence, what = found
    if sequence == 0:
        return None if low == 0 and what in NOTHING else f"the disk holds: {what}"
    if not low <= sequence <= high:
        return f"the disk holds checkpoint {sequence}, not {low} to {high}"
    return None if saves.get(sequence) == what else f"checkpoint {sequence} is not as it was saved: {what}"


def kill_once(host, machine, folder, saves, phases, number, save, call, hold):
    """Kills the machine when the host has heard of a call of a save, after which it stops or goes on; the last call it told."""
    disk = blank(folder / "killed.img")
    accel = machine.accels[number % len(machine.accels)]
    run = machine.start(raw(disk), accel, NETWORK, [STEPS, EVERY, *hold])
    at = (0, 0)  # saves that have ended, calls since
    killed = False
    for line in run.stdout:
        if line.startswith("saved "):
            at = (at[0] + 1, 0)
        elif line.startswith(("write ", "read ", "sync")):
            at = (at[0], at[1] + 1)
        if at == (save, call + 1) and not killed:
            machine.kill()
            killed = True
    run.wait()
    phase = phases[at[0]][at[1] - 1] if at[1] else "record synced"
    found = host.look(disk)
    why = judge(found, saves, at[0], at[0] + 1)
    where = f"kill {number + 1} ({accel}): in save {at[0] + 1}, after call {at[1]}: {phase}"
    expect(where, why is None, why)
    end = host.train(disk, NETWORK, STEPS, EVERY)[-1]
    expect(f"{where}; gone on with", end == f"end {STEPS} {committed()[NETWORK]}", end)
    print(f"{where}: checkpoint {found[0]}; gone on with on POSIX: {end.split()[-1][:16]}...")
    return phase


def kills(host, machine, folder, saves, phases, n):
    """One in each of PHASES, then anywhere."""
    chance = random.Random(n)
    hit = set()
    for number in range(n):
        save = 1 + number % (len(phases) - 1)
        named = number < len(PHASES)
        call = phases[save].index(PHASES[number]) if named else chance.randrange(len(phases[save]))
        hold = [f"hold={sum(map(len, phases[:save])) + call + 1}"] if named else []
        hit.add(kill_once(host, machine, folder, saves, phases, number, save, call, hold))
    expect("a kill in every phase", n < len(PHASES) or set(PHASES) <= hit, set(PHASES) - hit)
    print(f"kills: {n}, after {len(hit)} different calls")


def cuts(host, machine, folder, saves, words, n_random):
    """Plays the log of a training; (images tried, the first complaints)."""
    disk, log = blank(folder / "logged.img"), folder / "writes.log"
    accel = machine.accels[-1]
    lines = machine.train(logged(disk, log), accel, NETWORK, STEPS, EVERY, *words)
    if saves_of(lines) != saves:
        return 0, ["the training under log made other checkpoints"]
    entries = iter(read_log(log) + [None])  # one behind the last, which is never looked at
    upcoming = next(entries)
    state, seen, complaints, ended = Disk(bytes(DISK_BYTES)), set(), [], 0
    lost = {int(word.split("=")[1]) for word in words}
    syncs = 0

    def attempt(low, high):
        for image in state.after_a_cut(random.Random(len(seen)), n_random):
            if (hash(image), low) in seen:
                continue
            seen.add((hash(image), low))
            (folder / "cut.img").write_bytes(image)
            why = judge(host.look(folder / "cut.img"), saves, low, high)
            complaints.extend([f"save {ended + 1}: {why}"] if why else [])

    for line in lines[1:-1]:
        word, *numbers = line.split()
        if word == "write":
            end = (int(numbers[0]) + int(numbers[1]) + SECTOR - 1) // SECTOR
            done = False
            while not done:
                state.write(*upcoming)
                done = upcoming[0] + len(upcoming[1]) // SECTOR >= end
                upcoming = next(entries)
        elif word == "sync":
            syncs += 1
            attempt(ended, ended + 1)
            if syncs not in lost:
                if upcoming is not None:
                    return 0, ["the log has no flush where the training had one"]
                state.flush()
                upcoming = next(entries)
        elif word == "saved":
            ended += 1
            attempt(ended, ended)
    return len(seen), complaints


def test_cuts(host, machine, folder, saves, n_kills):
    tried, complaints = cuts(host, machine, folder, saves, [], 8 * n_kills)
    expect(f"every one of {tried} images after a cut", tried > 500 and not complaints, complaints[:3])
    print(f"cuts: {tried} images of {len(saves)} saves, {len(complaints)} that hold neither checkpoint")
    for what, lost, harm in LEFT_OUT:
        tried, complaints = cuts(host, machine, folder, saves, [f"lost={i}" for i in lost], n_kills)
        expect(f"{what} left out", tried and bool(complaints) == harm, complaints[:3] or "not noticed")
        print(f"{what} left out: {len(complaints)} of {tried} images hold neither checkpoint{': ' if harm else ''}"
              f"{(complaints + [''])[0]}")


def main(program, image, n_kills):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        host, machine = Host(program), Machine(image, folder)
        there_and_back(host, machine, folder)
        command(pathlib.Path(program).resolve(), pathlib.Path(image).resolve())
        lines = host.train(blank(folder / "whole.img"), NETWORK, STEPS, EVERY)
        saves, phases = saves_of(lines), phases_of(lines)
        print(f"calls of a save: {len(phases[-1])}: {', '.join(phases[-1])}")
        n_syncs = sum(name.endswith("synced") for name in phases[-1])
        expect("a save flushes three times", n_syncs == 3, n_syncs)
        kills(host, machine, folder, saves, phases, n_kills)
        if machine.can_log(folder):
            test_cuts(host, machine, folder, saves, n_kills)
        else:
            print("UNAVAILABLE: QEMU's driver blklogwrites")
            counts["skipped"] += 1 + len(LEFT_OUT)
        host.end()
    print(", ".join(f"{n} {name}" for name, n in counts.items()))
    return 0 if counts["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 6))
