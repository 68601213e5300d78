# SPDX-License-Identifier: MIT
"""A second reader of .qorus files, by the words of docs/FORMAT.md, with the standard library alone."""
import hashlib
import struct

TYPES = ("f32", "q8_0", "q4_0", "q4_1", "f16", "bf16")
DTYPES = TYPES + ("i32",)


class Parsed:
    """Header, records and sections of a file."""

    def __init__(self, data):
        self.data = data
        self.sections = [struct.unpack_from("<QQII", data, 32 + 24 * i) for i in range(8)]
        strings = self.sections[2][0]
        self.tensors = []
        for i in range(self.sections[0][2]):
            at = self.sections[0][0] + 128 * i
            v = struct.unpack_from("<IHBBII4QQQ32s", data, at)
            name = data[strings + v[0]:strings + v[0] + v[1]].decode()
            self.tensors.append({"name": name, "dtype": DTYPES[v[2]], "layout": ("plain", "panel16")[v[3]],
                                 "shape": list(v[6:10][4 - v[4]:]), "trainable": bool(v[5] & 1), "offset": v[10],
                                 "bytes": v[11], "sha256": v[12].hex()})

    def section(self, number):
        """Bytes of a section."""
        offset, size = self.sections[number][:2]
        return self.data[offset:offset + size]

    def rehash(self):
        """The file with its table hash made right again."""
        tables = bytearray(self.data[:self.sections[7][0]])
        tables[224:256] = bytes(32)
        return self.data[:224] + hashlib.sha256(tables).digest() + self.data[256:]


def flipped(data, at):
    """data with one bit changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
