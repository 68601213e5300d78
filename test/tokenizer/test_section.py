# SPDX-License-Identifier: MIT
"""The Python side of the tokenizer section: what the writer refuses, and that writing what was read is the same.

Usage: test_section.py [VECTORS]     (default vectors/tokenizer; needs only the standard library)
"""

import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from qorus_py import tokenizer as section

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
          "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TOKENS = ["<|im_start|>", "<|im_end|>", "a", "b", "Ġ", "ab", "Ġab"]
TYPES = [3, 3, 1, 1, 1, 1, 1]
MERGES = ["a b", "Ġ ab"]
GOOD = {"tokens": TOKENS, "merges": MERGES, "types": TYPES, "pre": "smollm", "ids": {"bos": 0, "eos": 1, "unk": None},
        "chat_template": CHATML}

passed = 0
failed = 0


def check(name, ok, detail=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {detail}", file=sys.stderr)


def refuses(name, words, **changes):
    """from_gguf_fields, with these changes to the good twin, raises an error with these words in it."""
    try:
        section.from_gguf_fields(**{**GOOD, **changes})
        check(name, False, "accepted")
    except section.TokenizerError as error:
        check(name, all(word in str(error) for word in words), str(error))


def replaced(items, index, value):
    return items[:index] + [value] + items[index + 1:]


def test_writer():
    data = section.from_gguf_fields(**GOOD)
    t = section.read_section(data)
    check("good twin", t.tokens[4:] == [b" ", b"ab", b" ab"] and t.merges == [(2, 3, 5), (4, 5, 6)] and t.eog == [1])
    check("written again", section.write_section(t) == data)
    check("merges as pairs", section.from_gguf_fields(**{**GOOD, "merges": [m.split(" ") for m in MERGES]}) == data)
    check("gpt-2", section.read_section(section.from_gguf_fields(**{**GOOD, "pre": "gpt-2"})).pretokenizer == 1)
    check("unused duplicate", section.from_gguf_fields(**{**GOOD, "tokens": TOKENS + ["a"], "types": TYPES + [5]}))
    refuses("pre-tokenizer unknown", ["llama-bpe"], pre="llama-bpe")
    refuses("pre-tokenizer absent", ["None"], pre=None)
    refuses("model unknown", ["'llama'"], model="llama")
    refuses("space prefix", ["add_space_prefix"], add_space_prefix=True)
    refuses("T01 no tokens", ["n_vocab"], tokens=[], types=[], merges=[], ids={}, chat_template=None)
    refuses("T05 duplicate token text", ["plain_ids"], tokens=TOKENS + ["ab"], types=TYPES + [1])
    refuses("T08 empty token", ["empty"], tokens=TOKENS + [""], types=TYPES + [1])
    refuses("T09 token longer than the cap", ["max_token"], tokens=TOKENS + ["x" * 1025], types=TYPES + [1])
    refuses("T09 special longer than the cap", ["max_special"], tokens=TOKENS + ["x" * 257], types=TYPES + [3])
    refuses("T10 character that is no byte", ["token 7", "中"], tokens=TOKENS + ["中"], types=TYPES + [1])
    for text in ("<0x41>", "<0x-1>", "<0xZZ>"):
        refuses(f"T13 byte token {text}", ["token 7", text], tokens=TOKENS + [text], types=TYPES + [6])
    refuses("T13 token type 9", ["type 9"], tokens=TOKENS + ["c"], types=TYPES + [9])
    refuses("T14 merge of an absent token", ["merge 0", "b'z'"], merges=["z b"])
    refuses("T15 merge result absent", ["merge 2", "not in the vocabulary"], merges=MERGES + ["b a"])
    refuses("T16 merge of nothing", ["merge 2"], merges=MERGES + ["a "])
    refuses("T18 merge twice", ["merge 2", "rank 0"], merges=MERGES + ["a b"])
    refuses("T20 merge of three", ["merge 2"], merges=MERGES + ["a b a"])
    refuses("T21 special token as a result", ["merge 2"], merges=MERGES + ["<|im_ end|>"])
    refuses("T24 types of another length", ["6 token types"], types=TYPES[:-1])
    for name in ("bos", "eos", "pad", "unk"):
        refuses(f"T25 {name} past the vocabulary", [name if name != "eos" else "eos"], ids={name: 7})
    refuses("T25 unknown kind of id", ["'mask'"], ids={"mask": 1})
    refuses("T25 adds bos without one", ["bos"], ids={}, add_bos=True)
    refuses("ChatML without its tokens", ["ChatML"], tokens=replaced(TOKENS, 0, "<s>"))


def test_templates():
    check("no template", section.chat_format_of(None) == (section.CHAT_NONE, b""))
    good = {
        "as it is": CHATML,
        "newlines escaped": CHATML.replace("\n", "\\n"),
        "double quotes": CHATML.replace("'", '"').replace('["role"]', "['role']").replace('["content"]', "['content']"),
        "on lines": CHATML.replace("{%", "\n{%-").replace("%}{{", "%}\n{{").replace("}}{", "}}\n{").strip(),
        "with a default": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
                          + CHATML,
    }
    for name, template in good.items():
        try:
            check(name, section.chat_format_of(template) == (section.CHAT_CHATML, b""))
        except section.TokenizerError as error:
            check(name, False, str(error))
    system = CHATML.replace("{{'<|im_start|>' + m", "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>"
                            "system\nBe kind.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + m")
    check("system message", section.chat_format_of(system) == (section.CHAT_CHATML, b"Be kind."))
    bad = {
        "other markers": CHATML.replace("im_start", "start"),
        "no newline after a message": CHATML.replace(" + '\n'}}", "}}"),
        "role twice": CHATML.replace("message['role']", "message['role'] + message['role']"),
        "text between": CHATML.replace("{% endfor %}", "x{% endfor %}"),
        "newline printed": CHATML.replace("}}{% endfor %}", "}}\n{% endfor %}"),
        "blank printed": CHATML.replace("}}{% endfor %}", "}} {% endfor %}"),
        "other": "[INST] {{ message }} [/INST]",
    }
    for name, template in bad.items():
        try:
            section.chat_format_of(template)
            check(name, False, "accepted")
        except section.TokenizerError as error:
            check(name, "chat template" in str(error), str(error))


def test_reader(folder):
    for name in ("small", "byte"):
        data = (folder / f"{name}.qtok").read_bytes()
        check(f"{name}.qtok written again", section.write_section(section.read_section(data)) == data)
    check("byte tokenizer", section.byte_tokenizer() == (folder / "byte.qtok").read_bytes())
    data = (folder / "small.qtok").read_bytes()
    for at in range(0, section.HEADER, 4):
        value = struct.unpack_from("<I", data, at)[0]
        for other in (value ^ 1, value ^ 0x80000000):
            changed = bytearray(data)
            struct.pack_into("<I", changed, at, other)
            try:
                section.read_section(changed)
                # Other special ids, flags and pre-tokenizers are other tokenizers, not broken ones.
                check(f"header byte {at}", at in (12, 20, 64, 68, 72, 76, 80), f"{value:#x} -> {other:#x} accepted")
            except section.TokenizerError:
                check(f"header byte {at}", True)
    for size in (0, 64, 127, 128, len(data) - 64, len(data) + 64):
        try:
            section.read_section((data + bytes(64))[:size])
            check(f"{size} bytes", False, "accepted")
        except section.TokenizerError:
            check(f"{size} bytes", True)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "vectors" / "tokenizer"
    test_writer()
    test_templates()
    test_reader(folder)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
