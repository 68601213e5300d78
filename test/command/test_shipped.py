#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The model of the tree, examples/shakespeare.qorus: whole, small, answers at once, the same from the bare x86 image that holds it.

Usage: test_shipped.py [TEXT]; TEXT: what it was trained from, whose last tenth it has not learnt
"""
import json
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True

from command import FOLDER, ROOT, finish, qorus, skip, tell  # noqa: E402

MODEL = ROOT / "examples/shakespeare.qorus"
MOST_BYTES = 3 << 20
MOST_NLL = 1.45  # nats a sign, in 8 bits: the project's aim
PROMPT = ("run", "-p", "ROMEO:", "-n", "60", "--temp", "0.8", "--seed", "7")


def held_out(path):
    """The last tenth, as a file."""
    data = path.read_bytes()
    out = FOLDER / "held-out.txt"
    out.write_bytes(data[len(data) * 9 // 10:])
    return out


def judge(path):
    """Nats a sign on what it has not seen."""
    if path is None or not path.is_file():
        skip("the loss on held-out text", "no text was given")
        return
    code, out, err = qorus("perplexity", MODEL, held_out(path), "--json")
    nll = json.loads(out)["nll"] if code == 0 else 99
    tell(f"{nll:.4f} nats a sign on held-out text", nll <= MOST_NLL, err)


def from_image(want):
    """The image without a boot module tells the same text."""
    if shutil.which("qemu-system-x86_64") is None:
        skip("the bare image", "qemu-system-x86_64 is missing (make deps)")
        return
    made = subprocess.run(["make", "-s", "PORT=bare-x86"], cwd=ROOT, capture_output=True, text=True)
    tell("the bare image is built", made.returncode == 0, made.stderr)
    image = subprocess.run(["make", "-s", "print-IMAGE"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    for accel in ("tcg", "kvm"):
        if accel == "kvm" and not os.access("/dev/kvm", os.W_OK):
            skip("the bare image under kvm", "UNAVAILABLE")
            continue
        done = subprocess.run(["sh", "port/bare-x86/run-qemu.sh", "--timeout", "120", image, *PROMPT], cwd=ROOT, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, env={**os.environ, "ACCEL": accel})
        tell(f"the bare image under {accel} tells the same text", done.returncode == 0 and done.stdout.rstrip("\n") == want.rstrip("\n"),
             (done.returncode, done.stdout, done.stderr))


tell("at most 3 MB", MODEL.stat().st_size <= MOST_BYTES, MODEL.stat().st_size)
status, _, error = qorus("inspect", MODEL, "--verify")
tell("a good file", status == 0, error)
status, text, error = qorus(PROMPT[0], MODEL, *PROMPT[1:])
tell("answers", status == 0 and len(text.strip()) > 40, (text, error))
judge((ROOT / sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1] else None)
from_image(text)
finish()
