# SPDX-License-Identifier: MIT
"""Where the tools find the packages they need: in build/venv, which `make deps` makes."""
import os
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parents[2] / "build/venv"


def enter(name):
    """Goes on in build/venv, if it is there, when a script (its __name__) was started by a Python of the system."""
    python = VENV / "bin/python"
    if name == "__main__" and sys.prefix == sys.base_prefix and os.access(python, os.X_OK):
        os.execv(python, [str(python), *sys.orig_argv[1:]])


def missing(error):
    """The line for an ImportError."""
    return f"Python package {error.name!r} is missing: make deps puts it into build/venv, which this command then uses"
