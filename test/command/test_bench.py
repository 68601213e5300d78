#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small run of make bench's scripts and programs: they end well, and what they print can be read. No figure is judged."""
import json
import os
import subprocess
import sys
from pathlib import Path

from command import FOLDER, QORUS, ROOT, finish, qorus, skip, tell

BUILD = Path(os.environ.get("BUILD", "build")).resolve()
PARTS = BUILD / "tools/bench/parts"
MODEL = ROOT / "vectors/files/llama.qorus"
KEYS = ("machine/", "model/", "kernel/", "dispatch/", "sampler/", "start/", "bare/")


def bench(*options, command=QORUS):
    """bench.py with settings that take seconds; exit code, output, errors, figures by key."""
    out = FOLDER / "bench.jsonl"
    out.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, ROOT / "tools/bench/bench.py", "--command", command, "--parts", PARTS, "--checkkern",
         BUILD / "test/bin/checkkern", "--model", MODEL, "--tiny", "--folder", FOLDER, "--results", FOLDER / "results",
         "--start-prompt", "a", "--json", out, *options], capture_output=True, text=True, cwd=ROOT)
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return done.returncode, done.stdout, done.stderr, {f["key"]: f for f in map(json.loads, lines)}


def whole():
    """Every part, stored as a baseline, then beside it."""
    code, out, err, figures = bench("--save")
    tell("a small run ends well", code == 0, err)
    tell("every part has figures", all(any(k.startswith(p) for k in figures) for p in KEYS), list(figures))
    tell("a figure has a positive value and unit, or says why not",
         all(("unavailable" in f) or (f["min"] <= f["value"] <= f["max"] and f["unit"]) for f in figures.values()),
         [f for f in figures.values() if "value" in f and not f["min"] <= f["value"] <= f["max"]])
    tell("shares are positive", all(f.get("share", 1) > 0 for f in figures.values()), figures)
    tell("every key is in the table", all(f"| {k} " in out for k in figures), out)
    stored = list((FOLDER / "results").glob("bench-*.json"))
    tell("the baseline is stored with machine, command and commit",
         len(stored) == 1 and {"machine", "command", "commit", "figures"} <= set(json.loads(stored[0].read_text())), stored)
    tell("its table begins with the command", "make bench" in stored[0].with_suffix(".md").read_text() if stored else False)
    code, out, err, again = bench("--only", "around")
    tell("another run stands beside the baseline", code == 0 and all("to_baseline" in f for f in again.values()), err)


def backends():
    """Those that run are those the command accepts."""
    done = subprocess.run([PARTS, "backends"], capture_output=True, text=True)
    names = {b["name"]: b["runs"] for b in map(json.loads, done.stdout.splitlines())}
    tell("parts lists backends, scalar among them", done.returncode == 0 and names.get("scalar"), names)
    for name, runs in names.items():
        code, _, err = qorus("bench", MODEL, "-p", 1, "-n", 1, "-t", 1, "-r", 1, "--backend", name)
        tell(f"qorus bench agrees about {name}", (code == 0) == runs, err)


def defects():
    """What cannot be measured is an error, not a figure."""
    code, _, err, figures = bench("--only", "models", command="/bin/false")
    tell("a command that fails ends the run with 1", code == 1 and "exit 1" in err and not figures, (code, err))
    code, _, err, _ = bench("--only", "nothing")
    tell("an unknown part is refused", code == 1 and "nothing" in err, (code, err))
    for words in ([], ["read"], ["peak", "0"], ["peak", "x"], ["gemm", "scalar", "1", "2", "3"], ["start", "1"]):
        done = subprocess.run([PARTS, *words], capture_output=True, text=True)
        tell(f"parts {' '.join(words)}: bad usage", done.returncode == 2 and done.stderr, done)
    for words in (["read", "no-such-file", "1"], ["dispatch", "no-such-file"], ["start", "1", "/bin/false", "x"]):
        done = subprocess.run([PARTS, *words], capture_output=True, text=True)
        tell(f"parts {' '.join(words)}: fails", done.returncode == 1 and done.stderr, done)


def products():
    """The product of `parts gemm`, on each backend."""
    for name in ("scalar", "avx2"):
        done = subprocess.run([PARTS, "gemm", name, "1", "3", "17", "32"], capture_output=True, text=True)
        line = json.loads(done.stdout) if done.returncode == 0 else {}
        tell(f"parts gemm {name}", line.get("gflop_s", 0) > 0 or "unavailable" in line, done)


if not PARTS.exists():
    skip("all", "build/.../tools/bench/parts is not built")
    finish()
whole()
backends()
defects()
products()
finish()
