#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad use of the qorus command: one clear line on standard error, the right exit code, nothing left half-written."""
import subprocess

from command import FOLDER, QORUS, finish, qorus, tell, tiny_model

ALL = ("run", "chat", "bench", "perplexity", "tokenize", "inspect", "plan", "quantize", "train", "conform")


def refused(name, code, words, *command, text=None, lines=1):
    """One test: exit code, every word of `words` on stderr, one line, nothing on stdout."""
    got, out, err = qorus(*command, text=text)
    good = (got == code and out == "" and err.count("\n") == lines and err.startswith("qorus: ")
            and all(w in err for w in words))
    tell(name, good, (got, out, err))


def usage(model):
    """Exit code 2."""
    for command in ALL:
        refused(f"{command}: an unknown option", 2, ["--frobnicate", "--help"], command, model, "--frobnicate")
        refused(f"{command}: no model", 2, [command], command)
        code, out, err = qorus(command, "--help")
        tell(f"{command} --help", code == 0 and out.startswith(f"usage: qorus {command}") and err == "", (code, err))
    refused("an unknown command", 2, ["frobnicate", "--help"], "frobnicate")
    for options, words in ((("-n",), ["-n", "value"]), (("-n", "many"), ["-n", "N"]), (("-n", "-1"), ["-n"]),
                           (("-n", "99999999999"), ["-n"]), (("--temp", "warm"), ["--temp", "'warm'"]), (("--temp", "nan"), ["--temp"]),
                           (("--logit-bias", "5"), ["--logit-bias"]), (("--seed", "0x1"), ["--seed"]),
                           (("--stop", ""), ["--stop"]), (("a", "b", "c", "d"), [])):
        refused(f"run {' '.join(options)}", 2, words, "run", model, "-p", "x", *options)
    refused("run: -p and -f", 2, ["-p", "-f"], "run", model, "-p", "x", "-f", "y")
    for option, value in (("-p", "x"), ("--temp", "1"), ("--adapter", "y"), ("--json", None), ("--logits", "y")):
        refused(f"run --input {option}", 2, ["--input", option], "run", model, "--input", "x", *filter(None, (option, value)))
    refused("run: two models", 2, ["one model"], "run", model, model, "-p", "x")
    refused("perplexity without a text", 2, ["FILE"], "perplexity", model)
    refused("perplexity --ctx 1", 2, ["--ctx"], "perplexity", model, model, "--ctx", "1")
    refused("bench of nothing", 2, ["-p", "-n"], "bench", model, "-p", "0", "-n", "0")
    refused("bench -r 0", 2, ["-r"], "bench", model, "-r", "0")
    refused("bench --ctx below -p", 2, ["--ctx"], "bench", model, "-p", "100", "--ctx", "50")
    refused("bench takes no --temp", 2, ["--temp"], "bench", model, "--temp", "0")


def files(model):
    """Exit code 1: models that are none."""
    good = model.read_bytes()
    gguf, cut, text, empty = (FOLDER / n for n in ("model.gguf", "cut.qorus", "text.qorus", "empty.qorus"))
    gguf.write_bytes(b"GGUF\3\0\0\0" + bytes(64))
    cut.write_bytes(good[:len(good) // 2])
    text.write_text("this is no model\n" * 40)
    empty.write_bytes(b"")
    prompt = FOLDER / "prompt.txt"
    prompt.write_text("hello")
    for command in ("run", "chat", "bench", "perplexity"):
        extra = ("-p", "x") if command == "run" else (prompt,) if command == "perplexity" else ()
        refused(f"{command}: a missing file", 1, ["none.qorus", "No such file"], command, FOLDER / "none.qorus", *extra)
        refused(f"{command}: a GGUF file", 1, ["GGUF", "convert_model.py"], command, gguf, *extra)
        refused(f"{command}: a file cut short", 1, ["truncated", "complete?"], command, cut, *extra)
        refused(f"{command}: a file that is no model", 1, ["not a .qorus"], command, text, *extra)
        refused(f"{command}: an empty file", 1, ["empty.qorus"], command, empty, *extra)
        refused(f"{command}: a folder", 1, [FOLDER.name], command, FOLDER, *extra)
        refused(f"{command}: an unknown backend", 1, ["sse9", "scalar"], command, model, "--backend", "sse9", *extra)
        refused(f"{command}: too many threads", 1, ["-t"], command, model, "-t", "65", *extra)


def running(model):
    """Exit code 1: a good model asked for what it cannot do."""
    refused("a prompt longer than the context", 1, ["prompt", "--ctx"], "run", model, "-p", "word " * 100, "--ctx", "20")
    refused("a prompt file that is missing", 1, ["none.txt"], "run", model, "-f", FOLDER / "none.txt")
    refused("a negative temperature", 1, ["temperature"], "run", model, "-p", "x", "--temp", "-1")
    refused("a bias for a token that does not exist", 1, ["bias"], "run", model, "-p", "x", "--logit-bias", "99999:1")
    refused("perplexity of a missing text", 1, ["none.txt"], "perplexity", model, FOLDER / "none.txt")
    refused("--ctx 4000000000", 1, [], "run", model, "-p", "x", "--ctx", "4000000000")


def left_over(model):
    """Nothing half-written."""
    rows = FOLDER / "rows.f32"
    refused("run --logits with a missing model", 1, ["none.qorus"], "run", FOLDER / "none.qorus", "-p", "x", "--logits", rows)
    tell("... makes no file", not list(FOLDER.glob("rows*")))
    rows.write_bytes(b"old")
    refused("run --logits with a prompt too long", 1, ["--ctx"], "run", model, "-p", "word " * 100, "--ctx", "20", "--logits", rows)
    tell("... leaves the old file", rows.read_bytes() == b"old" and len(list(FOLDER.glob("rows*"))) == 1)
    refused("run --logits into no folder", 1, ["cannot be written"], "run", model, "-p", "x", "--logits", "/nowhere/rows")
    code, _, err = qorus("run", model, "-p", "x", "-n", "2", "--logits", rows)
    tell("control: a good run replaces it", code == 0 and rows.read_bytes() != b"old"
         and len(list(FOLDER.glob("rows*"))) == 1, err)
    with open("/dev/full", "w", encoding="utf-8") as sink:
        for command in (("run", model, "-p", "x", "-n", "4"), ("perplexity", model, model), ("bench", model, "-r", "1")):
            done = subprocess.run([QORUS, *map(str, command)], stdin=subprocess.DEVNULL, stdout=sink,
                                  stderr=subprocess.PIPE, text=True, check=False)
            tell(f"{command[0]}: results that cannot be written", done.returncode == 1 and "cannot write" in done.stderr,
                 (done.returncode, done.stderr))


def main():
    """All of it."""
    model = tiny_model("tiny.qorus", "--context", "1024")
    usage(model)
    files(model)
    running(model)
    left_over(model)
    finish()


main()
