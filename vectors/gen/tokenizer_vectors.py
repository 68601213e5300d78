# SPDX-License-Identifier: MIT
"""Writes the tokenizer vectors: strings, their ids by the `tokenizers` package, and hashes of long texts.

Usage: tokenizer_vectors.py --model MODEL.gguf [--text FILE] [--out DIR]

MODEL.gguf is SmolLM2-135M-Instruct; FILE is tinyshakespeare (without it, the hash lines of its own are kept
from the existing hashes.txt). Files written to DIR (vectors/tokenizer), all little-endian:

    small.qtok    a tokenizer section: the first merges of the model, some bytes missing, every token type
    byte.qtok     the byte tokenizer
    strings.bin   "QTS1", u32 n, u32 n_valid, u16 length[n], the strings; the first n_valid are valid UTF-8
    NAME.ids      "QTI1", u32 n, u16 count[n], u16 ids. A count of 65535: the same ids as in the base file
                  NAME = small_smollm, big_smollm (base files); small_gpt2, big_gpt2 (the other
                  pre-tokenizer); small_special, big_special (control tokens are parsed)
    hashes.txt    lines "NAME SHA256 COUNT": hash of the ids, as i32, of a long text, and their number

Ids of valid strings come from `tokenizers`; those of invalid UTF-8, which it does not take, from the plain
oracle below, which must also agree with `tokenizers` on every valid string.
"""

import argparse
import hashlib
import pathlib
import re
import struct
import sys
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import gguf
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from qorus_py import tokenizer as section

N_VALID = 1700
N_INVALID = 300
SMALL_MERGES = 640
MIXED_BYTES = 1 << 20
SAME = 0xFFFF


class Lcg:
    """The generator the C test has too: 64 bits, the upper 31 are the number."""

    def __init__(self, seed):
        self.state = seed

    def next(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self.state >> 33) % n

    def pick(self, items):
        return items[self.next(len(items))]


# ---- Strings ---------------------------------------------------------------------------------------------

