# SPDX-License-Identifier: MIT
"""The tokenizer section of a .qorus file: made from GGUF fields, written, read and checked.

The layout is that of docs/FORMAT.md, "Tokenizer section". `read_section` applies the same rules as
q_tokenizer_open() in C, and write_section(read_section(b)) == b for every b it accepts.
"""

import re
import struct
from dataclasses import dataclass, field

MAGIC = b"QTOK"
VERSION = 1
HEADER = 128
ALIGN = 64
NONE = 0xFFFFFFFF

MAX_VOCAB = 1 << 20
MAX_MERGES = 1 << 21
MAX_TOKEN = 1024
MAX_SPECIAL = 256
MAX_SYSTEM = 4096
MAX_SECTION = 1 << 26
MAX_EOG = 8

KIND_BYTE, KIND_BPE = 1, 2
PRETOKENIZERS = {"none": 0, "gpt-2": 1, "smollm": 2}
CHAT_NONE, CHAT_CHATML = 0, 1
NORMAL, CONTROL, USER, BYTE, UNUSED = range(5)
ADD_BOS, ADD_EOS, UNK_BYTES = 1, 2, 4

BYTE_VOCAB = 259
BYTE_SPECIALS = {256: b"<bos>", 257: b"<eos>", 258: b"<pad>"}

CHATML_TOKENS = (b"<|im_start|>", b"<|im_end|>")
END_TEXTS = (b"<|im_end|>", b"<|endoftext|>")

GGUF_NORMAL, GGUF_UNKNOWN, GGUF_CONTROL, GGUF_USER, GGUF_UNUSED, GGUF_BYTE = range(1, 7)


class TokenizerError(ValueError):
    """A tokenizer that cannot be carried over, or a section that breaks a rule; the text names which."""


@dataclass
class Tokenizer:
    """A tokenizer as plain values; `merges` holds (left, right, result) ids by rank."""

    kind: int
    pretokenizer: int = 0
    chat_format: int = CHAT_NONE
    flags: int = 0
    tokens: list = field(default_factory=list)
    types: list = field(default_factory=list)
    merges: list = field(default_factory=list)
    bos: int = NONE
    eos: int = NONE
    pad: int = NONE
    unk: int = NONE
    eog: list = field(default_factory=list)
    system: bytes = b""


