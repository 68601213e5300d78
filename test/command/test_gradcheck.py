#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus gradcheck as a user runs it: on files of models and on config files of qorus train.

Usage: test_gradcheck.py [double]; the environment's BUILD says where the command is. double: the strict build, made first.
"""
import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True

if "double" in sys.argv[1:]:
    os.environ["BUILD"] = subprocess.run(["make", "-s", "print-FREE_DIR", "VARIANT=double"], capture_output=True, text=True,
                                         check=True).stdout.strip()
    subprocess.run(["make", "-s", "VARIANT=double", "command"], stdout=subprocess.DEVNULL, check=True)

from command import FOLDER, QORUS, ROOT, finish, tell  # noqa: E402

FILES = ROOT / "vectors/files"
CLASSIFIER = """data = {folder}/points.csv
label = label
network {{
  linear 8 tanh
  dropout 0.2
  linear classes
}}
batch = 8
epochs = 1
"""
TEXT = """data = {folder}/text.txt
vocab = char
window = 12
network {{
  embedding 6
  lstm 5
  linear classes
}}
batch = 4
epochs = 1
"""


def check(*words):
    """Exit code, output, errors."""
    done = subprocess.run([QORUS, "gradcheck", *map(str, words)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def is_right(name, params, *words):
    """All parameters are there and right, and the build says which tolerances it took."""
    code, out, error = check(*words)
    lines = out.splitlines()
    tell(name, code == 0 and len(lines) == params + 3 and sum(line.endswith("right") for line in lines) == params
         and f"{params} parameters" in lines[-1] and ", 0 wrong" in lines[-1], (code, out, error))
    tell(f"{name}: tolerances", lines and lines[0].startswith("double build: eps 1e-06, atol 1e-05, rtol 0.001"
                                                              if "double" in sys.argv[1:] else "float build: eps 0.0039"), out)


def make_data():
    """A few points of three classes, and a text."""
    number = random.Random(1)
    rows = [",".join(f"{number.uniform(-1, 1):.4f}" for _ in range(6)) + f",{i % 3}" for i in range(40)]
    (FOLDER / "points.csv").write_text("a,b,c,d,e,f,label\n" + "\n".join(rows) + "\n")
    (FOLDER / "text.txt").write_text("the cat sat on the mat. " * 60)
    (FOLDER / "points.train").write_text(CLASSIFIER.format(folder=FOLDER))
    (FOLDER / "text.train").write_text(TEXT.format(folder=FOLDER))


def main():
    """Files, configs, refusals."""
    make_data()
    is_right("a graph's file", 4, FILES / "mlp.qorus")
    is_right("all elements", 4, FILES / "mlp.qorus", "--samples", 0)
    is_right("a decoder's file", 20, FILES / "llama.qorus", "--samples", 4)
    is_right("nothing fused, one thread", 20, FILES / "llama.qorus", "--samples", 2, "--no-fuse", "-t", 1, "--backend", "scalar")
    is_right("a classifier of a config file", 4, FOLDER / "points.train")
    is_right("a text of a config file", 7, FOLDER / "text.train", "--samples", 3, "--batch", 2)
    if "double" not in sys.argv[1:]:  # it cannot use floats of a file
        is_right("a decoder that is tuned", 9, "--model", FILES / "llama.qorus", "--data", FOLDER / "text.txt", "--window", 8,
                 "--batch", 2, "--tune", "layers.1.*", "--samples", 3)
    tell("every element", "155 elements checked" in check(FILES / "mlp.qorus", "--samples", 0)[1])
    tell("no model", check()[0] == 2)
    tell("two models", check(FILES / "mlp.qorus", FILES / "mlp.qorus")[0] == 2)
    tell("words without end", check(*["--batch", 2] * 200)[0] == 2)
    tell("no such file", check(FOLDER / "none.qorus")[0] == 1)
    tell("a class it does not know", check(FILES / "graph.qorus")[0] == 1)
    tell("--samples without a number", check(FOLDER / "points.train", "--samples")[0] == 2)
    tell("--samples of words", check(FOLDER / "points.train", "--samples", "many")[0] == 2)
    tell("an option it has not", check(FILES / "mlp.qorus", "--temp", "1")[0] == 2)
    finish()


if __name__ == "__main__":
    main()
