# SPDX-License-Identifier: MIT
"""Writes vectors/sampler/cases.inc: tokens, kept sets and probabilities that the sampler must give.

Two computations stand behind each case, neither of them the C code: the algorithm of include/qorus/sampler.h in
Python integers and NumPy float32, by sorting, which fixes every token; and the textbook definition in float64
(softmax, cumulative sums), which must keep the same set and gives the probabilities. A case in which both differ
because a cut falls closer to a boundary than float32 resolves is refused, and its logit seed is counted up.

Usage: python3 vectors/gen/sampler_vectors.py            writes the cases
       python3 vectors/gen/sampler_vectors.py --tables   prints the two tables of core/text/sampler_weight.c
"""
import argparse
import pathlib
from decimal import Decimal, ROUND_HALF_EVEN, getcontext

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
F = np.float32
MASK = (1 << 64) - 1
STEPS = 8
SHOWN = 4
KINDS = ("spread", "normal", "flat", "steps", "masked", "fine", "huge", "zeros", "list")


# ---- Inputs: exact in float32, from one 64-bit linear congruential generator ----------------------------------

class Lcg:
    def __init__(self, seed):
        self.s = seed

    def next(self):
        """31 bits."""
        self.s = (self.s * 6364136223846793005 + 1442695040888963407) & MASK
        return self.s >> 33


def logit(kind, lcg):
    """All but "list", whose few values stand in the case."""
    r = lcg.next()
    if kind == "spread":
        return (r % 4096 - 2048) / 128
    if kind == "normal":
        return (r % 2048 + lcg.next() % 2048 + lcg.next() % 2048 + lcg.next() % 2048 - 4096) / 256
    if kind == "flat":
        return 1.5
    if kind == "steps":
        return (r % 5) * 0.5
    if kind == "masked":
        return float("-inf") if r % 8 else ((r >> 3) % 4096 - 2048) / 128
    if kind == "fine":
        return 1 + (r % 1024) * 2.0 ** -23
    if kind == "huge":
        return (r % 4096 - 2048) * 2.0 ** 100
    return -0.0 if r % 2 else 0.0


def make_inputs(c):
    lcg = Lcg(c["lseed"])
    x = np.array(c["list"] or [logit(c["kind"], lcg) for _ in range(c["n"])], dtype=F)
    for _ in range(c["peaks"]):
        at = lcg.next() % c["n"]
        x[at] = F(12 + (lcg.next() % 1024) / 128)
    history = [lcg.next() % min(c["n"], c["span"]) for _ in range(c["n_history"])]
    return x, history


# ---- The algorithm, by sorting --------------------------------------------------------------------------------

def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def tables():
    getcontext().prec = 60
    power = [[int((2 ** 31 * Decimal(2) ** (-Decimal(i) / den)).to_integral_value(rounding=ROUND_HALF_EVEN))
              for i in range(256)] for den in (256, 65536)]
    return np.array(power[0], dtype=np.uint64), np.array(power[1], dtype=np.uint64)


OCTAVE, FINE = tables()


def adjust(c, x, history):
    x = x.copy()
    window = history[len(history) - min(c["window"], len(history)):]
    if (c["repeat"], c["presence"], c["frequency"]) != (1.0, 0.0, 0.0):
        for t in sorted(set(window)):
            rep = F(c["repeat"])
            x[t] = x[t] / rep if x[t] > 0 else x[t] * rep
            x[t] = x[t] - (F(window.count(t)) * F(c["frequency"]) + F(c["presence"]))
    for token, value in c["bias"]:
        x[token] = x[token] + F(value)
    return x


def weights(c, x):
    s = 94548.46219969910 / c["temperature"]
    scale = F(min(s, float(np.finfo(F).max)))
    with np.errstate(over="ignore", invalid="ignore"):
        t = (x.max() - x) * scale
    live = t < F(2621440)
    v = (np.where(live, t, F(0)) + F(0.5)).astype(np.uint32).astype(np.uint64)
    product = OCTAVE[(v >> np.uint64(8)) & np.uint64(255)] * FINE[v & np.uint64(255)]
    w = product >> (np.uint64(22) + (v >> np.uint64(16)))
    return [int(a) if b else 0 for a, b in zip(w, live)]


