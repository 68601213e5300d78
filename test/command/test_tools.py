#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus tokenize, inspect, plan and quantize as a user runs them: on the committed sample files with the
standard library alone, on generated models and GGUF files where NumPy and the gguf package are installed.

Usage: test_tools.py QORUS [MODEL.qorus]
"""
import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "test/plan"), str(ROOT / "test/format")]
sys.dont_write_bytecode = True

import check_plan  # noqa: E402

FILES = ROOT / "vectors/files"
SAMPLES = sorted(FILES.glob("*.qorus"))
TYPES = ("f32", "q8_0", "q4_0", "q4_1", "f16", "bf16")
DTYPES = TYPES + ("i32",)
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}
QORUS = ""


def tell(name, good, detail=""):
    """Counts one test."""
    COUNTS["passed" if good else "failed"] += 1
    if not good:
        print(f"FAIL {name} {detail}")


def skip(name, why):
    """Counts one test that cannot run here."""
    COUNTS["skipped"] += 1
    print(f"skipped: {name}: {why}")


def run(*words, text=None, **more):
    """(exit code, standard output as bytes, standard error as text)."""
    done = subprocess.run([QORUS, *map(str, words)], input=text if text is not None else b"", capture_output=True,
                          timeout=300, check=False, **more)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def refused(name, code, *words, says="", **more):
    """One test: this fails with `code`, one line that holds `says`, and nothing on standard output."""
    status, out, error = run(*words, **more)
    lines = error.splitlines()
    tell(name, status == code and out == b"" and len(lines) == 1 and says in lines[0]
         and lines[0].startswith("qorus: "), f"{status} {out[:60]!r} {error!r}")


# ---- A second reader of .qorus files, by the words of docs/FORMAT.md -----------------------------------------


class Parsed:
    """Header, records and sections of a file."""

    def __init__(self, data):
        self.data = data
        self.sections = [struct.unpack_from("<QQII", data, 32 + 24 * i) for i in range(8)]
        strings = self.sections[2][0]
        self.tensors = []
        for i in range(self.sections[0][2]):
            at = self.sections[0][0] + 128 * i
            v = struct.unpack_from("<IHBBII4QQQ32s", data, at)
            name = data[strings + v[0]:strings + v[0] + v[1]].decode()
            self.tensors.append({"name": name, "dtype": DTYPES[v[2]], "layout": ("plain", "panel16")[v[3]],
                                 "shape": list(v[6:10][4 - v[4]:]), "trainable": bool(v[5] & 1), "offset": v[10],
                                 "bytes": v[11], "sha256": v[12].hex()})

    def section(self, number):
        """Bytes of a section."""
        offset, size = self.sections[number][:2]
        return self.data[offset:offset + size]

    def rehash(self):
        """The file with its table hash made right again."""
        tables = bytearray(self.data[:self.sections[7][0]])
        tables[224:256] = bytes(32)
        return self.data[:224] + hashlib.sha256(tables).digest() + self.data[256:]


def flipped(data, at):
    """data with one bit changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


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
    check_plan.judge(f"{name}: sound", check_plan.check_json, told.get("plan", {}))
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
    check_plan.judge(f"{name}: text", check_plan.check_text, body, base)
    dot = run("plan", path, "--ctx", 64, "-t", 1, "--dot")[1].decode()
    check_plan.judge(f"{name}: dot", check_plan.check_dot, dot.split("\n", 1)[1], base)
    refused(f"{name}: --train sgd", 1, "plan", path, "--train", "sgd", says="cannot be trained")


def test_plan():
    """Plans of the samples."""
    plan_model("llama", FILES / "llama.qorus")
    mlp = FILES / "mlp.qorus"
    one, many = plan_of("mlp", mlp, "-t", 1), plan_of("mlp --batch", mlp, "-t", 1, "--batch", 100)
    tell("mlp: --batch", many["max"]["batch"] == 100 and region(many, "scratch") > region(one, "scratch"))
    refused("mlp: --train sgd", 1, "plan", mlp, "--train", "sgd", says="cannot be trained")
    refused("--train of no optimizer", 2, "plan", mlp, "--train", "magic", says="sgd")
    refused("neither architecture nor graph", 1, "plan", FILES / "tensors.qorus", says="architecture or graph")
    refused("a class of the caller's", 1, "plan", FILES / "graph.qorus", says="example.mix")
    refused("--ctx of no number", 2, "plan", mlp, "--ctx", "many", says="--ctx")
    refused("--ctx above the cap", 1, "plan", FILES / "llama.qorus", "--ctx", 1 << 25, says="max")
    refused("too many threads", 1, "plan", mlp, "-t", 65, says="64")