SENTENCES = """
The quick brown fox jumps over the lazy dog.|It's what we've said: they're here, I'm there, you'd go, he'll stay.
IT'S WHAT WE'VE SAID: THEY'RE HERE|don't can't won't 'tis 'twas rock 'n' roll 's 't 're 've 'm 'll 'd 'x
O’Neil’s “quoted” text—dash…|Ação é reação: não há pão sem fermentação.|Zażółć gęślą jaźń|Þetta er íslenska
Příliš žluťoučký kůň úpěl ďábelské ódy|Pijamalı hasta yağız şoföre çabucak güvendi|Tiếng Việt có nhiều dấu
Größe, Übermut, Straße|Les élèves où ça là-bas|Съешь же ещё этих мягких французских булок
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία|Չորս արջ և մի աղվես|ქართული ენა არის ლამაზი
هذا نص عربي للتجربة مع أرقام ١٢٣٤٥|זהו טקסט בעברית עם ניקוד שָׁלוֹם|فارسی می‌نویسیم ۱۲۳|اردو میں لکھا ہوا
यह हिन्दी में एक वाक्य है १२३|এটি একটি বাংলা বাক্য ১২৩|இது ஒரு தமிழ் வாக்கியம் ௧௨|ఇది తెలుగు వాక్యం ౩౪
ಇದು ಕನ್ನಡ ವಾಕ್ಯ|ഇത് മലയാളം|ગુજરાતી વાક્ય|ਪੰਜਾਬੀ ਵਾਕ|සිංහල වාක්‍යය|ภาษาไทยไม่มีช่องว่าง ๑๒๓|ພາສາລາວ ໑໒
ភាសាខ្មែរ ១២|မြန်မာဘာသာ ၁၂|བོད་སྐད་ ༡༢|ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ|አማርኛ ቋንቋ ፩፪|ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ|ᐃᓄᒃᑎᑐᑦ
我能吞下玻璃而不伤身体。|繁體中文與簡體中文|日本語のテキスト、カタカナ、ひらがな、漢字。|한국어 문장을 씁니다. 한글
ﾊﾝｶｸ ｶﾀｶﾅ|１２３ＡＢＣ全角|㊀㈱①②③Ⅳⅷ½¾²³|𝒜𝓁𝓅𝒽𝒶 𝟘𝟙𝟚 𝔘𝔫𝔦|𐍈𐌰𐌿𐍄|𒀀𒁀 𒐕|𓀀𓁐|𠀀𠮷野家|𞤀𞤣𞤤𞤢𞤥 𞥐𞥑|🜁🜂|꧁ꦗꦮ꧂ ꧐꧑
👩‍👩‍👧‍👦 family 👍🏽 🇧🇷🇯🇵 🏳️‍🌈 ❤️‍🔥 ☕️|😀😃😄 lol 😂😂😂|Z̸͑͠a̷l̵g̶o̴|ﷺ ﷽ ﬁ ﬂ
int main(void) { return 0; }|SELECT * FROM t WHERE id >= 100 AND name LIKE '%x%';|<div class="a b">&nbsp;text</div>
x += 0xDEADBEEF ^ ~0b1010;|a[i] = b ? 1_000_000 : -1;|if [ -f "$HOME/.bashrc" ]; then . "$HOME/.bashrc"; fi
fn main() -> Result<(), Box<dyn Error>> {}|lambda x: (x, y)[::-1]|3.14159265358979|2024-02-29T23:59:59.999Z
+55 (11) 98765-4321|1,234,567.89|0x1F600|1e-10|100%|$42.00|v1.2.3-rc4|a1b2c3|3rd 21st|٣٫١٤|x²+y³=z¹|½cup|Ⅷ世紀
https://example.org/path/to?q=1&r=two#frag|user.name+tag@example.co.uk|/usr/lib/x86_64-linux-gnu|192.168.0.1:8080
#hashtag @mention|<<<>>>===!!!???...,,,;;;:::---___***
""".strip().replace("\n", "|").split("|") + [
    "e\u0301 n\u0303 o\u0308\u0323 a\u030a\u0327", "\ufeffBOM\u200b\u200c\u200d\u2060end", "C:\\Users\\name\\file.txt",
    "for (i = 0; i < n; i++) {\n    sum += a[i] * b[i];\n}", "def f(x):\n\treturn x ** 2  # square\n", "a || b | c",
    "#include <stdio.h>\r\n\r\n#define MAX(a,b) ((a)>(b)?(a):(b))\r\n", "{\"key\": [1, 2.5, -3e10], \"k\": \"v\\u00e9\"}",
    "\\documentclass{article}\\begin{document}$\\alpha^2_{ij}$\\end{document}"]

SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2003", "\u2028", "\u0085", "\u1680",
          "\v", "\f", "\u202f", "\u200b", " \n", "\n ", "\t ", "      ", "\x1c", "\x1f"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<|im_start", "|im_end|>", "<|", "|>",
            "<user>", "<use", "<user><user>", "<users>", "<file_sep>", "<jupyter_code>", "<empty_output>"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'Re", "'", "''", "'l", "'r", "'v", "’s", "'é"]
# Words that BPE would take whole if the contraction did not cut them; repeats that fill the heap beyond their length.
CUT_WORDS = ["'measure", "'member", "'the", "'that", "'stand", "'ser", "'dis", "'der", "'real", "'reing", "'very",
             "'vent", "'llo", "'lling", " 'st", "a'the", "'Men", "'ent"]
HEAVY = ["ent" * 40, "our" * 33, "ten" * 27 + "!", "tone" * 25, "uits" * 20]
RANGES = [(0x20, 0x7F), (0x20, 0x7F), (0x00, 0x20), (0x80, 0x250), (0x250, 0x600), (0x600, 0xE00), (0xE00, 0x1400),
          (0x1E00, 0x2C00), (0x2C00, 0x3400), (0x3400, 0xD7B0), (0xF900, 0xFFFE), (0x10000, 0x12600),
          (0x16800, 0x1F000), (0x1F000, 0x1FB00), (0x20000, 0x32400), (0xE0000, 0x110000)]
