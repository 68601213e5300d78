# SPDX-License-Identifier: MIT
"""Part `train` of peers.py: whole training steps, and one sample forward, beside PyTorch on the CPU.

PyTorch is a server (train_torch.py), so that its compiling is not timed and both sides take turns; it sleeps while we run.
Every way is measured in every round, eager and torch.compile, of images also with channels last; the one of the lowest
median counts. Its optimizer is the fused AdamW.
"""
import json
import os
import subprocess

from house import Failed, Samples, json_lines, number, say, spread, table

WORKS = {"mlp": "MLP 784-256-128-10, batch 64", "cnn": "CNN 16, 32 channels, 28 x 28, batch 64",
         "lm-288": "LM 6 x 288, batch 4 x 256", "lm-128": "LM 4 x 128, batch 8 x 128", "lstm": "LSTM 64-256-64, batch 32 x 64"}
AIM = 1.5
SAME_LOSS = 1e-5


class Torch:
    """One process of PyTorch."""

    def __init__(self, python, work, threads, urgent):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "train_torch.py")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen([python, script, work, str(threads), *urgent], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=environment)
        self.facts = self.ask("facts")
        self.ways = ["eager", "compile"] + (["eager-last", "compile-last"] if work == "cnn" else [])

    def ask(self, line):
        """The JSON of its answer."""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise Failed(f"train_torch.py: {line}: {error}") from error

    def close(self):
        """Ends it."""
        self.process.stdin.close()
        self.process.wait(60)


class Train:
    """All works."""

    def __init__(self, peers):
        self.peers, self.o = peers, peers.o
        self.steps, self.forwards, self.memory = [], [], []

    def ours(self, what, work, threads):
        """One process of our own."""
        return self.parts(what, work, self.peers.best, threads)[0]

    def parts(self, *words):
        """What our measuring program prints."""
        return json_lines([*(["chrt", "-f", "20"] if self.o.real_time else []), self.o.parts, *words])

    def in_turn(self, torch, what, unit, work, threads):
        """(row of the table, our samples, our last answer)."""
        ways, ours, mine = {way: Samples() for way in torch.ways}, Samples(), {}
        for way in ways:  # makes and warms it up
            torch.ask(f"{what} {way}")
        for _ in range(self.o.rounds):
            for way, samples in ways.items():
                samples.add(torch.ask(f"{what} {way}")["median"])
            mine = self.ours(what, work, threads)
            ours.add(mine[unit])
        best = min(ways, key=lambda way: ways[way].median)
        ratio = Samples(x / y for x, y in zip(ways[best].values, ours.values)).median
        self.peers.note(comparison="pytorch", what=what, work=work, threads=threads, way=best, unit=unit,
                        pytorch={way: samples.values for way, samples in ways.items()}, qorus=ours.values, ratio=ratio)
        say(f"bench-peers: {work} {what} {threads}T: {ratio:.2f} of {best}")
        row = [WORKS[work], f"{threads}T", number(ways["eager"].median), number(ways["compile"].median), best,
               spread(ways[best]), spread(ours), f"{ratio:.2f}", "yes" if ratio >= AIM else "no"]
        return row, ours, mine

    def one(self, work, threads, peak):
        """Both comparisons of one work."""
        torch = Torch(self.o.torch, work, threads, ["real-time"] if self.o.real_time else [])
        asked = torch.ask("train eager")
        row, ours, mine = self.in_turn(torch, "train", "ms", work, threads)
        rate = mine["operations"] / ours.median * 1e-6
        apart = max(abs(a / b - 1) for a, b in zip(mine["loss"], asked["loss"]))
        if apart > SAME_LOSS:
            raise Failed(f"{work}: the losses of the first steps are {apart:.1e} apart: not the same training")
        self.steps.append([*row, f"{number(rate)} ({100 * rate / peak:.0f}%)"])
        self.memory.append([WORKS[work], f"{threads}T", number(mine["planned_mib"]), number(mine["peak_mib"]),
                            number(asked["peak_mib"] - torch.facts["imported_mib"]), number(asked["peak_mib"])])
        self.forwards.append(self.in_turn(torch, "forward", "us", work, threads)[0])
        self.peers.note(comparison="pytorch", what="facts", work=work, threads=threads, torch=torch.facts["torch"],
                        losses=[mine["loss"], asked["loss"]], operations=mine["operations"], peak_gflop_s=peak,
                        memory=self.memory[-1][2:])
        torch.close()
        return torch.facts["torch"]

    def run(self):
        """The text of the part."""
        version = None
        for threads in self.peers.threads:
            peak = max(r["gop_s"] for r in self.parts("peak", threads) if r.get("kind") == "f32")
            for work in WORKS:
                version = self.one(work, threads, peak)
        head = ["work", "threads", "eager", "compile", "better way", "PyTorch", "qorus", "ratio", f">= {AIM}"]
        return "\n".join([
            "## Training beside PyTorch\n", f"PyTorch {version}, CPU, AdamW fused; from the same first weights, whose first "
            f"losses agree within {SAME_LOSS:g}. Whole steps (forward, backward, clipping, AdamW), milliseconds:\n",
            table([*head, "qorus GFLOP/s (of FMA peak)"], self.steps), "\nOne sample forward (of a text, the whole sequence), "
            "microseconds; ours from a .qorus file in F32:\n", table(head, self.forwards),
            "\nMemory of a training, MiB:\n",
            table(["work", "threads", "qorus plan", "qorus process", "PyTorch eager above its import", "PyTorch process"],
                  self.memory), ""])
