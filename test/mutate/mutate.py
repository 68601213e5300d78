# SPDX-License-Identifier: MIT
"""Breaks one place of a source at a time, by rule, and sees that a test notices.

    mutate.py [--group NAME]... [--file END]... [--again LOG] [--sample N] [--seed S] [--jobs N] [--list]

Groups: format, tokenizer, snapshot (the validators), scalar (the kernels that define what is right), backward (every
gradient, by the rules of backward.py, in the double build, which the gradient suite watches). The rules of the others: a
comparison becomes its neighbour, && becomes ||, a condition is turned round or always false, a whole number grows
or shrinks by one, and in kernels + becomes -, * becomes +, a factor doubles. Each mutant is compiled alone, linked
before the library and run under the group's programs, cheapest first, until one fails. One that passes them all is
compiled again, at -O2: if that gives the very machine code of the source, it is no mutant. If not, it runs once more
under address and undefined-behaviour checks.

A mutant that no program notices survives and is printed, unless it is in test/mutate/survivors.txt with the reason
why nothing can tell it apart. The run fails where less than 95 % of the others are killed, of backward 100 %. BUILD names the folder of a
finished build. --file takes only the mutants of files whose names end so, --again only those that the output LOG of
another run says survived: what was killed there counts as killed, as tests only come to it.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import subprocess
import sys
import typing

import backward

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "build/mutate"
GOAL = 95.0
LIST = ROOT / "test/mutate/survivors.txt"
FLAGS = ["-std=c11", "-ffreestanding", "-fPIE", "-ffp-contract=off", "-fno-math-errno", "-w"]
CHECKS = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
FUZZ = ("fuzz", ["test/fuzz/corpus"])
PACKS = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "vectors/kernels").glob("*.qvec"))]


class Group(typing.NamedTuple):
    """Sources, what runs each of their mutants, cheapest first, and how they are broken and built."""
    files: list
    programs: object  # of a file: (name, arguments) each
    rules: str = "branches"  # or "kernel", "backward"
    variant: str = "release"
    goal: float = GOAL  # % of those not listed that must be killed


def sources(*patterns):
    """Names of files of the tree."""
    return [str(p.relative_to(ROOT)) for pattern in patterns for p in sorted(ROOT.glob(pattern))]


def gradient_suite(file):
    """The cases of that file, then all, with fewer random graphs."""
    return [("test_gradient", ["--first", backward.cases_of(file), "0"]), ("test_gradient", ["--first", "", "60"])]


GROUPS = {
    "format": Group(["core/format/check_header.c", "core/format/check_tables.c", "core/format/check_graph.c",
                     "core/format/check_arch.c", "core/format/file.c"], lambda _: [FUZZ, ("test_format", [])]),
    "tokenizer": Group(["core/text/tokenizer_open.c", "core/text/tokenizer_check.c"],
                       lambda _: [FUZZ, ("test_tokenizer", ["vectors/tokenizer", "none", ""])]),
    "snapshot": Group(["core/model/snapshot_load.c"], lambda _: [FUZZ, ("test_snapshot", [])]),
    "scalar": Group(sources("backends/scalar/*.c"),
                    lambda _: [("run_vectors", ["scalar", *PACKS]), ("checkkern", [])], "kernel"),
    "backward": Group([f for f in sources("backends/scalar/*.c", "core/layers/*.c", "core/model/plan_train.c", "core/model/session.c")
                       if not f.endswith(("optim.c", "scalar/scalar.c"))],
                      gradient_suite, "backward", "double", 100.0),
}
OBJECTS = {
    "fuzz": ["test/fuzz/fuzz.o", "test/fuzz/mutate.o", "test/fuzz/file_mutate.o", "test/fuzz/target_file.o",
             "test/fuzz/target_tokenizer.o", "test/fuzz/target_snapshot.o", "test/snapshot/tiny_model.o"],
    "checkkern": ["test/checkkern/*.o"],
    "test_format": ["test/format/*.o"],
    "test_gradient": ["test/gradient/*.o"],
    "test_tokenizer": ["test/tokenizer/*.o"],
    "test_snapshot": ["test/snapshot/*.o", "test/port/fault_port.o"],
    "run_vectors": ["test/vectors/main_posix.o", "test/vectors/runner.o", "test/vectors/compare.o",
                    "test/vectors/drive.o", "test/vectors/drive_element.o", "test/vectors/drive_image.o", "test/vectors/drive_norm.o",
                    "test/vectors/drive_recurrent.o", "test/vectors/drive_train.o", "test/vectors/text.o"],
}
COMPARE = {"==": ["!="], "!=": ["=="], "<": ["<=", ">="], "<=": ["<"], ">": [">=", "<="], ">=": [">"]}
SLOW = ("checkkern", "test_gradient")  # not run again under checks: what checkkern calls, the vectors call
LIMIT_CPU_S = 30  # of the processor, so that a busy machine kills no mutant
LIMIT_S = 900


# ---- Mutants -------------------------------------------------------------------------------------------------


def blank(text):
    """The text with comments, strings, characters and preprocessor lines as spaces of the same length."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|^[ \t]*#(?:\\\n|[^\n])*',
                         re.DOTALL | re.MULTILINE)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def condition_end(code, start):
    """Place behind the parenthesis that closes the one at start."""
    depth = 0
    for i in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth == 0:
            return i + 1
    return len(code)


