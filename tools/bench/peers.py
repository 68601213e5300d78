#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Side by side with the newest llama.cpp, oneDNN and PyTorch, in one run, in turn: A B A B.

Language models: the same weights on both sides (llama-quantize makes the file, tools/convert_model.py carries it over),
prefill and decode, without sampling, each run a process of its own that warms up first. Once with all each side has, once
with both limited to AVX2. llama.cpp runs with or without its flash attention, whichever was faster in a first round.
Products of f32 over the shapes of models beside oneDNN, the better of its two ways. A random model of 1.1 billion
weights. Trainings beside PyTorch (peers_train.py). Prints tables, writes JSON lines, and with --save
docs/results/peers-<cpu>.md and .json, of some parts peers-<parts>-<cpu>. Needs build/peers (tools/bench/build_peers.sh).
"""
import argparse
import json
import os
import statistics
import sys

import house
from house import Failed, Samples, json_lines, number, output_of, say, spread
from peers_train import Train

PEERS = "build/peers"
PARTS = "models,avx2,large,sgemm,train"
AIM_DECODE, AIM_PREFILL, AIM_READ, AIM_GEMM = 1.5, 2.0, 0.9, 0.97
SHAPES = [(1024, 1024, 1024), (2048, 2048, 2048), (256, 1536, 576), (256, 576, 1536), (256, 576, 576), (256, 192, 576),
          (64, 576, 576), (1024, 288, 768), (256, 2048, 2048), (256, 5632, 2048)]


class Llama:
    """One build of llama.cpp."""

    def __init__(self, folder, threads_seconds=900):
        self.bench = os.path.join(folder, "bin", "llama-bench")
        self.seconds = threads_seconds
        self.flash = {}

    def run(self, model, threads, test, flash, repeat=1):
        """Tokens per second of one process; test: ("pp", 256) or ("tg", 64)."""
        kind, tokens = test
        words = [self.bench, "-m", model, "-t", threads, "-r", repeat, "-fa", flash, "-o", "jsonl",
                 "-p", tokens if kind == "pp" else 0, "-n", tokens if kind == "tg" else 0]
        return json_lines(words, seconds=self.seconds)[-1]["avg_ts"]

    def rate(self, model, threads, test):
        """The same with the better setting of flash attention, found once for each model, threads and kind of test."""
        key = (model, threads, test[0])
        if key not in self.flash:
            self.flash[key] = max((0, 1), key=lambda f: self.run(model, threads, test, f))
        return self.run(model, threads, test, self.flash[key])


class Qorus:
    """Our command on one backend (None: the best)."""

    def __init__(self, command, backend):
        self.command, self.backend = command, backend

    def bench(self, model, threads, test, repeat=1):
        """The JSON of one process."""
        kind, tokens = test
        words = [self.command, "bench", model, "-t", threads, "-r", repeat, "--json",
                 "-p", tokens if kind == "pp" else 0, "-n", tokens if kind == "tg" else 0]
        return json_lines(words + (["--backend", self.backend] if self.backend else []))[0]

    def rate(self, model, threads, test):
        """Tokens per second."""
        r = self.bench(model, threads, test)
        return r["prefill_tok_s"] if test[0] == "pp" else r["decode_tok_s"]


class Peers:
    """All comparisons."""

    def __init__(self, options):
        self.o = options
        self.lines = []
        self.reads = {}
        self.threads = [t for t in (1, 2) if t <= (os.cpu_count() or 1)]
        if options.tiny:
            self.threads = [1]
        self.best = [b["name"] for b in json_lines([options.parts, "backends"]) if b["runs"]][-1]

    def note(self, **line):
        """One JSON line."""
        self.lines.append(line)

    # ---- Models ----------------------------------------------------------------------------------------------

    def files(self):
        """(type, GGUF, .qorus) of the same weights: the file as shipped and what llama-quantize makes of it."""
        made = [("Q4_1", self.o.gguf, self.o.model)]
        for name in ("Q4_0", "Q8_0"):
            gguf = os.path.join(self.o.folder, f"smollm2-{name.lower()}.gguf")
            ours = gguf[:-4] + "qorus"
            if not os.path.exists(gguf):
                output_of([f"{PEERS}/native/bin/llama-quantize", "--allow-requantize", "--pure", self.o.gguf, gguf + ".part",
                           name])
                os.replace(gguf + ".part", gguf)
            if not os.path.exists(ours):
                output_of([sys.executable, "tools/convert_model.py", "-q", gguf, ours])
            made.append((name, gguf, ours))
        folder = os.path.join(self.o.folder, "settled")
        os.makedirs(folder, exist_ok=True)
        return [(name, house.settled(gguf, folder), house.settled(ours, folder)) for name, gguf, ours in made]

    def read_rate(self, file, threads):
        """Gigabytes per second: the best of several loops."""
        if (file, threads) not in self.reads:
            self.reads[file, threads] = max(r["gb_s_max"] for r in json_lines([self.o.parts, "read", file, threads]))
        return self.reads[file, threads]

    def pair(self, name, model, test, threads, sides):
        """One row: both sides in turn."""
        gguf, ours = model
        llama, qorus = sides
        a, b = Samples(), Samples()
        for _ in range(self.o.rounds):
            a.add(llama.rate(gguf, threads, test))
            b.add(qorus.rate(ours, threads, test))
        ratio = statistics.median(y / x for x, y in zip(a.values, b.values))
        share = None
        if test[0] == "tg":
            share = qorus.bench(ours, threads, test)["weight_bytes"] * 1e-9 * b.median / self.read_rate(ours, threads)
        self.note(comparison="llama.cpp", model=name, backend=qorus.backend or self.best, threads=threads,
                  test=f"{test[0]}{test[1]}", llama_tok_s=a.values, qorus_tok_s=b.values, ratio=ratio, read_share=share)
        say(f"bench-peers: {name} {test[0]}{test[1]} {threads}T {qorus.backend or self.best}: {ratio:.2f}")
        return a, b, ratio, share

    def models(self, title, llama, qorus):
        """Every type, threads and test. A prefill's aim is against llama.cpp's best type."""
        rows = []
        for threads in self.threads:
            for test in (("pp", 256), ("pp", 512), ("tg", 64)):
                got = [(name, *self.pair(name, (gguf, ours), test, threads, (llama, qorus)))
                       for name, gguf, ours in self.files()]
                best = max(a.median for _, a, _, _, _ in got)
                for name, a, b, ratio, share in got:
                    to_best = b.median / best if best else 0
                    prefill = test[0] == "pp"
                    aim = f"best type >= {AIM_PREFILL}" if prefill else f"same type >= {AIM_DECODE}"
                    ok = (to_best >= AIM_PREFILL) if prefill else (ratio >= AIM_DECODE)
                    rows.append([name, f"{threads}T", f"{test[0]}{test[1]}", spread(a), spread(b), f"{ratio:.2f}",
                                 f"{to_best:.2f}" if prefill else "", f"{100 * share:.0f}%" if share else "", aim,
                                 "yes" if ok else "no"])
        head = ["type", "threads", "test", "llama.cpp tokens/s", "qorus tokens/s", "ratio", "to its best type",
                "of read rate", "aim", "met"]
        return f"## {title}\n\n" + house.table(head, rows) + "\n"

    def large(self, llama):
        """A random model of TinyLlama's shape: decoding reads it all."""
        gguf = os.path.join(self.o.folder, "random-1.1b.gguf")
        ours = gguf[:-4] + "qorus"
        if not os.path.exists(gguf):
            output_of([sys.executable, "tools/bench/random_gguf.py", gguf], seconds=1800)
        if not os.path.exists(ours):
            output_of([sys.executable, "tools/convert_model.py", "-q", "--no-tokenizer", gguf, ours], seconds=1800)
        folder = os.path.join(self.o.folder, "settled")
        os.makedirs(folder, exist_ok=True)
        gguf, ours = house.settled(gguf, folder), house.settled(ours, folder)
        rows = []
        for threads in self.threads:
            a, b, ratio, share = self.pair("random 1.1B Q4_0", (gguf, ours), ("tg", 32), threads,
                                           (llama, Qorus(self.o.command, None)))
            rate = self.read_rate(ours, threads)
            rows.append([f"{threads}T", spread(a), spread(b), f"{ratio:.2f}", number(rate), f"{100 * share:.0f}%",
                         f">= {100 * AIM_READ:.0f}%", "yes" if share >= AIM_READ else "no"])
        head = ["threads", "llama.cpp tg32", "qorus tg32", "ratio", "read GB/s", "qorus of read rate", "aim", "met"]
        return "## Random model, 22 layers of 2048, Q4_0\n\n" + house.table(head, rows) + "\n"

    # ---- Products --------------------------------------------------------------------------------------------

    def product(self, shape, threads, backend):
        """One row, both sides in turn; oneDNN limited to AVX2 where we are."""
        env = {"OMP_NUM_THREADS": str(threads)}
        if backend.startswith("avx2"):
            env["ONEDNN_MAX_CPU_ISA"] = "AVX2"
        theirs, ours, ways = Samples(), Samples(), []
        for _ in range(self.o.rounds):
            best = max(json_lines([f"{PEERS}/onednn_gemm", *shape], env=env), key=lambda r: r["gflop_s"])
            ways.append(best["way"])
            theirs.add(best["gflop_s"])
            ours.add(json_lines([self.o.parts, "gemm", backend, threads, *shape])[0]["gflop_s"])
        ratio = statistics.median(y / x for x, y in zip(theirs.values, ours.values))
        self.note(comparison="oneDNN", shape=shape, threads=threads, backend=backend, onednn_gflop_s=theirs.values,
                  qorus_gflop_s=ours.values, ratio=ratio, way=ways[-1])
        return [" x ".join(map(str, shape)), f"{threads}T", backend, spread(theirs), spread(ours), f"{ratio:.2f}",
                f">= {AIM_GEMM}", "yes" if ratio >= AIM_GEMM else "no"]

    def products(self):
        """Every shape on the best backend and on AVX2."""
        rows = []
        for backend in dict.fromkeys([self.best, "avx2"]):
            for threads in self.threads:
                for shape in SHAPES:
                    rows.append(self.product(shape, threads, backend))
                say(f"bench-peers: sgemm {backend} {threads}T done")
        head = ["M x N x K", "threads", "backend", "oneDNN GFLOP/s", "qorus GFLOP/s", "ratio", "aim", "met"]
        return "## sgemm, weights in each side's own order\n\n" + house.table(head, rows) + "\n"


