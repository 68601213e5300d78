#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus tokenize, inspect and plan as a user runs them: on the committed sample files with the standard
library alone, on generated models where NumPy is installed.

Usage: test_tools.py; the environment's BUILD and MODEL say where the command and the real model are
"""
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from command import COUNTS, FOLDER, QORUS, ROOT, finish, missing, real_model, refused, run, skip, tell  # noqa: E402
from file_reader import Parsed, flipped  # noqa: E402

sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "test/plan")]

import check_plan  # noqa: E402
import plan_forms  # noqa: E402
import plan_rules  # noqa: E402

FILES = ROOT / "vectors/files"
SAMPLES = sorted(FILES.glob("*.qorus"))


# ---- tokenize ------------------------------------------------------------------------------------------------

TEXTS = ("Hello, world", "", " ", "\n\n\ttabs  and   spaces \n", "12345 + 678", "l'été à Žižkov, 東京, 😀!",
         "a" * 3000, "<|im_start|>user\nhi<|im_end|>", "é\x00\x01\x7f")


def tokenize_texts(folder, model, name):
    """Text to ids to text, through every way in."""
    for i, text in enumerate(t.encode() for t in TEXTS):
        at = folder / "text"
        at.write_bytes(text)
        code, ids, error = run("tokenize", model, "-f", at)
        tell(f"{name} text {i}: one line of ids", code == 0 and ids.count(b"\n") == 1 and ids.endswith(b"\n")
             and all(w.isdigit() for w in ids.split()), error)
        tell(f"{name} text {i}: standard input", run("tokenize", model, text=text)[1] == ids)
        if b"\0" not in text:
            tell(f"{name} text {i}: -p", run("tokenize", model, "-p", text.decode())[1] == ids)
        at.write_bytes(ids)
        tell(f"{name} text {i}: back", run("tokenize", model, "--decode", "-f", at)[:2] == (0, text))
        code, special, _ = run("tokenize", model, "--special", text=text)
        tell(f"{name} text {i}: back with --special",
             code == 0 and run("tokenize", model, "--special", "--decode", text=special)[:2] == (0, text))
    broken = bytes(range(256)) * 3
    ids = run("tokenize", model, text=broken)[1]
    tell(f"{name}: all bytes", run("tokenize", model, "--decode", text=ids)[:2] == (0, broken))


def test_tokenize(folder):
    """Ids, text, control tokens, .qtok files, and what is refused."""
    llama, byte = FILES / "llama.qorus", FILES / "decoder.qorus"
    tokenize_texts(folder, llama, "bpe")
    tokenize_texts(folder, byte, "byte")
    tell("byte ids", run("tokenize", byte, "-p", "Hé")[1] == b"72 195 169\n")
    data = Parsed(llama.read_bytes())
    qtok = folder / "small.qtok"
    qtok.write_bytes(data.section(5))
    text = "the model reads <|im_end|> words"
    tell(".qtok gives the model's ids", run("tokenize", qtok, "-p", text) == run("tokenize", llama, "-p", text))
    ids = json.loads(run("inspect", llama, "--json")[1])["special_tokens"]
    for token in ids:
        number = f"{token['id']}\n".encode()
        tell("control token " + token["text"], run("tokenize", llama, "--special", "-p", token["text"])[1] == number)
        tell("its text stays text", run("tokenize", llama, "-p", token["text"])[1] != number)
        tell("decode leaves it out", run("tokenize", llama, "--decode", text=number)[:2] == (0, b""))
        tell("--special writes it",
             run("tokenize", llama, "--decode", "--special", text=number)[:2] == (0, token["text"].encode()))
    vocabulary = json.loads(run("inspect", llama, "--json")[1])["tokenizer"]["vocabulary"]
    tell("the last id", run("tokenize", llama, "--decode", "-p", f"{vocabulary - 1}")[0] == 0)
    refused("an id too large", 1, "tokenize", llama, "--decode", "-p", f"1 2 {vocabulary}", says="word 3")
    refused("an id beyond 64 bits", 1, "tokenize", llama, "--decode", "-p", "9" * 30, says="no token id")
    refused("a negative id", 1, "tokenize", llama, "--decode", "-p", "1 -2", says="'-2'")
    refused("a word", 1, "tokenize", llama, "--decode", text=b"1 two 3", says="'two'")
    refused("no tokenizer", 1, "tokenize", FILES / "mlp.qorus", "-p", "x", says="no tokenizer")
    refused("-p and -f", 2, "tokenize", llama, "-p", "x", "-f", qtok, says="exclude")
    refused("no such text", 1, "tokenize", llama, "-f", folder / "absent", says="absent")
    qtok.write_bytes(data.section(5)[:-1])
    refused("a .qtok cut short", 1, "tokenize", qtok, "-p", "x", says="small.qtok")
    qtok.write_bytes(flipped(data.section(5), 4))
    refused("a .qtok of another version", 1, "tokenize", qtok, "-p", "x", says="version")


# ---- inspect -------------------------------------------------------------------------------------------------

ARCH = ("kind flags n_layers d_model n_heads n_kv_heads head_dim d_ffn n_vocab n_context activation window norm_eps "
        "norm_offset embed_scale attn_scale residual_scale logit_scale attn_softcap logit_softcap rope_scaling "
        "rope_dims rope_pairing rope_original_context rope_base rope_local_base rope_factor rope_low rope_high "
        "rope_magnitude").split()
ARCH_NAMES = {"kind": {1: "decoder"}, "activation": {2: "silu", 3: "gelu_tanh"}, "rope_pairing": {1: "half-split"},
              "rope_scaling": {0: "none", 1: "linear", 2: "llama3", 3: "yarn"}}
ARCH_FLAGS = ("tied", "qkv_bias", "qk_norm", "post_norms")


def expected_arch(section):
    """What inspect --json should say of an ARCH section."""
    values = dict(zip(ARCH, struct.unpack_from("<12I8f4I6d", section)))
    flags = values.pop("flags")
    kinds = [("full", "window", "no-rope")[k] for k in section[256:]]
    out = {k: ARCH_NAMES.get(k, {}).get(v, v) for k, v in values.items()}
    out.update({name: bool(flags >> i & 1) for i, name in enumerate(ARCH_FLAGS)})
    out["layer_kinds"] = kinds[0] if len(set(kinds)) == 1 else " ".join(kinds)
    return out


def same_arch(told, section):
    """True if every field is the file's; floats as their shortest decimal, which reads back as the same float."""
    wanted = expected_arch(section)
    single = struct.Struct("<f")
    return told.keys() == wanted.keys() and all(
        told[k] == v or (isinstance(v, float) and single.pack(told[k]) == single.pack(v)) for k, v in wanted.items())


