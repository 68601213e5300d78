#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of tools/convert_model.py: values, determinism, refusals (V rows of the catalogue of bad inputs).

Usage: test_convert.py [--opener PROGRAM] [MODEL.gguf]
PROGRAM is test_format; PROGRAM --open FILE exits with 0 if q_file_open and q_file_verify accept FILE.
"""
import argparse
import contextlib
import hashlib
import io
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True

import convert_model  # noqa: E402
import gguf  # noqa: E402
from qorus_py import generate, gguf_file, gguf_llama, quant, reader  # noqa: E402
from qorus_py import tokenizer as tokenizers  # noqa: E402

TYPE = gguf.GGMLQuantizationType
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}
D, HEADS, KV, HEAD, FFN, CONTEXT = 256, 8, 4, 32, 256, 128
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
            "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
            "{% endif %}")


def tell(name, good, detail=""):
    """Counts one test."""
    COUNTS["passed" if good else "failed"] += 1
    if not good:
        print(f"FAIL {name} {detail}")


def convert(*arguments):
    """Runs the converter within this process; returns exit code and standard error. An exception it lets
    through is exit code 99."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = convert_model.main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
        except Exception as fault:  # pylint: disable=broad-except
            return 99, repr(fault)
    return code, error.getvalue()


def run_alone(*arguments):
    """The same as a program of its own."""
    done = subprocess.run([sys.executable, "-B", str(ROOT / "tools/convert_model.py"), *map(str, arguments)],
                          capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


# ---- A small GGUF of every type ------------------------------------------------------------------------------


def vocabulary():
    """Tokens, types and merges of the small BPE tokenizer."""
    t = tokenizers.read_section(generate.small_bpe())
    shown = tokenizers.byte_to_unicode()
    tokens, types = [], []
    for raw, kind in zip(t.tokens, t.types):
        control = kind == tokenizers.CONTROL
        tokens.append(raw.decode() if control else "".join(shown[b] for b in raw))
        types.append(tokenizers.GGUF_CONTROL if control else tokenizers.GGUF_NORMAL)
    merges = [f"{tokens[left]} {tokens[right]}" for left, right, _ in t.merges]
    return tokens, types, merges


def random_q6_k(rows, k):
    """Bytes of Q6_K blocks with sane scales."""
    n = rows * k // 256
    raw = (generate.uniform(9, "q6", (n, 210)) * 127).astype(np.int8).view(np.uint8)
    raw[:, 208:] = np.full((n, 1), 0.01, np.float16).view(np.uint8)
    return raw.reshape(rows, -1)


def small_gguf(path, kinds, change=None, bias=False, freqs=None, kept=True):
    """Writes a two-layer Llama. kinds: GGUF type per matrix, in turn. change(metadata dict) edits the fields."""
    tokens, types, merges = vocabulary()
    fields = {"llama.block_count": 2, "llama.context_length": CONTEXT, "llama.embedding_length": D,
              "llama.feed_forward_length": FFN, "llama.attention.head_count": HEADS,
              "llama.attention.head_count_kv": KV, "llama.attention.layer_norm_rms_epsilon": 1e-5,
              "llama.rope.freq_base": 10000.0, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
              "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
              "tokenizer.ggml.merges": merges, "tokenizer.chat_template": TEMPLATE,
              "tokenizer.ggml.bos_token_id": len(tokens) - 2, "tokenizer.ggml.eos_token_id": len(tokens) - 1}
    if change is not None:
        change(fields)
    arch = fields.pop("general.architecture", "llama")
    w = gguf.GGUFWriter(None, arch)
    for key, value in fields.items():
        if isinstance(value, list):
            w.add_array(key, value)
        elif isinstance(value, str):
            w.add_string(key, value)
        elif isinstance(value, float):
            w.add_float32(key, value)
        else:
            w.add_uint32(key, value)
    shapes = [("token_embd.weight", (len(tokens), D))]
    for n in range(2):
        at = f"blk.{n}."
        shapes += [(at + "attn_norm.weight", (D,)), (at + "attn_q.weight", (HEADS * HEAD, D)),
                   (at + "attn_k.weight", (KV * HEAD, D)), (at + "attn_v.weight", (KV * HEAD, D)),
                   (at + "attn_output.weight", (D, HEADS * HEAD)), (at + "ffn_norm.weight", (D,)),
                   (at + "ffn_gate.weight", (FFN, D)), (at + "ffn_up.weight", (FFN, D)),
                   (at + "ffn_down.weight", (D, FFN))]
        if bias:
            shapes += [(at + f"attn_{p}.bias", (rows,)) for p, rows in
                       (("q", HEADS * HEAD), ("k", KV * HEAD), ("v", KV * HEAD))]
    shapes.append(("output_norm.weight", (D,)))
    i = 0
    for name, shape in shapes if kept else shapes[:-1]:
        x = generate.uniform(8, name, shape)
        if len(shape) == 1:
            w.add_tensor(name, x)
            continue
        kind = kinds[i % len(kinds)]
        i += 1
        data = random_q6_k(*shape) if kind == TYPE.Q6_K else gguf.quantize(x, kind)
        w.add_tensor(name, data, raw_dtype=kind)
    if freqs is not None:
        w.add_tensor("rope_freqs.weight", freqs.astype(np.float32))
    w.write_header_to_file(path)
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# ---- Values --------------------------------------------------------------------------------------------------


def expected_values(tensors, name, arch):
    """F32 values of one of our tensors, from the gguf package; q and k put into half-split order by reshaping."""
    t = tensors[gguf_llama.gguf_name(name)]
    values = gguf.dequantize(t.data, t.tensor_type).reshape(tuple(int(d) for d in reversed(t.shape)))
    part = name.split(".")[-1]
    if part in ("q", "k", "q_bias", "k_bias"):
        heads = arch.n_heads if part[0] == "q" else arch.n_kv_heads
        values = values.reshape(heads, arch.head_dim // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
    return values


def check_values(name, source, result, requantised=()):
    """Every tensor has the values of the GGUF, bit for bit, unless its GGUF type is among requantised."""
    tensors = {t.name: t for t in gguf.GGUFReader(source).tensors}
    file = reader.Reader(result)
    wrong = []
    for ours, t in file.tensors.items():
        want = expected_values(tensors, ours, file.arch)
        kind = tensors[gguf_llama.gguf_name(ours)].tensor_type
        if kind in requantised and want.ndim == 2:
            want = quant.dequantize(quant.quantize(want, t.dtype), t.dtype)
        if not t.intact() or not np.array_equal(t.values().view(np.uint32), want.view(np.uint32)):
            wrong.append(ours)
    tell(name, file.intact() and not wrong and bool(file.tensors), f"wrong: {wrong[:4]}")
    return file


def check_twice(name, source, folder, opener, *options):
    """Converting twice gives the same bytes, reading and writing again gives them too, and C opens them."""
    one, two, three = (os.path.join(folder, n) for n in ("one.qorus", "two.qorus", "three.qorus"))
    codes = [convert("-q", source, path, *options) for path in (one, two)]
    if any(code for code, _ in codes):
        tell(name, False, codes[0][1])
        return None
    reader.Reader(one).copy_to(three)
    hashes = {hashlib.sha256(Path(p).read_bytes()).digest() for p in (one, two, three)}
    tell(name, len(hashes) == 1, "bytes differ")
    if opener:
        tell(name + "_opens", subprocess.run([opener, "--open", one], check=False).returncode == 0)
    return one


def test_values(folder, opener):
    """Every carried type, types that are not, requantising, biases."""
    source = os.path.join(folder, "small.gguf")
    carried = [TYPE.Q8_0, TYPE.F32, TYPE.F16, TYPE.BF16, TYPE.Q4_0, TYPE.Q4_1]
    small_gguf(source, carried)
    out = check_twice("V09_convert_twice", source, folder, opener)
    if out:
        file = check_values("carried_value_for_value", source, out)
        tell("tokenizer_inside", tokenizers.read_section(file.tokenizer).chat_format == tokenizers.CHAT_CHATML)
        tell("arch", (file.arch.n_layers, file.arch.head_dim, file.arch.rope_dims, file.arch.flags) == (2, 32, 32, 1))
        section = os.path.join(folder, "t.qtok")
        code, _ = convert("-q", source, out, "--tokenizer-out", section)
        tell("tokenizer_out", code == 0 and Path(section).read_bytes() == file.tokenizer)
    for target, dtype in gguf_llama.TYPES.items():
        code, error = convert("-q", source, out, "--type", target)
        others = [t for t in carried if gguf_llama.CARRIED[int(t)] != dtype]
        tell(f"type_{target}", code == 0, error)
        file = check_values(f"type_{target}_values", source, out, others)
        kinds = {t.dtype for t in file.tensors.values() if len(t.shape) == 2}
        tell(f"type_{target}_everywhere", kinds == {dtype})
    small_gguf(source, [TYPE.Q6_K, TYPE.Q5_0], bias=True)
    code, error = convert(source, out)
    tell("other_types_are_reported", code == 0 and "Q6_K" in error and "Q5_0" in error and "q8_0" in error, error)
    check_values("other_types_values", source, out, (TYPE.Q6_K, TYPE.Q5_0))
    check_twice("bias_twice", source, folder, opener, "--other", "q4_1")


def test_rope(folder):
    """Scalings of the metadata, and rope_freqs that are llama3's or not."""
    source, out = os.path.join(folder, "rope.gguf"), os.path.join(folder, "rope.qorus")

    def scaling(kind, factor):
        return lambda f: f.update({"llama.rope.scaling.type": kind, "llama.rope.scaling.factor": factor,
                                   "llama.rope.scaling.original_context_length": 64})
    small_gguf(source, [TYPE.Q8_0], scaling("linear", 4.0))
    code = convert("-q", source, source)[0]
    tell("V_output_is_input", code == 1 and Path(source).read_bytes()[:4] == b"GGUF")
    tell("rope_linear", convert("-q", source, out)[0] == 0 and reader.Reader(out).arch.rope_factor == 4.0)
    small_gguf(source, [TYPE.Q8_0], scaling("yarn", 4.0))
    good = convert("-q", source, out)[0] == 0
    arch = reader.Reader(out).arch
    tell("rope_yarn", good and (arch.rope_scaling, arch.rope_low, arch.rope_high) == (3, 1.0, 32.0)
         and abs(arch.rope_magnitude - 1.138629436111989) < 1e-15)
    freqs = gguf_llama.llama3_factors(10000.0, HEAD, 8.0, 1.0, 4.0, 8192)
    small_gguf(source, [TYPE.Q8_0], freqs=freqs)
    tell("rope_llama3", convert("-q", source, out)[0] == 0 and reader.Reader(out).arch.rope_original_context == 8192)
    small_gguf(source, [TYPE.Q8_0], freqs=freqs + 0.5)
    tell("rope_freqs_unknown", *refused(source, out, "rope_freqs.weight"))
    small_gguf(source, [TYPE.Q8_0], scaling("none", 4.0))
    tell("rope_none", convert("-q", source, out)[0] == 0 and reader.Reader(out).arch.rope_scaling == 0)
    small_gguf(source, [TYPE.Q8_0], lambda f: f.update({"llama.rope.scale_linear": 2.0}))
    tell("rope_linear_by_default", convert("-q", source, out)[0] == 0 and reader.Reader(out).arch.rope_factor == 2.0)
    small_gguf(source, [TYPE.Q8_0], scaling("yarn", 0.5))
    tell("rope_factor_below_1", *refused(source, out, "factor of 0.5"))
    small_gguf(source, [TYPE.Q8_0], scaling("longrope", 4.0))
    tell("rope_unknown", *refused(source, out, "longrope"))


# ---- Refusals ------------------------------------------------------------------------------------------------


def refused(source, out, words, *options):
    """Exit code 1, one line on standard error with the words, and nothing written, not even in part."""
    folder = os.path.dirname(out)
    if os.path.exists(out):
        os.unlink(out)
    before = sorted(os.listdir(folder))
    code, error = convert("-q", source, out, *options)
    lines = [line for line in error.splitlines() if "quantised again" not in line]
    good = code == 1 and len(lines) == 1 and words in error and sorted(os.listdir(folder)) == before
    return good, f"exit {code}: {error}"


def put(at, code, value):
    """A mutation: a number at a place."""
    return lambda raw: raw[:at] + struct.pack("<" + code, value) + raw[at + struct.calcsize(code):]


def test_malformed(folder):
    """One defect each, against a file that converts."""
    source, bad, out = (os.path.join(folder, n) for n in ("good.gguf", "bad.gguf", "bad.qorus"))
    small_gguf(source, [TYPE.Q8_0])
    raw = Path(source).read_bytes()
    tell("twin_converts", convert("-q", source, out)[0] == 0)
    key = raw.index(b"llama.block_count")
    tokens = raw.index(b"tokenizer.ggml.tokens") + len("tokenizer.ggml.tokens")
    types = raw.index(b"tokenizer.ggml.token_type") + len("tokenizer.ggml.token_type")
    info = raw.index(b"blk.0.attn_q.weight") + len("blk.0.attn_q.weight")
    end = len(raw)
    cases = [
        ("empty", lambda r: b"", "not a GGUF"), ("magic", put(0, "I", 0), "not a GGUF"),
        ("version_1", put(4, "I", 1), "version 1"), ("big_endian", put(4, "I", 0x03000000), "big-endian"),
        ("n_tensors_2_61", put(8, "Q", 1 << 61), "cannot fit"),
        ("n_tensors_max", put(8, "Q", 2**64 - 1), "cannot fit"),
        ("n_fields_max", put(16, "Q", 2**64 - 1), "cannot fit"),
        ("n_tensors_one_more", put(8, "Q", 21), "byte"), ("n_fields_one_less", put(16, "Q", 16), "GGUF"),
        ("key_length_max", put(key - 8, "Q", 2**64 - 1), "byte"),
        ("key_length_0", put(key - 8, "Q", 0), "key"),
        ("value_type", put(key + 17, "I", 13), "value type 13"),
        ("nested_array", put(tokens + 4, "I", 9), "array of arrays"),
        ("element_type", put(tokens + 4, "I", 77), "element type 77"),
        ("element_confusion", put(types + 4, "I", 6), "token_type has elements of the wrong type"),
        ("array_length_wraps", put(tokens + 8, "Q", 1 << 61), "longer than the file"),
        ("array_length_max", put(types + 8, "Q", 2**64 - 1), "needs"),
        ("n_dims_0", put(info, "I", 0), "0 dimensions"), ("n_dims_5", put(info, "I", 5), "5 dimensions"),
        ("n_dims_max", put(info, "I", 2**32 - 1), "dimensions"), ("dim_0", put(info + 4, "Q", 0), "dimension of 0"),
        ("dim_2_63", put(info + 12, "Q", 1 << 63), "past the end"),
        ("dim_max", put(info + 12, "Q", 2**64 - 1), "past the end"),
        ("dim_no_block", put(info + 4, "Q", 250), "multiple of 32"),
        ("type_unknown", put(info + 20, "I", 99), "type 99"), ("type_removed", put(info + 20, "I", 4), "type 4"),
        ("offset_misaligned", put(info + 24, "Q", 1), "misaligned"),
        ("offset_max", put(info + 24, "Q", 2**64 - 32), "past the end"),
        ("offset_overlap", put(info + 24, "Q", 0), "overlap"),
        ("cut_in_header", lambda r: r[:20], "byte"), ("cut_in_fields", lambda r: r[:tokens + 40], "byte"),
        ("cut_in_data", lambda r: r[:end - end // 3], "past the end"),
        ("tensor_twice", lambda r: r.replace(b"blk.0.attn_k.weight", b"blk.0.attn_q.weight"), "twice"),
        ("key_twice", lambda r: r.replace(b"llama.rope.freq_base", b"llama.context_length"), "twice"),
        ("a_qorus_file", lambda r: (ROOT / "vectors/files/mlp.qorus").read_bytes(), "not a GGUF"),
        ("a_pickle", lambda r: b"\x80\x04\x95" + r[3:], "not a GGUF"),
    ]
    for name, mutate, words in cases:
        Path(bad).write_bytes(mutate(raw))
        tell(f"V01_{name}", *refused(bad, out, words))
    os.unlink(bad)


def test_unsupported(folder):
    """Well-formed GGUF of kinds that are refused by name."""
    source, out = os.path.join(folder, "kind.gguf"), os.path.join(folder, "kind.qorus")

    def field(key, value):
        return lambda f: f.update({key: value})
    cases = [
        ("architecture", field("general.architecture", "mamba"), "'mamba'"),
        ("pre_tokenizer", field("tokenizer.ggml.pre", "qwen2"), "'qwen2'"),
        ("tokenizer_model", field("tokenizer.ggml.model", "llama"), "'llama'"),
        ("chat_template", field("tokenizer.chat_template", "{{ messages }}"), "chat template"),
        ("experts", field("llama.expert_count", 8), "expert_count"),
        ("window", field("llama.attention.sliding_window", 32), "sliding_window"),
        ("split", field("split.count", 3), "split"), ("adapter", field("general.type", "adapter"), "'adapter'"),
        ("kv_heads", field("llama.attention.head_count_kv", 3), "kv heads"),
        ("heads_0", field("llama.attention.head_count", 0), "head_count is 0"),
        ("layers_0", field("llama.block_count", 0), "block_count is 0"),
        ("layers_over_cap", field("llama.block_count", 1025), "block_count is 1025"),
        ("layer_missing", field("llama.block_count", 3), "'blk.2"),
        ("layer_extra", field("llama.block_count", 1), "'blk.1"),
        ("context_0", field("llama.context_length", 0), "context_length is 0"),
        ("context_is_text", field("llama.context_length", "many"), "context_length is not an integer"),
        ("eps_0", field("llama.attention.layer_norm_rms_epsilon", 0.0), "epsilon is 0"),
        ("eps_nan", field("llama.attention.layer_norm_rms_epsilon", float("nan")), "not finite"),
        ("rope_base", field("llama.rope.freq_base", 0.5), "freq_base"),
        ("width", field("llama.embedding_length", 128), "shape"),
        ("eps_missing", lambda f: f.pop("llama.attention.layer_norm_rms_epsilon"), "epsilon is missing"),
        ("merges_missing", lambda f: f.pop("tokenizer.ggml.merges"), "tokenizer"),
        ("merge_unknown", lambda f: f["tokenizer.ggml.merges"].append("qx zj"), "merge"),
    ]
    for name, change, words in cases:
        small_gguf(source, [TYPE.Q8_0], change)
        tell(f"V_{name}", *refused(source, out, words))
    small_gguf(source, [TYPE.Q8_0], kept=False)
    tell("V_tensor_missing", *refused(source, out, "'output_norm.weight' is missing"))
    small_gguf(source, [TYPE.Q8_0], lambda f: f.update(
        {k: f[k][:-1] for k in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type")}))
    tell("T34_vocabulary_differs", *refused(source, out, "embedding"))
    small_gguf(source, [TYPE.F32])
    raw = bytearray(Path(source).read_bytes())
    nan = gguf_file.GgufFile(source).tensors["blk.1.ffn_up.weight"].offset + 40
    raw[nan:nan + 4] = struct.pack("<f", float("nan"))
    Path(source).write_bytes(raw)
    tell("V_nan_when_quantised", *refused(source, out, "NaN", "--type", "q8_0"))
    os.unlink(source)
    tell("V_no_such_file", *refused(source, out, "no such file"))
    small_gguf(source, [TYPE.Q8_0])
    code, error = convert("-q", source, os.path.join(folder, "no/such/folder.qorus"))
    tell("V_no_such_folder", code == 1 and error.count("\n") == 1 and error.count("no/such:"), error)
    code, error = convert("-q", source, folder)
    tell("V_output_is_a_folder", code == 1 and error.count("\n") == 1, error)
    code, _, error = run_alone("-q", source, out, "--type", "q3_k")
    tell("V_bad_usage", code == 2 and "q3_k" in error, error)
    code, text, _ = run_alone("--help")
    tell("V_help", code == 0 and "--tokenizer-out" in text)
    code, _, error = run_alone(source, out)
    tell("V_progress_without_terminal", code == 0 and error.count("\n") == 1 and "20 tensors" in error, error)
    code, error = convert("-q", source, out, "--tokenizer-out", os.path.join(folder, "no/t.qtok"))
    tell("V08_second_output_fails", code == 1 and error.count("\n") == 1, error)


def test_full_disk(folder):
    """A write that fails half-way leaves the old file and no other."""
    source, out = os.path.join(folder, "disk.gguf"), os.path.join(folder, "disk.qorus")
    small_gguf(source, [TYPE.Q8_0])
    Path(out).write_bytes(b"the file of before")
    before = sorted(os.listdir(folder))
    limit = ("import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
             "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000)); sys.path.insert(0, sys.argv[1]);"
             "import convert_model; sys.exit(convert_model.main(sys.argv[2:]))")
    done = subprocess.run([sys.executable, "-B", "-c", limit, str(ROOT / "tools"), "-q", source, out],
                          capture_output=True, text=True, timeout=300, check=False)
    tell("V08_disk_full", done.returncode == 1 and done.stderr.count("\n") == 1
         and Path(out).read_bytes() == b"the file of before" and sorted(os.listdir(folder)) == before, done.stderr)


def test_model(model, folder, opener):
    """The real model."""
    if not model or not os.path.exists(model):
        COUNTS["skipped"] += 1
        print("skipped: no GGUF model given")
        return
    out = check_twice("model_twice", model, folder, opener)
    if out:
        check_values("model_value_for_value", model, out)


def main():
    """Runs everything; the last line counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--opener", metavar="PROGRAM", help="test_format: opens and verifies what was written")
    parser.add_argument("model", nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qorus-convert-") as folder:
        test_values(folder, options.opener)
        test_rope(folder)
        test_malformed(folder)
        test_unsupported(folder)
        test_full_disk(folder)
        test_model(options.model, folder, options.opener)
    print(f"{COUNTS['passed']} passed, {COUNTS['failed']} failed, {COUNTS['skipped']} skipped")
    return 0 if COUNTS["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
