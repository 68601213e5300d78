# SPDX-License-Identifier: MIT
"""test_plot.py: metrics files read and refused by tools/plot_metrics.py; a picture drawn where matplotlib is there."""

import contextlib
import io
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import plot_metrics  # noqa: E402

passed = failed = skipped = 0


def check(ok, what):
    global passed, failed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print("FAIL", what)


def refused(folder, text, says):
    path = Path(folder, "bad")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        plot_metrics.read_metrics(path)
        check(False, f"refused: {says}")
    except plot_metrics.MetricsError as error:
        check(says in str(error) and str(path) in str(error), f"refused: {says} (was {error})")


def test_reading(folder):
    path = Path(folder, "a.csv")
    path.write_text("step,loss,val_loss,accuracy,other\r\n0,2.5,,0.1,x\r\n\r\n10,1.5,1.75,0.5,\r\n", encoding="utf-8")
    m = plot_metrics.read_metrics(path)
    check(m["step"] == [0, 10] and m["loss"] == [2.5, 1.5] and math.isnan(m["val_loss"][0]) and m["val_loss"][1] == 1.75, "CSV")
    check(not plot_metrics.has_values(m, "seconds"), "a column that is not there has no values")
    check([t for t, _ in plot_metrics.panels_of({"a": m})] == ["loss", "accuracy"], "panels that have something to show")
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


def main():
    with tempfile.TemporaryDirectory() as folder:
        test_reading(folder)
        test_refusals(folder)
        test_picture(folder)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
