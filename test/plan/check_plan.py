#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges printed plans: the JSON is valid and complete, its memory is sound by rules written here again, text, DOT
and SVG tell the same, and a small plan prints the committed bytes.

Usage: check_plan.py [--update] TEST_PLAN FILE.qorus...
       check_plan.py --json FILE.json           one plan, as `qorus plan --json` prints it
--update writes test/plan/small.* anew.

Lifetimes are computed from the steps alone, not taken from the plan: a value is born in its producer's group and
lives to the last group that reads it; outputs, and what the repeated tail reads of the body, live to the end;
event i of backward happens at time groups + i: the backward of a step, which touches what the class saves and the
gradients around it, or a step of a block that runs again, into values of its own.
"""
import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
KINDS = ("file", "param", "prepared", "state", "scratch", "train")
SIZES = {"f32": (4, 1), "f64": (8, 1), "i32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32),
         "q4_0": (18, 32), "q4_1": (20, 32)}
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}


class Wrong(Exception):
    """What is wrong with a plan."""


def need(good, *what):
    """Raises Wrong unless good."""
    if not good:
        raise Wrong(" ".join(str(w) for w in what))


def align(n):
    """n rounded up to 64."""
    return -(-n // 64) * 64


def times(plan, symbol):
    """The largest number a symbol of a shape stands for."""
    top = plan["max"]
    return {"one": 1, "batch": top["batch"], "tokens": top["tokens"], "rows": top["batch"] * top["tokens"],
            "selected": top["selected"]}[symbol]


def value_bytes(plan, value):
    """Bytes of a value at the maxima."""
    dims = [n * times(plan, symbol) for n, symbol in value["shape"]]
    if value["dtype"] in ("a8", "a8x2"):
        row = align(dims[3] // 4 * (5 if value["dtype"] == "a8" else 10))
    else:
        size, block = SIZES[value["dtype"]]
        row = dims[3] // block * size
    return align(dims[0] * dims[1] * dims[2] * row)


class Lives:
    """Lifetimes of everything in SCRATCH."""

    def __init__(self, plan):
        self.plan = plan
        self.values = {v["value"]: v for v in plan["values"]}
        self.train = plan["mode"] == "train"
        self.events = plan.get("events", [])
        self.steps = plan["steps"] + plan.get("again", [])
        self.back = {e["step"]: plan["groups"] + i for i, e in enumerate(self.events) if e["backward"]}
        self.end = plan["groups"] + len(self.events) - 1
        self.data = {}   # value: [first, last]
        self.grads = {}
        self.readers = {v: [] for v in self.values}  # value: [(step, time)]
        for value in plan["values"]:
            if value["data"] is None:
                continue
            born = 0 if value["producer"] is None else self.steps[value["producer"]]["group"]
            self.data[value["value"]] = [born, self.end if value["output"] else born]
        for step in plan["steps"]:
            self.forward(step)
        for time, event in enumerate(self.events, plan["groups"]):
            step = self.steps[event["step"]]
            if event["backward"]:
                self.backward(step, time)
                continue
            need(step["group"] == time and step["runs"], "time of step", step["step"])
            for value in reads(step) + step["out"]:
                self.touch(self.data, value, time)

    def origin(self, value):
        """Whose gradient a value shares."""
        return self.values[value].get("origin", value)

    def touch(self, table, value, time):
        """Extends a life to a time."""
        life = table.setdefault(value, [time, time])
        life[0], life[1] = min(life[0], time), max(life[1], time)

    def forward(self, step):
        """What a step reads."""
        for value in reads(step):
            producer = self.values[value]["producer"]
            from_body = producer is None or not self.steps[producer]["tail"]
            self.touch(self.data, value, self.end if step["tail"] and from_body else step["group"])
            self.readers[value].append(step["step"])

    def backward(self, step, time):
        """What its backward pass reads and writes."""
        for i, value in enumerate(reads(step)):
            if i < len(step["in"]) and step["saves"] >> i & 1:
                self.touch(self.data, value, time)
            if self.values[self.origin(value)]["grad"] is not None:
                self.touch(self.grads, self.origin(value), time)
        for i, value in enumerate(step["out"]):
            if step["saves"] >> (8 + i) & 1:
                self.touch(self.data, value, time)
            self.touch(self.grads, self.origin(value), time)


def reads(step):
    """Values a step reads."""
    return step["in"] + [step[role] for role in ("residual", "fold") if step.get(role) is not None]


def check_graph(plan):
    """Steps come after what they read, barriers stand where something is handed on, numbers refer to something."""
    values = {v["value"]: v for v in plan["values"]}
    need(len(values) == len(plan["values"]), "a value is listed twice")
    need([s["step"] for s in plan["steps"]] == list(range(len(plan["steps"]))), "steps out of order")
    need([p["param"] for p in plan["params"]] == list(range(len(plan["params"]))), "params out of order")
    for step in plan["steps"]:
        before = plan["steps"][step["step"] - 1]["group"] if step["step"] else 0
        need(before <= step["group"] <= before + 1, "group of step", step["step"])
        need(step["tail"] == (step["step"] >= plan["body_steps"]), "tail of step", step["step"])
        for value in reads(step):
            need(value in values, "step", step["step"], "reads no value", value)
            producer = values[value]["producer"]
            if producer is not None:
                need(producer < step["step"], "step", step["step"], "reads", value, "too early")
                need(plan["steps"][producer]["group"] < step["group"], "no barrier before step", step["step"])
        for value in step["out"]:
            need(values[value]["producer"] == step["step"], "producer of", value)
        for param in step["params"]:
            need(plan["params"][param]["used"], "param", param, "is used and says it is not")
    need(plan["steps"][-1]["group"] + 1 == plan["groups"], "groups")
    for end in plan["inputs"]:
        need(values[end["value"]]["producer"] is None, "an input is produced")
    for end in plan["outputs"]:
        need(values[end["value"]]["output"], "an output is none")


def check_gradients(plan, lives):
    """Every gradient that backward reads has been written: by a later step's backward, or it is the loss's."""
    loss = plan["outputs"][0]["value"]
    written = {loss}
    ran = set()
    for event in plan.get("events", []):
        step = lives.steps[event["step"]]
        if not event["backward"]:
            for value in reads(step):
                producer = lives.values[value]["producer"]
                need(producer is None or producer < len(plan["steps"]) or producer in ran, "step", step["step"],
                     "reads", value, "before it is made again")
            ran.add(step["step"])
            continue
        need(step["backward"], "step", step["step"], "has no backward")
        for value in step["out"]:
            need(lives.origin(value) in written or len(step["out"]) > 1, "nothing writes the gradient of", value)
        written |= {lives.origin(value) for value in reads(step)}
        for i, value in enumerate(step["in"]):
            producer = lives.values[value]["producer"]
            need(not step["saves"] >> i & 1 or producer is None or producer < len(plan["steps"]) or producer in ran,
                 "backward of step", step["step"], "reads", value, "which nobody made again")
    need(set(lives.back) == {s["step"] for s in lives.steps if s["backward"]}, "events of backward")
    need(len(lives.back) == sum(e["backward"] for e in plan.get("events", [])), "a backward runs twice")


def check_in_place(plan, lives):
    """A value in place of another: its own step is the last one to read that memory."""
    values = lives.values
    for number, value in values.items():
        root = value["root"]
        if root == number:
            continue
        need(value["producer"] is not None, "input", number, "in place")
        step = plan["steps"][value["producer"]]
        before = [v for v in reads(step) if values[v]["root"] == root]
        need(len(before) == 1, "value", number, "takes the memory of", len(before), "operands")
        taken = before[0]
        need(plan["in_place"] and "origin" not in value, "in place where it is not allowed")
        need(number == step["out"][0], "only the first output goes in place")
        need(lives.data[taken][1] == step["group"], "value", taken, "is read after", number, "overwrote it")
        need(not values[taken]["output"], "output", taken, "is overwritten")
        others = [s for v in values if values[v]["root"] == root for s in lives.readers[v]
                  if s != step["step"] and plan["steps"][s]["group"] == step["group"]]
        need(not others, "step", others, "reads what", number, "overwrites at the same time")
        need(value["data"]["bytes"] == values[taken]["data"]["bytes"], "sizes in place differ at", number)
        need(value["data"]["offset"] == values[taken]["data"]["offset"], "offsets in place differ at", number)


def scratch_pieces(plan, lives):
    """(owner, tag, offset, bytes, first, last) of everything in SCRATCH; owners of one memory are the same."""
    for number, value in lives.values.items():
        data = value["data"]
        if data is None:
            need("origin" in value and number not in lives.data, "value", number, "has no memory")
            continue
        need(data["bytes"] == value_bytes(plan, value), "bytes of value", number)
        yield ("v", value["root"]), data["tag"], data["offset"], data["bytes"], *lives.data[number]
        if value["grad"] is not None:
            need(value["grad"]["bytes"] == data["bytes"], "bytes of gradient", number)
            if number in lives.grads:
                grad = value["grad"]
                yield ("g", number), grad["tag"], grad["offset"], grad["bytes"], *lives.grads[number]
    for step in lives.steps:
        if step["scratch"] is not None and step.get("runs", True):
            piece = step["scratch"]
            yield ("s", step["step"]), piece["tag"], piece["offset"], piece["bytes"], step["group"], step["group"]
        if step["backward"]:
            piece, time = step["scratch_back"], lives.back[step["step"]]
            need((piece is None) == (step["scratch"] is None), "scratch of the backward of step", step["step"])
            if piece is not None:
                yield ("b", step["step"]), piece["tag"], piece["offset"], piece["bytes"], time, time
    if plan["workspace_bytes"]:
        yield ("w", 0), 0, plan["workspace_offset"], plan["workspace_bytes"] * plan["workers"], 0, lives.end


def check_scratch(plan, lives, regions):
    """No two pieces that live at the same time share a byte; the region ends where the last one does."""
    pieces = sorted(scratch_pieces(plan, lives), key=lambda p: p[2])
    high = {}
    for i, (owner, tag, offset, size, first, last) in enumerate(pieces):
        need(offset % 64 == 0, owner, "is not aligned")
        need(offset + size <= regions.get(("scratch", tag), 0), owner, "leaves its region")
        high[tag] = max(high.get(tag, 0), offset + size)
        for other, tag2, offset2, _, first2, last2 in pieces[i + 1:]:
            if offset2 >= offset + size:
                break
            need(tag != tag2 or owner == other or last < first2 or last2 < first, owner, "and", other,
                 "share bytes from", offset2, "at time", max(first, first2))
    need(high == {t: n for (kind, t), n in regions.items() if kind == "scratch"}, "bytes of scratch", high)


def check_lasting(plan, regions):
    """What lives for ever fills its regions without gap or overlap."""
    ends = {}
    pieces = [("state", s["state"]) for s in plan["steps"]] + [("train", s["saved"]) for s in plan["steps"]]
    pieces += [("param", p["slot"]) for p in plan["params"]] + [("train", p["grad"]) for p in plan["params"]]
    pieces += [("train", p.get("moment")) for p in plan["params"]]
    pieces += [("train", u["grad"]) for u in plan.get("uses", [])]
    for kind, piece in sorted((p for p in pieces if p[1] is not None), key=lambda p: p[1]["offset"]):
        at = ends.get((kind, piece["tag"]), 0)
        need(piece["offset"] == at and piece["bytes"] % 64 == 0, kind, "piece at", piece["offset"], "not at", at)
        ends[kind, piece["tag"]] = at + piece["bytes"]
    need(ends == {k: n for k, n in regions.items() if k[0] != "scratch"}, "bytes of lasting regions", ends)
    for param in plan["params"]:
        need((param["slot"] is None) == param["view"], "slot of", param["name"])
        need(param["slot"] is None or param["slot"]["bytes"] == align(param["bytes"]), "bytes of", param["name"])
        trained = plan["mode"] == "train" and param["trainable"] and param["used"]
        need((param["grad"] is not None) == trained, "gradient of", param["name"])


def check_json(plan, needs=None):
    """All rules; raises Wrong."""
    regions = {(r["kind"], r["tag"]): r["bytes"] for r in plan["regions"]}
    if needs is not None:
        need(regions == {k: n for k, n in needs.items() if n != 0}, "regions are not those of q_plan_needs")
    check_graph(plan)
    lives = Lives(plan)
    for value in plan["values"]:
        if value["data"] is None:
            continue
        group = [v["value"] for v in plan["values"] if v["root"] == value["root"]] if value["root"] == \
            value["value"] else [value["value"]]
        told = value["data"]
        need(told["first"] == lives.data[value["value"]][0], "first time of", value["value"])
        need(told["last"] == max(lives.data[v][1] for v in group), "last time of", value["value"])
    check_gradients(plan, lives)
    check_in_place(plan, lives)
    check_scratch(plan, lives, regions)
    check_lasting(plan, regions)


# ---- The other forms -----------------------------------------------------------------------------------------


def check_text(text, plan):
    """The table names the same steps, values and totals."""
    regions = [(r["kind"], r["tag"], r["bytes"]) for r in plan["regions"]]
    rows = re.findall(r"^(\w+) +(\d) +(\d+)$", text, re.M)
    need([(k, int(t), int(n)) for k, t, n in rows] == regions, "regions in text")
    steps = re.findall(r"^ *(\d+) +(\d+) (\S+) +(.*?)(?: \(per window\))?$", text.split("\nparam type")[0], re.M)
    told = [(int(k), int(g), c, n) for k, g, c, n in steps]
    shown = plan["steps"] + [s for s in plan.get("again", []) if s["runs"]]
    need(told == [(s["step"], s["group"], s["class"], s["name"]) for s in shown], "steps in text")
    lines = re.findall(r"^      (in|out|residual|fold) +v(\d+) +(\S+) +(\S+) +scratch(?:/(\d))? \+(\d+), (\d+) bytes, "
                       r"live \[(\d+),(\d+)\]", text, re.M)
    expected = len(plan["inputs"]) + sum(len(reads(s)) + len(s["out"]) for s in shown)
    need(len(lines) == expected, len(lines), "values in text,", expected, "expected")
    values = {v["value"]: v for v in plan["values"]}
    for _, number, dtype, shape, tag, offset, size, first, last in lines:
        value = values[int(number)]
        data = value["data"]
        need((dtype, int(tag or 0), int(offset), int(size), int(first), int(last)) ==
             (value["dtype"], data["tag"], data["offset"], data["bytes"], data["first"], data["last"]),
             "value", number, "in text")
        need(shape.split("×")[-1] == shape_word(value["shape"][3]), "shape of value", number, "in text")
    total = re.search(r"^regions +(\d+) bytes$", text, re.M)
    need(total is not None and int(total[1]) == sum(n for _, _, n in regions), "total in text")
    views = re.search(r"^views +(\d+) parameters used where they lie, (\d+) bytes$", text, re.M)
    there = [p["bytes"] for p in plan["params"] if p["view"]]
    need(views is not None and (int(views[1]), int(views[2])) == (len(there), sum(there)), "views in text")


def shape_word(dim):
    """A dimension as the text writes it."""
    n, symbol = dim
    return str(n) if symbol == "one" else symbol if n == 1 else f"{n}*{symbol}"


def own_block(plan, k):
    """The block step k is drawn in: a quantize step goes with what it was put before."""
    steps = plan["steps"]
    while k + 1 < len(steps) and steps[k]["class"] in ("quantize", "fake_quantize") and "block" not in steps[k]:
        k += 1
    return steps[k].get("block")


def blocks_of(plan):
    """[(first, end) of steps] in order; steps in no block are alone."""
    out = []
    for k in range(len(plan["steps"])):
        if out and own_block(plan, k) is not None and own_block(plan, out[-1][0]) == own_block(plan, k):
            out[-1] = (out[-1][0], k + 1)
        else:
            out.append((k, k + 1))
    return out


def hidden_blocks(plan):
    """{step: first step of the blocks drawn as one box}: two or more that are like the one before them."""
    values = {v["value"]: v for v in plan["values"]}

    def looks(block):
        return [(s["class"], s.get("activation"), s["residual"] is None, "fold" in s, s["tail"],
                 [(values[v]["shape"], values[v]["dtype"]) for v in reads(s) + s["out"][:1]])
                for s in plan["steps"][block[0]:block[1]]]

    blocks, hidden, i = blocks_of(plan), {}, 0
    while i < len(blocks):
        end = i + 1
        while end < len(blocks) and blocks[i][1] - blocks[i][0] > 1 and looks(blocks[end]) == looks(blocks[i]):
            end += 1
        if end - i > 2:
            hidden |= {k: blocks[i + 1][0] for k in range(blocks[i + 1][0], blocks[end - 1][1])}
        i = end if end - i > 2 else i + 1
    return hidden


def expected_edges(plan, hidden):
    """(from, to, in place) of every edge: the first of hidden blocks reads for them all, each value once."""
    values = {v["value"]: v for v in plan["values"]}

    def source(value):
        producer = values[value]["producer"]
        return f"i{value}" if producer is None else f"s{hidden.get(producer, producer)}"

    first = {b: e for b, e in blocks_of(plan)}
    seen = set()
    for step in plan["steps"]:
        k, out = step["step"], values[step["out"][0]]
        for value in reads(step):
            producer = values[value]["producer"]
            if k not in hidden:
                yield source(value), f"s{k}", out["root"] != out["value"] and values[value]["root"] == out["root"]
            elif k < first[hidden[k]] and (producer is None or producer < hidden[k]) and (value, hidden[k]) not in seen:
                seen.add((value, hidden[k]))
                yield source(value), f"s{hidden[k]}", False
    for i, end in enumerate(plan["outputs"]):
        yield source(end["value"]), f"o{i}", False


def check_dot(text, plan):
    """Nodes and edges are those the plan has, but for blocks alike; what is fused is named. Graphviz reads it, if it is here."""
    lines = text.splitlines()
    need(lines[0] == "digraph plan {" and lines[-1] == "}", "braces of DOT")
    hidden = hidden_blocks(plan)
    nodes, edges, frames = {}, [], 0
    for line in lines[1:-1]:
        node = re.fullmatch(r'    (\w+) \[label="((?:[^"\\]|\\.)*)"(?:, \w+=(?:\w+|"[^"]*"))*\];', line)
        edge = re.fullmatch(r'    (\w+) -> (\w+) \[label="((?:[^"\\]|\\.)*)"(?:, \w+=(?:\w+|"[^"]*"))*\];', line)
        frame = re.fullmatch(r'    (?:subgraph cluster_\d+ \{|label="(?:[^"\\]|\\.)*";|\}|(?:graph|node|edge) \[.*\];)', line)
        need(node and node[1] not in ("graph", "node", "edge") or edge or frame, "DOT line", line)
        if frame:
            frames += line.startswith("    subgraph")
        elif node:
            need(node[1] not in nodes, "node", node[1], "twice")
            nodes[node[1]] = node[2]
        else:
            edges.append((edge[1], edge[2], edge[3].endswith("\\nin place")))
    shown = [s for s in plan["steps"] if hidden.get(s["step"], s["step"]) == s["step"]]
    need(set(nodes) == {f"i{i}" for i in range(len(plan["inputs"]))} | {f"o{i}" for i in range(len(plan["outputs"]))} |
         {f"s{s['step']}" for s in shown}, "nodes of DOT")
    need(sorted(edges) == sorted(expected_edges(plan, hidden)), "edges of DOT")
    need(frames == sum(end - begin > 1 and begin not in hidden for begin, end in blocks_of(plan)), "frames of DOT")
    for step in shown:
        if step["step"] not in hidden:
            parts = [step["class"]] + ["batchnorm"] * ("fold" in step) + [step.get("activation")] * ("activation" in step)
            parts += ["add"] * (step["residual"] is not None)
            need(nodes[f"s{step['step']}"].startswith(" + ".join(parts) + "\\n"), "fused parts of step", step["step"])
    if shutil.which("dot"):
        done = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=False, timeout=120)
        need(done.returncode == 0 and not done.stderr and b"</svg>" in done.stdout, "dot says", done.stderr[:200])


def check_svg(text, plan):
    """Each piece of SCRATCH is one rectangle, as long as it lives by the rules of this file, where it lies; no two overlap."""
    page = ElementTree.fromstring(text)
    tag = "{http://www.w3.org/2000/svg}"
    lives = Lives(plan)
    want = {}
    for (letter, number), memory, offset, size, first, last in scratch_pieces(plan, lives):
        if letter == "g": # a gradient that nobody writes is cleared before anybody reads it
            told = lives.values[number]["grad"]
            need(told["first"] <= first and told["last"] == last, "life of gradient", number)
            first = told["first"]
        if letter != "w":
            x, end = want.get((memory, f"{letter}{number}"), (first, last))[:2]
            want[memory, f"{letter}{number}"] = (min(first, x), max(last, end), offset, size)
    panels = page.findall(tag + "svg")
    memories = sorted({memory for memory, _ in want})
    need(len(panels) == len(memories), "panels of SVG")
    for memory, panel in zip(memories, panels):
        told = {}
        for rect in panel.iter(tag + "rect"):
            x, y, width, height = (int(rect.get(a)) for a in ("x", "y", "width", "height"))
            need(rect.get("id") not in told, "rectangle", rect.get("id"), "twice")
            told[rect.get("id")] = (x, x + width - 1, y, height)
        need(told == {name: piece for (m, name), piece in want.items() if m == memory}, "rectangles of memory", memory)
        overlaps(told)
        top = max(offset + size for _, _, offset, size in told.values())
        need(panel.get("viewBox") == f"0 -{top} {lives.end + 1} {top}", "units of memory", memory)
        most = max(sum(size for first, last, _, size in told.values() if first <= time <= last) for time in range(lives.end + 1))
        need(f": {top} bytes, most alive at once {most} at " in text, "figures of memory", memory)
    need(len(text.encode()) <= 8192 * max(1, len(panels)) + 300 * len(want), "bytes of SVG:", len(text.encode()))


def overlaps(rectangles):
    """Raises Wrong where two share a byte at one time."""
    ordered = sorted(rectangles.items(), key=lambda r: r[1][2])
    for i, (name, (first, last, offset, size)) in enumerate(ordered):
        for other, (first2, last2, offset2, _) in ordered[i + 1:]:
            if offset2 >= offset + size:
                break
            need(last < first2 or last2 < first, name, "and", other, "overlap in the picture")


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
