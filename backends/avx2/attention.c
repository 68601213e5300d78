/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by online softmax.
 *
 * Batches, tiles and chunks: qorus/base/attention.h. Tile by tile, for a chunk of 256 keys:
 *   scores   lanes = 16 keys of a panel of K, tiles of 6, 3 or 1 slots, one fma chain over head_dim per score
 *   weights  per slot and block of 64: maximum, p = exp(s - max) in place, sum, factor for what came before
 *   values   lanes = dimensions, o in registers through the whole chunk: tiles of 6, 3 or 1 slots
 *   merge    into out
 *
 * Visibility is per slot. Scores of keys a slot does not see are computed (within the panel they may come from cache
 * that was never written) and thrown away: they reach neither maximum, sum nor o.
 */
#include "attention.h"
#include "qorus/base/elementary_f32.h"

/* -- weights ----------------------------------------------------------------------------------- */

/* Lanes of the keys j .. j + 7 that lie in [from, to). */
static inline __m256 flash_visible(uint32_t j, uint32_t from, uint32_t to)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i key = _mm256_add_epi32(_mm256_set1_epi32((int)j), index);
    __m256i low = _mm256_cmpgt_epi32(key, _mm256_set1_epi32((int)from - 1));
    return _mm256_castsi256_ps(
        _mm256_and_si256(low, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)to), key)));
}

static float flash_block_max(const float *p, uint32_t from, uint32_t to, float max)
{
    const __m256 low = _mm256_set1_ps(q_float_u32(0xff800000u));
    __m256 m = low;
    for (uint32_t j = from / 8u * 8u; j < to; j += 8) {
        __m256 s = _mm256_load_ps(p + j % Q_ATTENTION_CHUNK);
        m = _mm256_max_ps(_mm256_blendv_ps(low, s, flash_visible(j, from, to)), m);
    }
    float v = avx2_lane_max(m, m);
    return v > max ? v : max;
}

/* p = exp(s - max) of the keys from .. to - 1 of one block; returns their sum over 16 lanes and the
   tree. */
static float flash_block_exp(float *p, uint32_t from, uint32_t to, float max)
{
    const __m256 m = _mm256_set1_ps(max);
    __m256 lane[2];
    lane[0] = _mm256_setzero_ps();
    lane[1] = _mm256_setzero_ps();
    for (uint32_t j = from / 8u * 8u; j < to; j += 8) {
        float *at = p + j % Q_ATTENTION_CHUNK;
        __m256 e = vec_exp(_mm256_sub_ps(_mm256_load_ps(at), m));
        e = _mm256_and_ps(e, flash_visible(j, from, to));
        _mm256_store_ps(at, e);
        lane[j / 8u % 2u] = _mm256_add_ps(lane[j / 8u % 2u], e);
    }
    return q_hsum16_m256(lane[0], lane[1]);
}

/* Maximum and sum of what a slot sees of a chunk. */
typedef struct flash_total {
    float max;
    float sum;
} flash_total;

/* Blocks of the chunk, ascending; those without a visible key leave everything as it is. */
static flash_total flash_blocks(q_attention_slot *t, float *p)
{
    flash_total chunk = {q_float_u32(0xff800000u), 0};
    for (uint32_t b = 0; b < Q_ATTENTION_BLOCKS; b++) {
        t->rescale[b] = 1;
    }
    for (uint32_t j = t->from; j < t->to;) {
        uint32_t end = (j / Q_ATTENTION_BLOCK + 1u) * Q_ATTENTION_BLOCK;
        end = end < t->to ? end : t->to;
        float max = flash_block_max(p, j, end, chunk.max);
        float factor = j == t->from ? 0 : q_exp_f32(chunk.max - max);
        t->rescale[j % Q_ATTENTION_CHUNK / Q_ATTENTION_BLOCK] = factor;
        chunk.sum = chunk.sum * factor + flash_block_exp(p, j, end, max);
        chunk.max = max;
        j = end;
    }
    return chunk;
}

/* A slot's weights, and the factors by which out and this chunk's o merge; the first chunk of a slot is taken as it
   is. */
static void flash_slot_weights(q_attention_slot *t, float *p)
{
    flash_total chunk = flash_blocks(t, p);
    if (t->from == t->lo) {
        t->old = 0;
        t->fresh = 1;
        t->max = chunk.max;
        t->sum = chunk.sum;
        return;
    }
    float both = chunk.max > t->max ? chunk.max : t->max;
    t->old = q_exp_f32(t->max - both);
    t->fresh = q_exp_f32(chunk.max - both);
    t->sum = t->sum * t->old + chunk.sum * t->fresh;
    t->max = both;
}

/* The weights of the current chunk, of the slots that see any of its keys. */
static void flash_weights(q_attention_slot *slot, float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    for (uint32_t s = 0; s < n; s++) {
        if (slot[s].from < slot[s].to) {
            flash_slot_weights(&slot[s], p[s]);
        }
    }
}

/* -- kernels ----------------------------------------------------------------------------------- */

static void flash_divide(const q_attention_slot *slot, uint32_t n, uint32_t dim)
{
    for (uint32_t s = 0; s < n; s++) {
        const __m256 sum = _mm256_set1_ps(slot[s].sum);
        if (slot[s].lse != NULL) {
            *slot[s].lse = slot[s].max + q_log_f32(slot[s].sum);
        }
        for (uint32_t d = 0; d < dim; d += 8) {
            float *out = slot[s].out + d;
            vec_store_n(out, dim - d, _mm256_div_ps(vec_load_n(out, dim - d), sum));
        }
    }
}

static void flash_attention(uint32_t kind, const q_work *work, const q_attention_args *a)
{
    flash_space *space = (flash_space *)work->workspace;
    q_attention_walk w = q_attention_begin(work, a, kind, space->slot);
    while (q_attention_next_batch(&w)) {
        while (q_attention_next_tile(&w)) {
            q_flash_scores_avx2(kind, &w.keys, w.tile, space->p, w.n);
            flash_weights(w.tile, space->p, w.n);
            q_flash_values_avx2(kind, &w.keys, w.tile, (const float(*)[Q_ATTENTION_CHUNK])space->p, w.n);
        }
        flash_divide(w.slot, w.slots, a->head_dim);
    }
}

void q_attention_f32_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(Q_F32, work, a);
}

void q_attention_f16_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(Q_F16, work, a);
}

void q_attention_q8_0_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(Q_Q8_0, work, a);
}
