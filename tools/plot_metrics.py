#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plot_metrics.py METRICS [METRICS...] -o OUT.png: curves of trainings from their metrics files.

A file is CSV (the first line names the columns) or JSON lines (one object a line). Columns: step, epoch, loss, val_loss,
accuracy, perplexity, learning_rate, gradient_norm, samples_per_s, seconds, rescaled; all but step may be missing, and any may be
empty in a line.
One panel for the losses and one for each other column that has values; several files are drawn into the same panels.
"""

import argparse
import csv
import json
import math
import sys
from pathlib import Path

from qorus_py import packages, picture

packages.enter(__name__)

COLUMNS = ("step", "epoch", "loss", "val_loss", "accuracy", "perplexity", "learning_rate", "gradient_norm", "samples_per_s",
           "seconds", "rescaled")
PANELS = (("loss", ("loss", "val_loss")), ("accuracy", ("accuracy",)), ("perplexity", ("perplexity",)),
          ("learning rate", ("learning_rate",)), ("gradient norm", ("gradient_norm",)), ("samples per second", ("samples_per_s",)),
          ("parameters scaled back", ("rescaled",)))


class MetricsError(picture.PictureError):
    """A metrics file that cannot be read; the text names file and line and says what to do."""


def _number(value, where, column):
    if value is None or value == "":
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise MetricsError(f"{where}: {column} is {value!r}, not a number")
    try:
        return float(value)
    except ValueError:
        raise MetricsError(f"{where}: {column} is {value!r}, not a number") from None


def _rows_csv(path, text):
    reader = csv.reader(text.splitlines())
    names = [name.strip() for name in next(reader, [])]
    if "step" not in names:
        raise MetricsError(f"{path}:1: no column named step; the first line names the columns: {','.join(COLUMNS)}")
    if len(set(names)) != len(names):
        raise MetricsError(f"{path}:1: a column is named twice")
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if not row:
            continue
        if len(row) != len(names):
            raise MetricsError(f"{where}: {len(row)} values, the first line names {len(names)} columns")
        yield where, dict(zip(names, row))


def _rows_json(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MetricsError(f"{where}: no JSON object: {error.msg} at column {error.colno}") from None
        if not isinstance(row, dict) or "step" not in row:
            raise MetricsError(f"{where}: no JSON object with a member named step")
        yield where, row


def read_metrics(path):
    """{column: [numbers]} of a metrics file, NaN where a line has none; columns it does not know are left out."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetricsError(f"{path}: byte {error.start} is not UTF-8: is it a metrics file?") from None
    rows = _rows_json(path, text) if text.lstrip().startswith("{") else _rows_csv(path, text)
    out = {column: [] for column in COLUMNS}
    last = -math.inf
    for where, row in rows:
        values = {column: _number(row.get(column), where, column) for column in COLUMNS}
        if not math.isfinite(values["step"]):
            raise MetricsError(f"{where}: step is missing")
        if values["step"] < last:
            raise MetricsError(f"{where}: step {values['step']:g} comes after {last:g}: are these two trainings in one file?")
        last = values["step"]
        for column in COLUMNS:
            out[column].append(values[column])
    if not out["step"]:
        raise MetricsError(f"{path}: no lines of metrics in it")
    return out


def has_values(metrics, column):
    return any(math.isfinite(x) for x in metrics[column])


def panels_of(runs, only=None):
    """The panels that have something to show; of those named in `only`, if it is given."""
    return [(title, columns) for title, columns in PANELS
            if (not only or title in only) and any(has_values(metrics, column) for metrics in runs.values() for column in columns)]


def draw(runs, out, log_loss=False, width=8.0, only=None, title=None):
    """Writes the picture; `runs` is {label: metrics}. Returns the number of curves."""
    plot = picture.pyplot()
    panels = panels_of(runs, only)
    if not panels:
        raise MetricsError("nothing to draw: every column that would be is empty")
    figure, axes = plot.subplots(len(panels), 1, sharex=True, squeeze=False, figsize=(width, 0.8 + 2.2 * len(panels)),
                                 layout="constrained")
    curves = 0
    for axis, (name, columns) in zip(axes[:, 0], panels):
        for k, (label, metrics) in enumerate(runs.items()):
            for column in columns:
                points = [(s, y) for s, y in zip(metrics["step"], metrics[column]) if math.isfinite(y)]
                if not points:
                    continue
                steps, values = zip(*points)
                second = column == "val_loss"
                axis.plot(steps, values, color=picture.COLOURS[(k + (second and len(runs) == 1)) % len(picture.COLOURS)],
                          linestyle="--" if second and len(runs) > 1 else "-", marker="." if len(points) < 40 else None, linewidth=1.2,
                          label=f"{label}: {column}" if len(runs) > 1 else column)
                curves += 1
        if log_loss and name == "loss":
            axis.set_yscale("log")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
        if len(axis.lines) > 1:
            axis.legend(fontsize="small", frameon=False)
    axes[-1, 0].set_xlabel("step")
    figure.suptitle(title or ", ".join(runs), fontsize="medium")
    picture.save(figure, out)
    plot.close(figure)
    return curves


def draw_files(options):
    """Reads the files and draws them; returns what was drawn."""
    runs = {}
    for path in options.metrics:
        label = Path(path).stem
        runs[label if label not in runs else path] = read_metrics(path)
    curves = draw(runs, options.out, options.log_loss, only=options.only, title=options.title)
    return f"{options.out}: {curves} curves of {sum(len(m['step']) for m in runs.values())} lines"


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Draws curves of trainings from metrics files (CSV or JSON lines).")
    parser.add_argument("metrics", nargs="+", help="files of metrics")
    parser.add_argument("-o", "--out", default="metrics.png", help="picture: .png, .svg or .pdf (default metrics.png)")
    parser.add_argument("--log-loss", action="store_true", help="losses on a logarithmic scale")
    parser.add_argument("--only", nargs="+", choices=[name for name, _ in PANELS], metavar="PANEL",
                        help="these panels: " + ", ".join(name for name, _ in PANELS))
    parser.add_argument("--title", help="what the picture is of (default: names of the files)")
    options = parser.parse_args(arguments)
    return picture.finish("plot_metrics", lambda: draw_files(options))


if __name__ == "__main__":
    sys.exit(main())
