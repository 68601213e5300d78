#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A float64 oracle of Llama-family models, and a judge of the qorus command by it.

It reads the GGUF file itself, with the gguf package, and knows nothing of .qorus: weights in the order of the
GGUF, rotation of neighbouring pairs, every operation in float64.

  oracle.py logits MODEL.gguf --ids 1,2,3 [-n N] --out FILE   logits of every position, then N greedy tokens
  oracle.py check MODEL.gguf MODEL.qorus [--command qorus]    compares `qorus run` with the oracle

check gives three prompts (or those of --prompt) to the command in both modes, and with --text the first 512 tokens
of a file; feeds the oracle the tokens the command chose, and asks of every position:
  exact mode   each logit within 1e-3 of the oracle's;
               where the oracle's two best logits are more than 1e-2 apart, its best is the command's too
  fast mode    mean KL divergence from the oracle at most 2e-2 for a prompt, 2.8e-3 for the text
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

from qorus_py import packages  # noqa: E402

packages.enter(__name__)
MISSING = None
try:
    import gguf
    import numpy as np
except ImportError as error:
    MISSING = packages.missing(error)

LIMIT_LOGIT = 1e-3
LIMIT_MARGIN = 1e-2
LIMIT_KL = 2e-2
LIMIT_KL_TEXT = 2.8e-3  # the newest llama.cpp reaches 2.77e-3 on such a text
N_TEXT = 512
TEXT_NAME = "text"
N_GREEDY = 24

PROMPTS = {
    "prose": "The lighthouse keeper climbed the narrow stairs every evening at dusk, carrying a lamp and a book. From "
             "the gallery he could see the whole bay, and the fishing boats that were coming home before the storm. "
             "That night,",
    "code": "def merge(left, right):\n    result = []\n    i = j = 0\n    while i < len(left) and j < len(right):\n"
            "        if left[i] <= right[j]:\n",
    "mixed": "Order 40517: 3 × 19,99 € = 59,97 €. Größe: 42; año 2024, Привет, 你好. Total in",
}


# ---- The model --------------------------------------------------------------------------------------------------

class Sequence:
    """A text on its way through the model: ids to read next, and keys and values of what was read."""

    def __init__(self, ids, n_layers=0):
        self.ids = np.asarray(ids, dtype=np.int64)
        self.position = 0
        self.cache = [None] * n_layers

    def remember(self, layer, keys, values):
        """All keys and values of a layer so far; kept for the next step if this sequence has a cache."""
        if not self.cache:
            return keys, values
        if self.cache[layer] is not None:
            keys = np.concatenate([self.cache[layer][0], keys])
            values = np.concatenate([self.cache[layer][1], values])
        self.cache[layer] = (keys, values)
        return keys, values


