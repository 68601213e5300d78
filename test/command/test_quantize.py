#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus quantize as a user runs it: on the committed sample files with the standard library alone, on generated
models and GGUF files where NumPy and the gguf package are installed.

Usage: test_quantize.py; the environment's BUILD says where the command is
"""
import contextlib
import hashlib
import io
import os
import resource
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from command import FOLDER, QORUS, ROOT, finish, missing, refused, run, skip, tell  # noqa: E402
from file_reader import TYPES, Parsed, flipped  # noqa: E402

sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "test/format")]

FILES = ROOT / "vectors/files"
SAMPLES = sorted(FILES.glob("*.qorus"))


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


def folder(name):
    """A folder of a test's own."""
    path = FOLDER / name
    path.mkdir()
    return path


def main():
    """All tests that can run here."""
    test_quantize_refusals(folder("refusals"))
    test_quantize_samples(folder("samples"))
    for packages, test in ((("numpy",), test_quantize_generated), (("numpy", "gguf"), test_quantize_gguf)):
        absent = missing(*packages)
        if absent is None:
            test(folder(test.__name__))
        else:
            skip(test.__name__, f"Python package {absent} is missing (make deps)")
    finish()


if __name__ == "__main__":
    main()
