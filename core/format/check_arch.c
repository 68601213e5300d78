/* SPDX-License-Identifier: MIT */
/*
 * check_arch.c: validates the architecture record of a language model, and that each tensor it
 * needs is there exactly once, in the right shape and kind, and nothing else is.
 *
 * Floats are judged by their bits, without floating-point arithmetic: none may be negative, and the
 * bits of non-negative IEEE numbers order as integers.
 */
#include "format_check.h"

#define ARCH_AT(member) offsetof(q_file_arch, member)

/* A 32-bit count of the record and its range. */
typedef struct arch_count {
    char name[24];
    uint32_t at;
    uint32_t min;
    uint32_t max;
} arch_count;

static const arch_count arch_counts[] = {
    {"n_layers", ARCH_AT(n_layers), 1, Q_CAP_LAYERS},
    {"d_model", ARCH_AT(d_model), 1, Q_CAP_WIDTH},
    {"n_heads", ARCH_AT(n_heads), 1, Q_CAP_HEADS},
    {"n_kv_heads", ARCH_AT(n_kv_heads), 1, Q_CAP_HEADS},
    {"head_dim", ARCH_AT(head_dim), 8, Q_CAP_HEAD_DIM},
    {"d_ffn", ARCH_AT(d_ffn), 1, Q_CAP_WIDTH},
    {"n_vocab", ARCH_AT(n_vocab), 1, Q_CAP_VOCAB},
    {"n_context", ARCH_AT(n_context), 1, Q_CAP_CONTEXT},
    {"window", ARCH_AT(window), 0, Q_CAP_CONTEXT},
    {"rope_dims", ARCH_AT(rope_dims), 2, Q_CAP_HEAD_DIM},
    {"rope_original_context", ARCH_AT(rope_original_context), 0, Q_CAP_CONTEXT},
};

enum { ARCH_ZERO = 1, ARCH_DOUBLE = 2 };

#define ARCH_FLOAT_ONE 0x3f800000u
#define ARCH_FLOAT_MAX 0x7f7fffffu
#define ARCH_DOUBLE_ONE 0x3ff0000000000000u
#define ARCH_DOUBLE_1E15 0x430c6bf526340000u
#define ARCH_DOUBLE_MAX 0x7fefffffffffffffu
#define ARCH_DOUBLE_ROPE_FACTOR 0x4130000000000000u    /* Q_CAP_ROPE_FACTOR */
#define ARCH_DOUBLE_ROPE_MAGNITUDE 0x4090000000000000u /* Q_CAP_ROPE_MAGNITUDE */

/* A float of the record and the range of its bits; ARCH_ZERO: 0 is allowed as well. */
typedef struct arch_real {
    char name[24];
    uint32_t at;
    uint32_t flags;
    uint64_t min;
    uint64_t max;
} arch_real;

static const arch_real arch_reals[] = {
    {"norm_eps", ARCH_AT(norm_eps), 0, 1, ARCH_FLOAT_ONE},
    {"norm_offset", ARCH_AT(norm_offset), ARCH_ZERO, ARCH_FLOAT_ONE, ARCH_FLOAT_ONE},
    {"embed_scale", ARCH_AT(embed_scale), 0, 1, ARCH_FLOAT_MAX},
    {"attn_scale", ARCH_AT(attn_scale), 0, 1, ARCH_FLOAT_MAX},
    {"residual_scale", ARCH_AT(residual_scale), 0, 1, ARCH_FLOAT_MAX},
    {"logit_scale", ARCH_AT(logit_scale), 0, 1, ARCH_FLOAT_MAX},
    {"attn_softcap", ARCH_AT(attn_softcap), ARCH_ZERO, 1, ARCH_FLOAT_MAX},
    {"logit_softcap", ARCH_AT(logit_softcap), ARCH_ZERO, 1, ARCH_FLOAT_MAX},
    {"rope_base", ARCH_AT(rope_base), ARCH_DOUBLE, ARCH_DOUBLE_ONE + 1u, ARCH_DOUBLE_1E15},
    {"rope_local_base", ARCH_AT(rope_local_base), ARCH_DOUBLE | ARCH_ZERO, ARCH_DOUBLE_ONE + 1u,
     ARCH_DOUBLE_1E15},
    {"rope_factor", ARCH_AT(rope_factor), ARCH_DOUBLE | ARCH_ZERO, ARCH_DOUBLE_ONE,
     ARCH_DOUBLE_ROPE_FACTOR},
    {"rope_low", ARCH_AT(rope_low), ARCH_DOUBLE | ARCH_ZERO, 1, ARCH_DOUBLE_MAX},
    {"rope_high", ARCH_AT(rope_high), ARCH_DOUBLE | ARCH_ZERO, 1, ARCH_DOUBLE_MAX},
    {"rope_magnitude", ARCH_AT(rope_magnitude), ARCH_DOUBLE, 1, ARCH_DOUBLE_ROPE_MAGNITUDE},
};