class Llama:
    """The forward pass. keep: weights stay in memory as float64 (8 bytes each) between calls."""

    def __init__(self, path, keep=False):
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.kept = {} if keep else None
        if self.fields.get("general.architecture") != "llama":
            raise ValueError(f"architecture {self.fields.get('general.architecture')!r} is not llama")
        self.n_layers = self._field("block_count")
        self.d_model = self._field("embedding_length")
        self.n_heads = self._field("attention.head_count")
        self.n_kv_heads = self._field("attention.head_count_kv", self.n_heads)
        self.head_dim = self._field("attention.key_length", self.d_model // self.n_heads)
        self.eps = float(self._field("attention.layer_norm_rms_epsilon"))
        self.n_rot = self._field("rope.dimension_count", self.head_dim)
        self.frequencies = self._frequencies()

    def _field(self, key, default=None):
        value = self.fields.get("llama." + key, default)
        if value is None:
            raise ValueError(f"metadata llama.{key} is missing")
        return value

    def _frequencies(self):
        scaling = self._field("rope.scaling.type", "none")
        factor = self._field("rope.scaling.factor", 1.0)
        if scaling not in ("none", "linear"):
            raise ValueError(f"rope scaling {scaling!r} is not known to the oracle")
        base = float(self._field("rope.freq_base", 10000.0))
        steps = np.power(base, -np.arange(0, self.n_rot, 2, dtype=np.float64) / self.n_rot)
        if "rope_freqs.weight" in self.tensors:
            steps = steps / self.weight("rope_freqs.weight")
        return steps / (factor if scaling == "linear" and factor else 1.0)

    def weight(self, name):
        """A tensor in float64, rows first; None if the file has none of that name."""
        if name not in self.tensors:
            return None
        if self.kept is not None and name in self.kept:
            return self.kept[name]
        tensor = self.tensors[name]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        values = values.reshape(tuple(int(n) for n in tensor.shape[::-1]))
        if self.kept is not None:
            self.kept[name] = values
        return values

    def _norm(self, x, name):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weight(name)

    def _project(self, x, name):
        y = x @ self.weight(name + ".weight").T
        bias = self.weight(name + ".bias")
        return y if bias is None else y + bias

    def _rotate(self, x, positions):
        """Turns values 2i and 2i+1 of each head of x[token][head][value] by position * frequency i."""
        angle = positions[:, None, None] * self.frequencies
        even, odd = x[..., 0:self.n_rot:2], x[..., 1:self.n_rot:2]
        y = x.copy()
        y[..., 0:self.n_rot:2] = even * np.cos(angle) - odd * np.sin(angle)
        y[..., 1:self.n_rot:2] = even * np.sin(angle) + odd * np.cos(angle)
        return y

    def _attend(self, sequence, layer, q, k, v):
        n = len(q)
        positions = np.arange(sequence.position, sequence.position + n, dtype=np.float64)
        q = self._rotate(q.reshape(n, self.n_heads, self.head_dim), positions)
        k = self._rotate(k.reshape(n, self.n_kv_heads, self.head_dim), positions)
        k, v = sequence.remember(layer, k, v.reshape(n, self.n_kv_heads, self.head_dim))
        future = np.arange(len(k))[None, :] > positions[:, None]
        out = np.empty_like(q)
        for head in range(self.n_heads):
            group = head * self.n_kv_heads // self.n_heads
            scores = q[:, head] @ k[:, group].T / np.sqrt(self.head_dim)
            scores[future] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = weights / weights.sum(axis=1, keepdims=True) @ v[:, group]
        return out.reshape(n, self.n_heads * self.head_dim)

    def forward(self, sequences):
        """Logits[token][vocabulary] of the ids of each sequence. Products take the rows of all sequences at once."""
        cuts = np.cumsum([len(s.ids) for s in sequences])[:-1]
        embedding = self.weight("token_embd.weight")
        x = embedding[np.concatenate([s.ids for s in sequences])]
        for layer in range(self.n_layers):
            block = f"blk.{layer}."
            h = self._norm(x, block + "attn_norm.weight")
            parts = [np.split(self._project(h, block + "attn_" + part), cuts) for part in "qkv"]
            attended = [self._attend(s, layer, *rows) for s, *rows in zip(sequences, *parts)]
            x = x + self._project(np.concatenate(attended), block + "attn_output")
            h = self._norm(x, block + "ffn_norm.weight")
            gate = self._project(h, block + "ffn_gate")
            x = x + self._project(gate / (1.0 + np.exp(-gate)) * self._project(h, block + "ffn_up"), block + "ffn_down")
        x = self._norm(x, "output_norm.weight")
        head = self.weight("output.weight")
        logits = x @ (embedding if head is None else head).T
        for s in sequences:
            s.position += len(s.ids)
        return np.split(logits, cuts)

    def greedy(self, ids, n):
        """Logits of every position of ids and of the n greedy tokens but the last; and those tokens."""
        sequence = Sequence(ids, self.n_layers)
        rows = [self.forward([sequence])[0]]
        chosen = []
        for _ in range(n):
            chosen.append(int(np.argmax(rows[-1][-1])))
            if len(chosen) < n:
                sequence.ids = np.array(chosen[-1:])
                rows.append(self.forward([sequence])[0])
        return np.concatenate(rows), chosen


# ---- Text -------------------------------------------------------------------------------------------------------

def byte_alphabet():
    """{character of a byte-level token: byte}."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{chr(b): b for b in plain}, **{chr(256 + i): b for i, b in enumerate(others)}}


class Vocabulary:
    """Texts to ids by the tokenizers package, and ids to bytes, from the fields of the GGUF."""

    NORMAL, CONTROL = 1, 3

    def __init__(self, fields):
        self.tokens = fields["tokenizer.ggml.tokens"]
        self.types = fields.get("tokenizer.ggml.token_type", [1] * len(self.tokens))
        self.fields = fields
        self.alphabet = byte_alphabet()

    def encode(self, text):
        """Ids of a text without special tokens."""
        from tokenizers import Tokenizer, models, pre_tokenizers
        model, pre = self.fields.get("tokenizer.ggml.model"), self.fields.get("tokenizer.ggml.pre")
        if model != "gpt2" or pre not in ("gpt-2", "smollm"):
            raise ValueError(f"tokenizer {model!r} with pre-tokenizer {pre!r} is not known to the oracle")
        merges = [tuple(merge.split(" ", 1)) for merge in self.fields["tokenizer.ggml.merges"]]
        tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(self.tokens)}, merges))
        steps = [pre_tokenizers.Digits(individual_digits=True)] if pre == "smollm" else []
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        begins = self.fields.get("tokenizer.ggml.add_bos_token", False)
        return [self.fields["tokenizer.ggml.bos_token_id"], *ids] if begins else ids

    def decode(self, ids):
        """Bytes of ids; control tokens have none."""
        return b"".join(map(self._bytes, ids))

    def _bytes(self, token):
        kind, text = self.types[token], self.tokens[token]
        if kind == self.NORMAL:
            return bytes(self.alphabet[c] for c in text)
        return b"" if kind == self.CONTROL else text.encode()


# ---- The command ------------------------------------------------------------------------------------------------

def ask(words):
    """Standard output of the command; RuntimeError with its complaint if it fails."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{' '.join(words[:2])} exited with {done.returncode}: {lines[-1]}")
    return done.stdout


