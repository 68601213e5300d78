#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus perplexity, bench and --profile."""
import json
import math
import re

from command import FOLDER, finish, qorus, real_model, skip, tell, tiny_model

try:
    import numpy as np
except ImportError:
    skip("all", "NumPy is missing (make deps)")
    finish()

TEXT = ("A lighthouse keeper counts the ships at dusk. There are 17 of them tonight, more than in 1998, and each\n"
        "one carries a lamp of its own: red to port, green to starboard, white at the mast. \u00c9t\u00e9, \u6d77.\n") * 2


def measured(*words):
    """The JSON of a command that must succeed."""
    code, out, err = qorus(*words, "--json")
    try:
        return json.loads(out) if code == 0 else {"error": err}
    except ValueError:
        return {"error": out}


def rows_of(model, ids_text, path, ctx, *options):
    """Logits of every position of a text, from qorus run."""
    code, _, err = qorus("run", model, "-p", ids_text, "-n", "1", "--ctx", ctx, "--logits", path, *options)
    return np.fromfile(path, dtype=np.float32) if code == 0 else err


def loss(logits, targets):
    """Mean negative log-likelihood in float64."""
    x = logits.astype(np.float64)
    top = x.max(axis=1)
    all_of = np.log(np.exp(x - top[:, None]).sum(axis=1)) + top
    return float(np.mean(all_of - x[np.arange(len(targets)), targets]))


def perplexity(model):
    """Against NumPy over the logits of qorus run; the same on every machine and with any cutting."""
    file = FOLDER / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    ids = [int(w) for w in qorus("tokenize", model, "-p", TEXT)[1].split()]
    one = measured("perplexity", model, file, "--ctx", len(ids))
    logits = rows_of(model, TEXT, FOLDER / "rows.f32", len(ids) + 1)
    logits = logits.reshape(len(ids), -1)
    want = loss(logits[:-1], ids[1:])
    tell("one window: nll as NumPy gets it from the logits", abs(one.get("nll", 0) - want) < 1e-12 * want, (one, want))
    tell("perplexity is exp(nll)", abs(one.get("perplexity", 0) - math.exp(want)) < 1e-9 * math.exp(want), one)
    tell("every token but the first counts", one.get("tokens") == len(ids) - 1 and one.get("windows") == 1, one)
    windows(model, file, ids)


def windows(model, file, ids):
    """Several windows, of which the last is short."""
    ctx = 24
    parts = [ids[i:i + ctx] for i in range(0, len(ids), ctx)]
    got = measured("perplexity", model, file, "--ctx", ctx)
    tell("windows do not overlap and leave out their first tokens",
         got.get("tokens") == sum(len(p) - 1 for p in parts) and got.get("windows") == sum(len(p) > 1 for p in parts),
         (got, len(parts)))
    for options in (("-t", "1"), ("--chunk", "5"), ("--backend", "scalar"), ("--no-fuse",), ("-t", "2", "--chunk", "1")):
        again = measured("perplexity", model, file, "--ctx", ctx, *options)
        tell(f"the same bits with {' '.join(options)}", again.get("nll") == got.get("nll"), (again, got))
    exact = measured("perplexity", model, file, "--ctx", ctx, "--exact")
    tell("--exact is another, close number",
         exact.get("precision") == "exact" and 0 < abs(exact["nll"] - got["nll"]) < 0.1 * got["nll"], (exact, got))
    for context, window in ((48, 48), (600, 512)):
        got = measured("perplexity", tiny_model("context.qorus", "--context", str(context)), file)
        tell(f"a context of {context} is cut into windows of {window}", got.get("ctx") == window, got)
    code, out, err = qorus("perplexity", model, file)
    tell("text form", code == 0 and re.fullmatch(r"tokens \d+\nnll [\d.]+\nperplexity [\d.]+\n", out), (out, err))
    code, out, err = qorus("perplexity", model, "-", text=TEXT)
    tell("- is standard input", code == 0 and out.startswith("tokens"), (out, err))