static const q_file_arch *arch_of(const q_format_check *check)
{
    uint64_t at = check->header->section[Q_SECTION_ARCH].offset.v;
    return (const q_file_arch *)(const void *)(check->tables + at);
}

static q_error_code arch_fail(const q_format_check *check, q_error_code code, const char *field,
                              size_t at, uint64_t need, uint64_t have)
{
    return q_format_fail(check->diag, code, "arch", field,
                         check->header->section[Q_SECTION_ARCH].offset.v + at, need, have);
}

static uint64_t arch_bits(const q_file_arch *arch, uint32_t at, uint32_t flags)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    if ((flags & ARCH_DOUBLE) != 0) {
        memcpy(&wide, (const uint8_t *)arch + at, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, (const uint8_t *)arch + at, sizeof(narrow));
    return narrow;
}

static q_error_code arch_check_counts(const q_format_check *check, const q_file_arch *arch)
{
    for (size_t i = 0; i < sizeof(arch_counts) / sizeof(arch_counts[0]); i++) {
        const arch_count *c = &arch_counts[i];
        uint64_t v = arch_bits(arch, c->at, 0);
        if (v < c->min) {
            return arch_fail(check, Q_ERR_CORRUPT, c->name, c->at, c->min, v);
        }
        if (v > c->max) {
            return arch_fail(check, Q_ERR_LIMIT, c->name, c->at, c->max, v);
        }
    }
    return Q_OK;
}

static q_error_code arch_check_reals(const q_format_check *check, const q_file_arch *arch)
{
    for (size_t i = 0; i < sizeof(arch_reals) / sizeof(arch_reals[0]); i++) {
        const arch_real *r = &arch_reals[i];
        uint64_t bits = arch_bits(arch, r->at, r->flags);
        if (bits == 0 && (r->flags & ARCH_ZERO) != 0) {
            continue;
        }
        if (bits < r->min || bits > r->max) {
            return arch_fail(check, Q_ERR_CORRUPT, r->name, r->at, bits < r->min ? r->min : r->max,
                             bits);
        }
    }
    return Q_OK;
}

/* Values this build must know. */
static q_error_code arch_check_kinds(const q_format_check *check, const q_file_arch *a)
{
    const uint32_t flags = Q_ARCH_TIED | Q_ARCH_QKV_BIAS | Q_ARCH_QK_NORM | Q_ARCH_POST_NORMS;
    if (a->kind != Q_ARCH_DECODER) {
        return arch_fail(check, Q_ERR_UNSUPPORTED, "kind", ARCH_AT(kind), Q_ARCH_DECODER, a->kind);
    }
    if ((a->flags & ~flags) != 0) {
        return arch_fail(check, Q_ERR_UNSUPPORTED, "flags", ARCH_AT(flags), flags, a->flags);
    }
    if (a->activation != Q_ACT_SILU && a->activation != Q_ACT_GELU_TANH) {
        return arch_fail(check, Q_ERR_UNSUPPORTED, "activation", ARCH_AT(activation), Q_ACT_SILU,
                         a->activation);
    }
    if (a->rope_scaling > Q_ROPE_YARN) {
        return arch_fail(check, Q_ERR_UNSUPPORTED, "rope_scaling", ARCH_AT(rope_scaling),
                         Q_ROPE_YARN, a->rope_scaling);
    }
    if (a->rope_pairing != 1) {
        return arch_fail(check, Q_ERR_UNSUPPORTED, "rope_pairing", ARCH_AT(rope_pairing), 1,
                         a->rope_pairing);
    }
    return Q_OK;
}

