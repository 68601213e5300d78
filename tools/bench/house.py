# SPDX-License-Identifier: MIT
"""What `make bench` and `make bench-peers` share: running programs, figures, tables, the machine. Standard library only."""
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failed(Exception):
    """A program of the benchmark did not do its work."""


def output_of(words, env=None, seconds=600):
    """(stdout, stderr) of a program; Failed if it did not exit 0 in time."""
    words = [str(w) for w in words]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{words[0]}: {error}") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout, done.stderr


def json_lines(words, **options):
    """The JSON objects a program printed."""
    return [json.loads(line) for line in output_of(words, **options)[0].splitlines() if line.startswith("{")]


def settled(path, folder):
    """A copy of a file in `folder`, written in aligned pieces of 4 MiB, as our converter writes: the page cache then holds
    it in huge pages. Both sides of a comparison read such files."""
    copy = os.path.join(folder, os.path.basename(path))
    if os.path.exists(copy) and os.path.getmtime(copy) >= os.path.getmtime(path):
        return copy
    with open(path, "rb") as source, open(copy + ".part", "wb", buffering=0) as out:
        while piece := source.read(4 << 20):
            out.write(piece)
    os.replace(copy + ".part", copy)
    return copy


def machine():
    """What a figure of speed depends on."""
    facts = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "system": platform.platform()}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as source:
            text = source.read()
        for key, name in (("vendor_id", "vendor"), ("model name", "cpu"), ("cpu family", "family"), ("model", "model")):
            found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.M)
            if found:
                facts[name] = found.group(1).strip()
        flags = set((re.search(r"^flags\s*:\s*(.*)$", text, re.M) or [None, ""])[1].split())
        wanted = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8")
        facts["flags"] = [flag for flag in wanted if flag in flags]
        with open("/proc/meminfo", encoding="utf-8") as source:
            facts["memory_gib"] = round(int(source.readline().split()[1]) / 2**20, 1)
    except OSError:
        pass
    return facts


def cpu_kind(facts):
    """A name for files: machines of the same kind share a baseline."""
    text = "-".join([facts.get("vendor", ""), facts.get("cpu", ""), facts.get("family", ""), facts.get("model", "")])
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def commit():
    """The commit measured, with a plus sign where files differ from it."""
    try:
        name = output_of(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"])[0].strip()
        changed = output_of(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"])[0].strip()
    except Failed:
        return "unknown"
    return name + ("+" if changed else "")


def load():
    """Runnable processes, a warning for whoever reads the figures; None where nobody tells."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def today():
    """UTC, to the minute."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


class Samples:
    """Values of one measurement, in the order they came."""

    def __init__(self, values=()):
        self.values = list(values)

    def add(self, value):
        """One more."""
        self.values.append(value)

    @property
    def median(self):
        """Middle value; 0 where nothing was measured."""
        return statistics.median(self.values) if self.values else 0.0

    @property
    def low(self):
        """Least."""
        return min(self.values, default=0.0)

    @property
    def high(self):
        """Largest."""
        return max(self.values, default=0.0)


def number(value):
    """Three or four figures, as people read them."""
    if value is None:
        return ""
    size = abs(value)
    return f"{value:.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def spread(samples):
    """Median and spread, as a table shows them."""
    return f"{number(samples.median)} ({number(samples.low)}..{number(samples.high)})"


def table(head, rows):
    """A Markdown table whose columns line up as text, too."""
    cells = [[str(c) for c in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
             for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    return "\n".join(lines)


def heading(title, facts, command, notes=()):
    """How every table of docs/results/ begins."""
    lines = [f"# {title}", "", f"- command: `{command}`", f"- commit: {commit()}; {today()}; load at the start {load()}",
             f"- machine: {facts.get('cpu')} (family {facts.get('family')}, model {facts.get('model')}), "
             f"{facts.get('cores')} cores, {facts.get('memory_gib')} GiB; {' '.join(facts.get('flags', []))}"]
    return "\n".join(lines + [f"- {note}" for note in notes]) + "\n"


def say(text):
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
