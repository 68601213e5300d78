#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus chat through a pipe: turns, /reset, /save, /load, a full context, bad commands."""
from command import FOLDER, finish, qorus, real_model, tell, tiny_model, token_of

GREEDY = ("--temp", "0", "--repeat-penalty", "1.8", "-n", "12")
ONE_LINE = ["--logit-bias", ""]
CHANCE = ("--temp", "1.5", "--seed", "7", "-n", "12")


def talk(model, lines, *options):
    """A conversation; returns exit code, the answers and standard error. No answer has a line break."""
    code, out, err = qorus("chat", model, *options, *ONE_LINE, text="".join(line + "\n" for line in lines))
    return code, out.split("\n")[:-1], err


def turns(model):
    """Two turns, and the same again."""
    for name, how in (("greedy", GREEDY), ("sampled", CHANCE)):
        code, answers, err = talk(model, ["hello", "and then"], *how)
        tell(f"two turns, {name}", code == 0 and len(answers) == 2 and all(answers) and err == "", (code, answers, err))
        again = talk(model, ["hello", "and then"], *how, "-t", "1", "--chunk", "3")
        tell(f"the same with other threads and chunks, {name}", again[:2] == (code, answers), (answers, again))
        code, other, err = talk(model, ["and then"], *how)
        tell(f"an answer depends on the turns before, {name}", other != answers[1:], other)


def resets(model):
    """/reset is a fresh start."""
    for name, how in (("greedy", GREEDY), ("sampled", CHANCE)):
        code, answers, _ = talk(model, ["hello", "and then", "/reset", "hello", "and then"], *how)
        tell(f"/reset gives the answers of a fresh start, {name}",
             code == 0 and len(answers) == 4 and answers[:2] == answers[2:], answers)
    first = talk(model, ["hello"], "--system", "be brief", *GREEDY)[1]
    tell("--system makes a difference", first != talk(model, ["hello"], *GREEDY)[1], first)


def snapshots(model, other):
    """/save and /load."""
    kept = FOLDER / "talk.kv"
    for name, how in (("greedy", GREEDY), ("sampled", CHANCE)):
        code, answers, err = talk(model, ["hello", f"/save {kept}", "and then", "so"], *how)
        tell(f"/save says nothing in a pipe, {name}", code == 0 and err == "" and len(answers) == 3, err)
        code, later, err = talk(model, ["something else", f"/load {kept}", "and then", "so"], *how)
        tell(f"/load goes on identically, {name}", code == 0 and later[1:] == answers[1:], (answers, later, err))
        code, later, err = talk(model, [f"/load {kept}", "and then", "so"], "--ctx", "200", *how)
        tell(f"... with another context, {name}", code == 0 and later == answers[1:], (answers, later, err))
    left = [p.name for p in FOLDER.iterdir() if "talk" in p.name]
    tell("nothing but the file is left", left == ["talk.kv"], left)
    refusals(model, other, kept)


def refusals(model, other, kept):
    """Files that are not what /load expects: a reason, exit code 1, and the conversation as it was."""
    good = kept.read_bytes()
    (FOLDER / "cut.kv").write_bytes(good[:-1])
    (FOLDER / "bad.kv").write_bytes(good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
    _, plain, _ = talk(model, ["hello", "so"], *GREEDY)
    for name, use, words, path in (("missing", model, "not found", FOLDER / "none.kv"),
                                   ("cut short", model, "truncated", FOLDER / "cut.kv"),
                                   ("damaged", model, "SHA-256", FOLDER / "bad.kv"),
                                   ("a model", model, "not a", model),
                                   ("of another precision", model, "mismatch", kept),
                                   ("of another model", other, "mismatch", kept)):
        how = GREEDY + (("--exact",) if "precision" in name else ())
        if use is not model or "precision" in name:
            _, plain, _ = talk(use, ["hello", "so"], *how)
        code, answers, err = talk(use, ["hello", f"/load {path}", "so"], *how)
        tell(f"/load refuses a file that is {name}",
             code == 1 and words.lower() in err.lower() and err.count("\n") == 1 and answers == plain,
             (code, err, answers, plain))
    code, answers, err = talk(model, ["hello", "/save /nowhere/at/all", "so"], *GREEDY)
    tell("/save into a folder that is not there", code == 1 and err.count("\n") == 1 and len(answers) == 2, err)
    code, answers, err = talk(model, ["hello", f"/load {kept}"], "--ctx", "24", *GREEDY)
    tell("/load into too small a context names the size",
         code == 1 and "--ctx" in err, (code, err))


def full(model):
    """A context that runs full."""
    code, answers, err = talk(model, ["hello"] * 8, "--ctx", "60", *GREEDY)
    tell("a full context says what to do", code == 1 and "/reset" in err and "--ctx" in err and "--shift" in err, err)
    tell("... and answers until then", answers[0] != "", answers)
    code, answers, err = talk(model, ["hello"] * 8, "--ctx", "60", "--shift", *GREEDY)
    tell("--shift goes on", code == 0 and len(answers) == 8 and err == "" and answers[-1] != "", (code, answers, err))
    lines = ["hello"] * 5 + ["/reset", "hello"]
    code, answers, err = talk(model, lines, "--ctx", "60", *GREEDY)
    tell("/reset after a full context", answers[-1] == answers[0] and code == 1, answers)
    code, _, err = talk(model, ["hello"], "--ctx", "8", "--system", "be as brief as you can, please", *GREEDY)
    tell("a system message longer than the context", code == 1 and "system message" in err and err.count("\n") == 1, err)


def commands(model):
    """Commands and lines that are none."""
    code, answers, err = talk(model, ["/help", "/quit", "hello"], *GREEDY)
    tell("/help and /quit", code == 0 and answers == [] and "/save FILE" in err, (code, answers, err))
    for line, words in (("/frobnicate", "unknown command"), ("/save", "needs a file"), ("/loadx y", "unknown command")):
        code, answers, err = talk(model, [line, "hello"], *GREEDY)
        tell(f"{line} is refused, and the talk goes on",
             code == 1 and words in err and err.count("\n") == 1 and len(answers) == 1, (code, err))
    code, answers, err = talk(model, ["x" * 20000, "hello"], "--ctx", "4000", *GREEDY)
    tell("a line too long is left out whole", code == 1 and "longer" in err and len(answers) == 1, (code, err))
    code, answers, err = talk(model, ["", " /quit", "\u00e9\u00df\u4e2d\U0001f600"], *GREEDY)
    tell("empty lines, a space before a slash, many scripts", code == 0 and len(answers) == 2, (code, answers, err))


def real():
    """The model people talk to."""
    model = real_model()
    if model is None:
        return
    lines = "Say hello.\n/reset\nSay hello.\n"
    code, out, err = qorus("chat", model, "--temp", "0", "-n", "16", "--ctx", "256", text=lines)
    tell("SmolLM2: /reset gives the same answer",
         code == 0 and len(out) > 8 and out[: len(out) // 2] == out[len(out) // 2:], (code, out, err))


def main():
    """All of it."""
    model = tiny_model("tiny.qorus", "--context", "4096")
    other = tiny_model("other.qorus", "--context", "4096", "--seed", "3")
    ONE_LINE[1] = f"{token_of(model, chr(10))}:-inf"
    turns(model)
    resets(model)
    snapshots(model, other)
    full(model)
    commands(model)
    code, _, err = qorus("chat", tiny_model("bytes.qorus", "--tokenizer", "byte"))
    tell("a model without a chat format", code == 1 and "chat" in err and err.count("\n") == 1, (code, err))
    real()
    finish()


main()
