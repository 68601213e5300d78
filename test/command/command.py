# SPDX-License-Identifier: MIT
"""What tests of the qorus command share: a small model, a folder of their own, and counting."""
import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QORUS = Path(os.environ.get("BUILD", "build")).resolve() / "qorus"
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}
FOLDER = Path(tempfile.mkdtemp(prefix="qorus-command-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def tell(name, good, detail=""):
    """Counts one test."""
    COUNTS["passed" if good else "failed"] += 1
    print(f"{'ok  ' if good else 'FAIL'} {name} {'' if good else str(detail)[-600:]}", flush=True)


def skip(name, reason):
    """Counts one test as skipped."""
    COUNTS["skipped"] += 1
    print(f"skip {name}: {reason}")


def finish():
    """Prints the summary and ends the program."""
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**COUNTS))
    sys.exit(1 if COUNTS["failed"] else 0)


def tiny_model(name="tiny.qorus", *options):
    """A decoder with random weights; ends the program with one skipped test if NumPy is missing."""
    path = FOLDER / name
    made = subprocess.run([sys.executable, ROOT / "tools/make_test_model.py", "decoder", path, *options],
                          capture_output=True, text=True)
    if made.returncode != 0 and "missing" in made.stderr:
        skip("all", made.stderr.strip())
        finish()
    if made.returncode != 0:
        tell("the test model is made", False, made.stderr)
        finish()
    return path


def token_of(model, text):
    """The id of a text that is one token."""
    code, out, err = qorus("tokenize", model, "--special", "-p", text)
    if code != 0 or len(out.split()) != 1:
        tell(f"{text!r} is one token", False, (code, out, err))
        finish()
    return int(out)


def real_model():
    """The model of the environment's MODEL, or None."""
    path = Path(os.environ.get("MODEL", "models/smollm2-135m-instruct.qorus"))
    return path if path.is_file() else None


def qorus(*words, text=None, timeout=120):
    """Runs the command; returns exit code, standard output and standard error."""
    done = subprocess.run([QORUS, *[str(w) for w in words]], input=text if text is not None else "",
                          capture_output=True, text=True, errors="surrogateescape", timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def run(*words, text=b"", **more):
    """As qorus(), of bytes: (exit code, standard output as bytes, standard error as text)."""
    done = subprocess.run([QORUS, *map(str, words)], input=text, capture_output=True, timeout=300, check=False, **more)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def refused(name, code, *words, says="", **more):
    """One test: this fails with `code`, one line that holds `says`, and nothing on standard output."""
    status, out, error = run(*words, **more)
    lines = error.splitlines()
    tell(name, status == code and out == b"" and len(lines) == 1 and says in lines[0]
         and lines[0].startswith("qorus: "), f"{status} {out[:60]!r} {error!r}")


def interrupted(*words, look=None):
    """Begins a training in FOLDER, stops it in its first steps; returns exit code and standard error. Its pipe holds a page: a
    training that says more than that cannot end before the signal comes. look: called with its process id before that."""
    read, write = os.pipe()
    fcntl.fcntl(write, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    with subprocess.Popen([QORUS, "train", *map(str, words)], cwd=FOLDER, stderr=write,
                          stdout=subprocess.DEVNULL) as training, os.fdopen(read, "rb", 0) as said:
        os.close(write)
        err = b""
        while not err.endswith(b" left\n"):
            piece = said.readline()
            err += piece
            if not piece:
                break
        if look is not None:
            look(training.pid)
        training.send_signal(signal.SIGINT)
        err += said.read()
    return training.returncode, err.decode()


def missing(*packages):
    """The first Python package that is not installed, or None."""
    for package in packages:
        try:
            __import__(package)
        except ImportError:
            return package
    return None