def inspect_sample(path):
    """JSON and text against the second reader."""
    data = Parsed(path.read_bytes())
    code, out, error = run("inspect", path, "--json")
    told = json.loads(out)
    tell(f"{path.name}: inspect --json", code == 0 and error == "", error)
    tell(f"{path.name}: file", told["file"]["bytes"] == len(data.data)
         and told["file"]["tables_sha256"] == data.data[224:256].hex())
    tell(f"{path.name}: sections",
         [(s["offset"], s["bytes"], s["count"]) for s in told["sections"]] == [s[:3] for s in data.sections])
    tell(f"{path.name}: tensors", told["tensors"] == data.tensors)
    tell(f"{path.name}: totals", told["tensor_totals"] == {"count": len(data.tensors),
                                                           "bytes": sum(t["bytes"] for t in data.tensors)})
    tell(f"{path.name}: meta", told["meta"].get("text", "").encode() == data.section(6))
    tell(f"{path.name}: arch", ("arch" in told) == bool(data.section(3))
         and (not data.section(3) or same_arch(told["arch"], data.section(3))))
    tell(f"{path.name}: tokenizer", ("tokenizer" in told) == bool(data.section(5)))
    code, out, _ = run("inspect", path, "--verify")
    lines = out.decode().splitlines()
    tell(f"{path.name}: inspect --verify", code == 0 and "  result                  OK" in lines)
    tell(f"{path.name}: names in text", all(any(line.split()[:2] == [t["name"], t["dtype"]] for line in lines)
                                            for t in data.tensors))
    return told


