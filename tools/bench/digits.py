#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""digits.py [--save]: held-out accuracy of examples/train/digits-*.train on the digits of make_digits.py, over five seeds, and
how many of those images are answered otherwise once the weights are Q8_0. Exits 1 where an aim is missed.

The networks learn from the training files alone; the held-out images are read once, by `qorus run`, after the last step.
"""
import argparse
import os
import re
import sys
import tempfile
import time

from house import ROOT, Failed, Samples, cpu_kind, heading, machine, output_of, say, spread, table

NETWORKS = {"mlp": ("64-128-10, dropout", 0.97), "cnn": ("two convolutions of 16 and 32 channels, BatchNorm", 0.985)}
SEEDS = (1, 2, 3, 4, 5)
Q8_DIFFER = 1  # images of the held-out ones


class Outcome:
    """Of one network: over the seeds, in their order."""

    def __init__(self):
        self.right, self.differ, self.seconds = Samples(), Samples(), Samples()
        self.images = self.parameters = 0

    @property
    def accuracy(self):
        """Median share of the held-out images."""
        return self.right.median / self.images


def answers(command, model, data):
    """(classes, how many are right, of how many) of the held-out images."""
    out, err = output_of([command, "run", model, "--input", f"{data}/test-images.idx", "--targets", f"{data}/test-labels.idx"])
    right, images = re.search(r"accuracy [0-9.]+ \((\d+) of (\d+)\)", err).groups()
    return [line.split()[0] for line in out.splitlines()], int(right), int(images)


def measure(command, name, data, seeds=SEEDS):
    """Trains a network with each seed; an Outcome."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        model, small = f"{folder}/{name}.qorus", f"{folder}/{name}-q8_0.qorus"
        for seed in seeds:
            begin = time.monotonic()
            out, _ = output_of([command, "train", f"{ROOT}/examples/train/digits-{name}.train", "--seed", seed, "--out", model,
                                "--data", f"{data}/train-images.idx", "--targets", f"{data}/train-labels.idx",
                                "--validate-data", f"{data}/test-images.idx", "--validate-targets", f"{data}/test-labels.idx"])
            outcome.seconds.add(time.monotonic() - begin)
            output_of([command, "quantize", model, small, "q8_0"])
            classes, right, outcome.images = answers(command, model, data)
            outcome.parameters = int(re.search(r": (\d+) parameters", out).group(1))
            outcome.right.add(right)
            outcome.differ.add(sum(a != b for a, b in zip(classes, answers(command, small, data)[0])))
    return outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", default="build/qorus")
    parser.add_argument("--data", default=os.path.join(ROOT, "build", "digits"), help="folder of make_digits.py")
    parser.add_argument("--save", action="store_true", help="write docs/results/digits-<cpu>.md")
    options = parser.parse_args()
    facts = machine()
    rows, missed = [], False
    try:
        for name, (what, aim) in NETWORKS.items():
            o = measure(options.command, name, options.data)
            say(f"{name}: {o.accuracy:.2%} of {o.images}, Q8_0 differs in {o.differ.high}")
            missed |= o.accuracy < aim or o.differ.high > Q8_DIFFER
            rows.append([f"{name}: {what}", o.parameters, f"{o.accuracy:.2%}", f"{aim:.1%}", " ".join(map(str, o.right.values)),
                         o.images, o.differ.high, spread(o.seconds)])
    except Failed as error:
        say(f"digits: {error}")
        return 1
    notes = [f"seeds {SEEDS[0]} to {SEEDS[-1]}; the held-out images neither train nor choose; seconds: the whole command, median "
             "and spread",
             f"Q8_0: `qorus quantize MODEL OUT q8_0`, matrices of linear layers (filters of convolutions stay F32); most images of "
             f"any seed that get another class, aim {Q8_DIFFER} at most"]
    page = heading("Digits", facts, "make bench-digits BASELINE=save", notes) + "\n" + table(
        ["network", "parameters", "median accuracy", "aim", "right, by seed", "of", "Q8_0 differs", "seconds"], rows) + "\n"
    print(page)
    if options.save:
        with open(os.path.join(ROOT, "docs", "results", f"digits-{cpu_kind(facts)}.md"), "w", encoding="utf-8") as out:
            out.write(page)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
