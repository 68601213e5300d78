#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Own benchmarks: models, kernels, what the machine can do at most, dispatch, start, sampler, the port without a system.

Prints tables; JSON lines of the same figures go to --json. With --save they become the stored baseline of this kind of
CPU, docs/results/bench-<cpu>.json and .md; without it each figure is shown beside the stored one (above 1 is better).
Medians; lowest and highest value in the JSON. Standard library only.
"""
import argparse
import json
import os
import re
import sys

import house
from house import Failed, Samples, json_lines, number, output_of, say

PRODUCTS = ("gemm", "matmul", "attention")  # kernels whose items are multiply-adds
AIMS = {"dispatch/forward without kernels": ("ns", 100), "dispatch/q_op_add less its kernel by hand": ("ns", 10),
        "dispatch/share of a training step": ("%", 1),
        "start/first logits less a step": ("ms", 5), "sampler/top-k, top-p, min-p": ("us", 150),
        "bare/share of POSIX": ("x", 0.95)}


class Book:
    """Figures by key, in the order they came."""

    def __init__(self, baseline):
        self.figures = {}
        self.lines = []
        self.baseline = baseline

    def add(self, key, value, unit, low=None, high=None, share=None, of=""):
        """One figure. Rates (.../s, x) are better high, times better low."""
        figure = {"key": key, "value": value, "unit": unit, "min": value if low is None else low,
                  "max": value if high is None else high}
        if share is not None:
            figure.update(share=share, share_of=of)
        old = self.baseline.get(key)
        if old and old["value"] and value and old["unit"] == unit:
            figure["to_baseline"] = value / old["value"] if self.high_is_better(unit) else old["value"] / value
        self.figures[key] = figure

    def unavailable(self, key, why):
        """A figure this machine does not give."""
        self.figures[key] = {"key": key, "unavailable": why}

    @staticmethod
    def high_is_better(unit):
        """Rates and shares, not times."""
        return unit.endswith("/s") or unit == "x"

    def table(self):
        """All figures as a table."""
        rows = []
        for key, f in self.figures.items():
            if "unavailable" in f:
                rows.append([key, "UNAVAILABLE", "", "", f["unavailable"], "", ""])
                continue
            aim = AIMS.get(key)
            rows.append([key, number(f["value"]), f["unit"], f"{number(f['min'])} .. {number(f['max'])}",
                         f"{100 * f['share']:.0f}% of {f['share_of']}" if "share" in f else "",
                         (">= " if self.high_is_better(f["unit"]) else "<= ") + str(aim[1]) if aim else "",
                         f"{f['to_baseline']:.2f}" if "to_baseline" in f else ""])
        return house.table(["figure", "median", "unit", "lowest .. highest", "share", "aim", "to baseline"], rows)


class Bench:
    """The programs and what they have shown about the machine so far."""

    def __init__(self, options, book):
        self.o = options
        self.book = book
        self.read = {}   # (file, threads): bytes per second
        self.int8 = {}   # (backend, threads): operations per second
        self.f32 = {}
        self.backends = [b["name"] for b in json_lines([options.parts, "backends"]) if b["runs"]]
        self.fast = [b for b in self.backends if b != "scalar"] or self.backends
        self.threads = [t for t in (1, 2) if t <= (os.cpu_count() or 1)] if not options.tiny else [1]

    # ---- What the machine can do -----------------------------------------------------------------------------

    def peaks(self):
        """f32 and int8 rates. A backend's peak is that of the best instructions it may use."""
        for t in self.threads:
            for p in json_lines([self.o.parts, "peak", t]):
                key = f"machine/{p['kind']} {p['isa']}/{t}T"
                if "unavailable" in p:
                    self.book.unavailable(key, p["unavailable"])
                    continue
                (self.int8 if p["kind"] == "int8" else self.f32)[p["isa"], t] = p["gop_s_max"]
                unit = "GOP/s" if p["kind"] == "int8" else "GFLOP/s"
                self.book.add(key, p["gop_s"], unit, p["gop_s_min"], p["gop_s_max"])
            if ("avx2", t) in self.f32:
                self.f32["avx2vnni", t] = self.f32["avx2", t]

    def read_rate(self, file, threads):
        """Best of several loops over as many bytes as the file has, in the file's mapping and in memory."""
        if (file, threads) not in self.read:
            runs = json_lines([self.o.parts, "read", file, threads])
            best = max(runs, key=lambda r: r["gb_s_max"])
            self.read[file, threads] = best["gb_s_max"]
            self.book.add(f"machine/read {os.path.getsize(file) / 1e6:.0f} MB/{threads}T", best["gb_s"], "GB/s",
                          best["gb_s_min"], best["gb_s_max"])
        return self.read[file, threads]

    # ---- Models ----------------------------------------------------------------------------------------------

    def models(self):
        """(type, file): as shipped, and quantised again."""
        made = [(self.o.model_type, self.o.model)]
        folder = os.path.join(self.o.folder, "settled")
        os.makedirs(folder, exist_ok=True)
        for name in [] if self.o.tiny else ["Q4_0", "Q8_0"]:
            path = os.path.join(self.o.folder, f"{os.path.basename(self.o.model)}.{name.lower()}")
            if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(self.o.model):
                output_of([self.o.command, "quantize", self.o.model, path, name.lower()])
            made.append((name, house.settled(path, folder)))
        return made

    def model(self, name, path, backend, threads):
        """Prefill and decode of one model."""
        say(f"bench: {name}, {backend}, {threads} threads")
        slow = backend == "scalar"
        decode = 4 if self.o.tiny else 8 if slow else 64
        repeat = 1 if slow or self.o.tiny else self.o.repeat
        matrices = matrix_values(self.o.command, path)
        rate = self.read_rate(path, threads)
        for tokens in [8] if self.o.tiny else [64] if slow else [256, 512]:
            r = json_lines([self.o.command, "bench", path, "-p", tokens, "-n", 0, "-t", threads, "-r", repeat,
                            "--backend", backend, "--json"])[0]
            peak = self.int8.get((backend, threads))
            self.book.add(f"model/{name}/{backend}/{threads}T/prefill {tokens}", r["prefill_tok_s"], "tokens/s",
                          r["prefill_min"], r["prefill_max"],
                          2e-9 * matrices * r["prefill_tok_s"] / peak if peak else None, "int8 peak")
        r = json_lines([self.o.command, "bench", path, "-p", 0, "-n", decode, "-t", threads, "-r", repeat,
                        "--backend", backend, "--json"])[0]
        self.book.add(f"model/{name}/{backend}/{threads}T/decode {decode}", r["decode_tok_s"], "tokens/s",
                      r["decode_min"], r["decode_max"], r["weight_bytes"] * r["decode_tok_s"] * 1e-9 / rate, "read rate")

    def all_models(self):
        """Every type on every backend; scalar on one thread with the shipped type only."""
        models = self.models()
        for name, path in models:
            for threads in self.threads:
                for backend in self.backends:
                    if backend != "scalar" or (path == self.o.model and threads == 1):
                        self.model(name, path, backend, threads)

    # ---- Kernels ---------------------------------------------------------------------------------------------

    def kernels(self):
        """checkkern --bench, one worker."""
        say("bench: kernels")
        words = [self.o.checkkern, "--seed", 1, "--bench", "--isa", ",".join(self.fast)]
        out, _ = output_of(words + (["--kernel", "add"] if self.o.tiny else []), seconds=1800)
        row = re.compile(r"^(\S+) +(\S+) +(.*?) +([\d.]+) us +([\d.]+) G/s +([\d.]+) GB/s$", re.M)
        for isa, kernel, shape, _, items, moved in row.findall(out):
            key = f"kernel/{kernel}/{isa}/{shape}"
            if not kernel.startswith(PRODUCTS):
                self.book.add(key, float(moved), "GB/s")
                continue
            a8 = kernel.startswith("gemm_a8")
            peak = (self.int8 if a8 else self.f32).get((isa, 1))
            self.book.add(key, 2 * float(items), "GFLOP/s", share=2 * float(items) / peak if peak else None,
                          of="int8 peak" if a8 else "f32 peak")

    # ---- Around the kernels ----------------------------------------------------------------------------------

    def dispatch(self):
        """Forward, operation and training step with kernels that do nothing."""
        ns = {}
        for r in json_lines([self.o.parts, "dispatch", self.o.mlp]):
            self.book.add(f"dispatch/{r['what']}", r["ns"], "ns", r["ns_min"], r["ns_max"])
            ns[r["what"]] = r["ns"]
        self.book.add("dispatch/q_op_add less its kernel by hand",
                      ns["q_op_add of 16 values"] - ns["add of 16 values by hand"], "ns")
        self.book.add("dispatch/share of a training step",
                      100 * ns["training step without kernels"] / ns["training step"], "%")

    def sampler(self):
        """One draw."""
        for r in json_lines([self.o.parts, "sampler", 4096 if self.o.tiny else 49152]):
            self.book.add(f"sampler/{r['what']}", r["us"], "us", r["us_min"], r["us_max"])

    def start(self):
        """Process start to the first byte of a one-token prompt's continuation, less a decode step."""
        say("bench: start")
        repeat = 3 if self.o.tiny else 21
        r = json_lines([self.o.parts, "start", repeat, self.o.command, "run", self.o.model, "-p", self.o.start_prompt,
                        "-n", 1, "--temp", 0, "-t", 1])[0]
        step = json_lines([self.o.command, "bench", self.o.model, "-p", 0, "-n", 4 if self.o.tiny else 64, "-t", 1,
                           "--json"])[0]
        step_ms = 1e3 / step["decode_tok_s"]
        self.book.add("start/to the first token", r["first_ms"], "ms", r["first_ms_min"], r["first_ms_max"])
        self.book.add("start/a decode step", step_ms, "ms", 1e3 / step["decode_max"], 1e3 / step["decode_min"])
        self.book.add("start/first logits less a step", r["first_ms"] - step_ms, "ms", r["first_ms_min"] - step_ms,
                      r["first_ms_max"] - step_ms)

    def bare(self):
        """The image that boots, under KVM, against the command; the same run, in turn."""
        share = "bare/share of POSIX"
        if self.o.tiny or not self.o.image or not os.path.exists(self.o.image):
            self.book.unavailable(share, "no image")
            return
        say("bench: bare x86")
        run = ["-p", "Once upon a time", "-n", 128, "--temp", 0]
        sides = {"bare": Samples(), "posix": Samples()}
        for _ in range(5):
            try:
                backend, rate = bare_run(self.o, run)
            except Failed as error:
                why = "no usable /dev/kvm or no QEMU" if "exit 125" in str(error) else str(error)
                self.book.unavailable(share, why)
                return
            sides["bare"].add(rate)
            _, err = output_of([self.o.command, "run", self.o.model, *run, "-t", 1, "--backend", backend, "--json"])
            sides["posix"].add(json.loads(err.strip().splitlines()[-1])["decode_tok_s"])
        for name, s in sides.items():
            where = f"KVM, {kvm_kind()}" if name == "bare" else "1 thread"
            self.book.add(f"bare/{name} decode, {backend}, {where}", s.median, "tokens/s", s.low, s.high)
        ratios = Samples(b / p for b, p in zip(sides["bare"].values, sides["posix"].values))
        self.book.add(share, ratios.median, "x", ratios.low, ratios.high)


