#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What pictures are drawn from: values of nodes (--dump), tables of mistakes (--confusion); attention weights computed again."""
import json
import sys

from command import FOLDER, QORUS, ROOT, finish, missing, qorus, refused, skip, tell, tiny_model

sys.path.insert(0, str(ROOT / "tools"))

import plot_attention  # noqa: E402
import plot_confusion  # noqa: E402

TEXT = "abc abd"  # one token a byte


def rows_of(path):
    """(rows, columns, dtype) and the values' bytes of a .npy file, read by hand."""
    data = path.read_bytes()
    length = int.from_bytes(data[8:10], "little")
    told = eval(data[10:10 + length], {"__builtins__": {}})  # the format says: a literal
    tell(f"{path.name}: magic, length, order",
         data[:8] == b"\x93NUMPY\1\0" and (10 + length) % 64 == 0 and not told["fortran_order"])
    return (*told["shape"], told["descr"]), data[10 + length:]


def test_dump(model):
    """Rows are those of the tokens read, whatever the chunk; logits are those of --logits; text and bits stay."""
    plain, logits, q, r, last = (FOLDER / n for n in ("plain.f32", "l.f32", "q.npy", "r.npy", "last.npy"))
    base = ("run", model, "-p", TEXT, "-n", 4, "-t", 1)
    _, text, _ = qorus(*base, "--logits", plain)
    code, out, err = qorus(*base, "--logits", logits, "--dump", f"layers.0.q={q}", "--dump", f"logits={last}")
    shape, values = rows_of(q)
    tell("--dump: the text and the logits stay", code == 0 and out == text and logits.read_bytes() == plain.read_bytes(), err)
    tell("--dump: a row for each token read", shape == (len(TEXT) + 3, 64, "<f4") and len(values) == 4 * 64 * shape[0], shape)
    tell("--dump: says what it wrote", f"[layers.0.q: {shape[0]} rows of 64 in {q}]" in err, err)
    norm = FOLDER / "norm.npy"
    qorus(*base, "--dump", f"layers.0.attn_norm={norm}")
    tell("--dump of a node that is quantised behind", rows_of(norm)[0] == shape)
    tell("--dump logits", rows_of(last)[1] == plain.read_bytes())
    qorus(*base, "--chunk", 2, "--dump", f"layers.0.q={r}")
    tell("--dump: the same rows in chunks", rows_of(r)[1] == values)
    refused("--dump of no node", 1, *base, "--dump", f"layers.9.q={r}", says="no node 'layers.9.q'")
    for word in ("layers.0.q", "=x", "layers.0.q=", ""):
        refused(f"--dump '{word}'", 2, *base, "--dump", word, says="NODE=FILE")
    refused("--dump into no folder", 1, *base, "--dump", f"layers.0.q={FOLDER}/none/q.npy", says="none/q.npy")
    tell("--dump: a file is there whole or not at all", rows_of(r)[1] == values and not list(FOLDER.glob("*.part")))


def test_attention(name, model):
    """softmax(Q K^T) V of the dumped rows is what the layer stored."""
    import numpy as np
    arch = json.loads(qorus("inspect", model, "--json")[1])["arch"]
    text = TEXT * 4
    for layer in range(arch["n_layers"]):
        nodes = plot_attention.nodes_of(QORUS, model, layer)
        q, k, v, y = plot_attention.dump(QORUS, model, text, nodes, ("--exact", "-t", 1)).values()
        w = plot_attention.weights(arch, layer, q, k)
        heads = v.reshape(len(v), arch["n_kv_heads"], -1).repeat(arch["n_heads"] // arch["n_kv_heads"], axis=1)
        again = np.einsum("hij,jhd->ihd", w, heads.astype(np.float64)).reshape(y.shape)
        off = np.abs(again - y).max()
        tell(f"{name}, layer {layer}: attention computed again", len(y) == len(text) and off < 1e-5 * np.abs(y).max(), off)
        tell(f"{name}, layer {layer}: rows sum to 1, nothing ahead", np.allclose(w.sum(-1), 1) and np.triu(w, 1).max() == 0)


def test_samples():
    """A classifier: which class was taken for which, values of its layers, and what is refused."""
    data, out, table, dump = (FOLDER / n for n in ("d.csv", "d.qorus", "t.csv", "relu.npy"))
    data.write_text("".join(f"{x},{y},{int(x + y > 9) + int(x + y > 14)}\n" for x in range(10) for y in range(10)))
    code, _, err = qorus("train", "--data", data, "--label", "last", "--network", "linear 8 relu; dropout 0.1; linear classes",
                         "--epochs", 3, "--threads", 1, "--classes", 'low, "mid" high', "--out", out)
    tell("a classifier is trained", code == 0, err)
    base = ("run", out, "--input", data)
    code, answers, err = qorus(*base, "--confusion", table, "--dump", f"1.linear={dump}")
    names, counts = plot_confusion.read_confusion(table)
    classes = ["low,", '"mid"', "high"]
    right = [classes[int(line.rsplit(",", 1)[1])] for line in data.read_text().splitlines()]
    told = [line.rsplit(" ", 1)[0] for line in answers.splitlines()]
    expected = [[sum(a == r == i and b == k for a, b, r in zip(right, told, right)) for k in names] for i in names]
    tell("--confusion counts", code == 0 and names == classes and counts == expected, (names, counts, err))
    tell("accuracy is the command's", f"accuracy {plot_confusion.figures(counts)[0]:.4f}" in err, err)
    tell("--dump of samples", rows_of(dump)[0] == (100, 8, "<f4"))
    before = dump.read_bytes()
    code, _, err = qorus(*base, "--dump", f"2.dropout={dump}")
    tell("--dump of what inference leaves out",
         code == 1 and "leaves node '2.dropout' out" in err and dump.read_bytes() == before, err)
    other = FOLDER / "plain.csv"
    other.write_text("1,2\n3,4\n")
    refused("--confusion without targets", 1, "run", out, "--input", other, "--confusion", table, says="--targets")
    refused("--confusion of a text", 2, "run", out, "-p", "x", "--confusion", table, says="--input")
    wrong = FOLDER / "wrong.csv"
    wrong.write_text("0\n7\n")
    refused("a target that is no class", 1, "run", out, "--input", other, "--targets", wrong, "--confusion", table,
            says="target 7 of sample 2")
    tell("the table stays", plot_confusion.read_confusion(table)[1] == counts and not list(FOLDER.glob("*.part")))


def test_drawn(model):
    """The script draws, and refuses layers and heads that are not there."""
    if missing("matplotlib"):
        skip("attention is drawn", "Python package matplotlib is missing (make deps)")
        return
    out = FOLDER / "attention.png"
    words = [str(model), "-p", TEXT, "--command", str(QORUS), "-o", str(out)]
    tell("attention is drawn", plot_attention.main(words) == 0 and out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n")
    tell("a layer that is not there", plot_attention.main([*words, "--layer", "7"]) == 1)
    tell("a head that is not there", plot_attention.main([*words, "--heads", "99"]) == 1)


def main():
    """All of it; attention needs NumPy, which the tiny model does too."""
    model = tiny_model("tiny.qorus", "--tokenizer", "byte")
    test_samples()
    test_dump(model)
    test_attention("plain", model)
    test_attention("window, softcap", tiny_model("window.qorus", "--tokenizer", "byte", "--kinds", "window,full", "--window", "5",
                                                  "--attn-softcap", "3"))
    test_drawn(model)
    finish()


if __name__ == "__main__":
    main()