def perplexity_with_bos():
    """A model trained with bos before every text."""
    model = tiny_model("bytes.qorus", "--tokenizer", "byte")
    file = FOLDER / "short.txt"
    file.write_bytes(b"abc")
    got = measured("perplexity", model, file)
    wants = {True: 3, False: 2}
    tell("the bos policy is the tokenizer's", got.get("tokens") == wants.get(got.get("bos")), got)
    for text, words in (("", "nothing can be predicted"), ("a", "nothing can be predicted")):
        if got.get("bos") and text:
            continue
        file.write_text(text)
        code, out, err = qorus("perplexity", model, file)
        tell(f"a text of {len(text)} bytes", code == 1 and out == "" and words in err and err.count("\n") == 1, (code, err))


def bench(model):
    """Figures."""
    got = measured("bench", model, "-p", "20", "-n", "6", "-r", "3")
    tell("bench --json is JSON with the figures",
         got.get("prompt_tokens") == 20 and got.get("tokens") == 6 and got.get("repetitions") == 3
         and got.get("sampling") is False, got)
    for name in ("prefill", "decode"):
        tell(f"{name}: the median lies between slowest and fastest",
             0 < got[f"{name}_min"] <= got[f"{name}_tok_s"] <= got[f"{name}_max"], got)
    tell("GB/s is bytes times rate", abs(got["decode_gb_s"] - got["weight_bytes"] * got["decode_tok_s"] * 1e-9)
         <= 2e-3 and got["read_gb_s"] > 0, got)
    tensors = json.loads(qorus("inspect", model, "--json")[1])
    sizes = {t["name"]: t.get("bytes", t.get("size")) for t in tensors["tensors"]}
    total = sum(sizes.values())
    tell("bytes per token: every matrix once, and a row of the embedding more",
         total < got["weight_bytes"] < total + 1000, (got["weight_bytes"], total))
    only = measured("bench", model, "-p", "20", "-n", "0", "-r", "1")
    tell("-n 0 measures prefill alone", "prefill_tok_s" in only and "decode_tok_s" not in only, only)
    only = measured("bench", model, "-p", "0", "-n", "5", "-r", "1")
    tell("-p 0 measures decode alone", "decode_tok_s" in only and "prefill_tok_s" not in only, only)
    code, out, err = qorus("bench", model, "-p", "20", "-n", "6", "-r", "1")
    tell("bench prints a table on stdout", code == 0 and "prefill" in out and "decode" in out and err == "", (out, err))


def profiles(model):
    """--profile of run and bench."""
    plain = qorus("run", model, "-p", "hello", "-n", "6")
    code, out, err = qorus("run", model, "-p", "hello", "-n", "6", "--profile")
    tell("run --profile gives the same text", code == 0 and out == plain[1], (out, plain))
    tell("... and a table by class and node on stderr",
         re.search(r"^  linear +\d+ +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+$", err, re.M)
         and re.search(r"^  layers\.\d\.\w+ ", err, re.M), err)
    shares = [float(x) for x in re.findall(r"([\d.]+)%", err.split("slowest nodes")[0])]
    tell("shares of the classes sum to 100%", abs(sum(shares) - 100) < 0.1 * len(shares), shares)
    code, out, err = qorus("bench", model, "-p", "8", "-n", "3", "-r", "1", "--json", "--profile")
    tell("bench --json --profile keeps stdout JSON",
         code == 0 and "decode_tok_s" in json.loads(out) and "prefill of 8" in err and "decode of 3" in err, (out, err))
    calls = re.findall(r"^  embedding +(\d+) ", err, re.M)
    tell("calls are counted per phase", calls[:1] == ["1"] and "3" in calls, calls)


def main():
    """All of it."""
    model = tiny_model("tiny.qorus", "--context", "1024")
    perplexity(model)
    perplexity_with_bos()
    bench(model)
    profiles(model)
    if real_model() is not None:
        file = FOLDER / "text.txt"
        got = measured("perplexity", real_model(), file, "--ctx", "128")
        tell("SmolLM2 expects English", 1 < got.get("perplexity", 0) < 80, got)
    finish()


main()
