#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""qorus train: four kinds of network, each from one config file to answers of qorus run; stopping and going on; metrics."""
import fcntl
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from command import FOLDER, QORUS, ROOT, finish, interrupted, qorus, tell
from file_reader import Parsed
from training import WORDS, bytes_of, make_data, one_thread, refused, train

sys.path.insert(0, str(ROOT / "tools"))
import plot_metrics  # noqa: E402

CONFIGS = {
    "mlp": """# An MLP on digits
data = x.idx
targets = y.idx
normalise = unit   # from 0 .. 255
validate = 0.2
network {
  linear 32 relu
  dropout 0.1
  linear classes
}
learning_rate = 0.01
epochs = 12
clip_norm = 1
average = 0.8
""",
    "cnn": """data = x.idx
targets = y.idx
normalise = global
validate = 0.2
batch = 20
network {
  conv2d 6 3 pad 1 nobias
  batchnorm relu
  maxpool 2
  residual {
    conv2d 6 3 pad 1
    relu
  }
  flatten
  linear classes
}
optimizer = sgd
momentum = 0.9
learning_rate = 0.02
schedule = cosine
warmup = 5
epochs = 6
patience = 6
""",
    "lstm": """data = waves.npy
targets = kinds.npy
validate = 0.1
network {
  lstm 16
  last
  linear classes
}
optimizer = adam
learning_rate = 0.02
epochs = 12
patience = 12
""",
    "lm": """data = text.txt
vocab = 280
validate = 0.1
window = 32
batch = 8
network {
  decoder layers 2 width 32 heads 4 kv_heads 2 ffn 64
}
learning_rate = 0.01
weight_decay = 0.1
schedule = linear
warmup = 10
last = 0.1
epochs = 4
""",
}


# ---- Four networks -------------------------------------------------------------------------------------------

def classifier(name, samples, targets):
    """Trained well, and its file answers as the training said."""
    code, out, err = train(name, "--out", f"{name}.qorus", "--metrics", f"{name}.csv")
    accuracy = re.search(r"validation accuracy ([\d.]+), F1 ([\d.]+)", out)
    tell(f"{name}: learns to tell the classes", code == 0 and accuracy and float(accuracy[1]) > 0.9 < float(accuracy[2]) + 0.05,
         (code, out, err))
    model = FOLDER / f"{name}.qorus"
    code, out, err = qorus("run", model, "-t", 1, "--input", FOLDER / samples, "--targets", FOLDER / targets)
    right = re.search(r"accuracy ([\d.]+) \((\d+) of (\d+)\)", err)
    rows = [line.split() for line in out.splitlines()]
    tell(f"{name}: qorus run answers every sample", code == 0 and right and float(right[1]) > 0.9 and len(rows) == int(right[3])
         and all(len(r) == 2 and 0 < float(r[1]) <= 1 for r in rows), (code, out[-200:], err))
    code, plain, err = qorus("run", model, "-t", 1, "--input", FOLDER / samples)
    tell(f"{name}: without targets the same answers", code == 0 and plain == out and "accuracy" not in err, err)
    code, out, err = qorus("run", model, "-t", 1, "--input", FOLDER / samples, "--targets", FOLDER / samples)
    tell(f"{name}: targets that are no answers", code == 1 and out == "" and "but the model answers with 1" in err, (code, err))
    looks(name, model)


def wide_rows():
    """A file whose samples have 65536 times 65536 values, which 32 bits cannot count."""
    data = bytearray(bytes_of("lstm.qorus"))
    at = Parsed(bytes(data)).sections[4][0] + 32
    data[at + 7] = 4
    struct.pack_into("<I", data, at + 16 + 4, 65536)
    struct.pack_into("<I", data, at + 16 + 12, 65536)
    (FOLDER / "wide.qorus").write_bytes(Parsed(bytes(data)).rehash())
    code, _, err = qorus("run", FOLDER / "wide.qorus", "--input", FOLDER / "waves.npy")
    tell("qorus run: samples with more values than can be counted", code == 1 and "more than 4294967295 values" in err, (code, err))


def looks(name, model):
    """The other commands on the file."""
    for command in (("inspect", "--verify"), ("plan",), ("plan", "--json"), ("conform", "-t", 1)):
        code, out, err = qorus(command[0], model, *command[1:])
        tell(f"{name}: qorus {' '.join(map(str, command))}", code == 0 and out, (out[-200:], err))


