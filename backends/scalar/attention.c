/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by
 * online softmax.
 *
 * One (row, head) at a time, in chunks of 256 keys at absolute positions. A chunk first turns its
 * scores into p[256] and one factor per block of 64 (pass 1), then each output dimension runs
 * through its keys with the sum in a register (pass 2), so that no buffer of head_dim values is
 * needed: out holds the merged chunks.
 *
 * Masked keys are skipped, never read: beyond the last key the cache may hold anything.
 */
#include "qorus/base/kv.h"
#include "scalar.h"

enum {
    ATTN_BLOCK = 64,
    ATTN_CHUNK = 256,
    ATTN_BLOCKS = ATTN_CHUNK / ATTN_BLOCK,
    ATTN_KEYS = 16 /* keys of one panel of the K cache */
};

/* One query and what it sees. */
typedef struct attn_query {
    const q_attention_args *a;
    const q_real *q; /* [head_dim] */
    const uint8_t *k; /* of the kv head of the sequence */
    const uint8_t *v;
    uint32_t dtype;   /* of the cache: Q_REAL, Q_F16, Q_Q8_0 */
    uint32_t lo;      /* visible keys: lo <= j < hi */
    uint32_t hi;
} attn_query;

/* One chunk after pass 1. */
typedef struct attn_chunk {
    q_real p[ATTN_CHUNK];
    q_real rescale[ATTN_BLOCKS]; /* what o and l are multiplied with before block b */
    q_real max;
    q_real sum;
} attn_chunk;

/* n reals or halves of a cache, from element `at`. */
static void attn_load(const attn_query *t, const uint8_t *cache, size_t at, uint32_t n, q_real *x)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = t->dtype == Q_F16 ? (q_real)q_f32_from_f16(((const uint16_t *)(const void *)cache)[at + i])
                                 : ((const q_real *)(const void *)cache)[at + i];
    }
}

static q_real attn_q8_0(const uint8_t *group, size_t scale, size_t quant)
{
    q_real d = (q_real)q_f32_from_f16(((const uint16_t *)(const void *)group)[scale]);
    return d * (q_real)(int8_t)group[quant];
}

/* Dimension d of keys j .. j + n - 1, all of one group. */
static void attn_keys(const attn_query *t, uint32_t j, uint32_t d, uint32_t n, q_real k[ATTN_KEYS])
{
    uint32_t dim = t->a->head_dim;
    if (t->dtype != Q_Q8_0) {
        attn_load(t, t->k, (size_t)(j / ATTN_KEYS * dim + d) * ATTN_KEYS + j % ATTN_KEYS, n, k);
        return;
    }
    const uint8_t *group = t->k + q_kv_q8_0_group(dim, j);
    for (uint32_t i = 0; i < n; i++) {
        k[i] = attn_q8_0(group, q_kv_q8_0_scale(j + i, d), dim + (size_t)d * ATTN_KEYS + (j + i) % ATTN_KEYS);
    }
}

/* Dimensions d .. d + n - 1 of value j. */
static void attn_value(const attn_query *t, uint32_t j, uint32_t d, uint32_t n, q_real v[Q_LANES])
{
    uint32_t dim = t->a->head_dim;
    if (t->dtype != Q_Q8_0) {
        attn_load(t, t->v, (size_t)j * dim + d, n, v);
        return;
    }
    const uint8_t *group = t->v + q_kv_q8_0_group(dim, j);
    for (uint32_t i = 0; i < n; i++) {
        v[i] = attn_q8_0(group, q_kv_q8_0_scale(j, d + i), dim + (size_t)(j % ATTN_KEYS) * dim + d + i);
    }
}