def bare_run(options, words):
    """(backend, tokens per second) of one boot."""
    _, err = output_of(["sh", "port/bare-x86/run-qemu.sh", "--timeout", 240, "--module", options.model, options.image, "run",
                        *words], env={"ACCEL": "kvm", "SMP": "1"})
    found = re.search(r"\[(\S+), 1 processors: prompt in ([\d.]+) s, (\d+) tokens in ([\d.]+) s\]", err)
    if not found:
        raise Failed(f"the image printed no figures: {err[-200:]}")
    return found[1], int(found[3]) / float(found[4])


def kvm_kind():
    """Whose KVM it is: under a hypervisor it may run the guest's kernel mode in software."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as source:
            flags = source.read()
    except OSError:
        return "unknown"
    if " vmx" in flags or " svm" in flags:
        return "in hardware" + (", nested" if " hypervisor" in flags else "")
    return "in software (the CPU shows no vmx or svm)"


def matrix_values(command, path):
    """Weights of the matrices every token is multiplied with: those of the layers, not the embedding."""
    tensors = json.loads(output_of([command, "inspect", path, "--json"])[0])["tensors"]
    total = 0
    for t in tensors:
        shape = [n for n in t["shape"] if n > 1]
        if len(shape) == 2 and not re.search(r"embed|output|lm_head", t["name"]):
            total += shape[0] * shape[1]
    return total


def parse(arguments):
    """Command line; `make bench` gives the programs."""
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.split("\n\n")[0])
    for name in ("command", "parts", "checkkern", "model"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--image", help="bare x86 image")
    parser.add_argument("--model-type", default="Q4_1", help="what the model's matrices are, for the table")
    parser.add_argument("--mlp", default="vectors/files/mlp.qorus", help="the smallest model")
    parser.add_argument("--start-prompt", default="The", help="a text of one token")
    parser.add_argument("--folder", default="build/bench", help="where quantised models go")
    parser.add_argument("--results", default="docs/results", help="where baselines are")
    parser.add_argument("--json", metavar="FILE", help="JSON lines; default FOLDER/bench.jsonl")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default="", help="parts, comma-separated: machine models kernels around start bare")
    parser.add_argument("--save", action="store_true", help="store these figures as the baseline")
    parser.add_argument("--tiny", action="store_true", help="seconds instead of minutes; figures mean nothing")
    return parser.parse_args(arguments)


def baseline_of(path):
    """Stored figures by key."""
    try:
        with open(path, encoding="utf-8") as source:
            return {f["key"]: f for f in json.load(source)["figures"] if "value" in f}
    except OSError:
        return {}


def measure(options, book):
    """All parts, or those of --only."""
    options.model = house.settled(options.model, options.folder)
    bench = Bench(options, book)
    parts = {"machine": [bench.peaks], "models": [bench.all_models], "kernels": [bench.kernels],
             "around": [bench.dispatch, bench.sampler], "start": [bench.start], "bare": [bench.bare]}
    wanted = options.only.split(",") if options.only else list(parts)
    unknown = [w for w in wanted if w not in parts]
    if unknown:
        raise Failed(f"--only: unknown part {unknown[0]}")
    if "machine" not in wanted and {"models", "kernels"} & set(wanted):
        bench.peaks()
    for name in wanted:
        for part in parts[name]:
            part()


def store(options, base, facts, book, text):
    """The baseline and its table."""
    os.makedirs(options.results, exist_ok=True)
    command = "make bench BASELINE=save"
    with open(base + ".json", "w", encoding="utf-8") as out:
        head = {"command": command, "commit": house.commit(), "date": house.today(), "machine": facts}
        out.write(json.dumps(head)[:-1] + ', "figures": [\n')
        out.write(",\n".join(json.dumps(f) for f in book.figures.values()) + "\n]}\n")
    with open(base + ".md", "w", encoding="utf-8") as out:
        out.write(text)
    say(f"bench: stored {base}.json and .md")


def main(arguments=None):
    """Exit code 0: done, 1: a measurement failed."""
    options = parse(arguments)
    facts = house.machine()
    base = os.path.join(options.results, "bench-" + house.cpu_kind(facts))
    book = Book({} if options.save else baseline_of(base + ".json"))
    os.makedirs(options.folder, exist_ok=True)
    head = house.heading("Own benchmarks", facts, "make bench" + (" BASELINE=save" if options.save else ""),
                         ["fast mode; medians; kernels: best time, one worker; a share's peak: the best loop of the same "
                          "instruction set and threads", "products count a multiply-add as two operations"])
    try:
        measure(options, book)
    except Failed as error:
        say(f"bench: {error}")
        return 1
    text = head + "\n" + book.table() + "\n"
    print(text)
    with open(options.json or os.path.join(options.folder, "bench.jsonl"), "w", encoding="utf-8") as out:
        for figure in book.figures.values():
            out.write(json.dumps(figure) + "\n")
    if options.save:
        store(options, base, facts, book, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
