# SPDX-License-Identifier: MIT
"""Writes core/text/unicode_table.h: the classes letter, number and space of every code point.

Usage: gen_unicode.py [OUT]      (needs the package unicodedata2, version 16.0.0)

Three stages of 8, 3 and 5 bits; the last holds 2 bits a code point, so a class is three loads away.
"""

import sys

import unicodedata2 as unicodedata

VERSION = "16.0.0"
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
               0x3000}


def class_of(cp):
    """0 other, 1 letter (general category L*), 2 number (N*), 3 white space (White_Space)."""
    if cp in WHITE_SPACE:
        return 3
    return {"L": 1, "N": 2}.get(unicodedata.category(chr(cp))[0], 0)


def stage(values, width):
    """Distinct groups of `width` values, and the index of each group in turn."""
    found = {}
    index = [found.setdefault(tuple(values[i:i + width]), len(found)) for i in range(0, len(values), width)]
    return list(found), index


def rows(values, form, per_line):
    lines = []
    for i in range(0, len(values), per_line):
        lines.append("    " + ", ".join(form.format(v) for v in values[i:i + per_line]) + ",")
    return "\n".join(lines)


def main():
    if unicodedata.unidata_version != VERSION:
        raise SystemExit(f"unicodedata2 is of Unicode {unicodedata.unidata_version}, this table of {VERSION}")
    classes = [class_of(cp) for cp in range(0x110000)]
    end = (max(cp for cp, c in enumerate(classes) if c) // 256 + 1) * 256
    leaves, middle = stage(classes[:end], 32)
    groups, top = stage(middle, 8)
    words = [sum(c << (2 * i) for i, c in enumerate(leaf)) for leaf in leaves]
    flat = [index for group in groups for index in group]
    assert len(groups) <= 256 and len(leaves) <= 65536
    text = f"""/* SPDX-License-Identifier: MIT */
/*
 * unicode_table.h: classes of code points, Unicode {VERSION}. Written by tools/gen_unicode.py; do not edit.
 *
 * The class of cp < UNICODE_END is bits 2 i and 2 i + 1, i = cp & 31, of
 * unicode_leaf[unicode_middle[unicode_top[cp >> 8] * 8 + (cp >> 5 & 7)]].
 */
#ifndef QORUS_CORE_TEXT_UNICODE_TABLE_H
#define QORUS_CORE_TEXT_UNICODE_TABLE_H

#include <stdint.h>

/* From here on every code point is of class other. */
#define UNICODE_END 0x{end:X}u

static const uint8_t unicode_top[{len(top)}] = {{
{rows(top, "{}", 20)}
}};

static const uint16_t unicode_middle[{len(flat)}] = {{
{rows(flat, "{}", 16)}
}};

static const uint64_t unicode_leaf[{len(words)}] = {{
{rows(words, "0x{:016x}u", 4)}
}};

#endif /* QORUS_CORE_TEXT_UNICODE_TABLE_H */
"""
    out = sys.argv[1] if len(sys.argv) > 1 else "core/text/unicode_table.h"
    with open(out, "w", encoding="ascii", newline="\n") as file:
        file.write(text)
    print(f"{out}: {len(top) + 2 * len(flat) + 8 * len(words)} bytes of tables")


if __name__ == "__main__":
    main()