def byte_to_unicode():
    """The 256 characters by which GPT-2 vocabularies write bytes."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in set(shown)]
    table = {b: chr(b) for b in shown}
    table.update({b: chr(256 + i) for i, b in enumerate(hidden)})
    return table


UNICODE_TO_BYTE = {c: b for b, c in byte_to_unicode().items()}


# ---- From GGUF -------------------------------------------------------------------------------------------


def _plain_bytes(text, index):
    try:
        return bytes(UNICODE_TO_BYTE[c] for c in text)
    except KeyError as error:
        raise TokenizerError(f"token {index}: character {error.args[0]!r} is outside the GPT-2 byte alphabet") from None


def _convert_token(index, text, gguf_type):
    """Bytes and type of one GGUF token."""
    if gguf_type in (GGUF_CONTROL, GGUF_UNKNOWN):
        return text.encode("utf-8"), CONTROL
    if gguf_type == GGUF_USER:
        return text.encode("utf-8"), USER
    if gguf_type == GGUF_UNUSED:
        return text.encode("utf-8"), UNUSED
    if gguf_type == GGUF_NORMAL:
        raw = _plain_bytes(text, index)
        return raw, BYTE if len(raw) == 1 else NORMAL
    if gguf_type == GGUF_BYTE:
        raise TokenizerError(f"token {index}: {text!r} is of type BYTE, which byte-level BPE does not have")
    raise TokenizerError(f"token {index}: unknown token type {gguf_type}")


def _convert_merges(merges, ids):
    """(left, right, result) ids of merges given as 'left right' texts or pairs of texts."""
    out = []
    seen = {}
    for rank, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else list(merge)
        if len(pair) != 2 or not pair[0] or not pair[1]:
            raise TokenizerError(f"merge {rank}: {merge!r} is not two tokens")
        raw = [_plain_bytes(part, f"of merge {rank}") for part in pair]
        try:
            triple = (ids[raw[0]], ids[raw[1]], ids[raw[0] + raw[1]])
        except KeyError as error:
            raise TokenizerError(f"merge {rank}: {merge!r}: {error.args[0]!r} is not in the vocabulary") from None
        if triple[:2] in seen:
            raise TokenizerError(f"merge {rank}: {merge!r} has rank {seen[triple[:2]]} already")
        seen[triple[:2]] = rank
        out.append(triple)
    return out


# A tag is {% ... %} or {{ ... }}, with '-' at either end to eat the white space beside it.
_JINJA_TAG = re.compile(r"\{([%{])(-?)(.*?)(-?)[%}]\}", re.DOTALL)

# The tags of ChatML in canonical form, one a line.
_CHATML = re.compile(
    r"(% if not add_generation_prompt is defined\n% set add_generation_prompt = false\n% endif\n)?"
    r"% for message in messages\n"
    r"(% if loop\.first and messages\[0\]\['role'\] != 'system'\n"
    r"\{ '<\|im_start\|>system\\n(?P<system>[^'\n]*)<\|im_end\|>\\n'\n"
    r"% endif\n)?"
    r"\{ '<\|im_start\|>' \+ message\['role'\] \+ '\\n' \+ message\['content'\] \+ "
    r"'<\|im_end\|>(' \+ ')?\\n'\n"
    r"% endfor\n"
    r"% if add_generation_prompt\n"
    r"\{ '<\|im_start\|>assistant\\n'\n"
    r"% endif\n"
)


def _canonical_tag(kind, body):
    """One line for a tag: blanks outside texts made single, texts in single quotes, newlines in them escaped."""
    pieces = re.split(r"('[^']*'|\"[^\"]*\")", body)
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            pieces[i] = re.sub(r"\s+", " ", piece)
        else:
            pieces[i] = "'" + piece[1:-1].replace("\n", "\\n") + "'"
    return f"{kind} {''.join(pieces).strip()}\n"


def _canonical_template(template):
    """The tags of a template, one a line, or None if it has text that would be printed between them.

    White space between tags vanishes where Jinja, with trim_blocks and lstrip_blocks set as chat templates
    are run, makes it vanish.
    """
    out = []
    at = 0
    eat, was_block = False, False
    for tag in _JINJA_TAG.finditer(template):
        raw = template[at:tag.start()]
        text = raw.lstrip() if eat else raw[1:] if was_block and raw.startswith("\n") else raw
        last_line = raw[raw.rfind("\n") + 1:]
        if tag.group(2):
            text = text.rstrip()
        elif tag.group(1) == "%" and last_line and not last_line.strip(" \t") and (at == 0 or "\n" in raw):
            text = text[:-len(last_line)]
        if text:
            return None
        out.append(_canonical_tag(tag.group(1), tag.group(3)))
        at = tag.end()
        eat, was_block = bool(tag.group(4)), tag.group(1) == "%"
    return None if template[at:].strip("\n") else "".join(out)


def chat_format_of(template):
    """(chat format, default system message) of a Jinja chat template; None or "" means no chat.

    Only ChatML, with or without a default system message, is known; everything else is refused.
    """
    if not template:
        return CHAT_NONE, b""
    found = _CHATML.fullmatch(_canonical_template(template) or "")
    if found is None:
        raise TokenizerError(f"chat template is not one this converter knows (ChatML): {template[:120]!r}...")
    system = (found.group("system") or "").replace("\\n", "\n").encode("utf-8")
    return CHAT_CHATML, system


def from_gguf_fields(tokens, merges, types, pre, ids=None, *, model="gpt2", add_bos=False, add_eos=False,
                     add_space_prefix=False, chat_template=None, unk_bytes=False):
    """The section for the tokenizer fields of a GGUF file.

    tokens, types, merges: tokenizer.ggml.{tokens, token_type, merges}; pre: tokenizer.ggml.pre;
    ids: {"bos", "eos", "pad", "unk", "eot"} -> id, missing ones left out or None;
    unk_bytes: a byte the vocabulary lacks becomes unk (otherwise it is left out, as the usual runtimes do).
    Raises TokenizerError naming whatever is unknown; nothing is guessed.
    """
    if model != "gpt2":
        raise TokenizerError(f"tokenizer model {model!r} is not supported (only 'gpt2', byte-level BPE)")
    if pre not in PRETOKENIZERS or pre == "none":
        raise TokenizerError(f"pre-tokenizer {pre!r} is not supported (known: gpt-2, smollm)")
    if add_space_prefix:
        raise TokenizerError("tokenizer.ggml.add_space_prefix is not supported")
    if len(tokens) != len(types):
        raise TokenizerError(f"{len(tokens)} tokens but {len(types)} token types")
    pairs = [_convert_token(i, text, kind) for i, (text, kind) in enumerate(zip(tokens, types))]
    plain = {raw: i for i, (raw, kind) in enumerate(pairs) if kind in (NORMAL, BYTE)}
    special = {raw: i for i, (raw, kind) in enumerate(pairs) if kind in (CONTROL, USER)}
    ids = {name: value for name, value in (ids or {}).items() if value is not None}
    unknown = set(ids) - {"bos", "eos", "pad", "unk", "eot"}
    if unknown:
        raise TokenizerError(f"unknown special ids {sorted(unknown)}")
    ends = [ids[name] for name in ("eos", "eot") if name in ids]
    ends += [special[text] for text in END_TEXTS if text in special]
    chat_format, system = chat_format_of(chat_template)
    tokenizer = Tokenizer(
        kind=KIND_BPE,
        pretokenizer=PRETOKENIZERS[pre],
        chat_format=chat_format,
        flags=(ADD_BOS if add_bos else 0) | (ADD_EOS if add_eos else 0) | (UNK_BYTES if unk_bytes else 0),
        tokens=[raw for raw, _ in pairs],
        types=[kind for _, kind in pairs],
        merges=_convert_merges(merges, plain),
        bos=ids.get("bos", NONE),
        eos=ids.get("eos", NONE),
        pad=ids.get("pad", NONE),
        unk=ids.get("unk", NONE),
        eog=sorted(set(ends)),
        system=system,
    )
    return write_section(tokenizer)


def from_gguf(reader, **overrides):
    """The section for an open gguf.GGUFReader; keyword arguments as for from_gguf_fields win over the file."""
    def value(name, default=None):
        item = reader.fields.get("tokenizer." + name)
        return default if item is None else item.contents()

    tokens = value("ggml.tokens")
    merges = value("ggml.merges")
    if tokens is None or merges is None:
        raise TokenizerError("the GGUF file has no tokenizer.ggml.tokens or no tokenizer.ggml.merges")
    arguments = {
        "tokens": tokens,
        "merges": merges,
        "types": value("ggml.token_type", [GGUF_NORMAL] * len(tokens)),
        "pre": value("ggml.pre"),
        "ids": {
            "bos": value("ggml.bos_token_id"),
            "eos": value("ggml.eos_token_id"),
            "pad": value("ggml.padding_token_id"),
            "unk": value("ggml.unknown_token_id"),
            "eot": value("ggml.eot_token_id"),
        },
        "model": value("ggml.model"),
        "add_bos": bool(value("ggml.add_bos_token", False)),
        "add_eos": bool(value("ggml.add_eos_token", False)),
        "add_space_prefix": bool(value("ggml.add_space_prefix", False)),
        "chat_template": value("chat_template"),
    }
    arguments.update(overrides)
    return from_gguf_fields(**arguments)


def byte_tokenizer(flags=0):
    """The section of the byte tokenizer: ids 0-255 are bytes, 256 <bos>, 257 <eos>, 258 <pad>."""
    return write_section(Tokenizer(kind=KIND_BYTE, flags=flags, bos=256, eos=257, pad=258, eog=[257]))


# ---- Writing ---------------------------------------------------------------------------------------------


def _pad(data):
    return data + bytes(-len(data) % ALIGN)


def _u32(values):
    values = list(values)
    return struct.pack(f"<{len(values)}I", *values)


def _cumulative(counts):
    total = 0
    out = [0]
    for count in counts:
        total += count
        out.append(total)
    return out


def _tables(t):
    """The tables of a BPE section in their order, and the header's counts."""
    plain = sorted((i for i, k in enumerate(t.types) if k in (NORMAL, BYTE)), key=lambda i: t.tokens[i])
    special = sorted((i for i, k in enumerate(t.types) if k in (CONTROL, USER)), key=lambda i: t.tokens[i])
    byte_ids = [NONE] * 256
    for i, kind in enumerate(t.types):
        if kind == BYTE:
            byte_ids[t.tokens[i][0]] = i
    by_left = sorted(range(len(t.merges)), key=lambda rank: t.merges[rank][:2])
    fanout = [0] * len(t.tokens)
    order = [0] * len(t.merges)
    entries = []
    for index, rank in enumerate(by_left):
        left, right, result = t.merges[rank]
        fanout[left] += 1
        order[rank] = index
        entries += [right, rank, result]
    counts = {
        "n_plain": len(plain),
        "n_special": len(special),
        "text_bytes": sum(len(token) for token in t.tokens),
        "max_token": max((len(token) for token in t.tokens), default=0),
        "max_special": max((len(t.tokens[i]) for i in special), default=0),
    }
    tables = [
        _u32(_cumulative(len(token) for token in t.tokens)),
        b"".join(t.tokens),
        bytes(t.types),
        _u32(byte_ids),
        _u32(plain),
        _u32(special),
        _u32(_cumulative(fanout)),
        _u32(entries),
        _u32(order),
        t.system,
    ]
    return tables, counts


