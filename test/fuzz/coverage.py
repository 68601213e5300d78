# SPDX-License-Identifier: MIT
"""Measures what tests reach, with clang's source-based coverage.

    coverage.py all             line and branch coverage of every file of core under the suites below
    coverage.py fuzz            edges of the validators that the fuzz corpora alone reach; fails below 95 %,
                                and prints each edge that is not reached

An edge is one outcome, true or false, of one condition. Edges that no input can reach are listed with the reason
in test/fuzz/unreached.txt; an entry that no longer fits the source, or is reached, is an error.
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = ["CC=clang", "VARIANT=coverage"]
FOLDER = ROOT / "build/coverage"
GOAL = 95.0
SUITES = ("port host ops gradient norm train trajectories snapshot format rewrite write plan tokenizer sampler model graphs "
          "allocation vectors-scalar fuzz mock faults").split()
VALIDATORS = ["core/format/check_header.c", "core/format/check_tables.c", "core/format/check_graph.c",
              "core/format/check_arch.c", "core/text/tokenizer_open.c", "core/text/tokenizer_check.c",
              "core/model/snapshot_load.c"]
UNREACHED = ROOT / "test/fuzz/unreached.txt"


def make(*words):
    """Runs make with the settings; returns what it prints."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "-s", *words, *SETTINGS], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode:
        sys.exit(f"coverage: make {' '.join(words)} failed\n{done.stdout}")
    return done.stdout.strip()


def measure(programs):
    """Export of all profiles, by path from the root of the tree."""
    profiles = sorted(str(p) for p in FOLDER.glob("*.profraw"))
    merged = FOLDER / "merged.profdata"
    subprocess.run(["llvm-profdata", "merge", "-o", str(merged), *profiles], check=True)
    objects = [word for p in programs[1:] for word in ("-object", str(p))]
    done = subprocess.run(["llvm-cov", "export", "-format=text", "-skip-functions", f"-instr-profile={merged}",
                           str(programs[0]), *objects], stdout=subprocess.PIPE, check=True)
    files = {}
    for item in json.loads(done.stdout)["data"][0]["files"]:
        path = pathlib.Path(item["filename"])
        if path.is_relative_to(ROOT):
            files[str(path.relative_to(ROOT))] = item
    return files


def reset():
    """An empty folder of profiles, to which every program of the run adds."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.prof*"):
        old.unlink()
    os.environ["LLVM_PROFILE_FILE"] = str(FOLDER / "%4m.profraw")


def edges(file, item):
    """(line of source, condition, outcome) -> reached; the same text twice in a file has its number behind it."""
    text = (ROOT / file).read_text().splitlines()
    found = {}
    counts = {}
    for line, column, end_line, end_column, yes, no, *_ in item["branches"]:
        first = text[line - 1]
        condition = first[column - 1:end_column - 1] if line == end_line else first[column - 1:] + " ..."
        for outcome, count in (("true", yes), ("false", no)):
            key = (file, line, column, condition, outcome)
            counts[key] = counts.get(key, 0) + count
    seen = {}
    for (_, line, column, condition, outcome), count in sorted(counts.items()):
        name = (file, text[line - 1].strip(), condition, outcome)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = (*name[:2], f"{condition} #{seen[name]}", outcome)
        found[name] = (count > 0, line)
    return found


def excused():
    """The committed list: file | line of source | condition | outcome | reason."""
    entries = {}
    for line in UNREACHED.read_text().splitlines():
        if line and not line.startswith("#"):
            *key, reason = (part.strip() for part in line.split(" ¦ "))
            if len(key) != 4 or not reason:
                sys.exit(f"coverage: no entry of {UNREACHED.name}: {line}")
            entries[tuple(key)] = reason
    return entries


def fuzz():
    """The corpora alone."""
    program = ROOT / make("print-FREE_DIR") / "test/bin/fuzz"
    make(str(program.relative_to(ROOT)))
    reset()
    subprocess.run([str(program), "test/fuzz/corpus"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    files = measure([program])
    reasons = excused()
    passed = failed = 0
    total = reached_all = 0
    for file in VALIDATORS:
        every = edges(file, files[file])
        mine = [key for key in reasons if key[0] == file]
        for key in mine:
            if key not in every or every[key][0]:
                print(f"FAIL {UNREACHED.name}: {'reached' if key in every else 'not in the source'}: {' ¦ '.join(key)}")
                failed += 1
        reached = sum(1 for hit, _ in every.values() if hit)
        count = len(every) - len(mine)
        total += count
        reached_all += reached
        good = reached >= count * GOAL / 100
        passed += good
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {file:32} {reached:4} of {count:4} edges, {100 * reached / count:6.2f} %, "
              f"{len(mine)} more cannot be reached")
        for key, (hit, line) in every.items():
            if not hit and key not in reasons:
                print(f"     {file}:{line}: {' ¦ '.join(key[1:])}")
    print(f"all validators: {reached_all} of {total} edges, {100 * reached_all / total:.2f} %")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


def everything():
    """All suites that have a program of their own."""
    folder = make("print-FREE_DIR")
    make("-k", "test-programs")
    reset()
    environment = {**os.environ, "BUILD": folder, "MODEL": "none", "TEST_LOG": "build/test-log/coverage"}
    done = subprocess.run(["sh", "test/run.sh", "full", *SUITES], cwd=ROOT, env=environment, check=False)
    files = measure(sorted(p for p in (ROOT / folder / "test/bin").iterdir() if p.suffix == ""))
    lines = [0, 0]
    branches = [0, 0]
    print(f"{'file':36} {'lines':>12} {'branches':>15}")
    for file, item in sorted(files.items()):
        if not file.startswith("core/"):
            continue
        row = [file]
        for name, sums in (("lines", lines), ("branches", branches)):
            part = item["summary"][name]
            sums[0] += part["covered"]
            sums[1] += part["count"]
            row.append(f"{100 * part['covered'] / part['count']:6.2f} % of {part['count']:4}" if part["count"] else "none")
        print(f"{row[0]:36} {row[1]:>16} {row[2]:>16}")
    print(f"core: {100 * lines[0] / lines[1]:.2f} % of {lines[1]} lines, {100 * branches[0] / branches[1]:.2f} % of "
          f"{branches[1]} branches")
    return done.returncode


def main():
    """Which of the two."""
    if sys.argv[1:] not in (["all"], ["fuzz"]):
        sys.exit(__doc__)
    return fuzz() if sys.argv[1] == "fuzz" else everything()


if __name__ == "__main__":
    sys.exit(main())
