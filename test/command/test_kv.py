#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of --kv and --sequences: which cache a command really has, what it changes, and what is refused.

test_kv.py quality: what caches of fewer bits cost the model of the environment's MODEL, instead.
"""
import json
import re
import sys

from command import FOLDER, QORUS, finish, qorus, real_model, skip, tell, tiny_model

try:
    import numpy as np
except ImportError:
    skip("all", "NumPy is missing (make deps)")
    finish()

KINDS = ("f32", "f16", "q8_0")
PROMPT = "A lighthouse keeper counts the ships at dusk, and each one carries a lamp of its own."
N_TEXT = 384

# Mean KL in nats, from the logits of the same tokens with a cache in f32, exact mode: the cache is all that differs.
# A cache must not decide what fast mode is worth: Q8_0 may cost a third of what the whole of it may (2.8e-3 on a text,
# tools/oracle.py). Divergence grows with the square of an error, so that a step twice as wide, which is one bit lost
# anywhere on the way, is beyond it (4 x 3.7e-4). A value in F16 has 11 significant bits, the largest of a block of
# Q8_0 has 8 and the others fewer: F16 must be better by 4^3 at least.
LIMIT_KL = {"q8_0": 1e-3, "f16": 1e-3 / 64}
FLOOR_KL = 1e-9  # a cache of fewer bits that costs nothing is none


def state_bytes(model, *options):
    """Bytes of the region STATE, as qorus plan tells them."""
    code, out, err = qorus("plan", model, "--json", *options)
    if code != 0:
        return err
    return next(r["bytes"] for r in json.loads(out)["plan"]["regions"] if r["kind"] == "state")


def logits(model, text, path, *options, n=1):
    """Rows of logits of a prompt, flat; the complaint where there are none."""
    code, _, err = qorus("run", model, "-p", text, "-n", n, "--logits", path, *options)
    return np.fromfile(path, dtype="<f4") if code == 0 else err


def same(a, b):
    """Whether both are logits, of the same bits."""
    return not isinstance(a, str) and not isinstance(b, str) and a.tobytes() == b.tobytes()


def refused(name, code, words, *command):
    """Exit code, one line with all words on standard error, nothing on standard output."""
    got, out, err = qorus(*command)
    tell(name, got == code and out == "" and err.count("\n") == 1 and all(w in err for w in words), (got, out, err))


def sizes(model):
    """The cache a plan has: 4, 2 and 34 / 32 bytes a value."""
    bytes_of = {kind: state_bytes(model, "--kv", kind, "--ctx", "256") for kind in KINDS}
    tell("f16 takes half of f32", bytes_of["f32"] == 2 * bytes_of["f16"], bytes_of)
    tell("q8_0 takes 34 bytes for 32 values", bytes_of["f32"] * 34 == bytes_of["q8_0"] * 128, bytes_of)
    for options, kind in (((), "f16"), (("--exact",), "f32")):
        tell(f"without --kv {' '.join(options)}: {kind}", state_bytes(model, "--ctx", "256", *options) == bytes_of[kind])
        tell(f"--kv {kind} is the same as none", state_bytes(model, "--ctx", "256", *options, "--kv", kind) == bytes_of[kind])
    for n in (2, 5):
        tell(f"--sequences {n}: as many caches",
             state_bytes(model, "--kv", "q8_0", "--ctx", "256", "--sequences", n) == n * bytes_of["q8_0"])


def bits(model):
    """qorus run with each cache: another result for another cache, the same for every way to get there."""
    for mode in ((), ("--exact",)):
        name = "exact" if mode else "fast"
        rows = {kind: logits(model, PROMPT, FOLDER / f"{kind}.f32", "--kv", kind, *mode, n=6) for kind in KINDS}
        tell(f"{name}: without --kv as f16, with --exact as f32",
             same(logits(model, PROMPT, FOLDER / "none.f32", *mode, n=6), rows["f32" if mode else "f16"]))
        for a, b in (("f32", "f16"), ("f16", "q8_0"), ("f32", "q8_0")):
            tell(f"{name}: {a} and {b} differ", not same(rows[a], rows[b]), rows[a])
            near = not isinstance(rows[b], str) and rows[a].shape == rows[b].shape and np.abs(rows[a] - rows[b]).max() < 0.5
            tell(f"{name}: {a} and {b} are close", near, rows[b])
        for kind in KINDS:
            for way in (("-t", "1", "--chunk", "1"), ("-t", "2", "--chunk", "7"), ("--backend", "scalar"), ("--no-fuse",)):
                again = logits(model, PROMPT, FOLDER / "again.f32", "--kv", kind, *mode, *way, n=6)
                tell(f"{name}, {kind}: the same bits with {' '.join(way)}", same(again, rows[kind]))


def figures(model):
    """qorus bench: every cache, one text and several."""
    for kind in KINDS:
        for n in (1, 4):
            code, out, err = qorus("bench", model, "-p", "9", "-n", "4", "-r", "1", "--kv", kind, "--sequences", n, "--json")
            got = json.loads(out) if code == 0 else {"error": err}
            tell(f"bench --kv {kind} --sequences {n}", got.get("sequences") == n and got.get("decode_tok_s", 0) > 0
                 and got.get("prefill_tok_s", 0) > 0, got)
            steps = got.get("decode_tok_s", 0) / n * got.get("weight_bytes", 0) * 1e-9
            tell("... counts the tokens of all, and the weights once a step",
                 abs(got.get("decode_gb_s", -1) - steps) < 2e-3 + 1e-3 * steps, (got, steps))
    code, out, err = qorus("bench", model, "-p", "4", "-n", "2", "-r", "1", "--sequences", "3")
    tell("the table names the sequences", code == 0 and "3 sequences" in out and err == "", (out, err))
    code, out, err = qorus("bench", model, "-p", "0", "-n", "1", "-r", "1", "--sequences", "100", "--json")
    tell("more sequences than a chunk has by itself", code == 0 and json.loads(out)["sequences"] == 100, (out, err))
    code, out, err = qorus("bench", model, "-p", "3", "-n", "2", "-r", "1", "--sequences", "2", "--json", "--profile")
    calls = dict(re.findall(r"^  (\w+) +(\d+) ", err.partition("decode of 2")[2], re.M))
    tell("one step decodes all sequences: an embedding is called once a step", code == 0 and calls.get("embedding") == "2", err)


def wrong(model, narrow):
    """What no cache or no step can be."""
    for command in (("run", model, "-p", "x"), ("bench", model), ("chat", model), ("plan", model)):
        refused(f"{command[0]} --kv of another type", 1, ["q4_0", "f32, f16, q8_0"], *command, "--kv", "q4_0")
        refused(f"{command[0]} --kv without a type", 2, ["--kv", "value"], *command, "--kv")
    refused("heads that are no whole blocks", 1, ["attention", "32", "16"], "run", narrow, "-p", "x", "--kv", "q8_0")
    for kind in ("f32", "f16"):
        code, _, err = qorus("run", narrow, "-p", "x", "-n", "2", "--kv", kind)
        tell(f"... which {kind} takes", code == 0, err)
    refused("run takes no --sequences", 2, ["--sequences"], "run", model, "-p", "x", "--sequences", "2")
    for words in (("--sequences", "1025"), ("--sequences", "many"), ("--sequences", "-1"), ("--sequences",)):
        refused(f"bench {' '.join(words)}", 2, ["--sequences"], "bench", model, *words)
    refused("a chunk below the sequences", 2, ["--chunk", "--sequences"], "bench", model, "--chunk", "3", "--sequences", "4")
    refused("a context below the sequences", 2, ["--ctx", "--sequences"], "bench", model, "-p", "1", "-n", "1", "--ctx", "3",
            "--sequences", "4")


def snapshots(model):
    """A saved conversation belongs to one type of cache."""
    kept = FOLDER / "talk.kv"
    talk = ("chat", model, "-n", "4", "--temp", "0")
    code, _, err = qorus(*talk, "--kv", "q8_0", text=f"hello\n/save {kept}\n")
    tell("a conversation with a cache of q8_0 is saved", code == 0 and err == "" and kept.is_file(), err)
    code, _, err = qorus(*talk, "--kv", "q8_0", text=f"/load {kept}\n")
    tell("... and loaded", code == 0 and err == "", err)
    for kind in ("f16", "f32"):
        code, _, err = qorus(*talk, "--kv", kind, text=f"/load {kept}\n")
        tell(f"... but not into one of {kind}", code == 1 and "kv type" in err and err.count("\n") == 1, (code, err))


def log_softmax(rows):
    """Logarithms of the probabilities of each row, in float64."""
    rows = rows.astype(np.float64)
    shifted = rows - rows.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def real_text(model):
    """N_TEXT tokens of the library's own prose: ids are a prefix of those of a longer text."""
    ids = qorus("tokenize", model, "-f", QORUS.parents[2] / "docs/ERRORS.md")[1].split()[:N_TEXT]
    return qorus("tokenize", model, "--decode", text=" ".join(ids))[1]