def write_section(t):
    """Bytes of the section for a Tokenizer; raises TokenizerError if the values break a rule of the format."""
    if t.kind == KIND_BYTE:
        tables = []
        counts = {"n_plain": 0, "n_special": 0, "text_bytes": 0, "max_token": 5, "max_special": 5}
        n_vocab = BYTE_VOCAB
    else:
        tables, counts = _tables(t)
        n_vocab = len(t.tokens)
    if len(t.eog) > MAX_EOG:
        raise TokenizerError(f"{len(t.eog)} ids end a generation; at most {MAX_EOG} can be kept")
    body = b"".join(_pad(table) for table in tables)
    header = MAGIC + _u32([
        VERSION, t.kind, t.pretokenizer, t.chat_format, t.flags, n_vocab, len(t.merges),
        counts["n_plain"], counts["n_special"], counts["text_bytes"], counts["max_token"], counts["max_special"],
        len(t.system), HEADER + len(body), len(t.eog), t.bos, t.eos, t.pad, t.unk,
        *t.eog, *[NONE] * (MAX_EOG - len(t.eog)), 0, 0, 0, 0,
    ])
    section = header + body
    read_section(section)
    return section


# ---- Reading ---------------------------------------------------------------------------------------------

_HEADER_FIELDS = ("version", "kind", "pre_tokenizer", "chat_format", "flags", "n_vocab", "n_merges", "n_plain",
                  "n_special", "text_bytes", "max_token", "max_special", "system_bytes", "section_bytes", "n_eog",
                  "bos", "eos", "pad", "unk")