INVALID = [b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xe2\x82", b"\xe0\x80\x80", b"\xed\xa0\x80",
           b"\xed\xb0\x80", b"\xf0\x9f\x98", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80", b"\xfe",
           b"\xff", b"\xff\xff\xff", b"\xe2\x28\xa1", b"\xf0\x28\x8c\x28", b"\xc3\xc3\xa9", b"\xed\x9f", b"\xf4\x8f"]


def random_text(lcg):
    low, high = lcg.pick(RANGES)
    out = []
    for _ in range(1 + lcg.next(12)):
        cp = low + lcg.next(high - low)
        out.append("?" if 0xD800 <= cp < 0xE000 else chr(cp))
    return "".join(out)


def number_text(lcg):
    digits = lcg.pick(["0123456789", "0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９", "ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ", "½⅓¼⅔²³¹⁴⁵⁶"])
    return "".join(lcg.pick(digits) for _ in range(1 + lcg.next(7)))


def slice_text(lcg):
    sentence = lcg.pick(SENTENCES)
    begin = lcg.next(len(sentence))
    return sentence[begin:begin + 1 + lcg.next(16)]


def long_text(lcg):
    """A piece of more than 32 bytes."""
    kind = lcg.next(4)
    n = 33 + lcg.next(100)
    if kind == 0:
        return lcg.pick(["a", "=", "-", "\n", " ", "ab", "the", "é", "!?", "\u3000", "in", "中"]) * (n // 2)
    if kind == 1:
        return "".join(lcg.pick("etaoinshrdlu") for _ in range(n))
    if kind == 2:
        return "".join(lcg.pick(["the", "ing", "er", "on", "at", "re", "in", "and"]) for _ in range(n // 3))
    return "".join(lcg.pick("+-*/=<>!&|^~%#@") for _ in range(n))


PARTS = [slice_text, slice_text, slice_text, number_text, random_text,
         lambda g: g.pick(SPACES), lambda g: g.pick(SPACES), lambda g: g.pick(CONTRACTIONS)]


def make_strings():
    """N_VALID + N_INVALID different strings, the same ones on every run."""
    lcg = Lcg(20240229)
    valid = [b"", b"\0", b"\0\0a\0", b" ", b"\n", b"'", b"'s", b" 's", b"\x04\x06!\x13!", b"!\x04!", b"a\x04b"]
    valid += [s.encode() for s in SENTENCES + SPACES + SPECIALS + CONTRACTIONS + CUT_WORDS + HEAVY]
    valid = list(dict.fromkeys(valid))
    seen = set(valid)
    while len(valid) < N_VALID:
        maker = len(valid) % 16
        if maker == 0:
            text = long_text(lcg)
        elif maker == 1:
            text = slice_text(lcg) + lcg.pick(SPECIALS) + slice_text(lcg) + lcg.pick(SPECIALS)
        else:
            text = "".join(lcg.pick(PARTS)(lcg) for _ in range(1 + lcg.next(6)))
        raw = text.encode()
        if raw not in seen:
            seen.add(raw)
            valid.append(raw)
    invalid = list(INVALID)
    seen.update(invalid)
    while len(invalid) < N_INVALID:
        raw = lcg.pick(INVALID)
        for _ in range(1 + lcg.next(3)):
            raw += lcg.pick(PARTS)(lcg).encode() + lcg.pick(INVALID)
        if lcg.next(4) == 0:
            raw = lcg.pick(SENTENCES).encode()[:1 + lcg.next(40)] + raw
        if raw not in seen and not is_valid(raw):
            seen.add(raw)
            invalid.append(raw)
    return valid, invalid


def is_valid(raw):
    try:
        raw.decode()
        return True
    except UnicodeDecodeError:
        return False


def mixed_text(strings):
    """Valid strings in random order, MIXED_BYTES or a little more; the C test makes the same bytes."""
    lcg = Lcg(7)
    parts = []
    total = 0
    while total < MIXED_BYTES:
        parts.append(strings[lcg.next(len(strings))])
        total += len(parts[-1])
    return b"".join(parts)


# ---- Oracle ----------------------------------------------------------------------------------------------

WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
               0x3000}
GPT2 = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)


def characters(raw):
    """The characters of any bytes: valid ones, and every other byte by itself as None."""
    out = []
    i = 0
    while i < len(raw):
        for n in (1, 2, 3, 4):
            if is_valid(raw[i:i + n]) and i + n <= len(raw):
                out.append((raw[i:i + n], raw[i:i + n].decode()))
                break
        else:
            out.append((raw[i:i + 1], None))
        i += len(out[-1][0])
    return out


def stand_in(char):
    """An ASCII character that the pattern treats as it should treat `char`."""
    if char is None:
        return "!"
    if char in "'strevmld ":
        return char
    category = unicodedata.category(char)[0]
    return "\t" if ord(char) in WHITE_SPACE else {"L": "A", "N": "0"}.get(category, "!")


def oracle_pieces(raw, digits):
    chars = characters(raw)
    shape = "".join(stand_in(char) for _, char in chars)
    spans = [m.span() for m in re.finditer(r"[0-9]|[^0-9]+", shape)] if digits else [(0, len(shape))]
    for begin, end in spans:
        for match in GPT2.finditer(shape[begin:end]):
            yield b"".join(b for b, _ in chars[begin + match.start():begin + match.end()])


class Oracle:
    """BPE as its definition says: join the lowest rank, the leftmost of equals, until nothing joins."""

    def __init__(self, t):
        self.ids = {t.tokens[i]: i for i in range(len(t.tokens)) if t.types[i] in (section.NORMAL, section.BYTE)}
        self.ranks = {(left, right): (rank, result) for rank, (left, right, result) in enumerate(t.merges)}
        self.users = [t.tokens[i] for i, kind in enumerate(t.types) if kind == section.USER]
        self.user_ids = {t.tokens[i]: i for i, kind in enumerate(t.types) if kind == section.USER}

    def piece(self, raw):
        ids = [self.ids[bytes([b])] for b in raw if bytes([b]) in self.ids]
        while True:
            found = [(self.ranks[pair][0], i) for i, pair in enumerate(zip(ids, ids[1:])) if pair in self.ranks]
            if not found:
                return ids
            _, i = min(found)
            ids[i:i + 2] = [self.ranks[ids[i], ids[i + 1]][1]]

    def encode(self, raw, digits):
        out = []
        chunks = [raw]
        if self.users:
            chunks = re.split(b"(" + b"|".join(re.escape(u) for u in sorted(self.users, key=len)[::-1]) + b")", raw)
        for i, chunk in enumerate(chunks):
            if i % 2:
                out.append(self.user_ids[chunk])
                continue
            for piece in oracle_pieces(chunk, digits):
                out += self.piece(piece)
        return out


# ---- The tokenizers package ------------------------------------------------------------------------------


def reference(t, digits, special):
    """A tokenizers.Tokenizer with the vocabulary and merges of a section."""
    table = section.byte_to_unicode()

    def shown(raw):
        return "".join(table[b] for b in raw)

    plain = (section.NORMAL, section.BYTE)
    vocab = {}
    for i, (token, kind) in enumerate(zip(t.tokens, t.types)):
        if kind != section.UNUSED:
            text = shown(token) if kind in plain else token.decode()
            assert text not in vocab
            vocab[text] = i
    merges = [(shown(t.tokens[left]), shown(t.tokens[right])) for left, right, _ in t.merges]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if digits:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    else:
        tokenizer.pre_tokenizer = byte_level
    users = [t.tokens[i].decode() for i, kind in enumerate(t.types) if kind == section.USER]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in users])
    if special:
        controls = [t.tokens[i].decode() for i, kind in enumerate(t.types) if kind == section.CONTROL]
        tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in controls])
    return tokenizer