def language_model():
    """A decoder on a text: perplexity, samples on the way, quantised, continued by qorus run and measured by perplexity."""
    code, out, err = train("lm", "--out", "lm.qorus", "--metrics", "lm.csv", "--sample-every", "40", "--sample", "the cat")
    got = re.search(r"validation perplexity ([\d.]+)", out)
    tell("lm: learns the text", code == 0 and got and float(got[1]) < 12, (code, out, err))
    tell("lm: samples on the way begin as asked", len(re.findall(r"^--- step \d+: the cat", err, re.M)) >= 2, err)
    code, out, _ = qorus("run", "-t", 1, FOLDER / "lm.qorus", "-p", "the cat", "-n", 20)
    tell("lm: qorus run continues a prompt", code == 0 and len(set(out.split()) & set(WORDS)) >= 2, out)
    code, out, err = qorus("perplexity", "-t", 1, FOLDER / "lm.qorus", FOLDER / "text.txt", "--ctx", 32, "--exact", "--json")
    tell("lm: qorus perplexity measures it", code == 0 and '"perplexity"' in out, (out, err))
    looks("lm", FOLDER / "lm.qorus")
    for kind in ("f16", "q8_0", "q4_0"):
        code, out, err = train("lm", "--out", f"lm-{kind}.qorus", "--type", kind, "--steps", 40)
        code2, text, err2 = qorus("run", FOLDER / f"lm-{kind}.qorus", "-p", "the", "-n", 5)
        tell(f"lm: written as {kind} and run", code == 0 == code2 and text.strip()
             and len(bytes_of(f"lm-{kind}.qorus")) < len(bytes_of("lm.qorus")), (err, err2))
    for vocab in ("char", "byte"):
        code, out, err = train("lm", "--out", "v.qorus", "--vocab", vocab, "--steps", 20)
        tell(f"lm: a vocabulary of {vocab}s", code == 0, (out, err))
    code, out, err = qorus("train", "--threads", 1, "--data", FOLDER / "text.txt", "--network", "embedding 16; lstm 24; linear classes",
                           "--vocab", "char", "--steps", 30, "--out", FOLDER / "rnn.qorus", "--sample-every", 30)
    tell("lm: an LSTM, from options alone", code == 0 and "--- step 30" in err, (out, err))
    code, out, err = qorus("run", "-t", 1, FOLDER / "rnn.qorus", "-p", "the", "-n", 10)
    tell("lm: ... continues a prompt", code == 0 and out.strip() != "", (out, err))


def values():
    """Regression and chances, from a CSV file and options alone."""
    base = ["train", "--threads", 1, "--data", FOLDER / "line.csv", "--label", "y", "--out", FOLDER / "line.qorus"]
    code, out, err = qorus(*base, "--network", "linear 1", "--loss", "mse", "--optimizer", "sgd", "--learning-rate", 0.1)
    loss = re.search(r"training loss ([\d.]+)", out)
    tell("values: a straight line by mse", code == 0 and loss and float(loss[1]) < 1e-3, (out, err))
    code, out, err = qorus("run", "-t", 1, FOLDER / "line.qorus", "--input", FOLDER / "line.csv")
    tell("values: qorus run prints them, with their error", code == 0 and len(out.split()) == 200 and "mean squared error" in err,
         (out[:80], err))
    code, out, err = qorus(*base, "--network", "linear 8 tanh; linear 1", "--loss", "huber", "--delta", "0.5")
    tell("values: huber", code == 0, err)
    (FOLDER / "side.csv").write_text("".join(f"{i % 17 - 8},{int(i % 17 > 8)}\n" for i in range(170)))
    code, out, err = qorus("train", "--threads", 1, "--data", FOLDER / "side.csv", "--label", "last", "--loss", "bce", "--network", "linear 1",
                           "--learning-rate", 0.1, "--out", FOLDER / "side.qorus")
    code2, out, err2 = qorus("run", "-t", 1, FOLDER / "side.qorus", "--input", FOLDER / "side.csv")
    tell("values: chances by bce", code == 0 == code2 and "accuracy 1.0000" in err2
         and all(0 <= float(v) <= 1 for v in out.split()), (err, err2))
    code, out, err = qorus("train", "--threads", 1, "--data", FOLDER / "digits.csv", "--label", "last", "--network", "linear 32 relu; linear 10",
                           "--normalise", "standard", "--classes", "o i z e h s b t x g", "--out", FOLDER / "named.qorus")
    code2, out, err2 = qorus("run", "-t", 1, FOLDER / "named.qorus", "--input", FOLDER / "digits.csv")
    tell("values: classes by their names", code == 0 == code2 and set(l.split()[0] for l in out.splitlines()) <= set("oizehsbtxg")
         and "accuracy" in err2, (out[:80], err, err2))


