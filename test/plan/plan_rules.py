# SPDX-License-Identifier: MIT
"""Rules of a plan as `qorus plan --json` prints it: check_json raises Wrong where one is broken.

Lifetimes are computed from the steps alone, not taken from the plan: a value is born in its producer's group and
lives to the last group that reads it; outputs, and what the repeated tail reads of the body, live to the end;
event i of backward happens at time groups + i: the backward of a step, which touches what the class saves and the
gradients around it, or a step of a block that runs again, into values of its own.
"""

SIZES = {"f32": (4, 1), "f64": (8, 1), "i32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32),
         "q4_0": (18, 32), "q4_1": (20, 32)}


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
        total = step.get("sum")
        before = [v for v in reads(step) if values[v]["root"] == root]
        if total not in (None, number) and values[total]["root"] == root:
            need(lives.data[total] == [step["group"], step["group"]] and not values[total]["output"], "sum", total,
                 "is read after", number, "overwrote it")
            before = before or [total]
        need(len(before) == 1, "value", number, "takes the memory of", len(before), "operands")
        taken = before[0]
        need(plan["in_place"] and "origin" not in value, "in place where it is not allowed")
        need(number in (step["out"][0], total), "only the first output, and a sum, go in place")
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
