/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by online softmax.
 *
 * Batches, tiles and chunks: qorus/base/attention.h. Tile by tile, for a chunk of 256 keys:
 *   scores    lanes = 16 keys of a panel of K, tiles of 12, 6, 3, 2 or 1 slots, one fma chain over head_dim per score
 *   weights   per slot: maxima of the blocks of 64, all factors by one exponential, p = exp(s - max) in place, sum
 *   values    lanes = dimensions, o in registers through the whole chunk: tiles of 6, 3, 2 or 1 slots
 *   merge     into out
 *
 * Visibility is per slot. Scores of keys a slot does not see are computed (within the panel they may come from cache
 * that was never written) and thrown away: they reach neither maximum, sum nor o.
 */
#include "attention.h"
#include "qorus/base/elementary_f32.h"

/* -- weights ----------------------------------------------------------------------------------- */

/* Bits of the keys of block `block` of the chunk that lie in [from, to), which lies in the chunk. */
static inline uint64_t attend_visible(uint32_t block, uint32_t from, uint32_t to)
{
    uint32_t first = block * Q_ATTENTION_BLOCK;
    uint32_t low = q_attention_clamp(from % Q_ATTENTION_CHUNK, first, first + Q_ATTENTION_BLOCK) - first;
    uint32_t high = q_attention_clamp((to - 1u) % Q_ATTENTION_CHUNK + 1u, first, first + Q_ATTENTION_BLOCK) - first;
    return low < high ? UINT64_MAX >> (Q_ATTENTION_BLOCK - (high - low)) << low : 0;
}

/* Largest visible score of a block; -infinity where there is none. */
static inline float attend_block_max(const float *p, uint64_t visible)
{
    __m512 m = _mm512_set1_ps(q_float_u32(0xff800000u));
    X86_UNROLL
    for (uint32_t i = 0; i < Q_ATTENTION_BLOCK; i += 16) {
        __mmask16 keys = (__mmask16)(visible >> i);
        m = _mm512_mask_max_ps(m, keys, _mm512_maskz_load_ps(keys, p + i), m);
    }
    return avx512_lane_max(m);
}

/* p = exp(s - max) of a block, 0 where not visible; returns the sum over 16 lanes and the tree. */
static inline float attend_block_exp(float *p, uint64_t visible, float max)
{
    const __m512 m = _mm512_set1_ps(max);
    __m512 lane = _mm512_setzero_ps();
    X86_UNROLL
    for (uint32_t i = 0; i < Q_ATTENTION_BLOCK; i += 16) {
        __mmask16 keys = (__mmask16)(visible >> i);
        __m512 e = vec_exp(_mm512_sub_ps(_mm512_maskz_load_ps(keys, p + i), m));
        e = _mm512_maskz_mov_ps(keys, e);
        _mm512_store_ps(p + i, e);
        lane = _mm512_add_ps(lane, e);
    }
    return avx512_lane_sum(lane);
}

/* Maxima before and after each block of a chunk, then those of out and of both. */
typedef struct attend_maxima {
    float before[Q_ATTENTION_BLOCKS];
    float after[Q_ATTENTION_BLOCKS];
    float old;
    float both;
} attend_maxima;

/* One exponential for all factors of a slot in the chunk: of its blocks, of out, of the chunk. The first visible
   block has 0, blocks without a visible key have 1. */
static inline void attend_factors(q_attention_slot *t, const attend_maxima *m, uint32_t first, uint32_t last)
{
    const uint32_t blocks = (1u << Q_ATTENTION_BLOCKS) - 1u;
    uint32_t seen = (2u << last) - (1u << first);
    __m256 before =
        _mm256_setr_ps(m->before[0], m->before[1], m->before[2], m->before[3], m->old, m->after[3], 0, 0);
    __m256 after = _mm256_setr_ps(m->after[0], m->after[1], m->after[2], m->after[3], m->both, m->both, 0, 0);
    __m256 e = _mm512_castps512_ps256(vec_exp(_mm512_castps256_ps512(_mm256_sub_ps(before, after))));
    e = _mm256_mask_mov_ps(e, (__mmask8)(blocks & ~seen), _mm256_set1_ps(1.0f));
    e = _mm256_maskz_mov_ps((__mmask8) ~(1u << first), e);
    _mm_storeu_ps(t->rescale, _mm256_castps256_ps128(e));
    __m128 merge = _mm256_extractf128_ps(e, 1);
    t->old = _mm_cvtss_f32(merge);
    t->fresh = _mm_cvtss_f32(_mm_movehdup_ps(merge));
}