static q_error_code arch_check_heads(const q_format_check *check, const q_file_arch *a)
{
    uint32_t layers = check->header->section[Q_SECTION_ARCH].count;
    size_t bad = q_format_zeros(a->reserved, sizeof(a->reserved));
    if (a->n_layers != layers) {
        return arch_fail(check, Q_ERR_CORRUPT, "n_layers", ARCH_AT(n_layers), layers, a->n_layers);
    }
    if (a->n_heads % a->n_kv_heads != 0) {
        return arch_fail(check, Q_ERR_CORRUPT, "n_kv_heads", ARCH_AT(n_kv_heads), a->n_heads,
                         a->n_kv_heads);
    }
    if (a->head_dim % 8u != 0) {
        return arch_fail(check, Q_ERR_CORRUPT, "head_dim", ARCH_AT(head_dim), 8, a->head_dim);
    }
    if (a->rope_dims % 2u != 0 || a->rope_dims > a->head_dim) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_dims", ARCH_AT(rope_dims), a->head_dim,
                         a->rope_dims);
    }
    if (bad != sizeof(a->reserved)) {
        return arch_fail(check, Q_ERR_CORRUPT, "reserved", ARCH_AT(reserved) + bad, 0,
                         a->reserved[bad]);
    }
    return Q_OK;
}

/* A field must be set exactly where the scaling uses it. */
static q_error_code arch_check_rope_use(const q_format_check *check, const q_file_arch *a)
{
    bool scaled = a->rope_scaling != Q_ROPE_NONE;
    bool ranged = a->rope_scaling == Q_ROPE_LLAMA3 || a->rope_scaling == Q_ROPE_YARN;
    uint64_t factor = arch_bits(a, ARCH_AT(rope_factor), ARCH_DOUBLE);
    uint64_t low = arch_bits(a, ARCH_AT(rope_low), ARCH_DOUBLE);
    uint64_t high = arch_bits(a, ARCH_AT(rope_high), ARCH_DOUBLE);
    uint64_t magnitude = arch_bits(a, ARCH_AT(rope_magnitude), ARCH_DOUBLE);
    if (scaled != (factor != 0)) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_factor", ARCH_AT(rope_factor), 0, factor);
    }
    if (ranged != (a->rope_original_context != 0)) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_original_context",
                         ARCH_AT(rope_original_context), 0, a->rope_original_context);
    }
    if (ranged != (low != 0)) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_low", ARCH_AT(rope_low), 0, low);
    }
    if (ranged ? high <= low : high != 0) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_high", ARCH_AT(rope_high), low, high);
    }
    if (a->rope_scaling != Q_ROPE_YARN && magnitude != ARCH_DOUBLE_ONE) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_magnitude", ARCH_AT(rope_magnitude),
                         ARCH_DOUBLE_ONE, magnitude);
    }
    return Q_OK;
}

static q_error_code arch_check_layers(const q_format_check *check, const q_file_arch *a)
{
    const uint8_t *kinds = (const uint8_t *)a + sizeof(*a);
    uint64_t local = arch_bits(a, ARCH_AT(rope_local_base), ARCH_DOUBLE);
    bool windowed = false;
    for (uint32_t i = 0; i < a->n_layers; i++) {
        if (kinds[i] > Q_LAYER_NO_ROPE) {
            return arch_fail(check, Q_ERR_UNSUPPORTED, "layer kind", sizeof(*a) + i,
                             Q_LAYER_NO_ROPE, kinds[i]);
        }
        windowed = windowed || kinds[i] == Q_LAYER_WINDOW;
    }
    if (windowed ? a->window == 0 || a->window > a->n_context : a->window != 0) {
        return arch_fail(check, Q_ERR_CORRUPT, "window", ARCH_AT(window),
                         windowed ? a->n_context : 0, a->window);
    }
    if (!windowed && local != 0) {
        return arch_fail(check, Q_ERR_CORRUPT, "rope_local_base", ARCH_AT(rope_local_base), 0,
                         local);
    }
    return Q_OK;
}

