#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""qorus train: keys and layers beyond the four networks of test_train.py: drops, attention, class weights, narrow types, audit.

Usage: test_train_options.py; the environment's BUILD says where the command is
"""
import csv
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from command import FOLDER, QORUS, finish, interrupted, qorus, skip, tell  # noqa: E402
from file_reader import Parsed  # noqa: E402
from training import bytes_of, make_data, one_thread, refused, train, write_npy  # noqa: E402

CONFIGS = {
    "digits": "data = x.idx\ntargets = y.idx\nnormalise = unit\nvalidate = 0.2\nnetwork {\n  linear 32 gelu\n  linear classes\n}\n"
              "epochs = 3\nlearning_rate = 0.01\n",
    "text": "data = text.txt\nvocab = char\nwindow = 32\nvalidate = 0.1\nnetwork {\n  decoder layers 2 width 32 heads 2\n}\n"
            "steps = 30\nbatch = 8\nlearning_rate = 0.01\nevaluate_every = 10\n",
    "attend": "data = text.txt\nvocab = char\nwindow = 32\nvalidate = 0.1\nnetwork {\n  embedding 32\n  residual {\n    rmsnorm\n"
              "    attention heads 4 kv_heads 2 rope\n    drop_path 0.1\n  }\n  linear classes\n}\nsteps = 60\nbatch = 8\n"
              "learning_rate = 0.01\n",
    "waves": "data = waves.npy\ntargets = kinds.npy\nvalidate = 0.1\nnetwork {\n  linear 16\n  residual {\n    attention heads 2 full\n  }\n"
             "  linear 16 silu\n  last\n  linear classes\n}\nepochs = 4\nlearning_rate = 0.01\n",
}


def rows(name):
    """Lines of a metrics file."""
    with open(FOLDER / name, encoding="ascii") as f:
        return list(csv.DictReader(f))


def made(name, out, *options):
    """Trains; returns the lines of its metrics."""
    (FOLDER / "m.csv").unlink(missing_ok=True)
    code, text, err = train(name, "--out", out, "--metrics", "m.csv", *options)
    tell(f"{name} {' '.join(map(str, options))}: trains", code == 0, (text, err))
    return rows("m.csv")


def drops():
    """Dropout changes a training, in the same way for every cut of the work, and is no part of the file."""
    made("text", "plain.qorus")
    decoder = "decoder layers 2 width 32 heads 2"
    for what in ("dropout 0.2", "drop_path 0.4"):
        lines = made("text", "drop.qorus", "--network", f"{decoder} {what}")
        tell(f"{what}: another training", bytes_of("drop.qorus") != bytes_of("plain.qorus"))
        tell(f"{what}: the loss falls", float(lines[-1]["loss"]) < float(lines[0]["loss"]) - 0.5, lines)
        tell(f"{what}: the same tensors", [t["name"] for t in Parsed(bytes_of("drop.qorus")).tensors]
             == [t["name"] for t in Parsed(bytes_of("plain.qorus")).tensors])
        for options in (("--micro-batch", 3), ("--threads", 2), ("--recompute", "yes"), ("--backend", "scalar")):
            made("text", "same.qorus", "--network", f"{decoder} {what}", *options)
            tell(f"{what}: the same bits with {' '.join(map(str, options))}", bytes_of("same.qorus") == bytes_of("drop.qorus"))
    made("text", "none.qorus", "--network", f"{decoder} dropout 0 drop_path 0")
    tell("dropout 0 is none", bytes_of("none.qorus") == bytes_of("plain.qorus"))


def attention():
    """In layers, over texts and over samples."""
    lines = made("attend", "attend.qorus")
    tell("attention: learns a text", float(lines[-1]["loss"]) < float(lines[0]["loss"]) / 2, lines[-1])
    lines = made("waves", "waves.qorus")
    tell("attention: learns sequences", float(lines[-1]["loss"]) < float(lines[0]["loss"]), lines[-1])


def class_weights():
    """Weights count against each other: all of 2 are all of 1, and a class of weight 0 is not learnt."""
    made("digits", "plain.qorus")
    made("digits", "one.qorus", "--class-weights", " ".join(["1"] * 10))
    made("digits", "two.qorus", "--class-weights", "2 " * 10)
    tell("class_weights: all the same are none", bytes_of("one.qorus") == bytes_of("plain.qorus") == bytes_of("two.qorus"))
    made("digits", "zero.qorus", "--class-weights", "0 " + " ".join(["1"] * 9))
    code, out, err = qorus("run", FOLDER / "zero.qorus", "--input", FOLDER / "x.idx")
    told = [line.split()[0] for line in out.splitlines()]
    tell("class_weights: what counts nothing is never told", code == 0 and len(told) == 400 and "0" not in told, err)


def weighted_loss():
    """A mean by the weights: from that of one class and that of all others follows that of any weights of the two."""
    def loss(weights):
        return float(made("digits", "one.qorus", "--class-weights", weights, "--validate", 0, "--batch", 400, "--steps", 1)[0]["loss"])
    first = bytes_of("y.idx")[8:].count(0)
    one, others = loss("1 " + "0 " * 9), loss("0 " + "1 " * 9)
    for weight in (1, 3, 0.25):
        hand = (weight * first * one + (400 - first) * others) / (weight * first + 400 - first)
        told = loss(f"{weight} " + "1 " * 9)
        tell(f"class_weights: the loss where the first weighs {weight}", abs(told / hand - 1) < 1e-5 and abs(one / others - 1) > 1e-3,
             (told, hand))


def narrow_types():
    """Weights as the file will have them, values in 16 bits."""
    plain = float(made("text", "plain.qorus")[-1]["val_loss"])
    for kind in ("q8_0", "q4_0", "bf16"):
        lines = made("text", "narrow.qorus", "--quantise", kind)
        types = {t["dtype"] for t in Parsed(bytes_of("narrow.qorus")).tensors if t["layout"] == "panel16"}
        tell(f"quantise = {kind}: the file has that type", types == {kind}, types)
        tell(f"quantise = {kind}: near the loss of f32", abs(float(lines[-1]["val_loss"]) - plain) < 0.3, (lines[-1], plain))
    made("text", "f32.qorus", "--quantise", "q8_0", "--type", "f32")
    tell("type wins over quantise", {t["dtype"] for t in Parsed(bytes_of("f32.qorus")).tensors} == {"f32"})
    lines = made("text", "fast.qorus", "--quantise", "q8_0", "--precision", "fast")
    tell("precision = fast: near it too", abs(float(lines[-1]["val_loss"]) - plain) < 0.3, (lines[-1], plain))
    for kind in ("bf16", "f16"):
        lines = made("text", "narrow.qorus", "--simulate", kind)
        tell(f"simulate = {kind}: other bits, much the same loss", bytes_of("narrow.qorus") != bytes_of("plain.qorus")
             and abs(float(lines[-1]["val_loss"]) - plain) < 0.1, (lines[-1], plain))


def quantised_answers():
    """The file of a quantised training answers as the training did at its end."""
    line = re.compile(r"training loss ([\d.]+)")
    for precision in ("exact", "fast"):
        code, text, err = train("digits", "--loss", "mse", "--validate", 0, "--network", "linear 32 relu; linear 1", "--quantise", "q8_0",
                                "--precision", precision, "--out", "answers.qorus")
        trained = float(line.search(text)[1])
        code, _, err = qorus("run", FOLDER / "answers.qorus", "--input", FOLDER / "x.idx", "--targets", FOLDER / "y.idx",
                             *(["--exact"] if precision == "exact" else []))
        told = re.search(r"mean squared error ([\d.e+-]+)", err)
        tell(f"quantise, precision = {precision}: the file's loss is the training's", code == 0 and told
             and abs(float(told[1]) / trained - 1) < 1e-5, (trained, err))
    code, text, err = train("digits", "--quantise", "q8_0", "--loss", "mse", "--network", "linear 32; linear 2; linear 1", "--out", "no.qorus")
    tell("quantise: rows that are not whole blocks are refused before the training", code == 1 and "3.linear.w" in err
         and "32" in err and "/120" not in err, err)


def types_that_do_not_fit():
    """Said before a training, not behind it."""
    code, text, err = train("digits", "--type", "q4_0", "--loss", "mse", "--network", "linear 32; linear 2; linear 1", "--out", "no.qorus")
    tell("type: rows that are not whole blocks are refused before the training", code == 1 and "3.linear.w" in err and "32" in err
         and "loss" not in err and not bytes_of("no.qorus"), err)


def cost_of_narrow_types():
    """A training in narrow types ends with the loss of its weights in f32, which is that of the file in f32."""
    base = ("--loss", "mse", "--validate", 0, "--network", "linear 32 relu; linear 1", "--type", "f32", "--out", "cost.qorus")
    for options in (("--simulate", "bf16"), ("--simulate", "f16"), ("--quantise", "q4_0"), ("--quantise", "q8_0", "--precision", "fast")):
        _, text, err = train("digits", *base, *options)
        told = re.search(r"training loss ([\d.]+),(?s:.)*in f32 ([\d.]+): the narrow types cost (-?[\d.]+)$", text, re.M)
        _, _, err2 = qorus("run", FOLDER / "cost.qorus", "--exact", "--input", FOLDER / "x.idx", "--targets", FOLDER / "y.idx")
        wide = re.search(r"mean squared error ([\d.e+-]+)", err2)
        loss, f32, cost = map(float, told.groups()) if told else (0, 0, 0)
        tell(f"{' '.join(options)}: what it costs", told and wide and abs(float(wide[1]) / f32 - 1) < 1e-5 and cost != 0
             and abs(loss - f32 - cost) < 2e-6, (text, err, err2))
    tell("without narrow types nothing is told of them", "narrow" not in train("digits", *base)[1])


def every_key_counts():
    """Keys that change what a training makes: each gives another file than the training without it."""
    for key, value, base in (("label-smoothing", 0.1, ()), ("delta", 0.5, ("--loss", "huber", "--network", "linear 1")), ("eps", 1e-3, ()),
                             ("factor", 0.5, ("--schedule", "step", "--every", 4)), ("clip-value", 1e-4, ("--optimizer", "sgd")),
                             ("weight-norm", 0.5, ()), ("average", 0.5, ()), ("in-order", "yes", ()), ("beta1", 0.5, ()),
                             ("beta2", 0.5, ()), ("optimizer", "lion", ()), ("nesterov", "yes", ("--optimizer", "sgd", "--momentum", 0.9)),
                             ("last", 0.5, ("--schedule", "wsd", "--decay", 6))):
        base = (*base, "--validate", 0, "--steps", 12)
        made("digits", "plain.qorus", *base)
        made("digits", "key.qorus", *base, f"--{key}", value)
        tell(f"{key} counts", bytes_of("key.qorus") and bytes_of("key.qorus") != bytes_of("plain.qorus"))
    _, out, _ = train("digits", "--epochs", 50, "--patience", 2, "--min-delta", 1000, "--out", "early.qorus")
    tell("min_delta: nothing is so much better, and it ends", "after 30 steps, 3 epochs" in out and "no better loss in 2 evaluations" in out, out)
    wild = ("--learning-rate", 0.3, "--evaluate-every", 1, "--patience", 3, "--epochs", 50)
    best, last = (train("digits", *wild, "--keep-best", word, "--out", f"{word}.qorus")[1] for word in ("yes", "no"))
    tell("keep_best: the end is the best evaluation, or the last step", ", the best)" in best and ", the best)" not in last
         and bytes_of("yes.qorus") != bytes_of("no.qorus"), (best, last))
    text = train("digits", "--validate", 0, "--steps", 2, "--out", "short.qorus")[1]
    tell("less than an epoch: no figures of what was not gone through", "last training loss" in text and "accuracy" not in text, text)
    long, short = (train("text", "--steps", 2, "--sample-every", 2, "--sample-temperature", t, "--sample-tokens", n, "--out", "s.qorus")[2]
                   for t, n in ((1, 40), (1, 3)))
    tell("sample_tokens: so many", len(long) > len(short) + 20, (long, short))


def every_layer():
    """Layers and words that no other network here has: each learns, and its file answers as the training said."""
    for name, network in (
            ("digits", "conv2d 6 3 pad 1; conv2d 6 3 pad 1 groups 6 relu; avgpool 2; conv2d 24 3 stride 2 pad 2 dilation 2 silu; "
                       "globalpool; linear classes"),
            ("digits", "block {; linear 32 tanh; layernorm; }; rmsnorm; residual {; linear 32 sigmoid nobias; }; linear classes"),
            ("waves", "rnn 16; last; linear classes"), ("waves", "rnn 16 relu nobias; last; linear classes"),
            ("waves", "gru 16; last; linear classes"),
            ("waves", "linear 16; residual {; attention heads 2 kv_heads 1 window 5; }; gelu_tanh; last; linear classes")):
        code, text, err = train(name, "--validate", 0, "--network", network, "--epochs", 12, "--out", "layer.qorus")
        told = re.search(r"training accuracy ([\d.]+)", text)
        data, targets = ("x.idx", "y.idx") if name == "digits" else ("waves.npy", "kinds.npy")
        _, _, err2 = qorus("run", FOLDER / "layer.qorus", "--input", FOLDER / data, "--targets", FOLDER / targets)
        right = re.search(r"accuracy ([\d.]+)", err2)
        tell(f"{network}: learns, and answers as it has learnt", code == 0 and told and right and told[1] == right[1]
             and float(told[1]) > 0.8, (text, err, err2))
    for network in ("decoder layers 1 width 32 heads 4 kv_heads 1 untied", "embedding 16; gru 24; linear classes"):
        lines = made("text", "layer.qorus", "--network", network, "--steps", 60)
        code, out, err = qorus("run", FOLDER / "layer.qorus", "-p", "the", "-n", 8)
        tell(f"{network}: learns, and goes on with a text", float(lines[-1]["loss"]) < float(lines[0]["loss"]) - 0.5 and code == 0
             and out.strip(), (lines[-1], err))


def named_classes():
    """Labels of a CSV file that are names: the training of their places, answers by name."""
    table = [line.rsplit(",", 1) for line in (FOLDER / "digits.csv").read_text().splitlines()]
    names = "ant bee cow dog eel fox gnu hen ibex jay".split()
    (FOLDER / "named.csv").write_text("".join(f"{x},{names[int(y)]}\n" for x, y in table))
    numbers = CONFIGS["digits"].replace("x.idx\ntargets = y.idx", "digits.csv\nlabel = last")
    (FOLDER / "numbers.train").write_text(numbers)
    (FOLDER / "named.train").write_text(numbers.replace("digits.csv", "named.csv"))
    made("numbers", "numbers.qorus", "--classes", " ".join(names))
    made("named", "named.qorus")
    tell("names of classes: the same file as by their places, sorted", bytes_of("named.qorus") == bytes_of("numbers.qorus") != b"")
    lines = [made(of, "held.qorus", "--validate", 0, "--validate-data", file) for of, file in (("named", "named.csv"), ("numbers", "digits.csv"))]
    tell("names of classes: held-out samples have them too", [r["val_loss"] for r in lines[0]] == [r["val_loss"] for r in lines[1]])
    made("named", "turned.qorus", "--classes", " ".join(reversed(names)))
    answers = [qorus("run", FOLDER / f"{model}.qorus", "--input", FOLDER / "named.csv", "--confusion", FOLDER / "k.csv")
               for model in ("named", "turned")]
    kinds = [line.split()[0] for line in answers[0][1].splitlines()]
    right = sum(kind == names[int(y)] for kind, (_, y) in zip(kinds, table))
    tell("names of classes: run answers and counts by them", right > 200 and f"({right} of 400)" in answers[0][2], answers[0][2])
    tell("names of classes: in the order told", (FOLDER / "k.csv").read_text().startswith("target,jay,ibex,hen,"), answers[1][2])
    code, _, err = qorus("run", FOLDER / "turned.qorus", "--input", FOLDER / "x.idx")
    tell("names of classes: other samples have none", code == 0, err)


def every_source():
    """Keys that say what the data is: the same file read as something else, held-out samples in files of their own."""
    conv = ("--network", "conv2d 4 3 pad 1 relu; flatten; linear classes", "--validate", 0)
    made("digits", "images.qorus", *conv)
    (FOLDER / "table.train").write_text(CONFIGS["digits"].replace("x.idx\ntargets = y.idx", "digits.csv\nlabel = last"))
    made("table", "rows.qorus", *conv, "--shape", "8 8 1")
    hashes = [[t["sha256"] for t in Parsed(bytes_of(f"{name}.qorus")).tensors] for name in ("rows", "images")]
    tell("shape: rows of a CSV file are images", hashes[0] == hashes[1] and len(hashes[0]) == 4, hashes)
    code, text, err = train("text", "--data", "digits.csv", "--format", "text", "--steps", 3, "--out", "format.qorus")
    tell("format: a CSV file as a text", code == 0 and "perplexity" in text, err)
    windows = [re.search(r"(\d+) windows", train("text", "--stride", n, "--steps", 1, "--validate", 0, "--out", "s.qorus")[2])[1]
               for n in (32, 8)]
    tell("stride: windows that overlap are more", 3.9 < int(windows[1]) / int(windows[0]) < 4.1, windows)
    for name, head, each in (("x", 16, 64), ("y", 8, 1)):
        data = bytes_of(f"{name}.idx")
        (FOLDER / f"{name}-32.idx").write_bytes(data[:4] + (32).to_bytes(4, "big") + data[8:head + 32 * each])
    losses = [float(made("digits", "o.qorus", "--validate", 0, "--steps", 1, "--data", f"x{end}.idx", "--targets", f"y{end}.idx", *order)[0]
                    ["loss"]) for end, order in (("-32", ()), ("", ("--in-order", "yes")), ("", ()))]
    tell("in_order: the first step is of the file's first samples", abs(losses[1] / losses[0] - 1) < 1e-5 < abs(losses[2] / losses[0] - 1),
         losses)
    texts = [train("digits", "--validate", 0, "--keep-best", "no", *held, "--out", "held.qorus")[1]
             for held in ((), ("--validate-data", "x.idx", "--validate-targets", "y.idx"))]
    found = [re.search(rf"{what} loss ([\d.]+)", t) for what, t in zip(("training", "validation"), texts)]
    tell("validate_data: of the training's own samples the loss is the same", all(found) and found[0][1] == found[1][1], texts)


def killed():
    """A training that saves every second is killed: it goes on from its last state to the same bits."""
    (FOLDER / "killed.qorus.state").unlink(missing_ok=True)
    with subprocess.Popen([QORUS, "train", *one_thread(("digits.train", "--epochs", 10 ** 6, "--save-every", 1, "--out", "killed.qorus"))],
                          cwd=FOLDER, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as training:
        late = time.monotonic() + 60
        while not bytes_of("killed.qorus.state") and time.monotonic() < late:
            time.sleep(0.05)
        training.kill()
    code, text, err = qorus("inspect", FOLDER / "killed.qorus.state", "--json")
    tell("killed: its state is whole", code == 0, err)
    end = ("--epochs", 10 ** 6, "--steps", json.loads(text)["training"]["steps"] + 20)
    code, _, err = train("digits", *end, "--out", "killed.qorus", "--resume")
    train("digits", *end, "--out", "whole.qorus")
    tell("killed: goes on to the same bits", code == 0 and bytes_of("killed.qorus") and bytes_of("killed.qorus") == bytes_of("whole.qorus"),
         err)


def pinned():
    """What a training works in stays in physical memory, as the kernel tells while it runs; or it is said that it cannot."""
    def locked(pid):
        found.append(int(re.search(r"VmLck:\s*(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]))
    found = []
    if "ASAN_OPTIONS" in os.environ:
        skip("pin", "sanitizers do nothing where memory is to be pinned")
        return
    errors = [interrupted(*one_thread(("digits.train", "--epochs", 1000000, "--out", "p.qorus", *pin)), look=locked)[1]
              for pin in ((), ("--pin", "yes"))]
    planned = float(re.search(r"([\d.]+) MiB planned", errors[0])[1]) * 1024
    tell("pin: memory stays", found[0] == 0 and (found[1] > planned / 2 or "could be pinned" in errors[1]), (found, planned, errors[1]))


def going_on():
    """Stopped and gone on with every key of this file: the same bits, the same metrics."""
    for name, options in (
            ("text", ("--quantise", "q8_0", "--simulate", "bf16", "--network", "decoder layers 2 width 32 heads 2 dropout 0.1 drop_path 0.2")),
            ("attend", ("--quantise", "q8_0", "--precision", "fast")),
            ("digits", ("--class-weights", "1 2 3 4 5 6 7 8 9 10", "--quantise", "bf16", "--validate", 0.5))):
        options = (*options, "--audit", "yes", "--steps", 120, "--epochs", 1000, "--evaluate-every", 1, "--patience", 9999)
        whole = made(name, "whole.qorus", *options)
        options = (*options, "--out", "part.qorus", "--metrics", "part.csv")
        code, err = interrupted(*one_thread((f"{name}.train", *options)))
        tell(f"{name}: stops", code == 0 and bytes_of("part.qorus.state"), err)
        code, _, err = train(name, *options, "--resume")
        part = rows("part.csv")
        tell(f"{name}: goes on to the same bits", code == 0 and bytes_of("part.qorus") == bytes_of("whole.qorus"), err)
        times = ("samples_per_s", "seconds")
        tell(f"{name}: ... and figures", len(part) == 120 and all(a[k] == b[k] for a, b in zip(part, whole) for k in a if k not in times))


def metrics():
    """Perplexity of texts, the audit's columns."""
    lines = made("text", "plain.qorus")
    judged = [r for r in lines if r["val_loss"]]
    tell("perplexity is exp(val_loss)", len(judged) == 3 and all(
        abs(float(r["perplexity"]) / math.exp(float(r["val_loss"])) - 1) < 1e-6 for r in judged), judged)
    lines = made("digits", "audit.qorus", "--audit", "yes")
    names = [k for k in lines[0] if k.endswith((".gradient", ".update", ".zeros", ".norm"))]
    tell("audit: four figures of each parameter", len(names) == 16 and "1.linear.w.update" in names, names)
    tell("audit: numbers", all(math.isfinite(float(r[k])) for r in lines for k in names if r[k]), lines[0])
    tell("audit: gradients are there and steps are small", all(float(r["1.linear.w.gradient"]) > 0
                                                               and 0 < float(r["1.linear.w.update"]) < 1 for r in lines))
    lines = made("digits", "scaled.qorus", "--audit", "yes", "--weight-norm", 1, "--log-every", 4)
    tell("weight_norm: parameters above it are scaled back, as the metrics tell", all(
        0 < int(r["rescaled"]) <= 4 * 4 and float(r["1.linear.w.norm"]) < 1 + 1e-5 for r in lines), lines)
    made("digits", "plain.qorus")
    tell("audit: changes no bit", bytes_of("audit.qorus") == bytes_of("plain.qorus"))