def quality(model):
    """The cache's share of the error, apart from everything else: every token is the text's, whatever was likeliest."""
    text = real_text(model)
    n = len(qorus("tokenize", model, "-p", text)[1].split())
    tell("the text has some hundred tokens", N_TEXT - 8 <= n <= N_TEXT, n)
    rows = {}
    for kind in KINDS:
        flat = logits(model, text, FOLDER / "real.f32", "--kv", kind, "--exact", "--ctx", n + 1)
        rows[kind] = np.zeros((n, 1)) if isinstance(flat, str) else log_softmax(flat.reshape(n, -1))
    p = rows["f32"]
    for kind, limit in LIMIT_KL.items():
        kl = (np.exp(p) * (p - rows[kind])).sum(axis=1)
        detail = f"mean KL {kl.mean():.3g} over {n} tokens, largest {kl.max():.3g}"
        print(f"     {kind}: {detail}")
        tell(f"cache of {kind}, exact mode: mean KL at most {limit:.3g}", FLOOR_KL < kl.mean() <= limit, detail)


def main():
    """The quality of caches, or all of the others."""
    if sys.argv[1:] == ["quality"]:
        if real_model() is None:
            skip("quality of caches", "no model (make model)")
        else:
            quality(real_model())
        finish()
    model = tiny_model("wide.qorus", "--heads", "4", "--kv-heads", "2", "--head-dim", "32", "--context", "1024")
    narrow = tiny_model("narrow.qorus", "--heads", "4", "--kv-heads", "2", "--head-dim", "16")
    sizes(model)
    bits(model)
    figures(model)
    wrong(model, narrow)
    snapshots(model)
    finish()


main()
