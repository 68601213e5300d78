# SPDX-License-Identifier: MIT
"""What tests of qorus train share: small data of every kind, running the command by a config, and what is refused."""
import math
import random
import struct
import subprocess

from command import FOLDER, QORUS, tell

WORDS = "the cat sat on a mat and one dog ran to that park while birds sang in tall trees".split()


# ---- Data ----------------------------------------------------------------------------------------------------

def write_idx(name, shape, values):
    """Bytes in MNIST's format."""
    head = bytes((0, 0, 8, len(shape))) + b"".join(struct.pack(">I", n) for n in shape)
    (FOLDER / name).write_bytes(head + bytes(values))


def write_npy(name, shape, kind, values):
    """An array of '<f4' or '<i4'."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}".ljust(117) + "\n"
    (FOLDER / name).write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode()
                                + struct.pack(f"<{len(values)}{'f' if kind == '<f4' else 'i'}", *values))


def make_data():
    """Digits of 8 x 8 as images and as CSV, waves of three lengths, a text of word pairs that follow each other."""
    r = random.Random(5)
    marks = [[r.random() < 0.5 for _ in range(64)] for _ in range(10)]
    labels = [r.randrange(10) for _ in range(400)]
    images = [[min(255, max(0, int(r.gauss(170 if on else 50, 40)))) for on in marks[y]] for y in labels]
    write_idx("x.idx", (400, 8, 8), sum(images, []))
    write_idx("y.idx", (400,), labels)
    (FOLDER / "digits.csv").write_text("".join(",".join(map(str, x + [y])) + "\n" for x, y in zip(images, labels)))
    waves = [r.randrange(3) for _ in range(300)]
    write_npy("waves.npy", (300, 16, 1), "<f4", [math.sin(i * (0.3 + 0.35 * w) + r.random()) + r.gauss(0, 0.05)
                                                 for w in waves for i in range(16)])
    write_npy("kinds.npy", (300,), "<i4", waves)
    (FOLDER / "line.csv").write_text("a,b,y\n" + "".join(
        f"{a:.3f},{b:.3f},{2 * a - b:.3f}\n" for a, b in [(r.uniform(-1, 1), r.uniform(-1, 1)) for _ in range(200)]))
    text, at = [], 0
    for _ in range(4000):
        text.append(WORDS[at])
        at = (at * 2 + r.randrange(2)) % len(WORDS)
    (FOLDER / "text.txt").write_text(" ".join(text))


# ---- Running -------------------------------------------------------------------------------------------------

def one_thread(options):
    """Threads change no bits but cost much where other tests run beside: one, unless the options say otherwise."""
    return [*(() if "--threads" in options else ("--threads", "1")), *map(str, options)]


def train(name, *options):
    """Trains by NAME.train; returns exit code, standard output and standard error."""
    done = subprocess.run([QORUS, "train", f"{name}.train", *one_thread(options)], cwd=FOLDER, capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def bytes_of(name):
    """A file's bytes; none if it is not there."""
    path = FOLDER / name
    return path.read_bytes() if path.exists() else b""


def refused(name, words, line, *command):
    """One line of error that names the place and what is wrong, no model, no half-written file."""
    done = subprocess.run([QORUS, "train", *one_thread(command)], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    lines = [l for l in done.stderr.splitlines() if l.startswith("qorus: ") and "parameters," not in l and "an epoch" not in l]
    good = (done.returncode in (1, 2) and done.stdout == "" and len(lines) == 1 and all(w in lines[0] for w in words)
            and (line is None or f"bad.train:{line}:" in lines[0]) and not (FOLDER / "model.qorus").exists()
            and not list(FOLDER.glob("*.part")))
    tell(f"refused: {name}", good, (done.returncode, done.stdout, done.stderr))
