#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pictures of the README: each is there, small, and shown; tools/pictures.sh makes them all, the memory plan to the same bytes."""
import os
import re
import subprocess
from xml.etree import ElementTree

from command import FOLDER, QORUS, ROOT, finish, missing, real_model, skip, tell

KEPT = ROOT / "docs/pictures"
MOST = 60000  # bytes of one
PYTHON = ROOT / "build/venv/bin/python"


def is_picture(path):
    """A whole PNG or SVG."""
    data = path.read_bytes()
    if path.suffix == ".png":
        return data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    return ElementTree.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"


def test_kept():
    shown = set(re.findall(r'docs/pictures/([\w.]+)"', (ROOT / "README.md").read_text(encoding="utf-8")))
    kept = {path.name for path in KEPT.iterdir()}
    tell("the README shows the pictures that are there", shown == kept, shown ^ kept)
    for name in sorted(kept):
        path = KEPT / name
        tell(f"{name}: a picture of at most {MOST} bytes", is_picture(path) and path.stat().st_size <= MOST, path.stat().st_size)


def test_made():
    digits = ROOT / "build/digits"
    if real_model() is None or not PYTHON.exists() or missing("matplotlib"):
        skip("pictures are made", "the model or matplotlib is missing (make deps, make model)")
        return
    done = subprocess.run([PYTHON, ROOT / "tools/make_digits.py", digits], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        skip("pictures are made", done.stderr.strip())
        return
    done = subprocess.run(["sh", ROOT / "tools/pictures.sh", FOLDER / "made"], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "BUILD": str(QORUS.parent), "MODEL": str(real_model())})
    made = {path.name for path in (FOLDER / "made").iterdir()} if done.returncode == 0 else set()
    wanted = {path.name for path in KEPT.iterdir()} - ({"graph.svg"} if "Graphviz is missing" in done.stderr else set())
    tell("pictures.sh makes every one", wanted <= made, done.stderr)
    tell("pictures.sh makes pictures", all(is_picture(FOLDER / "made" / name) for name in wanted & made))
    tell("memory.svg: the bytes that are kept",
         "memory.svg" in made and (FOLDER / "made/memory.svg").read_bytes() == (KEPT / "memory.svg").read_bytes(),
         "make pictures, if the planner was meant to change")


if __name__ == "__main__":
    test_kept()
    test_made()
    finish()
