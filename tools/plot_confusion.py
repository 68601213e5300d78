#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plot_confusion.py CONFUSION.csv -o OUT.png: which class was taken for which, as a heat map of counts.

The file is what `qorus run MODEL --input SAMPLES --targets TARGETS --confusion CONFUSION.csv` writes: the first line names the
classes that were answered, the first column those that were right. Accuracy is the share of the diagonal; macro F1 is the
mean over classes of 2 right / (answered + there), of classes that occur in either.
"""

import argparse
import csv
import sys
from pathlib import Path

from qorus_py import packages, picture

packages.enter(__name__)


def read_confusion(path):
    """(names, counts[target][answer]) of a file."""
    rows = [row for row in csv.reader(Path(path).read_text(encoding="utf-8").splitlines()) if row]
    names = rows[0][1:] if rows else []
    if not names or rows[0][0] != "target":
        raise picture.PictureError(f"{path}:1: not 'target' and the names of classes: is it what --confusion writes?")
    if [row[0] for row in rows[1:]] != names:
        raise picture.PictureError(f"{path}: the lines are not those of the {len(names)} classes of the first line, in their order")
    counts = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names) + 1 or not all(field.isdecimal() for field in row[1:]):
            raise picture.PictureError(f"{path}:{number}: not {len(names)} counts behind the name")
        counts.append([int(field) for field in row[1:]])
    if sum(map(sum, counts)) == 0:
        raise picture.PictureError(f"{path}: nothing was counted")
    return names, counts


def figures(counts):
    """(accuracy, macro F1)."""
    n = range(len(counts))
    right = sum(counts[i][i] for i in n) / sum(map(sum, counts))
    both = [sum(counts[i]) + sum(counts[k][i] for k in n) for i in n]
    f1 = [2 * counts[i][i] / both[i] for i in n if both[i] != 0]
    return right, sum(f1) / len(f1)


def draw(names, counts, out, title):
    """Writes the picture; returns what it says of itself."""
    plot = picture.pyplot()
    accuracy, f1 = figures(counts)
    n = len(names)
    side = min(max(3.2, 1.2 + 0.42 * n), 12)
    figure, axis = plot.subplots(figsize=(side + 0.6, side), layout="constrained")
    shares = [[(c / max(1, sum(row))) ** 0.5 for c in row] for row in counts]  # the root: single mistakes show
    picture.matrix(axis, shares, names, rotation=90 if max(map(len, names)) > 3 else 0)
    for i in range(n if n <= 32 else 0):
        for k in range(n):
            if counts[i][k] != 0:
                axis.text(k, i, counts[i][k], ha="center", va="center", fontsize=9, color="white" if shares[i][k] > 0.6 else "black")
    axis.set(xlabel="answer (class)", ylabel="target (class)",
             title=f"{title}: {sum(map(sum, counts))} samples\naccuracy {accuracy:.4f}, macro F1 {f1:.4f}")
    picture.save(figure, out)
    plot.close(figure)
    return f"{out}: {n} classes, accuracy {accuracy:.4f}, macro F1 {f1:.4f}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("confusion", help="what qorus run --confusion wrote")
    parser.add_argument("-o", "--out", default="confusion.png", help="picture: .png, .svg or .pdf (default confusion.png)")
    parser.add_argument("--title", help="what the picture is of (default: the file's name)")
    options = parser.parse_args(arguments)
    return picture.finish("plot_confusion", lambda: draw(*read_confusion(options.confusion), options.out,
                                                         options.title or Path(options.confusion).stem))


if __name__ == "__main__":
    sys.exit(main())
