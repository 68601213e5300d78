#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""qorus train over a model: adapters and whole files from a config or options; the same bits; stopping and going on.

Usage: test_finetune.py [--brief]; the environment's BUILD says where the command is. --brief: without the trainings that
must come to the same bits.
"""
import csv
import random
import re
import shutil
import sys

sys.dont_write_bytecode = True

from command import FOLDER, ROOT, finish, interrupted, qorus, tell, tiny_model  # noqa: E402
from file_reader import Parsed  # noqa: E402

FILES = ROOT / "vectors/files"
MODEL = FOLDER / "base.qorus"
TEXT = FOLDER / "text.txt"
WORDS = "the cat sat on a mat and one dog ran to that park while birds sang in tall trees".split()
LORA = ("--lora", 4, "--lora-alpha", 6)
PRODUCTS = ("q", "k", "v", "o", "gate", "up", "down")


def make_data():
    """A model of the project's, and a text of word pairs that follow each other."""
    shutil.copyfile(FILES / "llama.qorus", MODEL)
    r, words, at = random.Random(5), [], 0
    for _ in range(1500):
        words.append(WORDS[at])
        at = (at * 2 + r.randrange(2)) % len(WORDS)
    TEXT.write_text(" ".join(words))


def base(out, *options):
    """The words of a training over the model; those of `options` go before its own."""
    own = {"--threads": 1, "--model": MODEL, "--data": TEXT, "--window": 64, "--batch": 8, "--validate": 0.1, "--steps": 24,
           "--learning-rate": 0.01, "--out": FOLDER / out}
    given = list(map(str, options))
    return [*given, *(str(w) for k, v in own.items() if k not in given for w in (k, v))]


def train(out, *options):
    """Trains over the model; returns exit code, standard output and standard error."""
    return qorus("train", *base(out, *options))


def bytes_of(name):
    """A file's bytes; none if it is not there."""
    path = FOLDER / name
    return path.read_bytes() if path.exists() else b""


def tensors(name):
    """{name: what the record says} of a file; none if it is not there."""
    data = bytes_of(name)
    return {t["name"]: t for t in Parsed(data).tensors} if data else {}


def losses(name):
    """The losses of a metrics file."""
    with open(FOLDER / name, encoding="ascii") as f:
        return [float(row["loss"]) for row in csv.DictReader(f)]


def perplexity(model, *words):
    """Of the text, in exact mode."""
    code, out, err = qorus("perplexity", "-t", 1, model, TEXT, "--ctx", 64, "--exact", "--json", *words)
    got = re.search(r'"perplexity":\s*([\d.e+]+)', out)
    tell(f"perplexity of {model.name} {' '.join(map(str, words))}", code == 0 and got, (out, err))
    return float(got[1]) if got else 0.0


# ---- Results -------------------------------------------------------------------------------------------------

def adapters():
    """LoRA: a file of adapters, which run, perplexity and quantize take; the model stays as it was."""
    before = MODEL.read_bytes()
    code, out, err = train("a.qorus", *LORA, "--metrics", FOLDER / "a.csv", "--sample-every", 12, "--sample", "the cat")
    tell("lora: trains", code == 0 and "7424 parameters after 24 steps" in out, (code, out, err))
    lost = losses("a.csv")
    tell("lora: the loss falls", len(lost) == 24 and lost[-1] < lost[0] / 2, lost)
    tell("lora: samples of text on the way", len(re.findall(r"^--- step \d+: the cat", err, re.M)) == 2, err)
    tell("lora: the model's file stays as it was", MODEL.read_bytes() == before)
    wanted = {f"layers.{i}.{p}.lora_{x}" for i in (0, 1) for p in PRODUCTS for x in "ab"}
    tell("lora: the file holds the adapters alone", set(tensors("a.qorus")) == wanted, sorted(tensors("a.qorus")))
    tell("lora: and says rank and alpha", b"lora_rank: 4\nlora_alpha: 6.0" in Parsed(bytes_of("a.qorus")).section(6))
    plain, beside = perplexity(MODEL), perplexity(MODEL, "--adapter", FOLDER / "a.qorus")
    tell("lora: --adapter brings what was learnt", 0 < beside < plain / 10, (plain, beside))
    code, text, err = qorus("run", "-t", 1, MODEL, "--adapter", FOLDER / "a.qorus", "-p", "the cat", "-n", 12)
    tell("lora: qorus run --adapter continues a prompt", code == 0 and text.strip(), err)
    code, _, err = qorus("quantize", MODEL, FOLDER / "merged.qorus", "f32", "--adapter", FOLDER / "a.qorus")
    merged = perplexity(FOLDER / "merged.qorus")
    tell("lora: merged they do the same", code == 0 and abs(merged - beside) < 1e-4 * beside, (merged, beside, err))
    code, out, err = train("qv.qorus", "--lora", 2, "--tune", "q, layers.1.v", "--steps", 2)
    tell("lora: beside chosen products", code == 0 and {n.rsplit(".", 1)[0] for n in tensors("qv.qorus")}
         == {"layers.0.q", "layers.1.q", "layers.1.v"}, (sorted(tensors("qv.qorus")), err))
    tell("lora: alpha is the rank where none is given", b"lora_alpha: 2.0" in bytes_of("qv.qorus"))