def order_of(x):
    return np.lexsort((np.arange(len(x)), -x))


def kept_by_algorithm(c, x):
    """Ids in ascending order, and all weights."""
    w = weights(c, x)
    order = [int(i) for i in order_of(x)]
    if 0 < c["top_k"] < len(x):
        order = order[:c["top_k"]]
    if c["top_p"] < 1:
        total, p = sum(w[i] for i in order), int(c["top_p"] * 2 ** 53)
        target = max(1, -(-total * p // 2 ** 53))
        at, n = 0, 0
        while at < target:
            at += w[order[n]]
            n += 1
        order = order[:n]
    least = max(1, -(-int(Decimal(c["min_p"]) * 2 ** 60) // 2 ** 20))
    return sorted(i for i in order if w[i] >= least), w


def tokens_by_algorithm(c, x):
    if c["temperature"] == 0:
        return [int(order_of(x)[0])] * STEPS, [int(order_of(x)[0])]
    kept, w = kept_by_algorithm(c, x)
    total, tokens = sum(w[i] for i in kept), []
    for step in range(c["step"], c["step"] + STEPS):
        out = philox([0, c["sequence"], 0xFFFFFFFF, step & 0xFFFFFFFF],
                     [c["seed"] & 0xFFFFFFFF, (c["seed"] >> 32) ^ (step >> 32)])
        r = ((out[1] << 32 | out[0]) * total) >> 64
        for i in kept:
            if r < w[i]:
                tokens.append(i)
                break
            r -= w[i]
    return tokens, kept


# ---- The textbook definition, in float64 ----------------------------------------------------------------------

def kept_by_textbook(c, x):
    """Ids in ascending order and their probabilities."""
    order = order_of(x)
    if c["temperature"] == 0:
        return [int(order[0])], [1.0]
    z = x.astype(np.float64)
    with np.errstate(over="ignore"):
        e = np.exp((z - z.max()) / c["temperature"])
    if 0 < c["top_k"] < len(x):
        order = order[:c["top_k"]]
    if c["top_p"] < 1:
        mass = np.cumsum(e[order]) / e[order].sum()
        order = order[:int(np.searchsorted(mass, c["top_p"])) + 1]
    kept = sorted(int(i) for i in order if e[i] >= c["min_p"] and e[i] > 2.0 ** -40)
    total = e[kept].sum()
    return kept, [float(e[i] / total) for i in kept]


# ---- Cases ----------------------------------------------------------------------------------------------------

DEFAULTS = dict(n=100, kind="spread", peaks=0, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat=1.0,
                presence=0.0, frequency=0.0, window=64, n_history=0, span=40, bias=(), seed=1, step=0, sequence=0, list=())


def greedy_cases():
    yield from (("greedy", dict(temperature=0.0, n=n, kind=k)) for n in (1, 63, 64, 65, 1000)
                for k in ("spread", "normal"))
    yield from (("greedy_ties", dict(temperature=0.0, n=n, kind=k)) for n in (2, 128, 500) for k in ("flat", "steps"))
    yield "greedy_masked", dict(temperature=0.0, n=300, kind="masked")
    yield "greedy_penalty", dict(temperature=0.0, n=60, repeat=1.5, n_history=40)
    yield "greedy_bias", dict(temperature=0.0, n=60, bias=((17, 40.0),))
    yield "greedy_ban", dict(temperature=0.0, n=3, kind="flat", bias=((0, float("-inf")),))


def single_cases():
    yield from (("plain", dict(n=n, kind=k)) for n in (1, 2, 64, 65, 127, 1000) for k in ("spread", "normal"))
    yield from (("plain_" + k, dict(n=200, kind=k)) for k in ("flat", "steps", "masked", "fine", "huge"))
    yield from (("top_k", dict(n=n, kind="normal", top_k=k)) for n in (100, 1000, 5000) for k in (1, 2, 40, 99))
    yield from (("top_k_" + kind, dict(n=300, kind=kind, top_k=k)) for kind in ("flat", "steps", "fine", "masked")
                for k in (1, 7, 250))
    yield from (("top_k_off", dict(n=50, top_k=k)) for k in (0, 50, 51, 2 ** 32 - 1))
    yield from (("top_p", dict(n=n, kind="normal", top_p=p)) for n in (100, 1000, 5000)
                for p in (0.01, 0.5, 0.9, 0.999))
    yield from (("top_p_" + k, dict(n=300, kind=k, top_p=0.77)) for k in ("spread", "steps", "fine", "masked"))
    yield "top_p_one_token", dict(n=1, top_p=0.5)
    yield "top_p_tiny", dict(n=100, top_p=1e-300)
    yield from (("min_p", dict(n=n, kind="normal", min_p=p)) for n in (100, 1000) for p in (1e-9, 0.01, 0.1, 1.0))


def mixed_cases():
    for n, k, p, m in ((1000, 40, 0.95, 0.0), (1000, 40, 0.95, 0.05), (5000, 100, 0.5, 0.0), (500, 10, 0.999, 0.3),
                       (1000, 0, 0.9, 0.02), (1000, 64, 1.0, 0.01), (77, 76, 0.9, 0.0), (65, 64, 0.99, 0.001)):
        yield "mixed", dict(n=n, kind="normal", top_k=k, top_p=p, min_p=m, temperature=0.8)
        yield "mixed_peaks", dict(n=n, kind="normal", top_k=k, top_p=p, min_p=m, temperature=1.2, peaks=9)
    yield from (("temperature", dict(n=400, kind="normal", temperature=t)) for t in (1e-3, 0.1, 0.5, 2.0, 10.0))
    yield from (("temperature_extreme", dict(n=100, kind=k, temperature=t)) for k in ("steps", "spread")
                for t in (1e-300, 1e-40, 1e30, 1e300))


def adjusted_cases():
    for rep, pres, freq in ((1.3, 0.0, 0.0), (0.7, 0.0, 0.0), (1.0, 0.8, 0.0), (1.0, 0.0, 0.4), (1.1, -0.5, 0.25)):
        for window, n_history in ((64, 50), (5, 50), (1000, 300), (0, 50), (64, 0)):
            yield "penalty", dict(n=100, kind="normal", repeat=rep, presence=pres, frequency=freq, window=window,
                                  n_history=n_history)
    yield "bias", dict(n=100, kind="normal", bias=((3, 9.5), (99, -2.25), (3, 0.125)))
    yield "bias_ban", dict(n=4, kind="flat", bias=((0, float("-inf")), (2, float("-inf"))))
    yield "everything", dict(n=1000, kind="normal", peaks=5, temperature=0.9, top_k=50, top_p=0.97, min_p=0.001,
                             repeat=1.15, presence=0.1, frequency=0.2, n_history=200, span=1000,
                             bias=((1, 3.0), (999, -1.0)))


def edge_cases():
    """Sums that meet their target exactly, ties across blocks, k beside the number of blocks."""
    octave = dict(temperature=94548.46219969910 / 65536)  # weights 2^40, 2^39, ... for logits 0, -1, ...
    yield "edge_bin_full", dict(n=3, kind="list", list=(1.0, 0.0, 0.0), top_p=0.5, **octave)
    yield "edge_odd_total", dict(n=3, kind="list", list=(0.0, 0.0, -39.99999), top_p=0.5, **octave)
    yield "edge_least_weight", dict(n=2, kind="list", list=(0.0, -39.99999), **octave)
    yield "edge_no_weight", dict(n=2, kind="list", list=(0.0, -40.0), **octave)
    yield "edge_share_0", dict(n=500, kind="flat", top_p=1e-300)
    yield from (("edge_k_blocks", dict(n=1000, kind="normal", top_k=k)) for k in (15, 16, 17))
    yield from (("edge_k_ties", dict(n=1000, kind=kind, top_k=k)) for kind in ("flat", "zeros") for k in (3, 15, 17))
    yield from (("edge_greedy_zeros", dict(n=n, kind="zeros", temperature=0.0)) for n in (5, 200))
    yield "edge_greedy_tie_adjusted", dict(n=500, kind="flat", temperature=0.0, presence=0.5, n_history=20, span=9)


def random_cases():
    for seed, step, sequence in ((0, 0, 0), (MASK, 0, 0), (1 << 32, 5, 0), (7, 1 << 32, 0), (7, MASK - 7, 3),
                                 (12345, 2 ** 32 - 4, 2 ** 32 - 1)):
        yield "seed", dict(n=50, temperature=8.0, seed=seed, step=step, sequence=sequence)
    for kw in (dict(), dict(top_k=40), dict(top_p=0.95), dict(top_k=40, top_p=0.95), dict(min_p=0.05),
               dict(temperature=0.0), dict(top_p=0.5, temperature=20.0)):
        yield "vocab_49152", dict(n=49152, kind="normal", peaks=20, seed=42, **kw)


def make_cases():
    number = 0
    for family in (greedy_cases, single_cases, mixed_cases, adjusted_cases, edge_cases, random_cases):
        for name, change in family():
            number += 1
            yield solve(dict(DEFAULTS, **change), f"{number:03}_{name}")


def solve(c, name):
    for attempt in range(50):
        c.update(name=name, lseed=1000 * int(name[:3]) + attempt)
        x, history = make_inputs(c)
        x = adjust(c, x, history)
        tokens, kept = tokens_by_algorithm(c, x)
        textbook, probability = kept_by_textbook(c, x)
        if kept == textbook:
            c.update(tokens=tokens, kept=kept, probability=probability)
            return c
    raise SystemExit(f"sampler_vectors: {name}: the two definitions never agree")


# ---- Output ---------------------------------------------------------------------------------------------------

def fnv(ids):
    h = 0xCBF29CE484222325
    for i in ids:
        for byte in i.to_bytes(4, "little"):
            h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def number(x):
    if x == float("-inf"):
        return "SAMPLER_CASE_MINUS_INF"
    x = float(x)
    return "0.0" if x == 0 else x.hex()


def emit(c):
    bias = ", ".join(f"{{ {t}, (float){number(v)} }}" for t, v in c["bias"]) or "{ 0, 0.0f }"
    # The most likely kept tokens, so that a probability near 0 does not hide an error.
    shown = sorted(range(len(c["kept"])), key=lambda i: (-c["probability"][i], i))[:SHOWN]
    probabilities = ", ".join(f"{{ {c['kept'][i]}, {number(c['probability'][i])} }}" for i in shown)
    return "\n".join((
        f"{{ \"{c['name']}\", {c['n']}u, {KINDS.index(c['kind'])}u, {c['peaks']}u, {c['lseed']}u,",
        f"  {number(c['temperature'])}, {number(c['top_p'])}, {number(c['min_p'])}, {number(c['repeat'])}, "
        f"{number(c['presence'])}, {number(c['frequency'])},",
        f"  {c['top_k']}u, {c['window']}u, {c['n_history']}u, {c['span']}u, {c['sequence']}u, "
        f"0x{c['seed']:X}u, 0x{c['step']:X}u,",
        f"  {len(c['bias'])}u, {{ {bias} }},",
        "  { " + ", ".join(f"(float){number(v)}" for v in c["list"] or (0,)) + " },",
        "  { " + ", ".join(str(t) for t in c["tokens"]) + " },",
        f"  {len(c['kept'])}u, 0x{fnv(c['kept']):016X}u, {len(shown)}u, {{ {probabilities} }} }},")) + "\n"


def print_tables():
    for table in (OCTAVE, FINE):
        for i in range(0, 256, 4):
            print("    " + ", ".join(f"0x{int(v):08X}u" for v in table[i:i + 4]) + ",")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", action="store_true", help="print the tables of core/text/sampler_weight.c")
    if parser.parse_args().tables:
        print_tables()
        return
    cases = list(make_cases())
    path = ROOT / "vectors/sampler/cases.inc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("/* SPDX-License-Identifier: MIT */\n"
                    "/* cases.inc: made by vectors/gen/sampler_vectors.py; members as in "
                    "test/sampler/sampler_cases.h. */\n" + "".join(emit(c) for c in cases))
    print(f"{len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