def _require(condition, what):
    if not condition:
        raise TokenizerError(what)


def _read_header(data):
    _require(len(data) >= HEADER, "section shorter than its header")
    _require(data[:4] == MAGIC, "magic is not QTOK")
    words = struct.unpack("<31I", data[4:HEADER])
    h = dict(zip(_HEADER_FIELDS, words))
    h["eog"] = list(words[19:27])
    _require(h["version"] == VERSION, f"version {h['version']}")
    _require(h["kind"] in (KIND_BYTE, KIND_BPE), f"kind {h['kind']}")
    _require(h["pre_tokenizer"] in PRETOKENIZERS.values(), f"pre_tokenizer {h['pre_tokenizer']}")
    _require(h["chat_format"] in (CHAT_NONE, CHAT_CHATML), f"chat_format {h['chat_format']}")
    _require(h["flags"] < 8, f"flags {h['flags']:#x}")
    _require(0 < h["n_vocab"] <= MAX_VOCAB, f"n_vocab {h['n_vocab']}")
    _require(h["n_merges"] <= MAX_MERGES, f"n_merges {h['n_merges']}")
    _require(h["max_token"] <= MAX_TOKEN, f"max_token {h['max_token']}")
    _require(h["max_special"] <= MAX_SPECIAL, f"max_special {h['max_special']}")
    _require(h["system_bytes"] <= MAX_SYSTEM, f"system_bytes {h['system_bytes']}")
    _require(h["section_bytes"] <= MAX_SECTION, f"section_bytes {h['section_bytes']}")
    _require(len(data) == h["section_bytes"], f"section_bytes {h['section_bytes']}, have {len(data)}")
    _require(words[27:] == (0, 0, 0, 0), "reserved words are not zero")
    return h