# ---- The small tokenizer ---------------------------------------------------------------------------------


def small_section(reader):
    """The first merges of the model, its control tokens, and one or two tokens of every other type."""
    def value(name):
        return reader.fields["tokenizer." + name].contents()

    tokens, types = value("ggml.tokens"), value("ggml.token_type")
    merges = value("ggml.merges")[:SMALL_MERGES]
    controls = [t for t, kind in zip(tokens, types) if kind == section.GGUF_CONTROL]
    singles = [t for t, kind in zip(tokens, types) if kind == section.GGUF_NORMAL and len(t) == 1]
    pairs = [(t, section.GGUF_CONTROL) for t in controls] + [(t, section.GGUF_NORMAL) for t in singles]
    pairs += [(m.replace(" ", ""), section.GGUF_NORMAL) for m in merges]
    pairs += [("<user>", section.GGUF_USER), ("<user><user>", section.GGUF_USER), ("", section.GGUF_UNUSED),
              ("<user>", section.GGUF_UNUSED), ("unused", section.GGUF_UNUSED)]
    return section.from_gguf_fields(
        [t for t, _ in pairs], merges, [kind for _, kind in pairs], "smollm",
        {"bos": 1, "eos": 2, "pad": 2, "unk": 0}, chat_template=value("chat_template"))