# ---- quantize ------------------------------------------------------------------------------------------------


def only(folder, *names):
    """True if these are all the files of a folder."""
    return sorted(p.name for p in folder.iterdir()) == sorted(names)


def quantize_refused(name, code, folder, source, target, says, **more):
    """One test: refused, and the folder of the output is as it was."""
    before = {p.name: (p.is_dir() or p.read_bytes()) for p in folder.iterdir()}
    refused(name, code, "quantize", source, target, "q8_0", says=says, **more)
    after = {p.name: (p.is_dir() or p.read_bytes()) for p in folder.iterdir()}
    tell(name + ": nothing left behind", before == after, sorted(after))


def test_quantize_refusals(folder):
    """Bad use of quantize."""
    llama = FILES / "llama.qorus"
    source = llama.read_bytes()
    out = folder / "out"
    out.mkdir()
    (out / "old.qorus").write_bytes(b"what was here before")
    (out / "folder").mkdir()
    refused("unknown type", 2, "quantize", llama, out / "x", "q3_k", says="q3_k")
    refused("no type", 2, "quantize", llama, out / "x", says="type")
    quantize_refused("missing input", 1, out, folder / "absent.qorus", out / "x", "absent.qorus")
    bad = folder / "bad.qorus"
    bad.write_bytes(source[:-64])
    quantize_refused("input cut short", 1, out, bad, out / "x", "bad.qorus")
    bad.write_bytes(b"GGUF" + bytes(100))
    quantize_refused("GGUF", 1, out, bad, out / "x", "convert_model.py")
    bad.write_bytes(flipped(source, Parsed(source).tensors[3]["offset"]))
    code, _, error = run("quantize", bad, out / "old.qorus", "f32")
    tell("damaged input", code == 1 and "SHA-256" in error and Parsed(source).tensors[3]["name"] in error, error)
    tell("damaged input: the old output stays", (out / "old.qorus").read_bytes() == b"what was here before"
         and only(out, "old.qorus", "folder"))
    quantize_refused("columns that do not fit", 1, out, FILES / "decoder.qorus", out / "x", "columns")
    for name, target in (("no such folder", out / "absent" / "x"), ("a file as folder", out / "old.qorus" / "x"),
                         ("a folder as output", out / "folder")):
        before = sorted(p.name for p in out.iterdir())
        code, text, error = run("quantize", llama, target, "f32")
        tell(name, code == 1 and text == b"" and "cannot be written" in error.splitlines()[-1]
             and before == sorted(p.name for p in out.iterdir()) and only(out / "folder"), error)
    if os.geteuid() != 0:
        out.chmod(0o555)
        code, _, error = run("quantize", llama, out / "x", "f32")
        out.chmod(0o755)
        tell("a folder that may not be written", code == 1 and "cannot be written" in error, error)
    else:
        skip("a folder that may not be written", "root may write everywhere")
    same = folder / "same.qorus"
    same.write_bytes(source)
    quantize_refused("output over input", 1, folder, same, same, "replace the input")
    code, _, error = run("quantize", llama, out / "x", "f32", restore_signals=False, preexec_fn=lambda: (
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))))
    tell("a disk that is full", code == 1 and "cannot be written" in error and only(out, "old.qorus", "folder"), error)


def test_quantize_samples(folder):
    """Files without NumPy: structure, flags, the copy."""
    for path in SAMPLES:
        target = folder / "out.qorus"
        code, out, error = run("quantize", path, target, "f16")
        before, after = Parsed(path.read_bytes()), Parsed(target.read_bytes())
        tell(f"{path.name} to f16", code == 0 and out == b"", error)
        wanted = [dict(t) for t in before.tensors]
        for t in wanted:
            matrix = t["layout"] == "panel16"
            if matrix and t["dtype"] != "f16":
                t.update(dtype="f16", trainable=False)
        keys = ("name", "dtype", "layout", "shape", "trainable")
        tell(f"{path.name} to f16: tensors", [[t[k] for k in keys] for t in after.tensors] ==
             [[t[k] for k in keys] for t in wanted])
        tell(f"{path.name} to f16: plain ones keep their bytes", all(
            b["sha256"] == a["sha256"] for b, a in zip(before.tensors, after.tensors) if b["layout"] == "plain"))
        tell(f"{path.name} to f16: sections", all(before.section(i) == after.section(i) for i in (1, 2, 3, 4, 5)))
        tell(f"{path.name} to f16: meta", after.section(6).startswith(before.section(6))
             and after.section(6).decode().splitlines()[-1].startswith("requantized: f16 from"), after.section(6))
        tell(f"{path.name} to f16: verify", run("inspect", target, "--verify")[0] == 0)
        told = any(t["layout"] == "panel16" and t["dtype"] not in ("f16", "f32") for t in before.tensors)
        tell(f"{path.name} to f16: says what is rounded twice", ("quantised again as f16" in error) == told, error)
        first = target.read_bytes()
        run("quantize", path, target, "f16")
        tell(f"{path.name} to f16: the same again", target.read_bytes() == first and only(folder, "out.qorus"))
    run("quantize", FILES / "llama.qorus", target, "q4_0")
    code, out, error = run("run", target, "-p", "the model", "-n", 3, "--temp", 0)
    tell("a requantised model runs", code == 0 and out != b"", error)


