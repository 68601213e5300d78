# SPDX-License-Identifier: MIT
"""Mutants of backward passes: every term of every gradient dropped, and with the other sign.

A term is a summand, the product or the addend of an fma, what a gradient is set to or grows by, a statement that calls a
part of backward, or the flag that says whether a gradient is stored or added to.
"""
import re

# Files of which every function belongs to backward.
WHOLE = ("attention_grad.c", "gemm_grad.c", "norm_grad.c", "rows_grad.c", "recurrent_backward.c")
BACKWARD = re.compile(r"grad|back|slope|spread|collect|through|join_grads|huber_of|bce_of|pair_row|weight_sum")
# In the planner: who stores a gradient and who adds to it.
PLANNER = re.compile(r"mark_writers|mark_param_uses")
# Which cases of test_gradient look at a file first: names of cases, for files named like none of them.
CASES = {
    "activate": "activation", "attention_grad": "attention", "elementwise": "add|mul|softmax", "gemm_grad": "frozen weights",
    "loss": "mse|huber|bce|cross_entropy", "layers": "linear|add", "norm": "layernorm", "norm_grad": "rmsnorm|softmax",
    "recurrent": "rnn|lstm|gru", "recurrent_backward": "rnn|lstm|gru", "rows": "select_rows", "session": "model|three times",
    "rows_grad": "embedding|select_rows|rope|mul", "train": "mse|linear", "plan_train": "model|twice|three times",
}


def cases_of(file):
    """The cases to begin with."""
    stem = file.rsplit("/", 1)[1][:-2]
    return CASES.get(stem, stem)


def bodies(code, file):
    """(begin, end, returns reals) of the functions that belong to backward."""
    for m in re.finditer(r"^(?P<head>[\w][^;{}]*?\b(?P<name>\w+)\([^;{}]*\))\n\{\n(?P<body>.*?)^\}", code, re.MULTILINE | re.DOTALL):
        wanted = PLANNER if file.endswith("plan_train.c") else BACKWARD
        if file.endswith(WHOLE) or wanted.search(m.group("name")):
            yield m.start("body"), m.end("body"), re.match(r"(static )?(inline )?q_real \w", m.group("head")) is not None


def closing(code, at):
    """Place of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(code[i], 0)
        if depth == 0:
            return i
    return len(code)


def end_of_term(code, at):
    """Where the summand that begins at `at` ends: at a weaker operator of its own depth."""
    while at < len(code):
        if code[at] in "([":
            at = closing(code, at)
        elif code[at] in ",;)]?:" or re.match(r" (\+|-|<|>|==|!=|<=|>=|&&|\|\|) ", code[at:at + 4]):
            return at
        at += 1
    return at


def begin_of_term(code, at):
    """Where the summand that ends before `at` begins."""
    depth = 0
    for i in range(at - 1, 0, -1):
        depth += {")": 1, "]": 1, "(": -1, "[": -1}.get(code[i], 0)
        if depth < 0 or (depth == 0 and (code[i] in ",;?:=" or re.match(r" (\+|-) ", code[i - 2:i + 1]))):
            return i + 1 + (code[i + 1] == " ")
        if depth == 0 and code.startswith("return ", i):
            return i + 7
    return at


def in_index(code, begin, at):
    """Is the place between square brackets, or in the head of a loop?"""
    line = code[code.rfind("\n", 0, at) + 1:at]
    return line.count("[") > line.count("]") or re.match(r"\s*(for|while|if|switch) ", line) is not None or begin > at


def fma_changes(code, begin, end):
    for m in re.finditer(r"\bq_fma\(", code[begin:end]):
        first = begin + m.end()
        last = closing(code, first - 1)
        parts, at = [], first
        for i in range(3):
            stop = at
            while stop < last and code[stop] != ",":
                stop = closing(code, stop) + 1 if code[stop] in "([" else stop + 1
            parts.append(code[at:stop].strip())
            at = stop + 1
        a, b, c = parts
        yield begin + m.start(), last + 1, f"({c})"
        yield begin + m.start(), last + 1, f"(({a}) * ({b}))"
        yield begin + m.start(), last + 1, f"q_fma(-({a}), {b}, {c})"


def sum_changes(code, begin, end):
    for m in re.finditer(r" ([+-]) ", code[begin:end]):
        at = begin + m.start()
        if in_index(code, begin, at) or re.match(r"\s*(const )?(u?int\d+_t|size_t) ", code[code.rfind("\n", 0, at) + 1:at]):
            continue
        yield at, end_of_term(code, at + 3), ""
        yield at + 1, at + 2, "-" if m.group(1) == "+" else "+"
        yield begin_of_term(code, at), at + (3 if m.group(1) == "+" else 1), ""


def store_changes(code, begin, end, reals):
    for m in re.finditer(r"^ +(?P<left>(?:const )?q_real \w+|\*?[\w.>-]+\[[^=;]*\]|\*\w+|[\w.>-]*\b(?:accumulate|grad_fed|scale|factor)|\w+) (?P<op>[+|]?=) (?P<right>[^;]+);",
                         code[begin:end], re.MULTILINE):
        first, last = begin + m.start("right"), begin + m.end("right")
        if m.group("left").endswith("loss"):
            continue
        if m.group("op") == "+=":
            yield begin + m.start("op"), begin + m.end("op"), "-="
            yield first, last, "0"
        elif m.group("op") == "|=":
            yield first, last, "0"
        elif re.match(r"0$|NULL$", m.group("right")):
            continue
        elif m.group("left").endswith(("accumulate", "grad_fed")):
            yield first, last, "0"
            yield first, last, "1"
        else:
            yield first, last, f"-({m.group('right')})"
            if not m.group("left").startswith(("q_real", "const")):
                yield first, last, "0"
    for m in re.finditer(r"\breturn (?P<value>[^;]+);", code[begin:end]) if reals else ():
        if m.group("value") != "0":
            yield begin + m.start("value"), begin + m.end("value"), f"-({m.group('value')})"


def call_changes(code, begin, end):
    for m in re.finditer(r"^ +(?P<call>[a-z][\w>-]*\((?:[^;]*)\));", code[begin:end], re.MULTILINE):
        if not re.match(r"(for|if|while|switch|return|memset|q_share\w*)\b", m.group("call")):
            yield begin + m.start("call"), begin + m.end("call"), ""


def changes(code, file):
    """(begin, end, replacement) of every mutant of a source without its comments; nothing twice."""
    seen = set()
    for begin, end, reals in bodies(code, file):
        for change in (*fma_changes(code, begin, end), *sum_changes(code, begin, end),
                       *store_changes(code, begin, end, reals), *call_changes(code, begin, end)):
            if change not in seen:
                seen.add(change)
                yield change
