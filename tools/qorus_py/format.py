# SPDX-License-Identifier: MIT
"""Records of a .qorus file, version 3: the constants and struct codes of include/qorus/format.h."""
import struct
from dataclasses import dataclass, field

MAGIC = b"QORUS\x1a\r\n"
VERSION = 3
HEADER_SIZE = 256
RECORD_SIZE = 128
ARCH_SIZE = 256
GRAPH_SIZE = 32
INPUT_SIZE = 48
NODE_SIZE = 32
OUTPUT_SIZE = 16
ALIGN = 64
HASH_OFFSET = 224

CAP_TENSORS = 65536
CAP_NAME = 127
CAP_STRINGS = 16 << 20
CAP_LAYERS = 1024
CAP_HEADS = 1024
CAP_HEAD_DIM = 1024
CAP_WIDTH = 1 << 20
CAP_VOCAB = 1 << 20
CAP_CONTEXT = 1 << 24
CAP_NODES = 65536
CAP_GRAPH = 64 << 20
CAP_GRAPH_IO = 64
CAP_CONFIG = 4096
CAP_TOKENIZER = 64 << 20
CAP_META = 65536

TENSORS, NAMES, STRINGS, ARCH, GRAPH, TOKENIZER, META, DATA = range(8)
SECTION_NAMES = ("tensors", "names", "strings", "arch", "graph", "tokenizer", "meta", "data")

PLAIN, PANEL16 = 0, 1
TRAINABLE = 1

ARCH_DECODER = 1
ARCH_TIED, ARCH_QKV_BIAS, ARCH_QK_NORM, ARCH_POST_NORMS = 1, 2, 4, 8
ROPE_NONE, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN = range(4)
LAYER_FULL, LAYER_WINDOW, LAYER_NO_ROPE = range(3)
ACT_SILU, ACT_GELU_TANH = 2, 3
SYM_ONE, SYM_BATCH, SYM_TOKENS, SYM_ROWS, SYM_SELECTED = range(5)

_SECTION = struct.Struct("<QQII")
_HEADER = struct.Struct("<8sIIQII")
_RECORD = struct.Struct("<IHBBII4QQQ32s32x")
_ARCH = struct.Struct("<12I8f4I6d112x")
_GRAPH = struct.Struct("<8I")
_INPUT = struct.Struct("<IHBBII4I4I")
_NODE = struct.Struct("<IIIHBBB3xIIH2x")
_OUTPUT = struct.Struct("<IIH6x")

_ARCH_FIELDS = (
    "kind", "flags", "n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "n_vocab",
    "n_context", "activation", "window", "norm_eps", "norm_offset", "embed_scale", "attn_scale",
    "residual_scale", "logit_scale", "attn_softcap", "logit_softcap", "rope_scaling", "rope_dims",
    "rope_pairing", "rope_original_context", "rope_base", "rope_local_base", "rope_factor", "rope_low",
    "rope_high", "rope_magnitude")