def _check_ids(h):
    for name in ("bos", "eos", "pad", "unk"):
        _require(h[name] == NONE or h[name] < h["n_vocab"], f"{name} {h[name]} is not in the vocabulary")
    n = h["n_eog"]
    _require(n <= MAX_EOG, f"n_eog {n}")
    eog = h["eog"][:n]
    _require(eog == sorted(set(eog)) and all(i < h["n_vocab"] for i in eog), f"eog {eog}")
    _require(h["eog"][n:] == [NONE] * (MAX_EOG - n), "eog: words past n_eog")
    _require(h["eos"] == NONE or h["eos"] in eog, "eos is not among eog")
    for flag, name in ((ADD_BOS, "bos"), (ADD_EOS, "eos"), (UNK_BYTES, "unk")):
        _require(not h["flags"] & flag or h[name] != NONE, f"flags need {name}")


def _split(data, h):
    """The raw tables; every byte of the section is header, table or zero padding."""
    sizes = (4 * (h["n_vocab"] + 1), h["text_bytes"], h["n_vocab"], 1024, 4 * h["n_plain"], 4 * h["n_special"],
             4 * (h["n_vocab"] + 1), 12 * h["n_merges"], 4 * h["n_merges"], h["system_bytes"])
    at = HEADER
    out = []
    for size in sizes:
        end = at + size
        padded = end + -size % ALIGN
        _require(padded <= len(data), "section_bytes is less than the tables need")
        _require(not any(data[end:padded]), f"padding at {end} is not zero")
        out.append(data[at:end])
        at = padded
    _require(at == len(data), "section_bytes is more than the tables need")
    return out