def changed(out):
    """Names of the tensors whose bytes are not those of the model."""
    old, new = tensors("base.qorus"), tensors(out)
    tell(f"{out}: the same tensors", set(old) == set(new), sorted(new))
    return {name for name in new if name not in old or new[name]["sha256"] != old[name]["sha256"]}


def whole_files():
    """Without LoRA: a whole model, in which what did not train has the bytes it had."""
    for out, tune, kind, wanted in (
            ("layer.qorus", "layers.1.*", "f32", {n for n in tensors("base.qorus") if n.startswith("layers.1.")}),
            ("half.qorus", "layers.0.down q", "f16", {"layers.0.down", "layers.0.q", "layers.1.q"}),
            ("norms.qorus", "*norm", "f32", {n for n in tensors("base.qorus") if n.endswith("norm")}),
            ("all.qorus", None, "q8_0", {n for n, t in tensors("base.qorus").items() if t["layout"] == "panel16"})):
        choice = ("--tune", tune) if tune else ()
        code, text, err = train(out, *choice, "--type", kind, "--metrics", FOLDER / "w.csv")
        tell(f"{out}: trains", code == 0 and "perplexity" in text, (code, text, err))
        lost = losses("w.csv")
        tell(f"{out}: the loss falls from where the model was", lost[-1] < lost[0] and lost[0] == losses("a.csv")[0], lost)
        new = tensors(out)
        tell(f"{out}: what was chosen has changed, the rest has its bytes", changed(out) == wanted, changed(out) ^ wanted)
        tell(f"{out}: matrices as {kind}", all(new[n]["dtype"] == (kind if new[n]["layout"] == "panel16" else "f32")
                                               for n in wanted), [new[n]["dtype"] for n in wanted])
        tell(f"{out}: the tokenizer, the architecture and the notes of the model",
             all(Parsed(bytes_of(out)).section(i) == Parsed(MODEL.read_bytes()).section(i) for i in (3, 5, 6)))
        code, _, err = qorus("inspect", FOLDER / out, "--verify")
        tell(f"{out}: a good file", code == 0, err)
    tell("whole: it has learnt", perplexity(FOLDER / "layer.qorus") < perplexity(MODEL) / 10)
    code, out, err = train("again.qorus", "--model", FOLDER / "layer.qorus", "--lora", 2, "--steps", 2)
    tell("whole: what was tuned is tuned again", code == 0, (out, err))


# ---- The same bits -------------------------------------------------------------------------------------------

def same_bits():
    """Threads, backends, micro-batches, recomputation and stopping change nothing."""
    for name, choice in (("lora", LORA), ("whole", ("--tune", "layers.1.*"))):
        long = (*choice, "--steps", 150, "--evaluate-every", 1, "--window", 16, "--batch", 4)
        (FOLDER / "on.qorus").unlink(missing_ok=True)
        code, _, err = train("long.qorus", *long)
        tell(f"{name}: trains", code == 0, err)
        for options in (("--micro-batch", 3), ("--recompute", "yes"), ("--threads", 2), ("--backend", "scalar")):
            code, _, err = train("same.qorus", *long, *options)
            tell(f"{name}: the same file with {' '.join(map(str, options))}", code == 0
                 and bytes_of("same.qorus") == bytes_of("long.qorus"), err)
        code, _, err = train("same.qorus", *long, "--seed", 1)
        tell(f"{name}: control: another seed, another file", code == 0 and bytes_of("same.qorus") != bytes_of("long.qorus"), err)
        code, err = interrupted(*base("on.qorus", *long))
        tell(f"{name}: Ctrl-C leaves a state", code == 0 and "--resume" in err and bytes_of("on.qorus.state")
             and not bytes_of("on.qorus"), (code, err))
        state = bytes_of("on.qorus.state")
        code, _, err = train("on.qorus", *long, "--resume", "--learning-rate", 0.02)
        tell(f"{name}: another rate is refused", code == 1 and "learning_rate = 0.02" in err, err)
        code, _, err = train("on.qorus", *long, "--resume")
        tell(f"{name}: goes on to the same bits", code == 0 and bytes_of("on.qorus") == bytes_of("long.qorus"), err)
        (FOLDER / "on.qorus.state").write_bytes(state)
        good = MODEL.read_bytes()
        shutil.copyfile(FOLDER / "all.qorus", MODEL)
        code, _, err = train("on.qorus", *long, "--resume")
        MODEL.write_bytes(good)
        tell(f"{name}: another model under that name is refused", code == 1 and "base = " in err, err)