# ---- Output ----------------------------------------------------------------------------------------------


def write(path, data):
    path.write_bytes(data)
    print(f"{path}: {len(data)} bytes")


def ids_file(rows, base=None):
    counts = []
    body = []
    for i, ids in enumerate(rows):
        if base is not None and ids == base[i]:
            counts.append(SAME)
        else:
            assert len(ids) < SAME
            counts.append(len(ids))
            body += ids
    return b"QTI1" + struct.pack(f"<I{len(counts)}H{len(body)}H", len(rows), *counts, *body)


def hash_line(name, ids):
    digest = hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()
    return f"{name} {digest} {len(ids)}"


def known(text):
    """Whether this Python knows all characters, so that the oracle's classes are the right ones."""
    return all(unicodedata.category(c) != "Cn" for c in text)


def vectors_of(t, valid, invalid):
    """Ids of all strings: with the smollm pre-tokenizer, with gpt-2, and smollm with control tokens parsed."""
    oracle = Oracle(t)
    out = []
    for digits, special in ((True, False), (False, False), (True, True)):
        hf = reference(t, digits, special)
        rows = [hf.encode(raw.decode(), add_special_tokens=False).ids for raw in valid]
        if not special:
            for raw, ids in zip(valid, rows):
                if known(raw.decode()) and oracle.encode(raw, digits) != ids:
                    raise SystemExit(f"the oracle disagrees with tokenizers about {raw!r}")
        rows += [oracle.encode(raw, digits) for raw in invalid]
        out.append(rows)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--text")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("vectors/tokenizer"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    reader = gguf.GGUFReader(args.model)
    small_bytes = small_section(reader)
    small = section.read_section(small_bytes)
    big = section.read_section(section.from_gguf(reader))
    valid, invalid = make_strings()
    strings = valid + invalid
    write(args.out / "small.qtok", small_bytes)
    write(args.out / "byte.qtok", section.byte_tokenizer())
    write(args.out / "strings.bin", b"QTS1" + struct.pack(f"<II{len(strings)}H", len(strings), len(valid),
                                                          *map(len, strings)) + b"".join(strings))
    lines = []
    old = args.out / "hashes.txt"
    kept = dict(line.split(" ", 1) for line in old.read_text().splitlines()) if old.exists() else {}
    for name, t in (("small", small), ("big", big)):
        smollm, gpt2, special = vectors_of(t, valid, invalid)
        write(args.out / f"{name}_smollm.ids", ids_file(smollm))
        write(args.out / f"{name}_gpt2.ids", ids_file(gpt2, smollm))
        write(args.out / f"{name}_special.ids", ids_file(special, smollm))
        texts = {"mixed": mixed_text(valid).decode(), "a": "a" * (1 << 20), "space": " " * (1 << 20),
                 "er": "er" * (1 << 19)}
        if args.text:
            texts["shakespeare"] = pathlib.Path(args.text).read_text(encoding="utf-8")
        for pre, digits in (("smollm", True), ("gpt2", False)):
            hf = reference(t, digits, False)
            for text_name in ("mixed", "a", "space", "er", "shakespeare"):
                key = f"{name}_{pre}_{text_name}"
                if text_name in texts:
                    lines.append(hash_line(key, hf.encode(texts[text_name], add_special_tokens=False).ids))
                elif key in kept:
                    lines.append(f"{key} {kept[key]}")
    lines.append("mixed_text " + hashlib.sha256(mixed_text(valid)).hexdigest() + f" {len(mixed_text(valid))}")
    write(args.out / "hashes.txt", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
