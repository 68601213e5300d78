#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Handwritten digits: the files of tools/make_digits.py, and what examples/train/digits-*.train reach on them over five seeds."""
import hashlib
import subprocess
import sys

from command import FOLDER, QORUS, ROOT, finish, skip, tell

sys.path.insert(0, str(ROOT / "tools/bench"))
import digits  # noqa: E402

MAKE = ROOT / "tools/make_digits.py"
# Of the four files, one behind the other: the split is for ever.
SHA256 = "ba6f80430522b380787450781537739e182252ee1fee60b9a795fb8818aff2e6"


def files():
    """True if they could be made."""
    done = subprocess.run([sys.executable, MAKE, FOLDER], capture_output=True, text=True, check=False)
    if done.returncode == 1 and "cannot fetch" in done.stderr:
        skip("digits", done.stderr.strip())
        return False
    tell("digits are made", done.returncode == 0 and "1438 digits to train on, 359 held out" in done.stdout, done.stderr)
    names = [f"{half}-{what}.idx" for half in ("train", "test") for what in ("images", "labels")]
    found = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in names)).hexdigest()
    tell("the files are those of every other time", found == SHA256, found)
    blocked = FOLDER / "blocked"
    blocked.write_text("a file")
    done = subprocess.run([sys.executable, MAKE, blocked], capture_output=True, text=True, check=False)
    tell("a folder that cannot be made is told", done.returncode == 1 and "blocked" in done.stderr, done.stderr)
    return True


def accuracy():
    for name, (_, aim) in digits.NETWORKS.items():
        o = digits.measure(QORUS, name, FOLDER)
        print(f"{name}: right, by seed: {o.right.values} of {o.images}; Q8_0 differs in {o.differ.values}")
        tell(f"{name}: median of {len(o.right.values)} seeds is {aim:.1%} at least", o.accuracy >= aim, o.accuracy)
        tell(f"{name}: as Q8_0 one image at most has another class", o.differ.high <= digits.Q8_DIFFER, o.differ.values)


if files():
    accuracy()
finish()