def with_meta(source, meta, path):
    """Writes the tensors of a generated file with another META by the Python writer; returns the bytes."""
    from qorus_py import reader, writer
    r = reader.Reader(source)
    tensors = [writer.Tensor(t.name, t.dtype, t.layout, t.shape, t.data.tobytes, t.flags) for t in r.tensors.values()]
    writer.write_file(path, tensors, r.arch, r.graph, r.tokenizer, meta)
    return path.read_bytes()


def test_quantize_generated(folder):
    """The command's file is the Python writer's, byte for byte, from the same values."""
    import make_test_model
    from qorus_py import reader
    options = ["--layers", "2", "--seed", "9", "--vocab", "391", "--untied"]
    made = {t: folder / f"{t}.qorus" for t in TYPES}
    for t, path in made.items():
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = make_test_model.main(["decoder", str(path), "--type", t, "--tokenizer", "none", *options])
        tell(f"generator makes {t}", code == 0, said.getvalue())
    out = folder / "out.qorus"
    for t in TYPES:
        code, _, error = run("quantize", made["f32"], out, t)
        meta = Parsed(out.read_bytes()).section(6).decode()
        tell(f"f32 to {t}: silent", code == 0 and error == "", error)
        tell(f"f32 to {t}: the generator's bytes", out.read_bytes() == with_meta(made[t], meta, folder / "again"))
    for t in TYPES:
        run("quantize", made["q8_0"], out, t)
        tell(f"q8_0 to {t}: NumPy's bytes", out.read_bytes() == requantised(made["q8_0"], t, out, folder / "again"))
    values = reader.Reader(made["f32"]).tensors["layers.1.up"]
    data = bytearray(made["f32"].read_bytes())
    at = next(x for x in Parsed(bytes(data)).tensors if x["name"] == "layers.1.up")
    data[at["offset"] + 64 * 5:at["offset"] + 64 * 5 + 4] = struct.pack("<f", float("nan"))
    bad = folder / "nan.qorus"
    bad.write_bytes(rehashed(bytes(data), "layers.1.up"))
    before = sorted(p.name for p in folder.iterdir())
    refused("a NaN among the weights", 1, "quantize", bad, folder / "x", "q4_0", says="layers.1.up")
    tell("a NaN: nothing left behind", before == sorted(p.name for p in folder.iterdir()) and values.intact())
    interrupt(folder, make_test_model)


def rehashed(data, name):
    """The file with the hashes of one tensor and of the tables made right."""
    parsed = Parsed(data)
    index = next(i for i, t in enumerate(parsed.tensors) if t["name"] == name)
    t = parsed.tensors[index]
    at = parsed.sections[0][0] + 128 * index + 64
    digest = hashlib.sha256(data[t["offset"]:t["offset"] + t["bytes"]]).digest()
    return Parsed(data[:at] + digest + data[at + 32:]).rehash()


def requantised(source, kind, ours, path):
    """What NumPy makes of a file's matrices in another type, with the META of ours."""
    from qorus_py import format as fmt
    from qorus_py import gguf_llama, quant, reader, writer
    r = reader.Reader(source)
    dtype = gguf_llama.TYPES[kind]
    tensors = []
    for t in r.tensors.values():
        if t.layout == fmt.PANEL16 and t.dtype != dtype:
            rows = quant.quantize(t.values(), dtype)
            tensors.append(writer.matrix(t.name, dtype, t.shape, lambda rows=rows: rows))
        else:
            tensors.append(writer.Tensor(t.name, t.dtype, t.layout, t.shape, t.data.tobytes, t.flags))
    meta = Parsed(ours.read_bytes()).section(6).decode()
    writer.write_file(path, tensors, r.arch, r.graph, r.tokenizer, meta)
    return path.read_bytes()


