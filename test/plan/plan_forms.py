# SPDX-License-Identifier: MIT
"""Text, DOT and SVG of a plan against its JSON: each check raises Wrong where they do not tell the same."""
import re
import shutil
import subprocess
from xml.etree import ElementTree

from plan_rules import Lives, need, reads, scratch_pieces


def check_text(text, plan):
    """The table names the same steps, values and totals."""
    regions = [(r["kind"], r["tag"], r["bytes"]) for r in plan["regions"]]
    rows = re.findall(r"^(\w+) +(\d) +(\d+)$", text, re.M)
    need([(k, int(t), int(n)) for k, t, n in rows] == regions, "regions in text")
    steps = re.findall(r"^ *(\d+) +(\d+) (\S+) +(.*?)(?: \(per window\))?$", text.split("\nparam type")[0], re.M)
    told = [(int(k), int(g), c, n) for k, g, c, n in steps]
    shown = plan["steps"] + [s for s in plan.get("again", []) if s["runs"]]
    need(told == [(s["step"], s["group"], s["class"], s["name"]) for s in shown], "steps in text")
    lines = re.findall(r"^      (in|sum|out|residual|fold) +v(\d+) +(\S+) +(\S+) +scratch(?:/(\d))? \+(\d+), (\d+) bytes, "
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
        return [(s["class"], s.get("activation"), s["residual"] is None, "fold" in s, "sum" in s, s["tail"],
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
        k, made = step["step"], [values[v] for v in step["out"]]
        for value in reads(step):
            producer = values[value]["producer"]
            if k not in hidden:
                yield source(value), f"s{k}", any(out["root"] != out["value"] and values[value]["root"] == out["root"]
                                                  for out in made)
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
            parts = ["add"] * ("sum" in step) + [step["class"]] + ["batchnorm"] * ("fold" in step) + [step.get("activation")] * ("activation" in step)
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
