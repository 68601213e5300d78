#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges printed plans: the JSON is valid and complete, its memory is sound by rules written again in plan_rules.py,
text, DOT and SVG tell the same (plan_forms.py), and a small plan prints the committed bytes.

Usage: check_plan.py [--update] TEST_PLAN FILE.qorus...
       check_plan.py --json FILE.json           one plan, as `qorus plan --json` prints it
--update writes test/plan/small.* anew.
"""
import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

from plan_forms import check_dot, check_svg, check_text  # noqa: E402
from plan_rules import Wrong, check_json  # noqa: E402

HERE = Path(__file__).resolve().parent
KINDS = ("file", "param", "prepared", "state", "scratch", "train")
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}


# ---- Does this notice anything at all? -----------------------------------------------------------------------


def defects(plan):
    """(name, plan with that one defect)."""
    def changed(name, change):
        other = copy.deepcopy(plan)
        change(other)
        return name, other

    def overlap(p):
        values = {v["value"]: v for v in p["values"]}
        source, made = next((values[a], values[b]) for s in p["steps"] for a in s["in"] for b in s["out"]
                            if values[b]["root"] == b)
        made["data"].update(offset=source["data"]["offset"], tag=source["data"]["tag"])

    def early_end(p):
        value = max((v for v in p["values"] if v["root"] == v["value"] and v["data"]),
                    key=lambda v: v["data"]["last"] - v["data"]["first"])
        value["data"]["last"] = value["data"]["first"]

    def outside(p):
        top = max((v for v in p["values"] if v["data"]), key=lambda v: v["data"]["offset"])
        top["data"]["offset"] += 1 << 30

    yield changed("two values on one another", overlap)
    yield changed("a life that ends early", early_end)
    yield changed("a value outside its region", outside)
    yield changed("a missing barrier", lambda p: [s.update(group=0) for s in p["steps"]])
    yield changed("a region too large", lambda p: p["regions"][-1].update(bytes=p["regions"][-1]["bytes"] + 64))
    yield changed("a piece off by one", lambda p: p["values"][0]["data"].update(bytes=1))


def drawn_defects(dot, svg):
    """(name, check, text with that one defect)."""
    edges = [line for line in dot.splitlines(keepends=True) if " -> " in line]
    yield "an edge left out", check_dot, dot.replace(edges[0], "", 1)
    yield "an edge elsewhere", check_dot, dot.replace(edges[-1], re.sub(r"-> \w+", "-> i0", edges[-1]), 1)
    yield "another place", check_svg, re.sub(r' y="(\d+)" width="(\d+)" height="(\d+)"><t', r' y="9\1" width="\2" height="\3"><t', svg, count=1)
    yield "another life", check_svg, re.sub(r' width="(\d+)" height="(\d+)"><t', r' width="9\1" height="\2"><t', svg, count=1)
    yield "a piece left out", check_svg, re.sub(r"<rect id=.*\n", "", svg, count=1)


def tell(name, good, detail=""):
    """Counts one test."""
    COUNTS["passed" if good else "failed"] += 1
    if not good:
        print(f"FAIL {name}: {detail}")


def judge(name, check, *arguments):
    """One test: the check finds nothing wrong."""
    try:
        check(*arguments)
    except (Wrong, KeyError, ValueError, TypeError, IndexError) as error:
        tell(name, False, f"{type(error).__name__} {error}")
    else:
        tell(name, True)


def judge_folder(folder):
    """All plans test_plan has printed."""
    for path in sorted(folder.glob("*.json")):
        needs = {}
        for line in path.with_suffix(".needs").read_text().splitlines():
            kind, tag, n = map(int, line.split())
            needs[KINDS[kind], tag] = n
        plan = json.loads(path.read_text(encoding="utf-8"))
        judge(path.stem + " json", check_json, plan, needs)
        text, dot, svg = (path.with_suffix(ending).read_text(encoding="utf-8") for ending in (".txt", ".dot", ".svg"))
        judge(path.stem + " text", check_text, text, plan)
        judge(path.stem + " dot", check_dot, dot, plan)
        judge(path.stem + " svg", check_svg, svg, plan)
        noticed = [(what, check_json, (bad, needs)) for what, bad in defects(plan)]
        noticed += [(what, check, (bad, plan)) for what, check, bad in drawn_defects(dot, svg)]
        for what, check, arguments in noticed:
            try:
                check(*arguments)
            except Wrong:
                tell(what, True)
            else:
                tell(f"{path.stem}: {what}", False, "was not noticed")


def compare_small(folder, update):
    """The small training plan prints the committed bytes."""
    for ending in ("txt", "dot", "json", "svg"):
        now, kept = folder / f"small-train.{ending}", HERE / f"small.{ending}"
        if update:
            shutil.copyfile(now, kept)
        tell(f"small.{ending}", now.read_bytes() == kept.read_bytes(),
             "other bytes than committed; check_plan.py --update if the planner was meant to change")


def main(words):
    """Exit code 0: all passed."""
    if words[:1] == ["--json"]:
        check_json(json.loads(Path(words[1]).read_text(encoding="utf-8"))["plan"])
        return 0
    update = words[:1] == ["--update"]
    words = words[1:] if update else words
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([words[0], folder, *words[1:]], capture_output=True, text=True, check=False, timeout=300)
        print(done.stdout, end="")
        summary = re.search(r"^(\d+) passed, (\d+) failed", done.stdout, re.M)
        tell("test_plan ran", done.returncode == 0 and summary is not None, done.stderr[-400:])
        COUNTS["passed"] += int(summary[1]) if summary else 0
        COUNTS["failed"] += int(summary[2]) if summary else 0
        judge_folder(Path(folder))
        compare_small(Path(folder), update)
    if not shutil.which("dot"):
        print("Graphviz is not here: DOT was checked line by line")
    print(f"{COUNTS['passed']} passed, {COUNTS['failed']} failed, {COUNTS['skipped']} skipped")
    return 0 if COUNTS["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