/* A slot's weights of the chunk, by blocks ascending, and the factors by which out and this chunk's o merge; the
   first chunk of a slot is taken as it is. */
static void attend_slot_weights(q_attention_slot *t, float *p)
{
    uint32_t first = t->from % Q_ATTENTION_CHUNK / Q_ATTENTION_BLOCK;
    uint32_t last = (t->to - 1u) % Q_ATTENTION_CHUNK / Q_ATTENTION_BLOCK;
    float max = q_float_u32(0xff800000u);
    float sum = 0;
    attend_maxima m;
    X86_UNROLL
    for (uint32_t b = 0; b < Q_ATTENTION_BLOCKS; b++) {
        m.before[b] = max;
        if (first <= b && b <= last) {
            float v = attend_block_max(p + b * Q_ATTENTION_BLOCK, attend_visible(b, t->from, t->to));
            max = v > max ? v : max;
        }
        m.after[b] = max;
    }
    m.old = t->from == t->lo ? max : t->max;
    m.both = max > m.old ? max : m.old;
    attend_factors(t, &m, first, last);
    for (uint32_t b = first; b <= last; b++) {
        uint64_t visible = attend_visible(b, t->from, t->to);
        sum = sum * t->rescale[b] + attend_block_exp(p + b * Q_ATTENTION_BLOCK, visible, m.after[b]);
    }
    t->sum = t->from == t->lo ? sum : t->sum * t->old + sum * t->fresh;
    t->max = m.both;
}

/* The weights of the current chunk, of the slots that see any of its keys. */
static void attend_weights(q_attention_slot *slot, float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    for (uint32_t s = 0; s < n; s++) {
        if (slot[s].from < slot[s].to) {
            attend_slot_weights(&slot[s], p[s]);
        }
    }
}

/* -- kernels ----------------------------------------------------------------------------------- */

static void attend_divide(const q_attention_slot *slot, uint32_t n, uint32_t dim)
{
    for (uint32_t s = 0; s < n; s++) {
        const __m512 sum = _mm512_set1_ps(slot[s].sum);
        if (slot[s].lse != NULL) {
            *slot[s].lse = slot[s].max + q_log_f32(slot[s].sum);
        }
        for (uint32_t d = 0; d < dim; d += 16) {
            float *out = slot[s].out + d;
            vec_store_n(out, dim - d, _mm512_div_ps(vec_load_n(out, dim - d), sum));
        }
    }
}

static void attend_attention(uint32_t kind, const q_work *work, const q_attention_args *a)
{
    attend_space *space = (attend_space *)work->workspace;
    q_attention_walk w = q_attention_begin(work, a, kind, space->slot);
    while (q_attention_next_batch(&w)) {
        while (q_attention_next_tile(&w)) {
            q_attend_scores_avx512(kind, &w.keys, w.tile, space->p, w.n);
            attend_weights(w.tile, space->p, w.n);
            q_attend_values_avx512(kind, &w.keys, w.tile, (const float(*)[Q_ATTENTION_CHUNK])space->p, w.n);
        }
        attend_divide(w.slot, w.slots, a->head_dim);
    }
}

void q_attention_f32_avx512(const q_work *work, const q_attention_args *a)
{
    attend_attention(Q_F32, work, a);
}

void q_attention_f16_avx512(const q_work *work, const q_attention_args *a)
{
    attend_attention(Q_F16, work, a);
}

void q_attention_q8_0_avx512(const q_work *work, const q_attention_args *a)
{
    attend_attention(Q_Q8_0, work, a);
}