def tokenize(command, model, text):
    """Ids by `qorus tokenize`; None if the command has no such subcommand yet."""
    if not re.search(rb"^\s*tokenize\s", ask([command, "--help"]), re.MULTILINE):
        return None
    return [int(word) for word in re.findall(rb"\d+", ask([command, "tokenize", model, "-p", text]))]


class Run:
    """One greedy run of the command: .rows[position][vocabulary], .ids it read, .chosen tokens, .text bytes.

    rows[i] are the logits after ids[i]; rows from n_prompt - 1 on chose one of n tokens each."""

    def __init__(self, options, prompt, prompt_ids, n_vocab, exact, n):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "logits")
            self.text = ask([options.command, "run", options.model, "-p", prompt, "-n", str(n), "--temp", "0",
                             "--logits", out, *(["--exact"] if exact else []), *options.option])
            raw = np.fromfile(out, dtype="<f4")
        if raw.size == 0 or raw.size % n_vocab:
            raise RuntimeError(f"{raw.size} logits are no whole rows of {n_vocab}")
        self.rows = raw.reshape(-1, n_vocab)
        self.n_prompt = len(prompt_ids)
        self.chosen = [int(t) for t in self.rows[self.n_prompt - 1:].argmax(axis=1)]
        self.ids = list(prompt_ids) + self.chosen[:-1]


class Score:
    """Counts and prints verdicts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def judge(self, good, line):
        """One test."""
        self.passed += bool(good)
        self.failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {line}", flush=True)

    def skip(self, line):
        """One test that cannot run here."""
        self.skipped += 1
        print(f"skip   {line}", flush=True)

    def end(self):
        """The summary line; the exit status."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return int(self.failed > 0)


def log_softmax(rows):
    """Logarithms of the probabilities of each row."""
    shifted = rows - rows.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def divergence(oracle, rows):
    """KL(oracle || rows) of each position, in nats."""
    p, q = log_softmax(oracle), log_softmax(rows.astype(np.float64))
    return (np.exp(p) * (p - q)).sum(axis=1)