DIGITS = "data = x.idx\ntargets = y.idx\n"
BAD = (  # config, line, words
    ("data = words.csv\nlabel = kind\nnetwork {\n  linear classes\n}\n", None, ["words.csv:3", "column 1", "no finite number"]),
    ("data = line.csv\nlabel = y\nclasses = low high\nnetwork {\n  linear classes\n}\n", None, ["line.csv", "class"]),
    ("data = kinds.csv\nlabel = last\nclasses = cat dog\nnetwork {\n  linear classes\n}\n", None,
     ["kinds.csv:3", "column 3", "none of the names"]),
    ("data = kinds.csv\nlabel = last\nvalidate_data = held.csv\nnetwork {\n  linear classes\n}\n", None,
     ["held.csv:2", "column 3", "none of the names"]),
    ("data = kinds.csv\nlabel = last\nloss = mse\nnetwork {\n  linear 1\n}\n", None, ["kinds.csv:1", "column 3", "no finite number"]),
    ("data = nan.npy\ntargets = kinds.npy\nnetwork {\n  linear classes\n}\n", None, ["nan.npy", "sample 2", "no finite number"]),
    (DIGITS + "class_weights = 1 2\nnetwork {\n  linear classes\n}\n", 3, ["class_weights", "2 numbers", "10 outputs"]),
    (DIGITS + "class_weights = 1 x\nnetwork {\n  linear classes\n}\n", 3, ["class_weights", "'x'"]),
    (DIGITS + "loss = mse\nclass_weights = 1\nnetwork {\n  linear 1\n}\n", 4, ["class_weights", "cross_entropy"]),
    (DIGITS + "precision = fast\nnetwork {\n  linear classes\n}\n", 3, ["precision", "quantise"]),
    (DIGITS + "audit = yes\nnetwork {\n  linear classes\n}\n", 3, ["audit", "metrics"]),
    (DIGITS + "simulate = q8_0\nnetwork {\n  linear classes\n}\n", 3, ["simulate", "q8_0"]),
    (DIGITS + "network {\n  drop_path 0.1\n  linear classes\n}\n", 4, ["drop_path", "residual"]),
    (DIGITS + "network {\n  dropout 1\n  linear classes\n}\n", 4, ["dropout", "'1'", "below 1"]),
    (DIGITS + "network {\n  batchnorm momentum 0\n  linear classes\n}\n", 4, ["momentum", "'0'", "above 0"]),
    (DIGITS + "network {\n  attention rope\n  linear classes\n}\n", 4, ["attention", "heads"]),
    (DIGITS + "network {\n  attention heads 2 rope\n  linear classes\n}\n", 4, ["attention", "rope"]),
    (DIGITS + "network {\n  attention heads 3\n  linear classes\n}\n", 4, ["heads", "divide"]),
    ("data = text.txt\nnetwork {\n  decoder layers 1 width 8 heads 1 dropout 1\n}\n", 3, ["decoder", "dropout", "'1'"]),
    ("data = text.txt\nnetwork {\n  decoder layers 1 width 8 heads 1 drop_path -1\n}\n", 3, ["decoder", "drop_path", "'-1'"]),
    ("data = text.txt\nnetwork {\n  embedding 8\n  attention heads 1 full\n  linear classes\n}\n", 4, ["attention", "full"]),
    ("data = kinds.csv\nformat = text\nvocab = char\nnetwork {\n  decoder layers 1 width 8 heads 1\n}\n", 1,
     ["data", "24 tokens", "window of 256", "smaller window"]),
    ("data = text.txt\nvocab = char\nwindow = 64\nvalidate = 0.0001\nnetwork {\n  decoder layers 1 width 8 heads 1\n}\n", 3,
     ["window", "held out", "window of 64", "hold out more"]),
    ("data = text.txt\ntargets = y.idx\nnetwork {\n  embedding 8\n  linear classes\n}\n", 2, ["targets", "text"]),
)


def bad_configs():
    """Every message names file, line and field."""
    (FOLDER / "words.csv").write_text("a,kind\n1,2\nsetosa,1\n")
    (FOLDER / "kinds.csv").write_text("1,2,cat\n3,4,dog\n5,6,cow\n")
    (FOLDER / "held.csv").write_text("1,2,cat\n3,4,hen\n")
    write_npy("nan.npy", (3, 1), "<f4", [1, 2, math.nan])
    for i, (text, line, words) in enumerate(BAD):
        (FOLDER / "bad.train").write_text(text)
        refused(f"{words[0]} ({i})", words, line, "bad.train")


make_data()
for config, text_of in CONFIGS.items():
    (FOLDER / f"{config}.train").write_text(text_of)
drops()
attention()
class_weights()
weighted_loss()
narrow_types()
quantised_answers()
types_that_do_not_fit()
cost_of_narrow_types()
every_key_counts()
every_layer()
named_classes()
every_source()
killed()
pinned()
going_on()
metrics()
bad_configs()
finish()
