/* SPDX-License-Identifier: MIT */
/*
 * kernels_attention.h: argument structs of the kernels of attention and of its caches, a part of kernels.h, where what holds
 * for all kernels is said.
 */
#include "kernels.h"

#ifndef QORUS_KERNELS_ATTENTION_H
#define QORUS_KERNELS_ATTENTION_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * One layer's KV cache: per sequence and kv head, K as [capacity/16][head_dim][16] and V as
 * [capacity][head_dim]; capacity is a multiple of 64. Element type f32 or f16 (rounded half to even), or Q8_0 in
 * groups of 16 positions (qorus/base/kv.h), head_dim a multiple of 32.
 *
 * kv_store_q8_0, per block of 32 dimensions of a token, in f32, as GGUF and q_quantize() have it: amax = max|x|,
 *   d = amax/127; q = x*(1/d) rounded half away from zero, with d before its rounding; stored are d as f16 (half to
 *   even) and q. 1/d counts as 0 where it is not finite. A NaN counts as 0 in amax's max and gives q = 0; where d
 *   exceeds f16 it is infinity, and q as computed. Bytes of other positions stay as they are.
 */
typedef struct q_kv_store_args {
    q_count rows; /* tokens of this step: written at the positions of their spans */
    uint32_t kv_heads;
    uint32_t head_dim;
    uint32_t capacity;
    const q_real *k; /* [rows][kv_heads*head_dim] */
    size_t k_stride;
    const q_real *v;
    size_t v_stride;
    void *k_cache; /* of sequence 0: [kv_heads] heads of K */
    void *v_cache; /* of sequence 0: [kv_heads] heads of V */
    size_t sequence_stride; /* bytes from one sequence's caches to the next one's */
    uint32_t per_sample;    /* as in q_attention_args */
    uint32_t reserved;
} q_kv_store_args;

/*
 * out[r][h] = sum over j of p_j * v_j, p = softmax(scale * q.k), over the keys of row r's sequence at positions up to
 * its own that lie within `window` (0: all). Head h reads kv head h / (heads/kv_heads).
 *
 * Order: score s_j = chain of fma over head_dim, ascending, from 0, times scale (softcap c > 0: c*tanh(s/c)).
 * Keys come in chunks of 256 and blocks of 64 at absolute positions, ascending. Per block: m' = max(m, max s);
 * a = exp(m - m') (0 for the first block); p_j = exp(s_j - m'), masked keys exactly 0; l = l*a + sum(p) (lanes
 * and tree); o = o*a, then o = fma(p_j, v_j, o), j ascending. Each chunk starts afresh; chunks merge in order:
 * m' = max(m1, m2), o = o1*exp(m1-m') + o2*exp(m2-m'), l likewise, products rounded before the sum. At the end
 * out = o / l. Blocks and chunks with no visible key are skipped. attention_q8_0 does the same over the values d*q,
 * exact in f32. Online softmax: Milakov and Gimelshein 2018, arXiv:1805.02867. lse = m + log(l), for the backward pass;
 * it changes no bit of out.
 */
typedef struct q_attention_args {
    q_count rows;
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t head_dim;
    uint32_t capacity;
    uint32_t window;
    q_real scale;
    q_real softcap;
    const q_real *q; /* [rows][heads*head_dim] */
    size_t q_stride;
    const void *k_cache; /* as q_kv_store_args */
    const void *v_cache;
    size_t sequence_stride;
    q_real *out; /* [rows][heads*head_dim] */
    size_t out_stride;
    q_real *lse; /* [rows][heads], or NULL */
    uint32_t full;       /* 1: every key of the row's span; positions begin at 0 */
    uint32_t per_sample; /* rows of a sample: spans are samples, the cache's sequences; 0: spans of the run block */
    /* of samples: how many rows of each count, 1 .. per_sample. Those behind are padding: no row sees them, their out is 0 and
       their lse stays. NULL: all rows count. */
    const int32_t *lengths;
} q_attention_args;

/* q_part_at of rows that count. */
static inline q_span q_counted_part_at(const q_run *run, uint32_t rows, uint32_t per_sample, const int32_t *lengths, uint32_t i)
{
    q_span s = q_part_at(run, rows, per_sample, i);
    s.rows = lengths != NULL ? (uint32_t)lengths[i] : s.rows;
    return s;
}

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_ATTENTION_H */