def _words(data):
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def _check_tokens(t, h, byte_ids, plain, special):
    for i, (token, kind) in enumerate(zip(t.tokens, t.types)):
        _require(kind <= UNUSED, f"token {i}: type {kind}")
        _require(len(token) <= MAX_TOKEN, f"token {i}: {len(token)} bytes")
        _require(token or kind == UNUSED, f"token {i} is empty")
        _require(kind != NORMAL or len(token) >= 2, f"token {i}: one byte but not of type byte")
        _require(kind != BYTE or (len(token) == 1 and byte_ids[token[0]] == i), f"token {i}: byte_ids disagrees")
    for b, i in enumerate(byte_ids):
        _require(i == NONE or (i < h["n_vocab"] and t.types[i] == BYTE and t.tokens[i] == bytes([b])), f"byte_ids {b}")
    for name, ids, kinds in (("plain_ids", plain, (NORMAL, BYTE)), ("special_ids", special, (CONTROL, USER))):
        _require(all(i < h["n_vocab"] and t.types[i] in kinds for i in ids), f"{name}: wrong token")
        _require(len(ids) == sum(k in kinds for k in t.types), f"{name}: count")
        texts = [t.tokens[i] for i in ids]
        _require(all(a < b for a, b in zip(texts, texts[1:])), f"{name}: not in order, or two tokens are equal")
    _require(h["max_token"] == max(map(len, t.tokens)), "max_token")
    _require(h["max_special"] == max((len(t.tokens[i]) for i in special), default=0), "max_special")
    for name in ("bos", "eos", "pad", "unk"):
        _require(h[name] == NONE or t.types[h[name]] != UNUSED, f"{name} is an unused token")
    if t.chat_format == CHAT_CHATML:
        controls = {t.tokens[i] for i in special if t.types[i] == CONTROL}
        _require(controls.issuperset(CHATML_TOKENS), "chat_format ChatML without its control tokens")
    else:
        _require(not t.system, "system_bytes without a chat format")
    _require(0 not in t.system, "the system message holds a NUL")
    try:
        t.system.decode("utf-8")
    except UnicodeDecodeError:
        raise TokenizerError("the system message is not UTF-8") from None


def _read_merges(t, starts, entries, order):
    n = len(order)
    _require(starts[0] == 0 and starts[-1] == n and starts == sorted(starts), "merge_starts")
    merges = [None] * n
    for left in range(len(t.tokens)):
        previous = -1
        for e in range(starts[left], starts[left + 1]):
            right, rank, result = entries[3 * e:3 * e + 3]
            _require(right < len(t.tokens) and result < len(t.tokens), f"merge {e}: id is not in the vocabulary")
            _require(right > previous, f"merge {e}: right ids not in order, or the same pair twice")
            _require(rank < n and order[rank] == e, f"merge {e}: rank {rank}")
            for i in (left, right, result):
                _require(t.types[i] in (NORMAL, BYTE), f"merge {e}: token {i} is neither normal nor byte")
            _require(t.tokens[left] + t.tokens[right] == t.tokens[result], f"merge {e}: result is not left + right")
            merges[rank] = (left, right, result)
            previous = right
    return merges


def read_section(data):
    """The Tokenizer of a section; raises TokenizerError naming the rule that is broken."""
    data = bytes(data)
    h = _read_header(data)
    _check_ids(h)
    t = Tokenizer(kind=h["kind"], pretokenizer=h["pre_tokenizer"], chat_format=h["chat_format"], flags=h["flags"],
                  bos=h["bos"], eos=h["eos"], pad=h["pad"], unk=h["unk"], eog=h["eog"][:h["n_eog"]])
    if t.kind == KIND_BYTE:
        expected = Tokenizer(kind=KIND_BYTE, flags=t.flags, bos=256, eos=257, pad=258, eog=[257])
        _require(t == expected and not t.flags & UNK_BYTES, "byte tokenizer with other values than its own")
        counts = [h[k] for k in ("n_vocab", "n_merges", "n_plain", "n_special", "text_bytes", "max_token",
                                 "max_special", "system_bytes", "section_bytes")]
        _require(counts == [BYTE_VOCAB, 0, 0, 0, 0, 5, 5, 0, HEADER], "byte tokenizer with other counts than its own")
        return t
    tables = _split(data, h)
    offsets = _words(tables[0])
    _require(offsets[0] == 0 and offsets[-1] == h["text_bytes"] and offsets == sorted(offsets), "token_offsets")
    t.tokens = [tables[1][a:b] for a, b in zip(offsets, offsets[1:])]
    t.types = list(tables[2])
    t.system = tables[9]
    _check_tokens(t, h, _words(tables[3]), _words(tables[4]), _words(tables[5]))
    t.merges = _read_merges(t, _words(tables[6]), _words(tables[7]), _words(tables[8]))
    return t