def version(name):
    """What build_peers.sh noted."""
    try:
        with open(f"{PEERS}/{name}.version", encoding="utf-8") as source:
            return source.read().strip()
    except OSError:
        return "not built"


def parse(arguments):
    """Command line; `make bench-peers` gives the programs."""
    parser = argparse.ArgumentParser(prog="peers.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--command", required=True)
    parser.add_argument("--parts", required=True)
    parser.add_argument("--gguf", default="models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--model", default="models/smollm2-135m-instruct.qorus", help="the same weights as --gguf")
    parser.add_argument("--folder", default="build/bench", help="where models are made")
    parser.add_argument("--results", default="docs/results")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=PARTS, help=f"some of {PARTS}")
    parser.add_argument("--torch", default=f"{PEERS}/torch/bin/python", help="a Python that has PyTorch")
    parser.add_argument("--real-time", action="store_true", help="train: both sides before other processes, where the machine "
                        "has other work (root; chrt)")
    parser.add_argument("--save", action="store_true", help="write docs/results/peers-<cpu>.md and .json")
    parser.add_argument("--tiny", action="store_true", help="one thread only")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Exit code 0: done, 1: a measurement failed."""
    options = parse(arguments)
    os.makedirs(options.folder, exist_ok=True)
    facts = house.machine()
    notes = [f"A B A B, {options.rounds} rounds, medians (lowest..highest); ratio: median of the rounds' ratios, above 1 is "
             "faster than the peer"]
    if options.only != "train":
        notes.append(f"llama.cpp of {version('llama')} (Release, native; limited: AVX2, FMA, F16C, BMI2); oneDNN of "
                     f"{version('onednn')}")
    head = house.heading("Beside llama.cpp, oneDNN and PyTorch", facts, command_of(options), notes)
    parts = {"models": lambda p: p.models("SmolLM2-135M, all either side has", Llama(f"{PEERS}/native"),
                                          Qorus(options.command, None)),
             "avx2": lambda p: p.models("SmolLM2-135M, both limited to AVX2", Llama(f"{PEERS}/avx2"),
                                        Qorus(options.command, "avx2")),
             "large": lambda p: p.large(Llama(f"{PEERS}/native")), "sgemm": Peers.products,
             "train": lambda p: Train(p).run()}
    text = [head]
    try:
        peers = Peers(options)
        for name in options.only.split(","):
            if name not in parts:
                raise Failed(f"--only: unknown part {name}")
            text.append(parts[name](peers))
            print(text[-1] if len(text) > 2 else "\n".join(text), flush=True)
    except Failed as error:
        say(f"bench-peers: {error}")
        return 1
    finish(options, facts, "\n".join(text), peers.lines)
    return 0


def command_of(options):
    """How to repeat it."""
    some = " ".join(["--only " + options.only] * (options.only != PARTS) + ["--real-time"] * options.real_time)
    return "make bench-peers" + (f" BENCH_ARGS='{some}'" if some else "")


def finish(options, facts, text, lines):
    """JSON lines, and with --save the files of docs/results/."""
    with open(os.path.join(options.folder, "peers.jsonl"), "w", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    if options.save:
        os.makedirs(options.results, exist_ok=True)
        some = "" if options.only == PARTS else options.only.replace(",", "-") + "-"
        base = os.path.join(options.results, "peers-" + some + house.cpu_kind(facts))
        with open(base + ".md", "w", encoding="utf-8") as out:
            out.write(text)
        with open(base + ".json", "w", encoding="utf-8") as out:
            head = {"command": command_of(options), "commit": house.commit(), "date": house.today(), "machine": facts}
            out.write(json.dumps(head)[:-1] + ', "figures": [\n' + ",\n".join(map(json.dumps, lines)) + "\n]}\n")
        say(f"bench-peers: stored {base}.md and .json")


if __name__ == "__main__":
    sys.exit(main())
