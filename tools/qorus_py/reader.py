# SPDX-License-Identifier: MIT
"""Reading .qorus files in NumPy: tables, tensors, and their values as F32. It trusts the tables as far as
slicing goes; the validator is q_file_open."""
import hashlib
import struct

import numpy as np

from . import format as fmt
from . import panel, quant, writer


class TensorView:
    """One tensor of a file."""

    def __init__(self, name, dtype, layout, shape, flags, data, sha256):
        self.name, self.dtype, self.layout, self.shape = name, dtype, layout, shape
        self.flags, self.data, self.sha256 = flags, data, sha256

    def rows(self):
        """Plain rows, uint8 [rows][row bytes]."""
        k = self.shape[-1]
        if self.layout == fmt.PANEL16:
            packed = np.asarray(self.data).reshape(-1, panel.panel_bytes(self.dtype, k))
            return panel.unpack(packed, self.dtype, self.shape[0], k)
        return np.asarray(self.data).reshape(int(np.prod(self.shape[:-1], dtype=np.int64)), -1)

    def values(self):
        """F32 (I32 tensors: int32) array of the tensor's shape."""
        if self.dtype == quant.I32:
            return np.ascontiguousarray(self.rows()).view("<i4").reshape(self.shape)
        return quant.dequantize(self.rows(), self.dtype).reshape(self.shape)

    def intact(self):
        """True if the data has the recorded SHA-256."""
        return hashlib.sha256(self.data).digest() == self.sha256


class Reader:
    """An opened file: arch, graph, tokenizer, meta, and tensors by name in record order."""

    def __init__(self, path):
        data = np.memmap(path, dtype=np.uint8, mode="r")
        file_size, self.sections, self.tables_sha256 = fmt.unpack_header(bytes(data[:fmt.HEADER_SIZE]))
        if file_size != len(data):
            raise ValueError(f"{file_size} bytes expected, the file has {len(data)}")
        self.data = data
        tables = bytes(data[:self.sections[fmt.DATA][0]])
        self.tables = tables
        self.strings = self.section(fmt.STRINGS)
        self.tensors = {}
        offset, _, count = self.sections[fmt.TENSORS]
        for i in range(count):
            v = fmt.unpack_record(tables, offset + i * fmt.RECORD_SIZE)
            name = self.string(v[0], v[1])
            view = data[v[6]:v[6] + v[7]]
            self.tensors[name] = TensorView(name, v[2], v[3], v[4], v[5], view, v[8])
        arch, graph = self.section(fmt.ARCH), self.section(fmt.GRAPH)
        self.arch = fmt.Arch.unpack(arch) if arch else None
        self.graph = fmt.Graph.unpack(graph, self.string, list(self.tensors)) if graph else None
        self.tokenizer = self.section(fmt.TOKENIZER)
        self.meta = self.section(fmt.META).decode("utf-8")

    def section(self, number):
        """Bytes of a table section."""
        offset, size, _ = self.sections[number]
        return self.tables[offset:offset + size]

    def string(self, offset, length):
        """A name of the string section."""
        return self.strings[offset:offset + length].decode("utf-8")

    def names_in_order(self):
        """Tensor names as the NAMES section sorts them."""
        order = struct.unpack(f"<{len(self.tensors)}I", self.section(fmt.NAMES))
        names = list(self.tensors)
        return [names[i] for i in order]

    def intact(self):
        """True if the header and tables have the recorded SHA-256."""
        zeroed = self.tables[:fmt.HASH_OFFSET] + bytes(32) + self.tables[fmt.HEADER_SIZE:]
        return hashlib.sha256(zeroed).digest() == self.tables_sha256

    def copy_to(self, path):
        """Writes the file again from what was read: the same bytes."""
        tensors = [writer.Tensor(t.name, t.dtype, t.layout, t.shape, t.data.tobytes, t.flags)
                   for t in self.tensors.values()]
        writer.write_file(path, tensors, self.arch, self.graph, self.tokenizer, self.meta)
