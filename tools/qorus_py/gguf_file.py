# SPDX-License-Identifier: MIT
"""A strict reader of GGUF versions 2 and 3, little-endian: every count is checked against the bytes that are
left before anything is read, and each fault is one ValueError that says where."""
import struct
from dataclasses import dataclass

import numpy as np

MAGIC = b"GGUF"
CAP_DIMS = 4
CAP_KEY = 65535
CAP_TENSOR_NAME = 63
STRING, ARRAY, BOOL = 8, 9, 7
_SCALARS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", BOOL: "<u1", 10: "<u8",
            11: "<i8", 12: "<f8"}


@dataclass
class GgufTensor:
    """shape is [rows.., columns], the reverse of the order in the file."""
    name: str
    type: int
    type_name: str
    shape: tuple
    offset: int
    size: int


def _type_sizes():
    """{type number: (name, block columns, block bytes)} of every type the gguf package knows."""
    import gguf
    return {int(t): (t.name, *gguf.GGML_QUANT_SIZES[t]) for t in gguf.GGMLQuantizationType
            if t in gguf.GGML_QUANT_SIZES}


class GgufFile:
    """fields: {key: value}; strings are str (invalid UTF-8 kept by surrogateescape), arrays are lists.
    tensors: {name: GgufTensor}."""

    def __init__(self, path):
        try:
            self.data = np.memmap(path, dtype=np.uint8, mode="r")
        except ValueError:
            raise ValueError("not a GGUF file: it is empty") from None
        self.size = len(self.data)
        self.at = 0
        self.fields = {}
        self.tensors = {}
        n_tensors, n_fields = self._head()
        for _ in range(n_fields):
            self._field()
        infos = [self._info() for _ in range(n_tensors)]
        self._place(infos)

    def _fail(self, what):
        raise ValueError(f"malformed GGUF at byte {self.at}: {what}")

    def _take(self, n, what):
        if n > self.size - self.at:
            self._fail(f"{what} needs {n} bytes, {self.size - self.at} are left")
        raw = self.data[self.at:self.at + n].tobytes()
        self.at += n
        return raw

    def _number(self, code, what):
        return struct.unpack("<" + code, self._take(struct.calcsize("<" + code), what))[0]

    def _head(self):
        if self._take(min(4, self.size), "the magic") != MAGIC:
            raise ValueError("not a GGUF file")
        version = self._number("I", "the version")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            kind = "big-endian GGUF" if swapped in (1, 2, 3) else f"GGUF version {version}"
            raise ValueError(f"{kind} is not supported")
        n_tensors = self._number("Q", "the tensor count")
        n_fields = self._number("Q", "the field count")
        if n_tensors > self.size // 24 or n_fields > self.size // 13:
            self._fail(f"{n_tensors} tensors and {n_fields} fields cannot fit the file")
        return n_tensors, n_fields

    def _string(self, what):
        raw = self._take(self._number("Q", what), what)
        return raw.decode("utf-8", "surrogateescape")

    def _field(self):
        key = self._string("a key")
        if not key or len(key) > CAP_KEY:
            self._fail("a key is empty or too long")
        if key in self.fields:
            self._fail(f"key {key!r} appears twice")
        self.fields[key] = self._value(self._number("I", "a value type"), key)

    def _value(self, kind, key):
        if kind == STRING:
            return self._string(key)
        if kind == ARRAY:
            return self._array(key)
        if kind not in _SCALARS:
            self._fail(f"{key!r} has unknown value type {kind}")
        return self._scalars(kind, 1, key)[0]

    def _scalars(self, kind, n, key):
        dtype = np.dtype(_SCALARS[kind])
        values = np.frombuffer(self._take(n * dtype.itemsize, key), dtype=dtype)
        if kind == BOOL:
            if n and values.max() > 1:
                self._fail(f"{key!r} holds a bool that is neither 0 nor 1")
            return [bool(v) for v in values]
        return values.tolist()

    def _array(self, key):
        kind = self._number("I", key)
        n = self._number("Q", key)
        if kind == STRING:
            if n > (self.size - self.at) // 8:
                self._fail(f"array {key!r} of {n} strings is longer than the file")
            return [self._string(key) for _ in range(n)]
        if kind == ARRAY:
            self._fail(f"{key!r} is an array of arrays")
        if kind not in _SCALARS:
            self._fail(f"array {key!r} has unknown element type {kind}")
        return self._scalars(kind, n, key)

    def _info(self):
        name = self._string("a tensor name")
        if not name or len(name.encode("utf-8", "surrogateescape")) > CAP_TENSOR_NAME:
            self._fail("a tensor name is empty or too long")
        n_dims = self._number("I", name)
        if not 1 <= n_dims <= CAP_DIMS:
            self._fail(f"tensor {name!r} has {n_dims} dimensions")
        dims = [self._number("Q", name) for _ in range(n_dims)]
        if 0 in dims:
            self._fail(f"tensor {name!r} has a dimension of 0")
        return name, tuple(reversed(dims)), self._number("I", name), self._number("Q", name)

    def _place(self, infos):
        sizes = _type_sizes()
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 8 <= alignment <= 65536 or alignment & (alignment - 1):
            raise ValueError(f"malformed GGUF: alignment {alignment!r}")
        start = -(-self.at // alignment) * alignment
        for name, shape, kind, offset in infos:
            if kind not in sizes:
                raise ValueError(f"tensor {name!r} has GGUF type {kind}, which is unknown or was removed")
            type_name, block, block_bytes = sizes[kind]
            n = 1
            for dim in shape:
                n *= dim
            if shape[-1] % block:
                raise ValueError(f"malformed GGUF: tensor {name!r} has rows of {shape[-1]}, no multiple of {block}")
            size = n // block * block_bytes
            if offset % alignment or start + offset + size > self.size:
                raise ValueError(f"malformed GGUF: tensor {name!r} at {offset} with {size} bytes is misaligned or"
                                 f" reaches past the end of the file ({self.size} bytes)")
            if name in self.tensors:
                raise ValueError(f"malformed GGUF: tensor {name!r} appears twice")
            self.tensors[name] = GgufTensor(name, kind, type_name, shape, start + offset, size)
        placed = sorted(self.tensors.values(), key=lambda t: t.offset)
        for a, b in zip(placed, placed[1:]):
            if a.offset + a.size > b.offset:
                raise ValueError(f"malformed GGUF: tensors {a.name!r} and {b.name!r} overlap")

    def rows(self, tensor):
        """Bytes of a tensor as uint8 [rows][row bytes]."""
        raw = np.asarray(self.data[tensor.offset:tensor.offset + tensor.size])
        return raw.reshape(int(np.prod(tensor.shape[:-1], dtype=np.int64)), -1)