def changes(text, kernel):
    """(begin, end, replacement) of every mutant of a source. What only the compiler reads is left alone: sizes of
    elements and static assertions."""
    code = blank(text)
    code = re.sub(r"\bsizeof\([^()]*\)|\bQ_STATIC_ASSERT\(.*", lambda m: " " * len(m.group()), code)
    for m in re.finditer(r"(?<![<>=!+\-*/&|^%-])(==|!=|<=|>=|<|>)(?![<>=])", code):
        if code[m.start() - 1] == "-" or code[m.end():m.end() + 1] in "<>":
            continue
        for other in COMPARE[m.group()]:
            yield m.start(), m.end(), other
    for m in re.finditer(r"&&|\|\|", code):
        yield m.start(), m.end(), "||" if m.group() == "&&" else "&&"
    for m in re.finditer(r"\bif (\()", code):
        end = condition_end(code, m.start(1))
        yield m.start(1), end, "(!" + text[m.start(1):end] + ")"
        yield m.start(1), end, "(0)"
    for m in re.finditer(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)(u?)(?![\w.])", code):
        value = int(m.group(1), 0)
        yield m.start(), m.end(), f"{value + 1}{m.group(2)}"
        if value:
            yield m.start(), m.end(), f"{value - 1}{m.group(2)}"
    if kernel:
        for m in re.finditer(r" ([+*-]) ", code):
            yield m.start(1), m.end(1), {"+": "-", "-": "+", "*": "+"}[m.group(1)]
        for m in re.finditer(r"(?<![\w.])(\d+\.\d+)(?=f?\b)", code):
            yield m.start(), m.end(), str(float(m.group(1)) * 2 or 1.0)


def mutants_of(file, rules):
    """(file, line, key, whole text) of every mutant; the key is what the list of survivors names it by."""
    text = (ROOT / file).read_text()
    seen = {}
    for begin, end, new in backward.changes(blank(text), file) if rules == "backward" else changes(text, rules == "kernel"):
        first = text.rfind("\n", 0, begin) + 1
        last = text.find("\n", end)
        before = " ".join(text[first:last].split())
        after = " ".join((text[first:begin] + new + text[end:last]).split())
        key = (file, before, after)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            key = (file, before, f"{after} #{seen[key]}")
        yield file, text.count("\n", 0, begin) + 1, key, text[:begin] + new + text[end:]


# ---- Running one ---------------------------------------------------------------------------------------------


def objects_of(build, program):
    """Objects a program is linked from, without the library."""
    return [str(p) for pattern in OBJECTS[program] for p in sorted(build.glob(pattern))]


def compiled(source, file, made, *flags):
    """Whether the compiler takes a mutant."""
    done = subprocess.run(["gcc", *FLAGS, *flags, "-Iinclude", f"-I{pathlib.Path(file).parent}", "-c", str(source),
                           "-o", str(made)], cwd=ROOT, capture_output=True, check=False)
    return done.returncode == 0


def noticed_by(build, made, program_file, programs, *flags):
    """The first program that fails with the mutant; None if none does."""
    for name, arguments in programs:
        subprocess.run(["gcc", "-pie", *flags, str(made), *objects_of(build, name), str(build / "libqorus.a"),
                        "-o", str(program_file), "-pthread"], cwd=ROOT, check=True, capture_output=True)
        try:
            done = subprocess.run(["sh", "-c", f'ulimit -t {LIMIT_CPU_S}; exec "$@"', "sh", str(program_file),
                                   *arguments], cwd=ROOT, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return name
        if done.returncode:
            return name
    return None


def killed_by(build, mutant, group, flags, number):
    """The program that notices, "compiler" where it is no program at all, "same" where it is the source's machine code,
    None where nothing does."""
    file, _, _, text = mutant
    programs = group.programs(file)
    folder = OUT / f"job{os.getpid()}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    source, made, other, program_file = (folder / name for name in
                                         (pathlib.Path(file).name, "mutant.o", "other.o", "program"))
    source.write_text(text)
    try:
        if not compiled(source, file, made, *flags, "-O1"):
            return "compiler"
        name = noticed_by(build, made, program_file, programs)
        if name is not None:
            return name
        checked = [p for p in programs if p[0] not in SLOW]
        if checked and compiled(source, file, made, *flags, *CHECKS, "-O1"):
            name = noticed_by(build, made, program_file, checked, *CHECKS)
        compiled(source, file, made, *flags, "-O2")
        source.write_text((ROOT / file).read_text())
        compiled(source, file, other, *flags, "-O2")
        return "same" if made.read_bytes() == other.read_bytes() else name
    finally:
        for p in folder.iterdir():
            p.unlink()
        folder.rmdir()