def test_inspect(folder):
    """Every sample, damage, .qtok."""
    told = {path.stem: inspect_sample(path) for path in SAMPLES}
    nodes = told["graph"]["nodes"]
    tell("graph records", [(n["class"], n["name"], n["in"]) for n in nodes] ==
         [("embedding", "embed", [1]), ("example.mix", "mix", [2, 0]), ("example.join", "join", [3, 4, 5, 3, 4, 0])]
         and [(i["name"], i["dtype"], i["shape"]) for i in told["graph"]["inputs"]] ==
         [("xs", "f32", "tokensx8"), ("id", "i32", "tokens")], nodes)
    tell("config bytes", nodes[1]["config"] == struct.pack("<dIIf4x", 0.5, 3, 7, 1.25).hex(), nodes[1])
    byte = told["decoder"]["tokenizer"]
    tell("byte tokenizer", (byte["kind"], byte["vocabulary"], byte["bos"], byte["eos"], byte["pad"]) ==
         ("byte", 259, 256, 257, 258), byte)
    source = (FILES / "llama.qorus").read_bytes()
    parsed = Parsed(source)
    bad = folder / "bad.qorus"
    for tensor in (parsed.tensors[0], parsed.tensors[-1]):
        bad.write_bytes(flipped(source, tensor["offset"] + tensor["bytes"] // 2))
        code, out, error = run("inspect", bad, "--verify", "--json")
        tell("damage is found in " + tensor["name"], code == 1 and "damaged" in error
             and [b["what"] for b in json.loads(out)["bad"]] == [tensor["name"]], error)
        tell("and only looked for on demand", run("inspect", bad)[0] == 0)
    bad.write_bytes(flipped(source, 230))
    code, out, _ = run("inspect", bad, "--verify", "--json")
    tell("damage is found in the tables", code == 1 and [b["what"] for b in json.loads(out)["bad"]] == ["tables"])
    qtok = folder / "small.qtok"
    qtok.write_bytes(parsed.section(5))
    code, out, _ = run("inspect", qtok, "--json")
    tell(".qtok", code == 0 and json.loads(out)["tokenizer"] == told["llama"]["tokenizer"])
    tell(".qtok --verify", run("inspect", qtok, "--verify")[0] == 0)


# ---- plan ----------------------------------------------------------------------------------------------------


def plan_of(name, *words):
    """The plan as --json prints it, judged."""
    code, out, error = run("plan", *words, "--json")
    tell(f"{name}: plan --json", code == 0, error)
    told = json.loads(out) if code == 0 else {}
    check_plan.judge(f"{name}: sound", plan_rules.check_json, told.get("plan", {}))
    tell(f"{name}: objects", all(told.get(k, 0) > 0 for k in ("model_bytes", "plan_bytes", "session_bytes")))
    return told.get("plan", {})


def region(plan, kind):
    """Bytes of a region."""
    return sum(r["bytes"] for r in plan["regions"] if r["kind"] == kind)


def plan_model(name, path):
    """Options reach the plan; the forms agree."""
    base = plan_of(name, path, "--ctx", 64, "-t", 1)
    double = plan_of(name + " --ctx", path, "--ctx", 128, "-t", 1)
    exact = plan_of(name + " --exact", path, "--ctx", 64, "--exact")
    plain = plan_of(name + " --no-fuse", path, "--ctx", 64, "--no-fuse")
    small = plan_of(name + " --chunk", path, "--ctx", 64, "--chunk", 4, "-t", 1)
    tell(f"{name}: --ctx", region(double, "state") > region(base, "state") and double["max"]["kv"] == 128)
    tell(f"{name}: --exact", exact["precision"] == "exact" and base["precision"] == "fast")
    tell(f"{name}: --no-fuse", plain["fused"] == 0 and not plain["fuse"] and base["fused"] > 0
         and len(plain["steps"]) == len(base["steps"]) + base["fused"])
    tell(f"{name}: --chunk", small["max"]["tokens"] == 4 and region(small, "scratch") < region(base, "scratch"))
    text = run("plan", path, "--ctx", 64, "-t", 1)[1].decode()
    body = text[:text.rindex("objects")]
    check_plan.judge(f"{name}: text", plan_forms.check_text, body, base)
    dot = run("plan", path, "--ctx", 64, "-t", 1, "--dot")[1].decode()
    check_plan.judge(f"{name}: dot", plan_forms.check_dot, dot.split("\n", 1)[1], base)
    draws(f"{name}: --train", path, "--ctx", 64, "-t", 1, "--train", "adamw")
    draws(f"{name}: --exact", path, "--ctx", 64, "-t", 1, "--exact")
    train_bytes(name, path, "--ctx", 64, "-t", 1)


def draws(name, path, *options):
    """The pictures are those of the plan, and the same ones each time."""
    plan = plan_of(name, path, *options)
    dot, svg = (run("plan", path, *options, form)[1].decode() for form in ("--dot", "--svg"))
    check_plan.judge(f"{name}: dot", plan_forms.check_dot, dot.split("\n", 1)[1], plan)
    check_plan.judge(f"{name}: svg", plan_forms.check_svg, svg, plan)
    tell(f"{name}: the same picture again", run("plan", path, *options, "--svg")[1].decode() == svg)
    return plan


def train_bytes(name, path, *options):
    """Training takes more than running; a second moment for every parameter more still. With recompute fewer bytes and some steps
    again, where there are blocks; else neither."""
    def told(optimizer):
        text = run("plan", path, *options, "--train", optimizer)[1].decode()
        found = re.search(rf"^training   by {optimizer}: (\d+) bytes; with recompute (\d+), and (\d+) of (\d+) steps of forward run twice$",
                          text, re.M)
        return [int(n) for n in found.groups()] if found else [0, 0, 1, 0]
    sgd, adam = told("sgd"), told("adam")
    tell(f"{name}: --train", 0 < sgd[0] < adam[0] and 0 < sgd[1] <= sgd[0] and adam[1] <= adam[0])
    tell(f"{name}: --train: the price of recompute", (sgd[1] < sgd[0]) == (sgd[2] > 0) and sgd[2] <= sgd[3] and sgd[2:] == adam[2:]
         and (sgd[2] > 0) == (name != "mlp"), sgd)
    many = plan_of(f"{name}: --train", path, *options, "--train", "sgd")
    tell(f"{name}: --train: regions", region(many, "train") > 0 and region(many, "param") > 0)


def test_plan():
    """Plans of the samples."""
    plan_model("llama", FILES / "llama.qorus")
    mlp = FILES / "mlp.qorus"
    one, many = plan_of("mlp", mlp, "-t", 1), plan_of("mlp --batch", mlp, "-t", 1, "--batch", 100)
    tell("mlp: --batch", many["max"]["batch"] == 100 and region(many, "scratch") > region(one, "scratch"))
    train_bytes("mlp", mlp, "--batch", 8, "-t", 1)
    refused("--train of no optimizer", 2, "plan", mlp, "--train", "magic", says="sgd")
    refused("neither architecture nor graph", 1, "plan", FILES / "tensors.qorus", says="architecture or graph")
    refused("a class of the caller's", 1, "plan", FILES / "graph.qorus", says="example.mix")
    refused("--ctx of no number", 2, "plan", mlp, "--ctx", "many", says="--ctx")
    refused("--ctx above the cap", 1, "plan", FILES / "llama.qorus", "--ctx", 1 << 25, says="max")
    refused("too many threads", 1, "plan", mlp, "-t", 65, says="64")


def test_plan_generated(folder):
    """Plans of models of many shapes."""
    import make_test_model
    shapes = {"untied": ["--untied"], "wide": ["--heads", "8", "--kv-heads", "1", "--d-ffn", "288", "--type", "q4_0"],
              "one layer": ["--layers", "1", "--type", "f32"], "six layers": ["--layers", "6"]}
    for name, options in shapes.items():
        path = folder / "model.qorus"
        make_test_model.main(["decoder", str(path), *options])
        plan = draws(name, path)
        tell(name + ": blocks alike are one box", bool(plan_forms.hidden_blocks(plan)) == (name == "six layers"))
        plan_of(name + " --exact", path, "--exact", "--chunk", 7, "--ctx", 33)


# ---- Bad use of all ------------------------------------------------------------------------------------------


def test_bad_use(folder):
    """What every command that takes a file says to the same mistakes."""
    cut, gguf, empty, noise = (folder / n for n in ("cut.qorus", "model.gguf", "empty.qorus", "noise.qorus"))
    source = (FILES / "llama.qorus").read_bytes()
    cut.write_bytes(source[:len(source) // 2])
    gguf.write_bytes(b"GGUF" + bytes(60))
    empty.write_bytes(b"")
    noise.write_bytes(b"some text\n" * 100)
    for command in ("tokenize", "inspect", "plan"):
        more = ("-p", "x") if command == "tokenize" else ()
        refused(command + ": missing file", 1, command, folder / "absent.qorus", *more, says="absent.qorus")
        refused(command + ": a GGUF", 1, command, gguf, *more, says="convert_model.py")
        refused(command + ": a file cut short", 1, command, cut, *more, says="cut.qorus")
        refused(command + ": an empty file", 1, command, empty, *more, says="empty")
        refused(command + ": no .qorus file", 1, command, noise, *more, says="noise.qorus")
        refused(command + ": a folder", 1, command, folder, *more, says=folder.name)
        refused(command + ": no file", 2, command, says=command)
        refused(command + ": two files", 2, command, cut, gguf, *more, says=command)
        refused(command + ": unknown option", 2, command, cut, "--wrong", says="--wrong")
        code, out, error = run(command, "--help")
        tell(command + " --help", code == 0 and out.startswith(b"usage: qorus " + command.encode()) and error == "")
    for command, target in (("inspect", FILES / "llama.qorus"), ("plan", FILES / "llama.qorus")):
        if Path("/dev/full").exists():
            with open("/dev/full", "wb") as full:
                done = subprocess.run([QORUS, command, str(target)], stdout=full, stderr=subprocess.PIPE, check=False)
            tell(command + ": output that cannot be written", done.returncode == 1 and b"cannot write" in done.stderr)


def test_model():
    """The real model, where it is there."""
    model = real_model()
    if model is None:
        skip("the real model", "make model fetches it")
        return
    draws("real model", model)
    code, out, error = run("inspect", model, "--verify", "--json")
    tell("real model: inspect --verify", code == 0 and json.loads(out)["verify"]["result"] == "OK", error)
    text = "Grüße aus 東京! 3,14159 <|im_start|>".encode()
    ids = run("tokenize", model, text=text)[1]
    tell("real model: tokenize", run("tokenize", model, "--decode", text=ids)[:2] == (0, text))


def main():
    """All tests that can run here."""
    for test in (test_tokenize, test_inspect, test_bad_use):
        folder = FOLDER / test.__name__
        folder.mkdir()
        test(folder)
    test_plan()
    if missing("numpy") is None:
        test_plan_generated(FOLDER)
    else:
        skip("generated models", "Python package numpy is missing (make deps)")
    test_model()
    for name in COUNTS:
        COUNTS[name] += check_plan.COUNTS[name]
    finish()


if __name__ == "__main__":
    main()
