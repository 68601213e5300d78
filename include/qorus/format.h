/* SPDX-License-Identifier: MIT */
/*
 * format.h: the .qorus file, version 3: its records, and opening one safely. docs/FORMAT.md has
 * every byte.
 *
 * A file is: header (256 bytes), then eight sections in the order of q_section, each at the first
 * multiple of 64 after the one before, with zero bytes between, and nothing after the last. All
 * numbers are little-endian; reserved fields are zero; every count has a hard cap in the table
 * below; every byte is header, table, string, data or zero padding. There is one encoding: reading
 * a file and writing it again gives the same bytes. 64-bit numbers of a file have a type of their
 * own, q_file_u64, so that arithmetic on them goes through qorus/base/checked.h; smaller ones are
 * widened before they are added.
 */
#ifndef QORUS_FORMAT_H
#define QORUS_FORMAT_H

#include "base/checked.h"

#ifdef __cplusplus
extern "C" {
#endif

#define Q_FILE_MAGIC "QORUS\x1a\r\n"

enum {
    Q_FILE_VERSION = 3,
    Q_FILE_HEADER_SIZE = 256,

    /* hard caps */
    Q_CAP_TENSORS = 65536,
    Q_CAP_NAME = 127,             /* bytes of a name, terminator not counted */
    Q_CAP_STRINGS = 16 << 20,     /* bytes of the string section */
    Q_CAP_LAYERS = 1024,
    Q_CAP_HEADS = 1024,
    Q_CAP_HEAD_DIM = 1024,
    Q_CAP_WIDTH = 1 << 20,        /* d_model, d_ffn */
    Q_CAP_VOCAB = 1 << 20,
    Q_CAP_CONTEXT = 1 << 24,
    Q_CAP_SEQUENCES = 1 << 16, /* of a plan */
    Q_CAP_NODES = 65536,
    Q_CAP_GRAPH = 64 << 20,       /* bytes of the graph section */
    Q_CAP_GRAPH_IO = 64,          /* inputs, and outputs, of a graph */
    Q_CAP_CONFIG = 4096,          /* bytes of one node's config */
    Q_CAP_TOKENIZER = 64 << 20,
    Q_CAP_META = 65536,
    Q_CAP_ROPE_FACTOR = 1 << 20,
    Q_CAP_ROPE_MAGNITUDE = 1 << 10
};

typedef enum q_section {
    Q_SECTION_TENSORS = 0,   /* q_file_tensor_record[count], ascending by data offset */
    Q_SECTION_NAMES = 1,     /* u32[count]: indices of the tensors, strictly ascending by name,
                                bytewise */
    Q_SECTION_STRINGS = 2,   /* names, each with a NUL, in the order the records mention them
                                (TENSORS, then GRAPH: inputs, per node its name and its class's,
                                outputs); no gap. UTF-8 without control characters, 1 .. Q_CAP_NAME
                                bytes */
    Q_SECTION_ARCH = 3,      /* q_file_arch, then one q_layer_kind byte per layer; empty: no
                                language model */
    Q_SECTION_GRAPH = 4,     /* q_file_graph and its arrays; empty where ARCH is given */
    Q_SECTION_TOKENIZER = 5, /* a tokenizer section, which q_tokenizer_open() validates; or empty */
    Q_SECTION_META = 6,      /* UTF-8 text, control characters: newline, tab; where the model came
                                from; or empty */
    Q_SECTION_DATA = 7,      /* tensors, each at a multiple of 64, in record order, zero padded to
                                64 */
    Q_SECTION_COUNT = 8
} q_section;

typedef struct q_file_section {
    q_file_u64 offset; /* from the start of the file; an empty section stands where it would have
                          begun */
    q_file_u64 size;   /* bytes, padding not counted */
    uint32_t count;    /* records: TENSORS, NAMES, ARCH (layers), GRAPH (nodes); otherwise 0 */
    uint32_t reserved;
} q_file_section;

typedef struct q_file_header {
    uint8_t magic[8];      /* Q_FILE_MAGIC */
    uint32_t version;      /* 3 */
    uint32_t header_size;  /* 256 */
    q_file_u64 file_size;  /* multiple of 64 */
    uint32_t flags;        /* 0 */
    uint32_t n_sections;   /* 8 */
    q_file_section section[Q_SECTION_COUNT];
    uint8_t tables_sha256[32]; /* of bytes [0, start of DATA) with this field zero; for verify */
} q_file_header;

Q_STATIC_ASSERT(sizeof(q_file_section) == 24, "on-disk layout");
Q_STATIC_ASSERT(sizeof(q_file_header) == 256, "on-disk layout");

enum { Q_TENSOR_TRAINABLE = 1u << 0 };

typedef struct q_file_tensor_record {
    uint32_t name_offset; /* into STRINGS */
    uint16_t name_length; /* 1 .. Q_CAP_NAME, terminator not counted */
    uint8_t dtype;        /* q_dtype: F32, Q8_0, Q4_0, Q4_1, F16, BF16, I32 */
    uint8_t layout;       /* q_layout; PANEL16 needs n_dims = 2 */
    uint32_t n_dims;      /* 1 .. 4 */
    uint32_t flags;       /* Q_TENSOR_* */
    q_file_u64 ne[4];     /* the last n_dims are used, the others are 1; each 1 .. 2^32 - 1 */
    q_file_u64 offset;    /* from the start of the file; multiple of 64 */
    q_file_u64 size;      /* bytes = what dtype, layout and ne demand (qorus/base/panel.h) */
    uint8_t sha256[32];   /* of those bytes */
    uint8_t reserved[32];
} q_file_tensor_record;

Q_STATIC_ASSERT(sizeof(q_file_tensor_record) == 128, "on-disk layout");

/* ---- Architecture of a language model: a core builder expands it into an ordinary graph ------ */

typedef enum q_arch_kind { Q_ARCH_DECODER = 1 } q_arch_kind;

enum {
    Q_ARCH_TIED = 1u << 0,       /* logits come from the embedding matrix */
    Q_ARCH_QKV_BIAS = 1u << 1,
    Q_ARCH_QK_NORM = 1u << 2,    /* RMSNorm over head_dim of q and k before RoPE */
    Q_ARCH_POST_NORMS = 1u << 3  /* RMSNorm after attention and FFN, before the residual */
};

typedef enum q_rope_scaling {
    Q_ROPE_NONE = 0,
    Q_ROPE_LINEAR = 1,
    Q_ROPE_LLAMA3 = 2,
    Q_ROPE_YARN = 3
} q_rope_scaling;

typedef enum q_layer_kind {
    Q_LAYER_FULL = 0,
    Q_LAYER_WINDOW = 1,
    Q_LAYER_NO_ROPE = 2
} q_layer_kind;

typedef struct q_file_arch {
    uint32_t kind; /* q_arch_kind */
    uint32_t flags;
    uint32_t n_layers;
    uint32_t d_model;
    uint32_t n_heads;
    uint32_t n_kv_heads; /* divides n_heads */
    uint32_t head_dim;   /* even, multiple of 8 */
    uint32_t d_ffn;
    uint32_t n_vocab;
    uint32_t n_context;    /* positions the model was trained for */
    uint32_t activation;   /* gate of the FFN: Q_ACT_SILU or Q_ACT_GELU_TANH */
    uint32_t window;       /* of Q_LAYER_WINDOW layers: 1 .. n_context; 0 where there are none */
    float norm_eps;        /* > 0, <= 1, finite as all below */
    float norm_offset;     /* added to norm weights: 0 or 1 */
    float embed_scale;     /* 1 unless the model says so; this and the next three > 0 */
    float attn_scale;      /* usually 1/sqrt(head_dim) */
    float residual_scale; /* of what a sublayer gives, before it is added to x */
    float logit_scale;    /* of the logits */
    float attn_softcap;    /* >= 0; 0: none */
    float logit_softcap;   /* >= 0; c > 0: logits become c*tanh(logits/c), scaled before; 0: none */
    uint32_t rope_scaling; /* q_rope_scaling */
    uint32_t rope_dims;    /* rotated values of a head: even, 2 .. head_dim */
    uint32_t rope_pairing; /* 1: half-split (i, i + rope_dims/2); converters permute to it */
    uint32_t rope_original_context; /* llama3, yarn; else 0 */
    double rope_base;      /* > 1, <= 1e15 */
    double rope_local_base;/* of WINDOW layers, as rope_base; 0: the same, or no such layer */
    double rope_factor;    /* linear, llama3, yarn: 1 .. Q_CAP_ROPE_FACTOR; else 0 */
    double rope_low;       /* llama3: low_freq_factor; yarn: beta_slow; both > 0; else 0 */
    double rope_high;      /* llama3: high_freq_factor; yarn: beta_fast; > rope_low; else 0 */
    double rope_magnitude; /* factor on cos and sin: > 0, <= Q_CAP_ROPE_MAGNITUDE; 1 unless yarn */
    uint8_t reserved[112];
} q_file_arch;

Q_STATIC_ASSERT(sizeof(q_file_arch) == 256, "on-disk layout");

/*
 * Tensors a decoder needs (N = layer, 0-based); matrices are [out, in]:
 *   embed [n_vocab, d_model]; output [n_vocab, d_model] unless tied; norm [d_model]
 *   layers.N.attn_norm, .ffn_norm [d_model]
 *   layers.N.q [n_heads*head_dim, d_model]; .k, .v [n_kv_heads*head_dim, d_model]
 *   layers.N.o [d_model, n_heads*head_dim]
 *   layers.N.gate, .up [d_ffn, d_model]; .down [d_model, d_ffn]
 *   with the flags: layers.N.q_bias, .k_bias, .v_bias [rows of q, k, v]; .q_norm, .k_norm
 *   [head_dim]; .attn_post_norm, .ffn_post_norm [d_model]
 * Matrices are PANEL16 of any weight dtype; vectors are PLAIN F32. Nothing else may be present. The
 * order of the records is free.
 */

/* ---- Graph of any other model ---------------------------------------------------------------- */

typedef struct q_file_graph {
    uint32_t n_inputs;
    uint32_t n_outputs;
    uint32_t n_nodes;
    uint32_t n_edges;      /* u32 each: value read by a node input */
    uint32_t n_params;     /* u32 each: tensor bound to a node parameter */
    uint32_t n_values;     /* = n_inputs + sum of the nodes' outputs */
    uint32_t config_bytes; /* multiple of 8 */
    uint32_t reserved;
    /* then: q_file_graph_input[n_inputs], q_file_graph_node[n_nodes],
       q_file_graph_output[n_outputs], u32 edges[n_edges], u32 params[n_params], zeros to a multiple
       of 8, configs[config_bytes].
       Inputs, outputs and nodes: at least one. Every tensor is a parameter of some node, and
       records come in the order in which params first name them. Names of inputs differ, and those
       of outputs. What a class id means, how many inputs and parameters it takes and what its
       config says is checked by the model builder, which knows the classes. */
} q_file_graph;

/* Value i < n_inputs is input i. */
typedef struct q_file_graph_input {
    uint32_t name_offset;
    uint16_t name_length;
    uint8_t dtype;    /* F32 or I32 */
    uint8_t n_dims;   /* 1 .. 4 */
    uint32_t limit;   /* I32: values lie in [0, limit), 1 .. 2^31 - 1; F32: 0 */
    uint32_t reserved;
    uint32_t dim[4];  /* as ne of a tensor, each times the value of its symbol */
    uint32_t sym[4];  /* q_sym */
} q_file_graph_input;

/* Nodes in topological order: every edge names a value below the node's first output. The outputs
   of node i follow those of node i - 1. */
typedef struct q_file_graph_node {
    uint32_t class_id;       /* q_layer_class.id */
    uint32_t config_version;
    uint32_t name_offset;
    uint16_t name_length;
    uint8_t n_in;    /* 0 .. Q_MAX_INPUTS */
    uint8_t n_out;   /* 1 .. Q_MAX_OUTPUTS */
    uint8_t n_param; /* 0 .. Q_MAX_PARAMS */
    uint8_t reserved0[3];
    uint32_t config_size;    /* bytes, multiple of 8; configs follow each other in node order */
    uint32_t class_name_offset;
    uint16_t class_name_length;
    uint8_t reserved1[2];
} q_file_graph_node;

typedef struct q_file_graph_output {
    uint32_t value;
    uint32_t name_offset;
    uint16_t name_length;
    uint8_t reserved[6];
} q_file_graph_output;

Q_STATIC_ASSERT(sizeof(q_file_graph) == 32, "on-disk layout");
Q_STATIC_ASSERT(sizeof(q_file_graph_input) == 48, "on-disk layout");
Q_STATIC_ASSERT(sizeof(q_file_graph_node) == 32, "on-disk layout");
Q_STATIC_ASSERT(sizeof(q_file_graph_output) == 16, "on-disk layout");

/* ---- Opening --------------------------------------------------------------------------------- */

/* An opened file: views only; the bytes stay the caller's and must outlive it. Do not rely on its
   contents. */
typedef struct q_file {
    const uint8_t *base;   /* the file: data is read from here */
    uint64_t size;
    const uint8_t *tables; /* header and tables: base, or the validated copy */
    uint64_t tables_size;  /* = offset of the DATA section */
} q_file;

/*
 * Bytes that a copy of header and tables takes (everything before the DATA section), after checking
 * just the header. Errors as q_file_open. Cost: O(1).
 */
Q_NODISCARD q_error_code q_file_tables_size(const void *base, size_t size, size_t *bytes,
                                            q_diag *diag);

/*
 * Validates a whole file in one bounded pass and opens it. base: multiple of 64; size: exactly that
 * of the file. A host that is not little-endian cannot use a file in place: Q_ERR_UNSUPPORTED.
 *
 * copy NULL: the source cannot change (ROM, boot module, memory of the caller) and is used in
 * place. Otherwise header and tables are copied to copy (copy_size bytes, multiple-of-64 address)
 * first and the copy is what is validated and used from then on, so a file rewritten under its
 * mapping cannot undo the checks. On an error the contents of copy are undefined and *file is
 * untouched.
 *
 * Nothing of the DATA section is read (q_file_verify does that), so a NaN among the weights is
 * found when it is computed with, or by q_file_verify if it came from damage.
 *
 * Errors: Q_ERR_INVALID_ARG, ALIASING, MISALIGNED, NO_SPACE for the arguments; NOT_QORUS; VERSION;
 * TRUNCATED (need: bytes that should be there); LIMIT (a cap of the table above; need: the cap);
 * UNSUPPORTED (an enumeration or flag this build does not know); CORRUPT (everything else).
 * diag.what is the section or the tensor, input, node or output; field the field's name; offset its
 * place in the file. Cost: O(bytes before DATA + n log n) for n tensors.
 */
Q_NODISCARD q_error_code q_file_open(q_file *file, const void *base, size_t size, void *copy,
                                     size_t copy_size, q_diag *diag);

/*
 * Checks the SHA-256 of the tables (index UINT32_MAX), or of one tensor and that zeros follow it up
 * to the next one. Errors: Q_ERR_HASH or CORRUPT, which name it; INVALID_ARG for an index out of
 * range. A hash says that nothing was damaged, not that a file is benign. Cost: O(bytes).
 */
Q_NODISCARD q_error_code q_file_verify(const q_file *file, uint32_t index, q_diag *diag);

const q_file_header *q_file_get_header(const q_file *file);
uint32_t q_file_n_tensors(const q_file *file);
const q_file_tensor_record *q_file_record(const q_file *file, uint32_t index);

/* Name of a record of this file, terminated; offset and length are in the record. */
const char *q_file_name(const q_file *file, uint32_t name_offset);

/* Index of a tensor by name, Q_ERR_NOT_FOUND if there is none. O(log n). */
Q_NODISCARD q_error_code q_file_find(const q_file *file, const char *name, size_t length,
                                     uint32_t *index);

/*
 * View of a tensor in place, never to be written through. index < q_file_n_tensors. PANEL16: data
 * is the start of the first panel, nb[2] the bytes of one panel and, for quantised dtypes,
 * scales == data (a panel begins with its scales); PLAIN: scales is NULL. name is cut to fit.
 */
void q_file_tensor(const q_file *file, uint32_t index, q_tensor *out);

/* NULL where the section is empty. layer_kinds: one q_layer_kind per layer. */
const q_file_arch *q_file_get_arch(const q_file *file);
/* Checks a record that is in no file: followed, as in files, by one q_layer_kind byte for each of n_layers layers. Errors:
   those of q_file_open, diag.offset counting from the record. */
Q_NODISCARD q_error_code q_file_arch_check(const q_file_arch *arch, uint32_t n_layers, q_diag *diag);
const uint8_t *q_file_layer_kinds(const q_file *file);
const q_file_graph *q_file_get_graph(const q_file *file);
const void *q_file_section_data(const q_file *file, q_section section, size_t *size);

/* Arrays of a graph section, in place. */
typedef struct q_file_graph_view {
    const q_file_graph *head;
    const q_file_graph_input *inputs;
    const q_file_graph_node *nodes;
    const q_file_graph_output *outputs;
    const uint32_t *edges;  /* n_in of node 0, then of node 1, ... */
    const uint32_t *params; /* n_param of node 0, then of node 1, ... */
    const uint8_t *configs; /* config_size of node 0, then of node 1, ...; multiple of 8 */
} q_file_graph_view;

/* False where the file has no graph. O(1). */
bool q_file_graph_arrays(const q_file *file, q_file_graph_view *out);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_FORMAT_H */