/* Scores of keys j0 .. j1 - 1, all of one panel, into s[0 .. j1 - j0). */
static void attn_panel_scores(const attn_query *t, uint32_t j0, uint32_t j1, q_real *s)
{
    const q_attention_args *a = t->a;
    uint32_t n = j1 - j0;
    q_real k[ATTN_KEYS];
    q_real acc[ATTN_KEYS] = {0};
    for (uint32_t d = 0; d < a->head_dim; d++) {
        attn_keys(t, j0, d, n, k);
        for (uint32_t i = 0; i < n; i++) {
            acc[i] = q_fma(t->q[d], k[i], acc[i]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        q_real score = acc[i] * a->scale;
        s[i] = a->softcap > 0 ? a->softcap * q_tanh(score / a->softcap) : score;
    }
}

/* Block of keys j0 .. j1 - 1, a range of visible keys: p[] becomes their weights; max and sum move
   on. */
static void attn_block(const attn_query *t, attn_chunk *c, uint32_t block, uint32_t j0, uint32_t j1,
                       bool first)
{
    q_real *p = c->p + (j0 % ATTN_CHUNK);
    q_real lane[Q_LANES];
    q_real max = c->max;
    for (uint32_t j = j0; j < j1;) {
        uint32_t end = (j / ATTN_KEYS + 1u) * ATTN_KEYS;
        end = end < j1 ? end : j1;
        attn_panel_scores(t, j, end, p + (j - j0));
        j = end;
    }
    for (uint32_t i = 0; i < j1 - j0; i++) {
        max = scalar_max(p[i], max);
    }
    c->rescale[block] = first ? 0 : q_exp(c->max - max);
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < j1 - j0; i++) {
        uint32_t at = (j0 + i) % Q_LANES;
        p[i] = q_exp(p[i] - max);
        lane[at] = lane[at] + p[i];
    }
    c->sum = c->sum * c->rescale[block] + scalar_lane_sum(lane);
    c->max = max;
}

/* Pass 1 over the visible keys lo .. hi - 1 of one chunk. */
static void attn_weights(const attn_query *t, attn_chunk *c, uint32_t lo, uint32_t hi)
{
    c->max = scalar_minus_infinity();
    c->sum = 0;
    for (uint32_t j = lo; j < hi;) {
        uint32_t end = (j / ATTN_BLOCK + 1u) * ATTN_BLOCK;
        end = end < hi ? end : hi;
        attn_block(t, c, j % ATTN_CHUNK / ATTN_BLOCK, j, end, j == lo);
        j = end;
    }
}

/* Pass 2: dimensions d0 .. d0 + n - 1 of the chunk's own o. */
static void attn_values(const attn_query *t, const attn_chunk *c, uint32_t lo, uint32_t hi,
                        uint32_t d0, uint32_t n, q_real o[Q_LANES])
{
    for (uint32_t i = 0; i < n; i++) {
        o[i] = 0;
    }
    for (uint32_t j = lo; j < hi; j++) {
        q_real p = c->p[j % ATTN_CHUNK];
        q_real v[Q_LANES];
        if (j % ATTN_BLOCK == 0 && j != lo) {
            for (uint32_t i = 0; i < n; i++) {
                o[i] = o[i] * c->rescale[j % ATTN_CHUNK / ATTN_BLOCK];
            }
        }
        attn_value(t, j, d0, n, v);
        for (uint32_t i = 0; i < n; i++) {
            o[i] = q_fma(p, v[i], o[i]);
        }
    }
}

/* Merges a chunk into out, whose factor is old; the chunk's own factor is new. The first chunk is
   stored. */
static void attn_merge(const attn_query *t, const attn_chunk *c, uint32_t lo, uint32_t hi,
                       q_real *out, q_real old, q_real new_factor, bool first)
{
    uint32_t dim = t->a->head_dim;
    for (uint32_t d = 0; d < dim; d += Q_LANES) {
        uint32_t n = dim - d < Q_LANES ? dim - d : (uint32_t)Q_LANES;
        q_real o[Q_LANES];
        attn_values(t, c, lo, hi, d, n, o);
        for (uint32_t i = 0; i < n; i++) {
            out[d + i] = first ? o[i] : out[d + i] * old + o[i] * new_factor;
        }
    }
}

static void attn_head(const attn_query *t, q_real *out, q_real *lse)
{
    attn_chunk c;
    q_real max = 0;
    q_real sum = 0;
    for (uint32_t lo = t->lo; lo < t->hi;) {
        uint32_t hi = (lo / ATTN_CHUNK + 1u) * ATTN_CHUNK;
        hi = hi < t->hi ? hi : t->hi;
        attn_weights(t, &c, lo, hi);
        if (lo == t->lo) {
            attn_merge(t, &c, lo, hi, out, 0, 1, true);
            max = c.max;
            sum = c.sum;
        } else {
            q_real both = scalar_max(c.max, max);
            q_real old = q_exp(max - both);
            q_real new_factor = q_exp(c.max - both);
            attn_merge(t, &c, lo, hi, out, old, new_factor, false);
            sum = sum * old + c.sum * new_factor;
            max = both;
        }
        lo = hi;
    }
    for (uint32_t d = 0; d < t->a->head_dim; d++) {
        out[d] = out[d] / sum;
    }
    if (lse != NULL) {
        *lse = max + q_log(sum);
    }
}

/* Units are (row, head), dealt out in turn, so that decode and prefill both balance. */
static inline void attention_units(const q_work *work, const q_attention_args *a, uint32_t dtype)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t units = rows * a->heads;
    attn_query t;
    t.a = a;
    t.dtype = dtype;
    for (uint32_t u = work->worker; u < units; u += work->n_workers) {
        uint32_t r = u / a->heads;
        uint32_t h = u % a->heads;
        uint32_t kv_head = h / (a->heads / a->kv_heads);
        uint32_t part = a->per_sample != 0 ? r / a->per_sample : q_span_index_of_row(work->run, r);
        q_span span = q_counted_part_at(work->run, rows, a->per_sample, a->lengths, part);
        size_t head = (size_t)q_kv_head_bytes(dtype, a->capacity, a->head_dim) * kv_head;
        q_real *out = scalar_row_out(a->out, a->out_stride, r) + (size_t)h * a->head_dim;
        if (r - span.row >= span.rows) {
            memset(out, 0, a->head_dim * sizeof(q_real));
            continue;
        }
        t.q = scalar_row(a->q, a->q_stride, r) + (size_t)h * a->head_dim;
        t.k = (const uint8_t *)a->k_cache + span.sequence * a->sequence_stride + head;
        t.v = (const uint8_t *)a->v_cache + span.sequence * a->sequence_stride + head;
        t.hi = a->full ? span.rows : span.position + (r - span.row) + 1u;
        t.lo = a->window != 0 && t.hi > a->window ? t.hi - a->window : 0;
        attn_head(&t, out, a->lse != NULL ? a->lse + (size_t)r * a->heads + h : NULL);
    }
}

void q_attention_f32_scalar(const q_work *work, const q_attention_args *a)
{
    attention_units(work, a, Q_REAL);
}

void q_attention_f16_scalar(const q_work *work, const q_attention_args *a)
{
    attention_units(work, a, Q_F16);
}

void q_attention_q8_0_scalar(const q_work *work, const q_attention_args *a)
{
    attention_units(work, a, Q_Q8_0);
}