def interrupt(folder, make_test_model):
    """Ctrl-C in the middle of the work."""
    big, out = folder / "big.qorus", folder / "stopped"
    make_test_model.main(["decoder", str(big), "--type", "f32", "--tokenizer", "none", "--vocab", "40000", "--d-model",
                          "256", "--layers", "1"])
    out.mkdir()
    with subprocess.Popen([QORUS, "quantize", str(big), str(out / "x"), "q4_0"], stderr=subprocess.PIPE) as work:
        while work.poll() is None and not any(out.iterdir()):
            time.sleep(0.002)
        work.send_signal(signal.SIGINT)
        error = work.communicate(timeout=60)[1].decode()
    big.unlink()
    if work.returncode == 0:
        skip("Ctrl-C during quantize", "this machine was done before the signal came")
    else:
        tell("Ctrl-C during quantize", work.returncode == 1 and "interrupted" in error and only(out), error)


def test_quantize_gguf(folder):
    """F32 GGUF: convert, then quantize, is convert --type."""
    import convert_model
    import test_convert
    gguf, keep, ours, theirs = (folder / n for n in ("f32.gguf", "keep.qorus", "ours.qorus", "theirs.qorus"))
    test_convert.small_gguf(gguf, [test_convert.TYPE.F32])
    tell("convert keeps f32", convert_model.main([str(gguf), str(keep), "-q"]) == 0)
    for t in TYPES:
        converted = convert_model.main([str(gguf), str(theirs), "--type", t, "-q"])
        code, _, error = run("quantize", keep, ours, t)
        meta = Parsed(ours.read_bytes()).section(6).decode()
        tell(f"GGUF, quantize {t} is convert --type {t}", converted == 0 and code == 0
             and ours.read_bytes() == with_meta(theirs, meta, folder / "again"), error)
    code, out, error = run("run", ours, "-p", "the model", "-n", 3, "--temp", 0)
    tell("the converted and requantised model runs", code == 0, error)


def test_plan_generated(folder):
    """Plans of models of many shapes."""
    import make_test_model
    shapes = {"untied": ["--untied"], "wide": ["--heads", "8", "--kv-heads", "1", "--d-ffn", "288", "--type", "q4_0"],
              "one layer": ["--layers", "1", "--type", "f32"]}
    for name, options in shapes.items():
        path = folder / "model.qorus"
        make_test_model.main(["decoder", str(path), *options])
        plan_of(name, path)
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


def test_model(model):
    """The real model, where it is there."""
    if model is None or not Path(model).exists():
        skip("the real model", "make model fetches it")
        return
    plan_of("real model", model)
    code, out, error = run("inspect", model, "--verify", "--json")
    tell("real model: inspect --verify", code == 0 and json.loads(out)["verify"]["result"] == "OK", error)
    text = "Grüße aus 東京! 3,14159 <|im_start|>".encode()
    ids = run("tokenize", model, text=text)[1]
    tell("real model: tokenize", run("tokenize", model, "--decode", text=ids)[:2] == (0, text))


def missing(*packages):
    """The first Python package that is not installed, or None."""
    for package in packages:
        try:
            __import__(package)
        except ImportError:
            return package
    return None


def main(words):
    """Exit code 0: all passed."""
    global QORUS
    QORUS = str(Path(words[0]).resolve())
    with tempfile.TemporaryDirectory() as top:
        def folder(name):
            path = Path(top) / name
            path.mkdir()
            return path
        test_tokenize(folder("tokenize"))
        test_inspect(folder("inspect"))
        test_plan()
        test_quantize_refusals(folder("refusals"))
        test_quantize_samples(folder("samples"))
        test_bad_use(folder("bad"))
        absent = missing("numpy")
        if absent is None:
            test_quantize_generated(folder("generated"))
            test_plan_generated(folder("plans"))
        else:
            skip("generated models", f"Python package {absent} is missing (make deps)")
        absent = missing("numpy", "gguf")
        if absent is None:
            test_quantize_gguf(folder("gguf"))
        else:
            skip("GGUF files", f"Python package {absent} is missing (make deps)")
        test_model(words[1] if len(words) > 1 else None)
    for name in COUNTS:
        COUNTS[name] += check_plan.COUNTS[name]
    print(f"{COUNTS['passed']} passed, {COUNTS['failed']} failed, {COUNTS['skipped']} skipped")
    return 0 if COUNTS["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