def judge_logits(score, name, oracle, run):
    """Exact mode: every logit of every position."""
    distance = np.abs(oracle - run.rows)
    worst = np.unravel_index(np.argmax(distance), distance.shape)
    finite = bool(np.isfinite(run.rows).all())
    score.judge(finite and distance[worst] <= LIMIT_LOGIT,
                f"{name}, exact: {distance.size} logits of {len(oracle)} positions, furthest {distance[worst]:.3g} at "
                f"position {worst[0]}, token {worst[1]} (limit {LIMIT_LOGIT:g})")


def judge_choices(score, name, mode, oracle, run):
    """The best token of every position, wherever the oracle is sure."""
    best = np.partition(oracle, -2, axis=1)[:, -2:]
    sure = best[:, 1] - best[:, 0] > LIMIT_MARGIN
    want, have = oracle.argmax(axis=1), run.rows.argmax(axis=1)
    wrong = np.flatnonzero(sure & (want != have))
    line = f"{name}, {mode}: at {int(sure.sum())} of {len(oracle)} positions the margin is above {LIMIT_MARGIN:g}"
    line += f", {len(wrong)} of them chosen otherwise"
    if len(wrong):
        line += f" (first: position {wrong[0]}, {have[wrong[0]]} for {want[wrong[0]]})"
    if mode == "exact":
        score.judge(sure.any() and not len(wrong), line)
    else:
        print(f"       {line}")


