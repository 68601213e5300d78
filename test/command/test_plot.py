# SPDX-License-Identifier: MIT
"""test_plot.py: metrics and confusion files read and refused by tools/plot_metrics.py and tools/plot_confusion.py; pictures
drawn where matplotlib is there."""

import contextlib
import io
import math
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
import plot_confusion  # noqa: E402
import plot_metrics  # noqa: E402

passed = failed = skipped = 0


def check(ok, what):
    global passed, failed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print("FAIL", what)


def refused(folder, text, says, read=plot_metrics.read_metrics):
    path = Path(folder, "bad")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        read(path)
        check(False, f"refused: {says}")
    except plot_metrics.picture.PictureError as error:
        check(says in str(error) and str(path) in str(error), f"refused: {says} (was {error})")


def test_reading(folder):
    path = Path(folder, "a.csv")
    path.write_text("step,loss,val_loss,accuracy,other\r\n0,2.5,,0.1,x\r\n\r\n10,1.5,1.75,0.5,\r\n", encoding="utf-8")
    m = plot_metrics.read_metrics(path)
    check(m["step"] == [0, 10] and m["loss"] == [2.5, 1.5] and math.isnan(m["val_loss"][0]) and m["val_loss"][1] == 1.75, "CSV")
    check(not plot_metrics.has_values(m, "seconds"), "a column that is not there has no values")
    check([t for t, _ in plot_metrics.panels_of({"a": m})] == ["loss", "accuracy"], "panels that have something to show")
    check([t for t, _ in plot_metrics.panels_of({"a": m}, ["accuracy"])] == ["accuracy"], "panels that are asked for")
    path = Path(folder, "b.jsonl")
    path.write_text('{"step": 0, "loss": 2.0, "learning_rate": 0.1}\n\n{"step": 1, "loss": null}\n', encoding="utf-8")
    m = plot_metrics.read_metrics(path)
    check(m["loss"][0] == 2 and math.isnan(m["loss"][1]) and m["learning_rate"][0] == 0.1, "JSON lines")


def test_refusals(folder):
    refused(folder, "", "no column named step")
    refused(folder, "loss,accuracy\n1,2\n", ":1: no column named step")
    refused(folder, "step,loss,loss\n1,2,3\n", "named twice")
    refused(folder, "step,loss\n", "no lines of metrics")
    refused(folder, "step,loss\n0,1\n1\n", ":3: 1 values, the first line names 2")
    refused(folder, "step,loss\n0,x\n", ":2: loss is 'x', not a number")
    refused(folder, "step,loss\n,1\n", ":2: step is missing")
    refused(folder, "step,loss\n5,1\n3,1\n", ":3: step 3 comes after 5")
    refused(folder, '{"step": 1}\n{"step": \n', ":2: no JSON object")
    refused(folder, '{"loss": 1}\n', ":1: no JSON object with a member named step")
    refused(folder, '{"step": 1, "loss": [2]}\n', ":1: loss is [2], not a number")
    refused(folder, b"step,loss\n0,\xff\n", "byte 12 is not UTF-8")


def test_confusion(folder):
    path = Path(folder, "table.csv")
    path.write_text("target,cat,dog,emu\ncat,3,1,0\ndog,0,4,0\nemu,0,0,0\n", encoding="utf-8")
    names, counts = plot_confusion.read_confusion(path)
    check(names == ["cat", "dog", "emu"] and counts == [[3, 1, 0], [0, 4, 0], [0, 0, 0]], "a table of mistakes")
    accuracy, f1 = plot_confusion.figures(counts)
    check(accuracy == 7 / 8 and abs(f1 - (6 / 7 + 8 / 9) / 2) < 1e-12, "accuracy; F1 of classes that occur")
    for text, says in (("", ":1: not 'target'"), ("a,b\n", ":1: not 'target'"), ("target,a\nb,1\n", "lines are not those of the 1 classes"),
                       ("target,a,b\na,1,2\nb,1\n", ":3: not 2 counts"), ("target,a\na,-1\n", ":2: not 1 counts"),
                       ("target,a\na,0\n", "nothing was counted")):
        refused(folder, text, says, plot_confusion.read_confusion)


def test_picture(folder):
    global skipped
    out = Path(folder, "out.png")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        missing = plot_metrics.main([str(Path(folder, "absent.csv"))])
    check(missing == 1 and "absent.csv" in said.getvalue(), "a file that is not there")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        skipped += 1
        print("skipped: matplotlib is missing (make deps)")
        return
    with contextlib.redirect_stdout(said):
        code = plot_metrics.main([str(Path(folder, "a.csv")), str(Path(folder, "b.jsonl")), "-o", str(out), "--log-loss"])
    check(code == 0 and out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and "5 curves of 4 lines" in said.getvalue(), said.getvalue())
    with contextlib.redirect_stdout(said):
        code = plot_confusion.main([str(Path(folder, "table.csv")), "-o", str(out)])
    check(code == 0 and "3 classes, accuracy 0.8750, macro F1 0.8730" in said.getvalue(), said.getvalue())
    done = subprocess.run([TOOLS / "plot_metrics.py", "a.csv", "-o", "own.png"], cwd=folder, capture_output=True, text=True)
    check(done.returncode == 0, f"the command finds matplotlib itself: {done.stderr}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        test_reading(folder)
        test_refusals(folder)
        test_confusion(folder)
        test_picture(folder)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