def align(n):
    """n rounded up to a multiple of 64."""
    return -(-n // ALIGN) * ALIGN


@dataclass
class Arch:
    """q_file_arch; kinds holds one layer kind per layer."""
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ffn: int
    n_vocab: int
    n_context: int
    kind: int = ARCH_DECODER
    flags: int = ARCH_TIED
    activation: int = ACT_SILU
    window: int = 0
    norm_eps: float = 1e-5
    norm_offset: float = 0.0
    embed_scale: float = 1.0
    attn_scale: float = 0.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    attn_softcap: float = 0.0
    logit_softcap: float = 0.0
    rope_scaling: int = ROPE_NONE
    rope_dims: int = 0
    rope_pairing: int = 1
    rope_original_context: int = 0
    rope_base: float = 10000.0
    rope_local_base: float = 0.0
    rope_factor: float = 0.0
    rope_low: float = 0.0
    rope_high: float = 0.0
    rope_magnitude: float = 1.0
    kinds: bytes = b""

    def __post_init__(self):
        self.attn_scale = self.attn_scale or self.head_dim ** -0.5
        self.rope_dims = self.rope_dims or self.head_dim
        self.kinds = self.kinds or bytes(self.n_layers)

    def pack(self):
        """Bytes of the ARCH section."""
        return _ARCH.pack(*(getattr(self, name) for name in _ARCH_FIELDS)) + self.kinds

    @classmethod
    def unpack(cls, data):
        """Arch of an ARCH section."""
        values = dict(zip(_ARCH_FIELDS, _ARCH.unpack_from(data)))
        return cls(kinds=bytes(data[ARCH_SIZE:]), **values)

    def tensors(self):
        """(name, shape) of every tensor the architecture needs, in the order in which it uses them."""
        d, kv = self.d_model, self.n_kv_heads * self.head_dim
        heads = self.n_heads * self.head_dim
        yield "embed", (self.n_vocab, d)
        for n in range(self.n_layers):
            at = f"layers.{n}."
            yield at + "attn_norm", (d,)
            for name, rows in (("q", heads), ("k", kv), ("v", kv)):
                yield at + name, (rows, d)
                if self.flags & ARCH_QKV_BIAS:
                    yield at + name + "_bias", (rows,)
                if self.flags & ARCH_QK_NORM and name != "v":
                    yield at + name + "_norm", (self.head_dim,)
            yield at + "o", (d, heads)
            if self.flags & ARCH_POST_NORMS:
                yield at + "attn_post_norm", (d,)
            yield at + "ffn_norm", (d,)
            yield at + "gate", (self.d_ffn, d)
            yield at + "up", (self.d_ffn, d)
            yield at + "down", (d, self.d_ffn)
            if self.flags & ARCH_POST_NORMS:
                yield at + "ffn_post_norm", (d,)
        yield "norm", (d,)
        if not self.flags & ARCH_TIED:
            yield "output", (self.n_vocab, d)


@dataclass
class GraphInput:
    """q_file_graph_input; dims are (n, symbol) pairs of the last len(dims) axes."""
    name: str
    dtype: int
    dims: list
    limit: int = 0


@dataclass
class GraphNode:
    """q_file_graph_node; inputs are value numbers, params tensor names, config the bytes of the class's
    config struct."""
    class_id: int
    class_name: str
    name: str
    inputs: list
    params: list = field(default_factory=list)
    config: bytes = b""
    config_version: int = 1
    n_out: int = 1


@dataclass
class GraphOutput:
    """q_file_graph_output."""
    name: str
    value: int


@dataclass
class Graph:
    """The GRAPH section: values are numbered inputs first, then the outputs of the nodes in order."""
    inputs: list
    nodes: list
    outputs: list

    def names(self):
        """Every string of the section in canonical order."""
        for item in self.inputs:
            yield item.name
        for item in self.nodes:
            yield item.name
            yield item.class_name
        for item in self.outputs:
            yield item.name

    def params(self):
        """Tensor names in the order in which the nodes first mention them: the order of their records."""
        return list(dict.fromkeys(p for node in self.nodes for p in node.params))

    def pack(self, place, tensor_index):
        """Bytes of the section. place(name) appends a string and returns its offset and length;
        tensor_index maps names to record numbers."""
        inputs = b"".join(self._pack_input(item, place) for item in self.inputs)
        nodes = b"".join(self._pack_node(node, place) for node in self.nodes)
        outputs = b"".join(_OUTPUT.pack(o.value, *place(o.name)) for o in self.outputs)
        edges = [v for node in self.nodes for v in node.inputs]
        params = [tensor_index[p] for node in self.nodes for p in node.params]
        configs = b"".join(node.config for node in self.nodes)
        n_values = len(self.inputs) + sum(node.n_out for node in self.nodes)
        head = _GRAPH.pack(len(self.inputs), len(self.outputs), len(self.nodes), len(edges), len(params),
                           n_values, len(configs), 0)
        body = head + inputs + nodes + outputs + struct.pack(f"<{len(edges)}I", *edges)
        body += struct.pack(f"<{len(params)}I", *params)
        return body + bytes(-len(body) % 8) + configs

    @staticmethod
    def _pack_input(item, place):
        dims = [(1, SYM_ONE)] * (4 - len(item.dims)) + list(item.dims)
        return _INPUT.pack(*place(item.name), item.dtype, len(item.dims), item.limit, 0,
                           *(n for n, _ in dims), *(s for _, s in dims))

    @staticmethod
    def _pack_node(node, place):
        if len(node.config) % 8 or len(node.config) > CAP_CONFIG:
            raise ValueError(f"config of node {node.name}: {len(node.config)} bytes")
        name = place(node.name)
        return _NODE.pack(node.class_id, node.config_version, *name, len(node.inputs), node.n_out,
                          len(node.params), len(node.config), *place(node.class_name))

    @classmethod
    def unpack(cls, data, string, tensor_names):
        """Graph of a GRAPH section. string(offset, length) returns a name."""
        n_in, n_out, n_nodes, n_edges, n_params, _, _, _ = _GRAPH.unpack_from(data)
        at = GRAPH_SIZE
        inputs, nodes, outputs = [], [], []
        for i in range(n_in):
            v = _INPUT.unpack_from(data, at + i * INPUT_SIZE)
            dims = list(zip(v[6:10], v[10:14]))[4 - v[3]:]
            inputs.append(GraphInput(string(v[0], v[1]), v[2], dims, v[4]))
        at += n_in * INPUT_SIZE
        raw = [_NODE.unpack_from(data, at + i * NODE_SIZE) for i in range(n_nodes)]
        at += n_nodes * NODE_SIZE
        for i in range(n_out):
            v = _OUTPUT.unpack_from(data, at + i * OUTPUT_SIZE)
            outputs.append(GraphOutput(string(v[1], v[2]), v[0]))
        at += n_out * OUTPUT_SIZE
        edges = struct.unpack_from(f"<{n_edges}I", data, at)
        params = struct.unpack_from(f"<{n_params}I", data, at + 4 * n_edges)
        at += 4 * (n_edges + n_params)
        at += -at % 8
        e = p = 0
        for v in raw:
            class_id, version, offset, length, k_in, k_out, k_param, size, class_offset, class_length = v
            nodes.append(GraphNode(class_id, string(class_offset, class_length), string(offset, length),
                                   list(edges[e:e + k_in]),
                                   [tensor_names[t] for t in params[p:p + k_param]],
                                   bytes(data[at:at + size]), version, k_out))
            e, p, at = e + k_in, p + k_param, at + size
        return cls(inputs, nodes, outputs)


def pack_record(name, dtype, layout, flags, shape, offset, size, sha256):
    """Bytes of a q_file_tensor_record; name is (offset, length)."""
    ne = (1,) * (4 - len(shape)) + tuple(shape)
    return _RECORD.pack(*name, dtype, layout, len(shape), flags, *ne, offset, size, sha256)


def unpack_record(data, at):
    """(name offset, name length, dtype, layout, shape, flags, offset, size, sha256) of a record."""
    v = _RECORD.unpack_from(data, at)
    return v[0], v[1], v[2], v[3], tuple(v[6:10])[4 - v[4]:], v[5], v[10], v[11], v[12]


def pack_header(file_size, sections, sha256):
    """Bytes of the header; sections are (offset, size, count)."""
    head = _HEADER.pack(MAGIC, VERSION, HEADER_SIZE, file_size, 0, len(sections))
    return head + b"".join(_SECTION.pack(*s, 0) for s in sections) + sha256


def unpack_header(data):
    """(file size, [(offset, size, count)], sha256 of the tables); ValueError if it is no .qorus file."""
    if len(data) < HEADER_SIZE or data[:8] != MAGIC:
        raise ValueError("not a .qorus file")
    _, version, header_size, file_size, _, n_sections = _HEADER.unpack_from(data)
    if version != VERSION or header_size != HEADER_SIZE or n_sections != 8:
        raise ValueError(f".qorus version {version} is not read by this tool")
    sections = [_SECTION.unpack_from(data, 32 + 24 * i)[:3] for i in range(8)]
    return file_size, sections, bytes(data[HASH_OFFSET:HEADER_SIZE])
