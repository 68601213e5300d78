# SPDX-License-Identifier: MIT
"""Writes vectors/kernels/*.qvec and vectors/MANIFEST; with no change of the generator, the same bytes again.

Usage: python3 vectors/gen/make_vectors.py [--only KERNEL]... [--manifest]
"""
import argparse
import hashlib
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(HERE)]

import kernel_attention  # noqa: E402
import kernel_attention_grad  # noqa: E402
import kernel_cache  # noqa: E402
import kernel_round  # noqa: E402
import kernel_scale  # noqa: E402
import kernel_activation  # noqa: E402
import kernel_elementwise  # noqa: E402
import kernel_gemm  # noqa: E402
import kernel_image  # noqa: E402
import kernel_norm  # noqa: E402
import kernel_recurrent  # noqa: E402
import kernel_language  # noqa: E402
import kernel_loss  # noqa: E402
import kernel_rope  # noqa: E402
import kernel_rows  # noqa: E402
import kernel_optim  # noqa: E402
import kernel_training  # noqa: E402
import qvec  # noqa: E402

FAMILIES = (kernel_gemm, kernel_rows, kernel_elementwise, kernel_activation, kernel_round, kernel_scale, kernel_rope, kernel_cache,
            kernel_attention, kernel_image, kernel_norm, kernel_recurrent, kernel_training, kernel_optim,
            kernel_language, kernel_attention_grad, kernel_loss)
NOT_DATA = {"MANIFEST", "README.md"}


def listed_kernels():
    """Slots of kernels.inc, in order."""
    text = (ROOT / "include/qorus/kernels.inc").read_text()
    return re.findall(r"^Q_KERNEL\((\w+),", text, re.M)


def write_kernel(kernel, cases):
    blob = qvec.pack(kernel, cases)
    (ROOT / f"vectors/kernels/{kernel}.qvec").write_bytes(blob)
    print(f"{kernel:16} {len(cases):4} cases {len(blob):8} bytes")
    return len(cases), len(blob)


def write_manifest():
    """SHA-256 of every file below vectors/ that is data."""
    files = [p for p in sorted((ROOT / "vectors").rglob("*")) if p.is_file() and p.name not in NOT_DATA
             and "gen" not in p.relative_to(ROOT / "vectors").parts]
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(ROOT).as_posix()}" for p in files]
    (ROOT / "vectors/MANIFEST").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="KERNEL", help="write this kernel alone")
    parser.add_argument("--manifest", action="store_true", help="write only the manifest")
    options = parser.parse_args()
    makers = {}
    for family in FAMILIES:
        makers.update(family.KERNELS)
    known = listed_kernels()
    wrong = [k for k in options.only if k not in makers] + [k for k in makers if k not in known]
    missing = [k for k in known if k not in makers]
    if wrong or missing:
        sys.exit(f"make_vectors: unknown kernels {wrong}, kernels without vectors {missing}")
    totals = [write_kernel(k, makers[k]()) for k in known
              if not options.manifest and (not options.only or k in options.only)]
    write_manifest()
    print(f"{sum(n for n, _ in totals)} cases, {sum(b for _, b in totals)} bytes")


if __name__ == "__main__":
    main()
