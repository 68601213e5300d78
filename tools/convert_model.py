#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Converts a Llama-family GGUF model into one .qorus file, tokenizer and chat format inside.

F32, F16, BF16, Q8_0, Q4_0 and Q4_1 weights are carried over value for value (their bytes are only put in
another order); weights of any other type are decoded by the gguf package and quantised again, which is
reported. Norms and biases become F32. The same input gives the same output, byte for byte, and the output
appears only when it is whole.
"""
import argparse
import hashlib
import os
import sys

from qorus_py import packages

packages.enter(__name__)
try:
    from qorus_py import gguf_file, gguf_llama, writer
except ImportError as error:
    sys.exit(f"convert_model: {packages.missing(error)}")

VERSION = "3.0.0"


class Progress:
    """A bar on a terminal; elsewhere one line at the end."""

    def __init__(self, quiet):
        self.quiet = quiet
        self.bar = sys.stderr.isatty() and not quiet

    def __call__(self, done, total, name):
        if self.bar:
            width = 32 * done // max(total, 1)
            end = "\n" if done == total else ""
            print(f"\r[{'#' * width:<32}] {done}/{total} {name[:32]:<32}", end=end, file=sys.stderr, flush=True)
        elif done == total and not self.quiet:
            print(f"convert_model: {total} tensors written", file=sys.stderr)


def sha256_of(path):
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def meta_text(path, fields, options):
    """The META section: where the model came from."""
    def clean(text):
        kept = "".join(c for c in str(text) if c.isprintable())
        return kept.encode("utf-8", "ignore").decode("utf-8")[:512]
    lines = [f"source: {clean(os.path.basename(path))}", f"source-sha256: {sha256_of(path)}",
             f"converter: convert_model.py {VERSION}", f"type: {options.type}"]
    for key in ("name", "organization", "license"):
        value = fields.get("general." + key)
        if isinstance(value, str) and value:
            lines.append(f"{key}: {clean(value)}")
    return "\n".join(lines) + "\n"


def convert(options):
    """Does the work; ValueError says what is wrong with the input."""
    gguf = gguf_file.GgufFile(options.input)
    for path in (options.output, options.tokenizer_out):
        if path and os.path.exists(path) and os.path.samefile(path, options.input):
            raise ValueError("the output would replace the input")
    arch = gguf_llama.architecture(gguf)
    target = None if options.type == "keep" else options.type
    llama = gguf_llama.LlamaTensors(gguf, arch, target, options.other)
    tokenizer = b"" if options.no_tokenizer else gguf_llama.tokenizer_section(gguf, arch)
    for (old, new), count in sorted(llama.notes.items()):
        print(f"convert_model: {count} matrices of {old} are quantised again as {new}", file=sys.stderr)
    meta = meta_text(options.input, gguf.fields, options)
    writer.write_file(options.output, llama.tensors, arch=arch, tokenizer=tokenizer, meta=meta,
                      progress=Progress(options.quiet))
    if options.tokenizer_out:
        writer.write_atomically(options.tokenizer_out, lambda out: out.write(tokenizer))


def parse(arguments):
    """Command line."""
    parser = argparse.ArgumentParser(prog="convert_model.py", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n")[1])
    parser.add_argument("input", metavar="IN.gguf", help="model to convert")
    parser.add_argument("output", metavar="OUT.qorus", help="file to write; replaced if it exists")
    parser.add_argument("--type", default="keep", choices=["keep", *gguf_llama.TYPES],
                        help="type of all matrices; keep (default) carries every type .qorus has")
    parser.add_argument("--other", default="q8_0", choices=list(gguf_llama.TYPES), metavar="TYPE",
                        help="with keep: what matrices of a type .qorus lacks become (default q8_0)")
    parser.add_argument("--tokenizer-out", metavar="FILE", help="write the tokenizer section to a file as well")
    parser.add_argument("--no-tokenizer", action="store_true", help="leave the tokenizer out")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    if options.tokenizer_out and options.no_tokenizer:
        parser.error("--tokenizer-out contradicts --no-tokenizer")
    return options


def main(arguments=None):
    """Exit code 0: done, 1: the conversion failed, 2: bad usage."""
    options = parse(arguments)
    try:
        convert(options)
    except FileNotFoundError as error:
        print(f"convert_model: {error.filename}: no such file or folder", file=sys.stderr)
    except OSError as error:
        print(f"convert_model: {error.filename or options.output}: {error.strerror or error}", file=sys.stderr)
    except (ValueError, MemoryError, OverflowError) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        print(f"convert_model: {options.input}: {line}", file=sys.stderr)
    except ImportError as error:
        print(f"convert_model: {packages.missing(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("convert_model: interrupted; nothing was written", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