/* ---- Tensors --------------------------------------------------------------------------------- */

typedef enum arch_size {
    ARCH_SIZE_VECTOR, /* as rows: a plain F32 vector of `columns` values */
    ARCH_SIZE_MODEL,
    ARCH_SIZE_FFN,
    ARCH_SIZE_HEADS,
    ARCH_SIZE_KV,
    ARCH_SIZE_HEAD,
    ARCH_SIZE_VOCAB
} arch_size;

/* One tensor of a layer or of the model; needed if `with` is 0 or among the flags. */
typedef struct arch_part {
    char name[16];
    uint8_t with;
    uint8_t rows;    /* arch_size */
    uint8_t columns; /* arch_size */
} arch_part;

static const arch_part arch_layer_parts[] = {
    {"attn_norm", 0, ARCH_SIZE_VECTOR, ARCH_SIZE_MODEL},
    {"q", 0, ARCH_SIZE_HEADS, ARCH_SIZE_MODEL},
    {"k", 0, ARCH_SIZE_KV, ARCH_SIZE_MODEL},
    {"v", 0, ARCH_SIZE_KV, ARCH_SIZE_MODEL},
    {"o", 0, ARCH_SIZE_MODEL, ARCH_SIZE_HEADS},
    {"ffn_norm", 0, ARCH_SIZE_VECTOR, ARCH_SIZE_MODEL},
    {"gate", 0, ARCH_SIZE_FFN, ARCH_SIZE_MODEL},
    {"up", 0, ARCH_SIZE_FFN, ARCH_SIZE_MODEL},
    {"down", 0, ARCH_SIZE_MODEL, ARCH_SIZE_FFN},
    {"q_bias", Q_ARCH_QKV_BIAS, ARCH_SIZE_VECTOR, ARCH_SIZE_HEADS},
    {"k_bias", Q_ARCH_QKV_BIAS, ARCH_SIZE_VECTOR, ARCH_SIZE_KV},
    {"v_bias", Q_ARCH_QKV_BIAS, ARCH_SIZE_VECTOR, ARCH_SIZE_KV},
    {"q_norm", Q_ARCH_QK_NORM, ARCH_SIZE_VECTOR, ARCH_SIZE_HEAD},
    {"k_norm", Q_ARCH_QK_NORM, ARCH_SIZE_VECTOR, ARCH_SIZE_HEAD},
    {"attn_post_norm", Q_ARCH_POST_NORMS, ARCH_SIZE_VECTOR, ARCH_SIZE_MODEL},
    {"ffn_post_norm", Q_ARCH_POST_NORMS, ARCH_SIZE_VECTOR, ARCH_SIZE_MODEL},
};

static const arch_part arch_embed_part = {"embed", 0, ARCH_SIZE_VOCAB, ARCH_SIZE_MODEL};
static const arch_part arch_output_part = {"output", 0, ARCH_SIZE_VOCAB, ARCH_SIZE_MODEL};
static const arch_part arch_norm_part = {"norm", 0, ARCH_SIZE_VECTOR, ARCH_SIZE_MODEL};

enum {
    ARCH_LAYER_PARTS = sizeof(arch_layer_parts) / sizeof(arch_layer_parts[0]),
    ARCH_NAME = 40,
    ARCH_GLOBAL = UINT16_MAX
};

/* No product of capped counts can wrap 32 bits. */
Q_STATIC_ASSERT(Q_CAP_HEADS <= UINT32_MAX / Q_CAP_HEAD_DIM, "heads times head_dim fits 32 bits");

