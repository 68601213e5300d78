# SPDX-License-Identifier: MIT
"""Writing .qorus files: tensors are produced one at a time, so a large model never lies in memory whole."""
import errno
import hashlib
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import Callable

import numpy as np

from . import format as fmt
from . import panel, quant


@dataclass
class Tensor:
    """One tensor to be written. produce() returns its bytes, exactly those that dtype, layout and shape
    demand."""
    name: str
    dtype: int
    layout: int
    shape: tuple
    produce: Callable
    flags: int = 0

    def size(self):
        """Bytes of the tensor's data."""
        if self.layout == fmt.PANEL16:
            rows, k = self.shape
            return -(-rows // panel.ROWS) * panel.panel_bytes(self.dtype, k)
        rows = 1
        for n in self.shape[:-1]:
            rows *= n
        if self.dtype == quant.I32:
            return rows * self.shape[-1] * 4
        return rows * quant.row_bytes(self.dtype, self.shape[-1])


def vector(name, values, flags=0):
    """A plain F32 vector."""
    values = np.ascontiguousarray(values, dtype="<f4")
    return Tensor(name, quant.F32, fmt.PLAIN, values.shape, values.tobytes, flags)


def matrix(name, dtype, shape, rows, flags=0):
    """A panel16 matrix; rows() returns its plain rows, uint8 [rows][row bytes] of dtype."""
    def produce():
        return panel.pack(rows(), dtype, shape[1]).tobytes()
    return Tensor(name, dtype, fmt.PANEL16, tuple(shape), produce, flags)


class _Strings:
    def __init__(self):
        self.data = bytearray()

    def place(self, name):
        """Appends a name; returns its offset and length."""
        raw = name.encode("utf-8")
        bad = any(ord(c) < 32 or ord(c) == 127 for c in name)
        if not 1 <= len(raw) <= fmt.CAP_NAME or bad:
            raise ValueError(f"name {name!r} cannot be stored: 1 to {fmt.CAP_NAME} bytes, no control characters")
        at = len(self.data)
        self.data += raw + b"\0"
        return at, len(raw)


def _check_caps(tensors, sections):
    caps = {fmt.STRINGS: fmt.CAP_STRINGS, fmt.GRAPH: fmt.CAP_GRAPH, fmt.TOKENIZER: fmt.CAP_TOKENIZER,
            fmt.META: fmt.CAP_META}
    if len(tensors) > fmt.CAP_TENSORS:
        raise ValueError(f"{len(tensors)} tensors; a file holds at most {fmt.CAP_TENSORS}")
    names = [t.name for t in tensors]
    if len(set(names)) != len(names):
        raise ValueError("two tensors have the same name")
    for section, cap in caps.items():
        if len(sections[section]) > cap:
            raise ValueError(f"section {fmt.SECTION_NAMES[section]}: {len(sections[section])} bytes, cap {cap}")


def _layout(tensors, arch, graph, tokenizer, meta):
    """Section bodies without the records' hashes, and each tensor's string place."""
    strings = _Strings()
    places = [strings.place(t.name) for t in tensors]
    index = {t.name: i for i, t in enumerate(tensors)}
    if graph is not None and graph.params() != [t.name for t in tensors]:
        raise ValueError("tensors must come in the order in which the graph first uses them")
    graph_bytes = graph.pack(strings.place, index) if graph is not None else b""
    order = sorted(range(len(tensors)), key=lambda i: tensors[i].name.encode())
    bodies = [bytes(len(tensors) * fmt.RECORD_SIZE), struct.pack(f"<{len(order)}I", *order), bytes(strings.data),
              arch.pack() if arch is not None else b"", graph_bytes, tokenizer, meta.encode("utf-8")]
    _check_caps(tensors, bodies)
    counts = [len(tensors), len(tensors), 0, arch.n_layers if arch is not None else 0,
              len(graph.nodes) if graph is not None else 0, 0, 0]
    return bodies, counts, places


def _stream(out, tensors, arch, graph, tokenizer, meta, progress):
    bodies, counts, places = _layout(tensors, arch, graph, tokenizer, meta)
    at, sections = fmt.HEADER_SIZE, []
    for body, count in zip(bodies, counts):
        at = fmt.align(at)
        sections.append((at, len(body), count))
        at += len(body)
    start = end = fmt.align(at)
    out.write(bytes(start))
    records = []
    for i, (tensor, place) in enumerate(zip(tensors, places)):
        if progress is not None:
            progress(i, len(tensors), tensor.name)
        data = tensor.produce()
        if len(data) != tensor.size():
            raise ValueError(f"tensor {tensor.name}: {len(data)} bytes produced, {tensor.size()} expected")
        out.write(bytes(-end % fmt.ALIGN))
        at = fmt.align(end)
        out.write(data)
        end = at + len(data)
        records.append(fmt.pack_record(place, tensor.dtype, tensor.layout, tensor.flags, tensor.shape, at,
                                       len(data), hashlib.sha256(data).digest()))
    out.write(bytes(-end % fmt.ALIGN))
    sections.append((start, end - start, 0))
    bodies[fmt.TENSORS] = b"".join(records)
    tables = bytearray(start)
    for (offset, size, _), body in zip(sections, bodies):
        tables[offset:offset + size] = body
    tables[:fmt.HEADER_SIZE] = fmt.pack_header(fmt.align(end), sections, bytes(32))
    tables[fmt.HASH_OFFSET:fmt.HEADER_SIZE] = hashlib.sha256(tables).digest()
    out.seek(0)
    out.write(tables)
    if progress is not None:
        progress(len(tensors), len(tensors), "")


class _Pieces:
    """A file whose bytes reach the system in aligned pieces of 4 MiB: page caches then hold it in huge pages."""

    SIZE = 4 << 20

    def __init__(self, raw):
        self.raw = raw
        self.waiting = bytearray()

    def write(self, data):
        """Takes all of data."""
        self.waiting += data
        self._give(len(self.waiting) // self.SIZE * self.SIZE)

    def seek(self, to):
        """Gives away what waits, then moves."""
        self.flush()
        self.raw.seek(to)

    def flush(self):
        """Gives away what waits."""
        self._give(len(self.waiting))

    def _give(self, n):
        """The first n bytes that wait; the system may take fewer at a time."""
        at = 0
        while at < n:
            at += self.raw.write(bytes(memoryview(self.waiting)[at:min(n, at + self.SIZE)]))
        del self.waiting[:n]


def write_atomically(path, fill):
    """Calls fill(file) on a new temporary file beside path, then gives it that name. On any failure the
    temporary file is gone and path is as it was."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    handle, temp = tempfile.mkstemp(prefix=".qorus-", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "w+b", buffering=0) as raw:
            out = _Pieces(raw)
            fill(out)
            out.flush()
            os.fsync(raw.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temp, 0o666 & ~umask)
        os.replace(temp, path)
    except BaseException:
        os.unlink(temp)
        raise


def write_file(path, tensors, arch=None, graph=None, tokenizer=b"", meta="", progress=None):
    """Writes a .qorus file; the same arguments give the same bytes. progress(done, all, name) is called before
    each tensor and once at the end."""
    if arch is not None and graph is not None:
        raise ValueError("a file holds an architecture or a graph, not both")
    write_atomically(path, lambda out: _stream(out, tensors, arch, graph, tokenizer, meta, progress))


def file_bytes(tensors, arch=None, graph=None, tokenizer=b"", meta=""):
    """The same file as bytes."""
    import io
    out = io.BytesIO()
    _stream(out, tensors, arch, graph, tokenizer, meta, None)
    return out.getvalue()