def examples():
    """The files of examples/train, on the data made here, for a few steps."""
    for name, data in (("mlp", ("x.idx", "y.idx")), ("cnn", ("x.idx", "y.idx")), ("lstm", ("waves.npy", "kinds.npy")),
                       ("text", ("text.txt",)), ("five-minutes", ("text.txt",))):
        targets = ("--targets", data[1]) if len(data) == 2 else ()
        done = subprocess.run([QORUS, "train", ROOT / f"examples/train/{name}.train", "--data", data[0], *targets, "--steps", "12",
                               "--batch", "8", "--warmup", "2", "--sample-every", "0", "--threads", "1", "--out", "example.qorus",
                               "--metrics", "example.csv"],
                              cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
        tell(f"examples/train/{name}.train", done.returncode == 0 and "validation loss" in done.stdout, done.stderr)


# ---- The same bits -------------------------------------------------------------------------------------------

def same_bits():
    """Threads, backends, micro-batches and recomputation change nothing."""
    for name, options in (("mlp", ("--micro-batch", 5)), ("mlp", ("--backend", "scalar")),
                          ("cnn", ("--recompute", "yes")), ("mlp", ("--threads", 2)), ("cnn", ("--threads", 3)), ("lm", ("--micro-batch", 3)),
                          ("lm", ("--recompute", "yes", "--backend", "scalar"))):
        code, _, err = train(name, "--out", "same.qorus", *options)
        tell(f"{name}: the same file with {' '.join(map(str, options))}", code == 0 and bytes_of("same.qorus")
             == bytes_of(f"{name}.qorus"), err)
    code, _, err = train("mlp", "--out", "same.qorus", "--seed", 1)
    tell("control: another seed, another file", code == 0 and bytes_of("same.qorus") != bytes_of("mlp.qorus"), err)


def interrupt(name, *options):
    """Begins a training and stops it in its first steps; returns exit code and standard error."""
    return interrupted(*one_thread([f"{name}.train", *options]))


def without_times(name):
    """The lines of a metrics file that do not depend on the clock."""
    return [",".join(line.split(",")[:7]) for line in bytes_of(name).decode().splitlines()]


def going_on():
    """Stopped by Ctrl-C, twice, and gone on: the bits of a training that never stopped."""
    for name, epochs, every in (("mlp", 50, 2), ("cnn", 40, 2), ("lstm", 60, 2), ("lm", 10, 1)):
        long = ("--epochs", epochs, "--evaluate-every", every, "--patience", 9999)
        train(name, *long, "--out", f"{name}-long.qorus", "--metrics", f"{name}-long.csv")
        out = (*long, "--out", f"{name}-on.qorus", "--metrics", f"{name}-on.csv")
        code, err = interrupt(name, *out)
        command = re.search(r"^  (qorus train .*--resume)$", err, re.M)
        tell(f"{name}: Ctrl-C finishes the step and says how to go on", code == 0 and command
             and not bytes_of(f"{name}-on.qorus") and bytes_of(f"{name}-on.qorus.state"), (code, err))
        code, err = interrupt(name, *out, "--resume")
        tell(f"{name}: ... and again", code == 0 and err.count("--resume") == 1, err)
        code, text, err = train(name, *out, "--resume")
        tell(f"{name}: goes on to the same bits", code == 0 and bytes_of(f"{name}-on.qorus") == bytes_of(f"{name}-long.qorus"),
             (text, err))
        tell(f"{name}: ... and metrics", len(without_times(f"{name}-on.csv")) > 200
             and without_times(f"{name}-on.csv") == without_times(f"{name}-long.csv"))
        tell(f"{name}: ... leaving no state behind", not (FOLDER / f"{name}-on.qorus.state").exists())
    refusals()


def refusals():
    """A state that does not fit."""
    interrupt("mlp", "--out", "r.qorus", "--epochs", 30, "--evaluate-every", 1)
    state = bytes_of("r.qorus.state")
    code, text, err = qorus("inspect", FOLDER / "r.qorus.state", "--json")
    tell("inspect: a state", code == 0 and json.loads(text)["training"]["steps"] > 0
         and "learning_rate = 0.01" in json.loads(text)["note"]["text"], (text, err))
    (FOLDER / "disk").write_bytes(bytes(len(state)) + state)
    code, text, err = qorus("inspect", FOLDER / "disk")
    tell("inspect: the second slot of a disk", code == 0 and "slot B" in text, (text, err))
    code, _, err = train("mlp", "--out", "r.qorus", "--evaluate-every", 1, "--resume", "--learning-rate", "0.5")
    tell("resume: another setting is named", code == 1 and "learning_rate = 0.01" in err and "learning_rate = 0.5" in err, err)
    code, _, err = train("mlp", "--out", "none.qorus", "--resume")
    tell("resume: nothing to go on from", code == 1 and "none.qorus.state" in err, err)
    for what, bad in (("a bit", state[:400] + bytes((state[400] ^ 1,)) + state[401:]), ("its end", state[:-5]),
                      ("all of it", b"this is no state"), ("the version", state[:8] + b"\x09" + state[9:])):
        (FOLDER / "r.qorus.state").write_bytes(bad)
        code, _, err = train("mlp", "--out", "r.qorus", "--evaluate-every", 1, "--resume")
        tell(f"resume: {what} damaged", code == 1 and "r.qorus.state" in err and not bytes_of("r.qorus"), err)
    (FOLDER / "r.qorus.state").write_bytes(state)
    code, _, err = train("mlp", "--out", "r.qorus", "--evaluate-every", 1, "--resume", "--epochs", 14, "--threads", 2)
    tell("resume: more epochs under a constant rate, other threads", code == 0, err)
    exports(state)


def windows(model):
    """64 bytes of numbers that lie in a model's file as they lie in a state: parts of biases."""
    return [w for w in (model[i:i + 64] for i in range(4096, len(model) - 63, 64)) if w.count(0) < 16]


def exports(state):
    """A state is written as a model of any type, and stays."""
    sizes = []
    figures = b"step,loss\n1,2\n"
    (FOLDER / "r.qorus.state").write_bytes(state)
    (FOLDER / "r.csv").write_bytes(figures)
    for kind in ("f32", "f16", "q8_0", "q4_0"):
        code, text, err = train("mlp", "--out", "r.qorus", "--evaluate-every", 1, "--metrics", "r.csv", "--export", f"x-{kind}.qorus",
                                "--type", kind)
        sizes.append(len(bytes_of(f"x-{kind}.qorus")))
        tell(f"export: a state becomes a model of type {kind}", code == 0 and qorus("inspect", FOLDER / f"x-{kind}.qorus")[0] == 0
             and f"x-{kind}.qorus: " in text and "validation loss" in text and "last training loss" not in text, (text, err))
    biases = [any(w in state for w in windows(bytes_of(name))) for name in ("x-f32.qorus", "r.qorus")]
    tell("export: ... with the parameters of the state, not of a later step", biases == [True, False], biases)
    tell("export: ... each smaller", sizes == sorted(sizes, reverse=True) and sizes[3] < sizes[0], sizes)
    tell("export: ... nothing else is touched", bytes_of("r.qorus.state") == state and bytes_of("r.csv") == figures)
    options = ("--out", "c.qorus", "--epochs", 10 ** 6, "--schedule", "cosine")
    interrupt("mlp", *options)
    code, text, err = train("mlp", *options, "--export", "c-export.qorus")
    tell("export: whatever the schedule", code == 0 and bytes_of("c-export.qorus") and not bytes_of("c.qorus"), (text, err))
    code, _, err = train("mlp", "--out", "none.qorus", "--export", "y.qorus")
    tell("export: there is no state", code == 1 and "--export" in err and "none.qorus.state" in err and not bytes_of("y.qorus"), err)


# ---- Figures -------------------------------------------------------------------------------------------------

def metrics():
    """Files that tools/plot_metrics.py reads."""
    rows = plot_metrics.read_metrics(FOLDER / "mlp.csv")
    losses = [v for v in rows["val_loss"] if not math.isnan(v)]
    tell("metrics: CSV with every step, a validation per epoch", rows["step"] == list(range(1, 121)) and len(losses) == 12
         and losses[-1] < losses[0], (rows["step"][-3:], losses))
    code, _, err = train("mlp", "--out", "m.qorus", "--metrics", "m.jsonl", "--log-every", 7)
    lines = plot_metrics.read_metrics(FOLDER / "m.jsonl")
    every = sorted(set(range(7, 121, 7)) | set(range(10, 121, 10)))
    tell("metrics: JSON lines every 7 steps and at evaluations", code == 0 and lines["step"] == every, (err, lines["step"]))
    (FOLDER / "near.csv").write_text("x,y\n1,2\n2,4\n")
    (FOLDER / "far.csv").write_text("x,y\n1,3e38\n2,3e38\n")
    code, _, err = qorus("train", "--threads", 1, "--data", FOLDER / "near.csv", "--label", "y", "--validate-data", FOLDER / "far.csv",
                         "--network", "linear 1", "--loss", "mse", "--epochs", 1, "--out", FOLDER / "far.qorus", "--metrics", FOLDER / "far.jsonl")
    text = (FOLDER / "far.jsonl").read_text()
    tell("metrics: JSON lines without what JSON cannot say", code == 0 and "val_loss" not in text and "inf" not in text
         and all(json.loads(line) for line in text.splitlines()), (err, text[-200:]))
    with_loss = [v for v in lines["accuracy"] if not math.isnan(v)]
    tell("metrics: accuracy of the evaluations", len(with_loss) == 12 and with_loss[-1] > 0.9, with_loss)


def drawn_lines(columns):
    """What a training draws on a terminal so wide, each time without what follows on lines of their own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    done = subprocess.Popen([QORUS, "train", *one_thread(["mlp.train", "--out", "t.qorus"])], cwd=FOLDER, stderr=slave, stdout=subprocess.PIPE)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    done.communicate()
    return [l.split("\n")[0] for l in seen.decode().replace("\r\n", "\n").split("\r")[1:]]


PACE = r"\d+[kM]?/s, (\d+:\d\d left|in \d+:\d\d)"


def terminal():
    """On a terminal: one line drawn over and over, within its columns. In a pipe: lines that stay, within 80."""
    for columns, bar in ((80, r"\[#{10}\] "), (56, "")):
        drawn = drawn_lines(columns)
        tell(f"terminal: loss, validation, speed and time in {columns} columns", drawn and all(len(l) < columns for l in drawn)
             and re.fullmatch(bar + r"120/120: loss \d\.\d+, val \d\.\d+, \d+[kM]?/s, in \d+:\d\d *", drawn[-1]), drawn[-3:])
    code, out, err = train("mlp", "--out", "t.qorus")
    lines = err.splitlines() + out.splitlines()
    tell("pipe: no line of more than 80 columns", code == 0 and all(len(l) <= 80 for l in lines), lines)
    said = [l for l in err.splitlines() if not l.startswith("qorus: ")]
    tell("pipe: loss, validation, accuracy, speed and time", len(said) > 2 and "(best)" in err and all(
        re.fullmatch(r"\d+/120: loss \d\.\d+(, val \d\.\d+( \(best\))?, accuracy [01]\.\d+)?, " + PACE, l) for l in said), said)


def telling():
    """Help, plan, and a run that goes wrong."""
    for words in (("train", "--help"), ("help", "train")):
        code, out, err = qorus(*words)
        tell(f"qorus {' '.join(words)}", code == 0 and out.startswith("usage: qorus train") and "--learning-rate" in out, err)
    tell("help stays within 120 columns", all(len(l) <= 120 for l in qorus("train", "--help")[1].splitlines()))
    code, out, err = train("cnn", "--plan")
    tell("--plan prints what training needs", code == 0 and "regions" in out and "2.batchnorm" in out, (out[-300:], err))
    code, out, err = qorus("train", "--threads", 1, "--data", FOLDER / "line.csv", "--label", "y", "--loss", "mse", "--network", "linear 1",
                           "--optimizer", "sgd", "--learning-rate", 1000, "--out", FOLDER / "wild.qorus", "--steps", 5000)
    tell("a loss that is no number ends it; the file has the weights before it", code == 1 and "non-finite" in err
         and "stopped in step" in err and qorus("inspect", FOLDER / "wild.qorus", "--verify")[0] == 0, err[-400:])


# ---- What is refused -----------------------------------------------------------------------------------------

GOOD = "data = x.idx\ntargets = y.idx\n"
NET = "network {\n  linear classes\n}\n"
EMBEDDING = "network {\n  embedding 8\n  linear classes\n}\n"
BAD_FILES = (  # what a config file says; the line it is about, or None; words of the message
    ("", None, ["data", "missing"]),
    (GOOD, None, ["network", "missing"]),
    (GOOD + "frobnicate = 3\n" + NET, 3, ["unknown setting", "frobnicate"]),
    (GOOD + "learning rate 3\n" + NET, 3, ["neither", "learning rate 3"]),
    (GOOD + "learning_rate = fast\n" + NET, 3, ["learning_rate", "fast", "0 to 1000"]),
    (GOOD + "learning_rate = -1\n" + NET, 3, ["learning_rate", "-1"]),
    (GOOD + "learning_rate = nan\n" + NET, 3, ["learning_rate", "nan"]),
    (GOOD + "learning_rate =\n" + NET, 3, ["learning_rate", "missing"]),
    (GOOD + "batch = 0\n" + NET, 3, ["batch", "from 1"]),
    (GOOD + "batch = 2.5\n" + NET, 3, ["batch", "2.5"]),
    (GOOD + "batch = 8\nbatch = 9\n" + NET, 4, ["batch", "line 3"]),
    (GOOD + "batch = 8\nmicro_batch = 9\n" + NET, 4, ["micro_batch", "9", "8"]),
    (GOOD + "optimizer = adamx\n" + NET, 3, ["optimizer", "adamx", "lion"]),
    (GOOD + "schedule = step\n" + NET, 3, ["schedule", "every"]),
    (GOOD + "schedule = wsd\n" + NET, 3, ["schedule", "decay"]),
    (GOOD + "schedule = cosine\nwarmup = 999\n" + NET, 4, ["warmup", "999", "130"]),
    (GOOD + "loss = l1\n" + NET, 3, ["loss", "l1", "huber"]),
    (GOOD + "nesterov = yes\n" + NET, 3, ["nesterov", "momentum"]),
    (GOOD + "nesterov = true\n" + NET, 3, ["nesterov", "true", "yes no"]),
    (GOOD + "validate = 0.95\n" + NET, 3, ["validate", "0.9"]),
    (GOOD + "validate = 0.1\nvalidate_data = x.idx\n" + NET, 3, ["validate", "validate_data"]),
    (GOOD + "validate_targets = y.idx\n" + NET, 3, ["validate_targets", "validate_data"]),
    (GOOD + "patience = 3\n" + NET, 3, ["patience", "validate"]),
    (GOOD + "shape = 8 9\n" + NET, 3, ["shape", "64"]),
    (GOOD + "shape = 8 x 8\n" + NET, 3, ["shape", "one to three"]),
    (GOOD + "label = last\n" + NET, 3, ["label", "targets"]),
    (GOOD + "backend = gpu\n" + NET, 3, ["backend", "gpu", "scalar"]),
    ("data = x.idx\n" + NET, 1, ["targets"]),
    ("data = none.idx\ntargets = y.idx\n" + NET, None, ["none.idx"]),
    ("data = x.idx\ntargets = x.idx\n" + NET, 4, ["64 labels", "1 rows"]),
    ("data = digits.csv\nlabel = colour\n" + NET, None, ["digits.csv", "label column"]),
    ("data = text.txt\n" + NET, None, ["text.txt", "embedding", "decoder"]),
    ("data = x.idx\n" + EMBEDDING, 1, ["x.idx is no text", "of 25616 bytes", "the first at 0", "vocab = byte", "format = text"]),
    ("data = text.txt\nvocab = 7\nnetwork {\nembedding 8\nlinear classes\n}\n", 2, ["vocab", "7", "256"]),
    ("data = text.txt\nwindow = 90000\nnetwork {\nembedding 8\nlinear classes\n}\n", 2, ["window", "90000"]),
    ("data = text.txt\nloss = mse\nnetwork {\nembedding 8\nlinear classes\n}\n", 2, ["loss", "cross_entropy"]),
    (GOOD + "network {\n  linear 8\n", 3, ["network", "'}'"]),
    (GOOD + "network {\n  conv3d 8\n}\n", 4, ["unknown layer", "conv3d"]),
    (GOOD + "network {\n  linear\n}\n", 4, ["linear", "size", "missing"]),
    (GOOD + "network {\n  linear -3\n}\n", 4, ["linear", "-3"]),
    (GOOD + "network {\n  linear 8 swish\n}\n", 4, ["linear", "swish"]),
    (GOOD + "network {\n  linear 8 stride 2\n}\n", 4, ["linear", "stride"]),
    (GOOD + "network {\n  dropout 1\n}\n", 4, ["dropout", "1"]),
    (GOOD + "network {\n  conv2d 8 0\n}\n", 4, ["conv2d", "kernel", "0"]),
    (GOOD + "network {\n  conv2d 8 9\n}\n", 4, ["conv2d", "kernel_h", "need 8, have 9"]),
    (GOOD + "network {\n  conv2d 8 3 groups 3\n}\n", 4, ["groups", "divide"]),
    (GOOD + "network {\n  conv2d 8 3\n  linear classes\n}\n", 5, ["36 rows", "1 labels"]),
    (GOOD + "network {\n  residual {\n    linear 9\n  }\n  linear classes\n}\n", 4, ["add", "inputs differ", "need 64, have 9"]),
    (GOOD + "network {\n  residual\n  }\n}\n", 4, ["residual", "'{'"]),
    (GOOD + "network {\n  linear 9\n}\n", 4, ["9 outputs", "10 classes"]),
    (GOOD + NET + NET, 6, ["network", "already"]),
    (GOOD + "network {\n  lstm 8\n  last\n  linear classes\n}\n", None, ["sequences"]),
    ("data = text.txt\nnetwork {\n  decoder layers 2\n}\n", 3, ["decoder", "width", "heads"]),
    (GOOD + "network {\n  linear 4\n  embedding 8\n}\n", 5, ["embedding", "first"]),
    ("data = text.txt\nnetwork {\n  decoder layers 1 width 30 heads 4\n}\n", 3, ["30", "4 heads"]),
    ("data = text.txt\nnetwork {\n  decoder layers 1 width 32 heads 4 kv_heads 3\n}\n", 3, ["kv_heads", "3"]),
    ("data = waves.npy\ntargets = kinds.npy\nloss = mse\nnetwork {\nlstm 4\nlast\nlinear 1\n}\n", 3, ["last", "cross_entropy"]),
    ("data = waves.npy\ntargets = y.idx\n" + NET, None, ["300", "400"]),
)
BAD_OPTIONS = (
    (["--frobnicate", "3"], ["--frobnicate", "--help"]),
    (["--batch"], ["--batch", "missing"]),
    (["--batch", "many"], ["--batch", "many"]),
    (["--batch", "3", "--batch", "4"], ["--batch", "twice"]),
    (["other.train"], ["one config file", "other.train"]),
    (["--network", "linear 4; relu 7"], ["--network", "relu", "7"]),
    (["--network", "linear classes; }"], ["--network", "'}'"]),
    (["--metrics", "/nowhere/m.csv"], ["--metrics", "/nowhere/m.csv"]),
    (["--sample-every", "5"], ["--sample-every", "text"]),
    (["--out", "/nowhere/m.qorus", "--epochs", "1"], ["/nowhere/m.qorus", "written"]),
)


def bad_configs():
    """Every message names file, line and field."""
    for text, line, words in BAD_FILES:
        (FOLDER / "bad.train").write_text(text)
        refused(" ".join(words), words, line, "bad.train")
    for options, words in BAD_OPTIONS:
        refused(" ".join(options), words, None, "mlp.train", *options)
    (FOLDER / "bad.train").write_bytes(b"data = x\0.idx\n")
    refused("a file that is no text", ["bad.train", "text?"], None, "bad.train")
    refused("no such config", ["none.train"], None, "none.train")
    for option in (("--vocab", "byte"), ("--format", "text", "--vocab", "char")):
        code, _, err = qorus("train", "--data", FOLDER / "x.idx", *option, "--network", "embedding 8; linear classes", "--steps", 1,
                             "--out", FOLDER / "bytes.qorus")
        tell(f"{' '.join(option)}: bytes of any kind are learnt", code == 0, err)


def main():
    """All of it."""
    make_data()
    for name, text in CONFIGS.items():
        (FOLDER / f"{name}.train").write_text(text)
    classifier("mlp", "x.idx", "y.idx")
    classifier("cnn", "x.idx", "y.idx")
    classifier("lstm", "waves.npy", "kinds.npy")
    wide_rows()
    language_model()
    values()
    examples()
    same_bits()
    going_on()
    metrics()
    terminal()
    telling()
    bad_configs()
    finish()


main()