def telling():
    """Plan, help, defaults and the example."""
    code, out, err = train("p.qorus", *LORA, "--plan")
    tell("--plan prints what training needs", code == 0 and "layers.1.down.lora_b" in out and not bytes_of("p.qorus"), err)
    tell("--help tells", all(f"  --{k} " in qorus("train", "--help")[1] for k in ("model", "lora", "lora-alpha", "tune")))
    code, out, err = qorus("train", "--threads", 1, "--model", MODEL, "--data", TEXT, "--batch", 2, "--steps", 1,
                           "--out", FOLDER / "d.qorus")
    tell("the window is no more than the context", code == 0 and "vocabulary of 355;" in err and " windows of 256 tokens," in err, err)
    tell("where nothing is held out and not all was seen, nothing is evaluated", "\nlast training loss" in out, out)
    code, out, err = qorus("train", ROOT / "examples/train/lora.train", "--threads", 1, "--model", MODEL, "--data", TEXT, "--steps",
                           3, "--warmup", 1, "--window", 64, "--sample-every", 0, "--out", FOLDER / "e.qorus", "--metrics",
                           FOLDER / "e.csv")
    tell("examples/train/lora.train", code == 0 and tensors("e.qorus"), (out, err))


# ---- What is refused -----------------------------------------------------------------------------------------

REFUSED = (  # options; words of the message
    (("--model", "absent.qorus"), ["absent.qorus"]),
    (("--model", TEXT), ["text.txt", "not a"]),
    (("--model", FILES / "mlp.qorus"), ["--model", "mlp.qorus", "no language model"]),
    (("--model", FOLDER / "a.qorus"), ["--model", "a.qorus", "no language model"]),
    (("--model", tiny_model("mute.qorus", "--tokenizer", "none")), ["--model", "mute.qorus", "no tokenizer"]),
    (("--network", "embedding 8; linear classes"), ["--network", "exclude"]),
    (("--vocab", "char"), ["--vocab", "exclude"]),
    (("--vocab", "300"), ["--vocab", "exclude"]),
    (("--lora", "-1"), ["--lora", "-1"]),
    (("--lora", "many"), ["--lora", "many"]),
    (("--lora-alpha", "8"), ["--lora-alpha", "lora = RANK"]),
    (("--lora", "4", "--lora-alpha", "0"), ["--lora-alpha", "0.001"]),
    (("--lora", "4", "--type", "f16"), ["--type", "f32"]),
    (("--lora", "4", "--quantise", "q8_0"), ["--quantise", "f32"]),
    (("--tune", "nothing"), ["--tune", "'nothing'", "parameter"]),
    (("--tune", "q frobnicate"), ["--tune", "'frobnicate'"]),
    (("--tune", " , "), ["--tune", "missing"]),
    (("--lora", "4", "--tune", "*norm"), ["--tune", "'*norm'", "product"]),
    (("--lora", "4", "--tune", "embed"), ["--tune", "'embed'", "product"]),
    (("--window", "257"), ["--window", "257", "256"]),
    (("--out", MODEL), ["--out", "model itself"]),
    (("--out", FOLDER / "nowhere/x.qorus"), ["nowhere/x.qorus", "cannot be written"]),
    (("--loss", "mse"), ["--loss", "cross_entropy"]),
    (("--data", "absent.txt"), ["absent.txt"]),
    (("--targets", TEXT), ["--targets", "text"]),
)


def refusals():
    """One line that names the field; nothing is written and the model stays."""
    before = MODEL.read_bytes()
    for options, words in REFUSED:
        code, out, err = train("none.qorus", *options)
        lines = err.splitlines()
        tell(f"refused: {' '.join(map(str, options))}", code in (1, 2) and out == "" and len(lines) == 1
             and all(w in lines[0] for w in words) and not bytes_of("none.qorus") and MODEL.read_bytes() == before, (code, out, err))
    for option in (("--lora", 4), ("--lora-alpha", 4), ("--tune", "q")):
        code, _, err = qorus("train", "--data", TEXT, "--network", "embedding 8; linear classes", *option)
        tell(f"refused: {option[0]} without a model", code == 2 and option[0] in err and "model = FILE" in err, err)
    (FOLDER / "bad.train").write_text(f"data = {TEXT}\nmodel = {MODEL}\ntune = qq\n")
    code, _, err = qorus("train", FOLDER / "bad.train")
    tell("refused: with the line of the config file", code == 1 and "bad.train:3: tune:" in err, err)


make_data()
adapters()
whole_files()
if sys.argv[1:] != ["--brief"]:
    same_bits()
telling()
refusals()
finish()