static uint64_t arch_extent(const q_file_arch *a, uint32_t size)
{
    switch (size) {
    case ARCH_SIZE_MODEL:
        return a->d_model;
    case ARCH_SIZE_FFN:
        return a->d_ffn;
    case ARCH_SIZE_HEADS:
        return (uint64_t)a->n_heads * a->head_dim;
    case ARCH_SIZE_KV:
        return (uint64_t)a->n_kv_heads * a->head_dim;
    case ARCH_SIZE_HEAD:
        return a->head_dim;
    case ARCH_SIZE_VOCAB:
        return a->n_vocab;
    default:
        return 1;
    }
}

/* "layers.N.part", or "part" for layer ARCH_GLOBAL: at most 7 + 4 + 1 + 15 bytes. Returns the
   length. */
static size_t arch_name(char name[ARCH_NAME], uint32_t layer, const char *part)
{
    q_text text;
    q_text_init(&text, name, ARCH_NAME);
    if (layer != ARCH_GLOBAL) {
        q_text_str(&text, "layers.");
        q_text_u64(&text, layer, 0);
        q_text_str(&text, ".");
    }
    q_text_str(&text, part);
    return text.length;
}

static q_error_code arch_check_part(const q_format_check *check, const q_file_arch *a,
                                    uint32_t layer, const arch_part *part)
{
    char name[ARCH_NAME];
    uint32_t index = q_format_find(check->tables, name, arch_name(name, layer, part->name));
    uint64_t rows = arch_extent(a, part->rows);
    uint64_t columns = arch_extent(a, part->columns);
    uint32_t n_dims = part->rows == ARCH_SIZE_VECTOR ? 1 : 2;
    const uint64_t start = check->header->section[Q_SECTION_TENSORS].offset.v;
    const uint64_t at = start + (uint64_t)index * sizeof(q_file_tensor_record);
    const uint64_t at_ne = at + offsetof(q_file_tensor_record, ne);
    const q_file_tensor_record *r = &check->records[index == UINT32_MAX ? 0 : index];
    if (index == UINT32_MAX) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "missing", start, 1, 0);
    }
    if (r->n_dims != n_dims) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "n_dims",
                             at + offsetof(q_file_tensor_record, n_dims), n_dims, r->n_dims);
    }
    if (r->ne[2].v != rows) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "ne[2]", at_ne + 16, rows,
                             r->ne[2].v);
    }
    if (r->ne[3].v != columns) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "ne[3]", at_ne + 24, columns,
                             r->ne[3].v);
    }
    if (n_dims == 1 ? r->dtype != Q_F32 : r->dtype == Q_I32) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "dtype",
                             at + offsetof(q_file_tensor_record, dtype), Q_F32, r->dtype);
    }
    if (n_dims == 2 && r->layout != Q_PANEL16) { /* no record puts a vector into panels */
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "layout",
                             at + offsetof(q_file_tensor_record, layout), Q_PANEL16, r->layout);
    }
    return Q_OK;
}

static bool arch_needs(const q_file_arch *a, const arch_part *part)
{
    return part->with == 0 || (a->flags & part->with) != 0;
}

/* The layer a name of at least 7 bytes claims, below n_layers, or ARCH_GLOBAL; *rest is the place
   after "layers.N.". */
static uint32_t arch_claimed_layer(const char *name, uint32_t n_layers, size_t *rest)
{
    char prefix[ARCH_NAME];
    uint32_t layer = 0;
    for (size_t i = 7; i < 11 && name[i] >= '0' && name[i] <= '9'; i++) {
        layer = layer * 10u + (uint32_t)(name[i] - '0');
    }
    *rest = layer < n_layers ? arch_name(prefix, layer, "") : 0;
    if (*rest == 0 || memcmp(prefix, name, *rest) != 0) {
        *rest = 0;
        return ARCH_GLOBAL;
    }
    return layer;
}