def excused():
    """file, line of source, line of mutant -> reason."""
    entries = {}
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            *key, reason = (part.strip() for part in line.split(" ¦ "))
            if len(key) != 3 or not reason:
                sys.exit(f"mutate: no entry of {LIST.name}: {line}")
            entries[tuple(key)] = reason
    return entries


def make_value(group, name):
    """A variable of the Makefile for the group's variant."""
    return subprocess.run(["make", "-s", f"print-{name}", f"VARIANT={group.variant}"], cwd=ROOT, capture_output=True,
                          text=True, check=True).stdout.strip()


def flags_of(group):
    """What its variant defines and allows, beside FLAGS."""
    return [flag for flag in make_value(group, f"OPT_{group.variant}").split() if flag[:2] in ("-D", "-m")]


def build_of(group):
    """The folder of the finished build; that of a variant is made where it is missing."""
    if group.variant == "release":
        return ROOT / os.environ.get("BUILD", "build/posix-gcc-release")
    variant = f"VARIANT={group.variant}"
    folder = make_value(group, "FREE_DIR")
    programs = {name for name, _ in group.programs(group.files[0])}
    subprocess.run(["make", "-s", variant, *(f"{folder}/test/bin/{name}" for name in sorted(programs))], cwd=ROOT,
                   stdout=subprocess.DEVNULL, check=True)
    return ROOT / folder


def run_group(options, name, reasons):
    """Returns mutants that compiled, killed, listed survivors, others."""
    group = GROUPS[name]
    files = [f for f in group.files if not options.file or f.endswith(tuple(options.file))]
    every = [m for file in files for m in mutants_of(file, group.rules)]
    if not every:
        return 0, 0, 0, 0
    keys = {m[2] for g in GROUPS.values() for file in files if file in g.files for m in mutants_of(file, g.rules)}
    stale = [key for key in reasons if key[0] in files and key not in keys]
    for key in stale:
        print(f"FAIL {LIST.name}: not in the source: {' ¦ '.join(key)}")
    chosen = every
    if options.again:
        told = pathlib.Path(options.again).read_text()
        chosen = [m for m in every if m[2] in reasons or f"SURVIVED {m[0]}:{m[1]}: {m[2][1]} ¦ {m[2][2]}\n" in told]
    elsewhere = len(every) - len(chosen) if options.again else 0
    if options.sample and options.sample < len(every):
        chosen = random.Random(options.seed).sample(every, options.sample)
    build, flags = build_of(group), flags_of(group)
    untouched = (files[0], 0, ("", "", ""), (ROOT / files[0]).read_text())
    if killed_by(build, untouched, group, flags, 0) != "same":
        print(f"FAIL {name}: the sources fail as they are")
        return 1, 0, 0, 1
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        work = [pool.submit(killed_by, build, m, group, flags, i + 1) for i, m in enumerate(chosen)]
        found = [w.result() for w in work]
    valid = killed = listed = 0
    none = found.count("compiler") + found.count("same")
    for mutant, killer in zip(chosen, found):
        valid += killer not in ("compiler", "same")
        killed += killer not in (None, "compiler", "same")
        if killer is None:
            known = mutant[2] in reasons
            listed += known
            if not known:
                print(f"SURVIVED {mutant[0]}:{mutant[1]}: {mutant[2][1]} ¦ {mutant[2][2]}")
        elif mutant[2] in reasons:
            print(f"FAIL {LIST.name}: {killer} notices {' ¦ '.join(mutant[2])}")
            stale.append(mutant[2])
    valid += elsewhere
    killed += elsewhere
    other = valid - killed - listed
    print(f"{name}: {len(chosen) + elsewhere} of {len(every)} mutants (seed {options.seed}), of which {none} are no other program; "
          f"{killed} killed, {listed} listed, {other} survive: {100 * killed / max(1, valid):.2f} % killed, "
          f"{100 * killed / max(1, valid - listed):.2f} % without those listed", flush=True)
    return valid, killed, listed, len(stale)


def main():
    """All groups, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--group", action="append", choices=sorted(GROUPS))
    parser.add_argument("--file", action="append")
    parser.add_argument("--again")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    names = options.group or list(GROUPS)
    if options.list:
        for name in names:
            for file in GROUPS[name].files:
                for mutant in mutants_of(file, GROUPS[name].rules):
                    print(f"{file}:{mutant[1]}: {mutant[2][2]}")
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    reasons = excused()
    passed = failed = 0
    for name in names:
        valid, killed, listed, bad = run_group(options, name, reasons)
        enough = killed >= (valid - listed) * GROUPS[name].goal / 100
        passed += killed
        failed += bad + (not enough)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
