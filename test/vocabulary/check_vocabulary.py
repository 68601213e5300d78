# SPDX-License-Identifier: MIT
"""check_vocabulary.py TEST_VOCABULARY: tokenizers trained in C against those of the `tokenizers` package, id by id.

Texts: the tree's documents, code, and made ones (many scripts, runs of one letter, digits, bytes that are no UTF-8 for
characters and bytes). Compared: the tokens, the merges, and the ids of the whole text.
"""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from qorus_py import tokenizer as section  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

END = "<|endoftext|>"
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print("FAIL", what)


def documents():
    parts = [p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(parts)


def code():
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "core/model").glob("*.c")))


def scripts(seed):
    rng = random.Random(seed)
    words = ["naïve", "Straße", "море", "γλώσσα", "漢字", "かな", "אבג", "12", "2026", "don't", "we'll", "x²", "😀", "aaaa", "\u00a0"]
    return "".join(rng.choice(words) + rng.choice([" ", "  ", "\n", "", ", ", "\t\n "]) for _ in range(3000))


def runs(seed):
    rng = random.Random(seed)
    return " ".join(rng.choice("ab") * rng.randint(1, 12) + rng.choice("abc") for _ in range(800))


def trained(text, size, cut):
    """The package's tokenizer: [tokens by id], [merges], [ids of the text]."""
    tok = Tokenizer(models.BPE())
    levels = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if cut == "smollm":
        levels.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence(levels)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator([text], trainer)
    raw = {i: END.encode() if t == END else bytes(section.UNICODE_TO_BYTE[c] for c in t) for t, i in tok.get_vocab().items()}
    return [raw[i] for i in range(len(raw))], tok.encode(text).ids


def made(program, folder, kind, size, cut, data):
    source, out = Path(folder, "in.txt"), Path(folder, "out.qtok")
    source.write_bytes(data)
    run = subprocess.run([program, kind, str(size), cut, str(source), str(out)], capture_output=True, text=True, check=False)
    check(run.returncode == 0, f"{kind} {size} {cut}: {run.stdout}{run.stderr}")
    return section.read_section(out.read_bytes())


def ids_of(tokens, merges, pieces):
    """BPE of pieces by the definition: the lowest rank first, leftmost."""
    rank = {pair[:2]: (r, pair[2]) for r, pair in enumerate(merges)}
    of_byte = {t[0]: i for i, t in enumerate(tokens) if len(t) == 1}
    out = []
    for piece in pieces:
        x = [of_byte[b] for b in piece if b in of_byte]
        while len(x) > 1:
            best = min(range(len(x) - 1), key=lambda i: rank.get((x[i], x[i + 1]), (1 << 30,))[0])
            if (x[best], x[best + 1]) not in rank:
                break
            x[best:best + 2] = [rank[x[best], x[best + 1]][1]]
        out += x
    return out


def compare(program, folder, name, text, size, cut):
    what = f"{name}, {size}, {cut}"
    mine = made(program, folder, "bpe", size, cut, text.encode())
    tokens, ids = trained(text, size, cut)
    check(mine.tokens == tokens, f"{what}: tokens")
    for i, (a, b) in enumerate(zip(mine.tokens, tokens)):
        if a != b:
            print("  first difference: id", i, a, b)
            break
    pieces = []
    levels = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if cut == "smollm":
        levels.insert(0, pre_tokenizers.Digits(individual_digits=True))
    for piece, _ in pre_tokenizers.Sequence(levels).pre_tokenize_str(text):
        pieces.append(bytes(section.UNICODE_TO_BYTE[c] for c in piece))
    memo = {p: ids_of(mine.tokens, mine.merges, [p]) for p in set(pieces)}
    check([i for p in pieces for i in memo[p]] == ids, f"{what}: ids of the text")


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        for cut in ("gpt-2", "smollm"):
            compare(program, folder, "documents", documents(), 1024, cut)
            compare(program, folder, "code", code(), 512, cut)
            compare(program, folder, "scripts", scripts(1), 700, cut)
            compare(program, folder, "runs", runs(2), 320, cut)
        compare(program, folder, "documents", documents(), 4096, "gpt-2")
        data = scripts(3).encode() + bytes(random.Random(4).randrange(256) for _ in range(500))
        chars = made(program, folder, "characters", 0, "none", data)
        check(set(scripts(3)) <= {t.decode(errors="replace") for t in chars.tokens}, "every character has a token")
        check(made(program, folder, "bytes", 0, "none", b"x").kind == section.KIND_BYTE, "bytes")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