def whole_characters(text):
    """Bytes without the unfinished UTF-8 character at their end."""
    for cut in range(min(4, len(text))):
        try:
            text[:len(text) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return text[:len(text) - cut]
    return text


def judge_text(score, name, mode, vocabulary, run):
    """The text is that of the best logits. What an unfinished character at the end becomes is not looked at."""
    want = vocabulary.decode(run.chosen)
    have = run.text[:-1] if run.text.endswith(b"\n") else run.text
    shown = have.decode("utf-8", "replace")[:60]
    score.judge(have.startswith(whole_characters(want)) and len(have) <= len(want) + 3,
                f"{name}, {mode}: the text is that of the best logits: {shown!r}")


def judge_divergence(score, name, oracle, run):
    """Fast mode; returns the divergence of each position."""
    kl = divergence(oracle, run.rows)
    furthest = np.abs(oracle - run.rows).max()
    limit = LIMIT_KL_TEXT if name == TEXT_NAME else LIMIT_KL
    score.judge(kl.mean() <= limit, f"{name}, fast: mean KL {kl.mean():.3g} (limit {limit:g}), largest {kl.max():.3g}, "
                                    f"furthest logit {furthest:.3g}")
    score.judge(furthest > LIMIT_LOGIT, f"{name}: control: fast mode would not pass for exact mode")
    return kl


def prompt_ids(score, options, vocabulary, name, text):
    """Ids of a prompt by `qorus tokenize`, by the tokenizers package, or equally by both; None if by neither."""
    ours = tokenize(options.command, options.model, text)
    try:
        theirs = vocabulary.encode(text)
    except ImportError:
        return ours
    if ours is not None:
        score.judge(ours == theirs, f"{name}: qorus tokenize gives the {len(theirs)} ids of the tokenizers package")
    return theirs


def prompts(options, vocabulary):
    """[(name, text, tokens to make)]."""
    chosen = [(name, text, options.n) for name, text in
              (enumerate(options.prompt, 1) if options.prompt else PROMPTS.items())]
    if options.text:
        with open(options.text, encoding="utf-8") as file:
            ids = vocabulary.encode(file.read(N_TEXT * 16))[:N_TEXT]
        chosen.append((TEXT_NAME, vocabulary.decode(ids).decode("utf-8"), 1))
    return chosen


def run_prompts(score, options, vocabulary, eos):
    """[(name, mode, Run)] of every prompt in both modes."""
    runs = []
    for name, text, n in prompts(options, vocabulary):
        ids = prompt_ids(score, options, vocabulary, name, text)
        if ids is None:
            score.skip(f"{name}: neither `qorus tokenize` nor the tokenizers package is there")
            continue
        for mode in ("exact", "fast"):
            run = Run(options, text, ids, len(vocabulary.tokens), mode == "exact", n)
            whole = len(run.chosen) == n or run.chosen[-1:] == [eos]
            score.judge(whole, f"{name}, {mode}: {len(run.rows)} rows for {len(ids)} tokens read and "
                               f"{len(run.chosen)} made")
            if run.chosen:
                runs.append((name, mode, run))
    return runs


def check(options):
    """The judgement; exit status."""
    score = Score()
    llama = Llama(options.gguf)
    vocabulary = Vocabulary(llama.fields)
    begin = time.monotonic()
    runs = run_prompts(score, options, vocabulary, llama.fields.get("tokenizer.ggml.eos_token_id"))
    told = time.monotonic()
    answers = llama.forward([Sequence(run.ids) for _, _, run in runs]) if runs else []
    print(f"       the command took {told - begin:.1f} s, the oracle {time.monotonic() - told:.1f} s")
    divergences = []
    for (name, mode, run), oracle in zip(runs, answers):
        judge_text(score, name, mode, vocabulary, run)
        judge_choices(score, name, mode, oracle, run)
        if mode == "exact":
            judge_logits(score, name, oracle, run)
        else:
            divergences.extend(judge_divergence(score, name, oracle, run))
    if divergences:
        print(f"       fast: mean KL {np.mean(divergences):.3g} over {len(divergences)} positions")
    return score.end()


# ---- Command line -----------------------------------------------------------------------------------------------

def logits(options):
    """Writes f32 rows (or float64 as .npy) and prints the greedy tokens."""
    llama = Llama(options.gguf, keep=options.n > 1)
    n_vocab = int(llama.tensors["token_embd.weight"].shape[1])
    if any(not 0 <= i < n_vocab for i in options.ids):
        raise ValueError(f"ids are 0 to {n_vocab - 1}")
    rows, chosen = llama.greedy(options.ids, options.n)
    if options.out.endswith(".npy"):
        np.save(options.out, rows)
    else:
        rows.astype("<f4").tofile(options.out)
    print(" ".join(map(str, chosen)) if chosen else f"{len(rows)} rows of {rows.shape[1]}")
    return 0


def ids_of(word):
    """A word such as 1,2,3 as a list."""
    if not re.fullmatch(r"\d+(,\d+)*", word):
        raise argparse.ArgumentTypeError(f"{word!r} is not like 1,2,3")
    return [int(part) for part in word.split(",")]


def parse():
    """Command line."""
    parser = argparse.ArgumentParser(prog="oracle.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="action", required=True)
    one = commands.add_parser("logits", help="logits of every position of some tokens")
    one.add_argument("gguf", metavar="MODEL.gguf")
    one.add_argument("--ids", type=ids_of, required=True, help="tokens, as 1,2,3")
    one.add_argument("-n", type=int, default=0, metavar="N", help="greedy tokens to add (default 0)")
    one.add_argument("--out", required=True, metavar="FILE", help=".npy: float64; anything else: raw f32 rows")
    two = commands.add_parser("check", help="compare the qorus command with the oracle")
    two.add_argument("gguf", metavar="MODEL.gguf")
    two.add_argument("model", metavar="MODEL.qorus", help="the same model, converted value for value")
    two.add_argument("--command", default="build/qorus", metavar="QORUS", help="default: build/qorus")
    two.add_argument("--prompt", action="append", metavar="TEXT", help="instead of the built-in three; may be repeated")
    two.add_argument("--text", metavar="FILE", help=f"UTF-8; its first {N_TEXT} tokens besides")
    two.add_argument("-n", type=int, default=N_GREEDY, metavar="N", help=f"greedy tokens of a prompt ({N_GREEDY})")
    two.add_argument("--option", action="append", default=[], metavar="WORD", help="word added to `qorus run`")
    options = parser.parse_args()
    if options.n < (1 if options.action == "check" else 0):
        parser.error(f"-n {options.n} is too few")
    return options


def main():
    """Exit code 0: done, 1: failed, 2: bad usage."""
    options = parse()
    if MISSING and options.action == "check":
        score = Score()
        score.skip(MISSING)
        return score.end()
    if MISSING:
        print(f"oracle: {MISSING}", file=sys.stderr)
        return 1
    try:
        return check(options) if options.action == "check" else logits(options)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