/* True if the architecture has a place for a tensor of that name. */
static bool arch_wants(const q_file_arch *a, const char *name, size_t length)
{
    size_t rest = 0;
    if (length < 9) {
        return q_names_equal(name, "embed") || q_names_equal(name, "norm") ||
               (q_names_equal(name, "output") && (a->flags & Q_ARCH_TIED) == 0);
    }
    if (arch_claimed_layer(name, a->n_layers, &rest) == ARCH_GLOBAL) {
        return false;
    }
    for (size_t i = 0; i < ARCH_LAYER_PARTS; i++) {
        if (arch_needs(a, &arch_layer_parts[i]) &&
            q_names_equal(name + rest, arch_layer_parts[i].name)) {
            return true;
        }
    }
    return false;
}

/* Called once every needed tensor has been found: whatever is more than those is named here. */
static q_error_code arch_check_extra(const q_format_check *check, const q_file_arch *a,
                                     uint64_t needed)
{
    uint64_t at = check->header->section[Q_SECTION_TENSORS].offset.v;
    if (needed == check->n_tensors) {
        return Q_OK;
    }
    for (uint32_t i = 0; i < check->n_tensors; i++, at += sizeof(q_file_tensor_record)) {
        const q_file_tensor_record *r = &check->records[i];
        const char *name = check->strings + r->name_offset;
        if (!arch_wants(a, name, r->name_length)) {
            return q_format_fail(check->diag, Q_ERR_CORRUPT, name, "not wanted", at, 0, 1);
        }
    }
    return q_format_fail(check->diag, Q_ERR_CORRUPT, "tensors", "count",
                         q_format_section_at(Q_SECTION_TENSORS) + offsetof(q_file_section, count),
                         needed, check->n_tensors);
}

static q_error_code arch_check_parts(const q_format_check *check, const q_file_arch *a)
{
    uint64_t needed = 2;
    q_error_code code = arch_check_part(check, a, ARCH_GLOBAL, &arch_embed_part);
    if (code == Q_OK) {
        code = arch_check_part(check, a, ARCH_GLOBAL, &arch_norm_part);
    }
    if (code == Q_OK && (a->flags & Q_ARCH_TIED) == 0) {
        needed++;
        code = arch_check_part(check, a, ARCH_GLOBAL, &arch_output_part);
    }
    for (uint32_t layer = 0; code == Q_OK && layer < a->n_layers; layer++) {
        for (size_t i = 0; code == Q_OK && i < ARCH_LAYER_PARTS; i++) {
            if (arch_needs(a, &arch_layer_parts[i])) {
                needed++;
                code = arch_check_part(check, a, layer, &arch_layer_parts[i]);
            }
        }
    }
    return code == Q_OK ? arch_check_extra(check, a, needed) : code;
}

/* Everything but the tensors. */
static q_error_code arch_check_record(const q_format_check *check, const q_file_arch *arch)
{
    q_error_code code = arch_check_kinds(check, arch);
    if (code == Q_OK) {
        code = arch_check_counts(check, arch);
    }
    if (code == Q_OK) {
        code = arch_check_reals(check, arch);
    }
    if (code == Q_OK) {
        code = arch_check_heads(check, arch);
    }
    if (code == Q_OK) {
        code = arch_check_rope_use(check, arch);
    }
    if (code == Q_OK) {
        code = arch_check_layers(check, arch);
    }
    return code;
}

q_error_code q_format_check_arch(q_format_check *check)
{
    const q_file_arch *arch = arch_of(check);
    q_error_code code;
    if (check->header->section[Q_SECTION_ARCH].count == 0) {
        return Q_OK;
    }
    code = arch_check_record(check, arch);
    return code == Q_OK ? arch_check_parts(check, arch) : code;
}

q_error_code q_file_arch_check(const q_file_arch *arch, uint32_t n_layers, q_diag *diag)
{
    q_format_check check;
    q_file_header header;
    memset(&check, 0, sizeof(check));
    memset(&header, 0, sizeof(header));
    header.section[Q_SECTION_ARCH].count = n_layers;
    check.header = &header;
    check.diag = diag;
    return arch_check_record(&check, arch);
}
