/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by
 * online softmax.
 *
 * A unit of work is up to 12 slots, a slot being one (row, head), all of one kv head, so that a key
 * or value once loaded serves every slot. Chunk of 256 keys by chunk:
 *   scores   lanes = 16 keys of a panel of K, tiles of 6, 3 or 1 slots, one fma chain over head_dim
 *   per score weights  per slot and block of 64: maximum, p = exp(s - max) in place, sum, factor
 *   for what came before values   lanes = dimensions, o in registers through the whole chunk: tiles
 *   of 6, 3 or 1 slots merge    into out
 *
 * Visibility is per slot. Scores of keys a slot does not see are computed (within the panel they
 * may come from cache that was never written) and thrown away: they reach neither maximum, sum nor
 * o.
 */
#include "attention.h"
#include "elementary_avx2.h"
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
        __m256 s = _mm256_load_ps(p + j % FLASH_CHUNK);
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
        float *at = p + j % FLASH_CHUNK;
        __m256 e = q_exp_m256(_mm256_sub_ps(_mm256_load_ps(at), m));
        e = _mm256_and_ps(e, flash_visible(j, from, to));
        _mm256_store_ps(at, e);
        lane[j / 8u % 2u] = _mm256_add_ps(lane[j / 8u % 2u], e);
    }
    return q_hsum16_m256(lane[0], lane[1]);
}

/* Blocks of the chunk, ascending; those without a visible key leave everything as it is. */
static void flash_slot_weights(flash_slot *t, float *p)
{
    t->chunk_max = q_float_u32(0xff800000u);
    t->chunk_sum = 0;
    for (uint32_t b = 0; b < FLASH_BLOCKS; b++) {
        t->rescale[b] = 1;
    }
    for (uint32_t j = t->from; j < t->to;) {
        uint32_t end = (j / FLASH_BLOCK + 1u) * FLASH_BLOCK;
        end = end < t->to ? end : t->to;
        float max = flash_block_max(p, j, end, t->chunk_max);
        float factor = j == t->from ? 0 : q_exp_f32(t->chunk_max - max);
        t->rescale[j % FLASH_CHUNK / FLASH_BLOCK] = factor;
        t->chunk_sum = t->chunk_sum * factor + flash_block_exp(p, j, end, max);
        t->chunk_max = max;
        j = end;
    }
}

/* Factors by which out and this chunk's o merge; the first chunk of a slot is taken as it is. */
static void flash_slot_factors(flash_slot *t)
{
    if (t->from == t->lo) {
        t->old = 0;
        t->fresh = 1;
        t->max = t->chunk_max;
        t->sum = t->chunk_sum;
        return;
    }
    float both = t->chunk_max > t->max ? t->chunk_max : t->max;
    t->old = q_exp_f32(t->max - both);
    t->fresh = q_exp_f32(t->chunk_max - both);
    t->sum = t->sum * t->old + t->chunk_sum * t->fresh;
    t->max = both;
}

/* The chunk [base, base + 256): which keys each slot sees there, then its weights. */
static void flash_weights(flash_space *space, uint32_t n, uint32_t base)
{
    for (uint32_t s = 0; s < n; s++) {
        flash_slot *t = &space->slot[s];
        t->from = t->lo > base ? t->lo : base;
        t->to = t->hi < base + FLASH_CHUNK ? t->hi : base + FLASH_CHUNK;
        if (t->from < t->to) {
            flash_slot_weights(t, space->p[s]);
            flash_slot_factors(t);
        }
    }
}

/* -- units ------------------------------------------------------------------------------------- */

/* Heads h0 .. h0 + nh - 1, all of one kv head, by rows r0 .. r0 + nr - 1; nh * nr <= FLASH_SLOTS.
   */
typedef struct flash_unit {
    uint32_t h0;
    uint32_t nh;
    uint32_t r0;
    uint32_t nr;
} flash_unit;

static uint32_t flash_fill_slots(const q_work *work, const q_attention_args *a, flash_unit unit,
                                 flash_slot *slot)
{
    uint32_t n = 0;
    for (uint32_t r = unit.r0; r < unit.r0 + unit.nr; r++) {
        for (uint32_t h = unit.h0; h < unit.h0 + unit.nh; h++) {
            flash_slot *t = &slot[n++];
            t->q = avx2_row(a->q, a->q_stride, r) + (size_t)h * a->head_dim;
            t->out = avx2_row_out(a->out, a->out_stride, r) + (size_t)h * a->head_dim;
            t->hi = work->run->position + r + 1u;
            t->lo = a->window != 0 && t->hi > a->window ? t->hi - a->window : 0;
        }
    }
    return n;
}

static void flash_divide(const flash_slot *slot, uint32_t n, uint32_t dim)
{
    for (uint32_t s = 0; s < n; s++) {
        const __m256 sum = _mm256_set1_ps(slot[s].sum);
        for (uint32_t d = 0; d < dim; d += 8) {
            float *out = slot[s].out + d;
            avx2_store_n(out, dim - d, _mm256_div_ps(avx2_load_n(out, dim - d), sum));
        }
    }
}

/* The three passes over one chunk. */
static void flash_chunk(bool half, const flash_keys *keys, flash_space *space, uint32_t n,
                        uint32_t base)
{
    if (half) {
        q_flash_scores_f16_avx2(keys, space, n);
        flash_weights(space, n, base);
        q_flash_values_f16_avx2(keys, space, n);
    } else {
        q_flash_scores_f32_avx2(keys, space, n);
        flash_weights(space, n, base);
        q_flash_values_f32_avx2(keys, space, n);
    }
}

static void flash_run_unit(bool half, const q_work *work, const q_attention_args *a,
                           flash_unit unit)
{
    flash_space *space = (flash_space *)work->workspace;
    uint32_t n = flash_fill_slots(work, a, unit, space->slot);
    size_t head = (size_t)(unit.h0 / (a->heads / a->kv_heads)) * a->capacity * a->head_dim;
    uint32_t lo = space->slot[0].lo;
    uint32_t hi = space->slot[n - 1].hi;
    flash_keys keys;
    keys.k = (const uint8_t *)a->k_cache + head * (half ? sizeof(uint16_t) : sizeof(float));
    keys.v = (const uint8_t *)a->v_cache + head * (half ? sizeof(uint16_t) : sizeof(float));
    keys.dim = a->head_dim;
    keys.scale = a->scale;
    keys.softcap = a->softcap;
    for (uint32_t base = lo / FLASH_CHUNK * FLASH_CHUNK; base < hi; base += FLASH_CHUNK) {
        keys.from = lo > base ? lo : base;
        keys.to = hi < base + FLASH_CHUNK ? hi : base + FLASH_CHUNK;
        flash_chunk(half, &keys, space, n, base);
    }
    flash_divide(space->slot, n, a->head_dim);
}

/* Few units, as in decode: each worker takes a run of heads and all rows. */
static void flash_by_heads(bool half, const q_work *work, const q_attention_args *a, uint32_t rows)
{
    uint32_t group = a->heads / a->kv_heads;
    uint32_t h;
    uint32_t end;
    q_share(work, a->heads, &h, &end);
    while (h < end) {
        uint32_t stop = flash_clamp((h / group + 1u) * group, h, end);
        flash_unit unit;
        unit.h0 = h;
        unit.nh = stop - h < FLASH_SLOTS ? stop - h : (uint32_t)FLASH_SLOTS;
        for (unit.r0 = 0; unit.r0 < rows; unit.r0 += unit.nr) {
            unit.nr = flash_clamp(FLASH_SLOTS / unit.nh, 1, rows - unit.r0);
            flash_run_unit(half, work, a, unit);
        }
        h += unit.nh;
    }
}

/* Units are dealt out in turn: neighbours cost nearly the same, so every worker gets its fair part.
   */
static void flash_attention(bool half, const q_work *work, const q_attention_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group = a->heads / a->kv_heads;
    uint32_t nh = group < FLASH_SLOTS ? group : (uint32_t)FLASH_SLOTS;
    uint32_t nr = FLASH_SLOTS / nh;
    uint32_t parts = q_ceil_div_u32(group, nh);
    uint32_t tiles = q_ceil_div_u32(rows, nr);
    uint32_t units = a->kv_heads * parts * tiles;
    if (work->n_workers > 1 && units < 4u * work->n_workers) {
        flash_by_heads(half, work, a, rows);
        return;
    }
    for (uint32_t u = work->worker; u < units; u += work->n_workers) {
        uint32_t part = u / tiles % parts;
        flash_unit unit;
        unit.h0 = u / tiles / parts * group + part * nh;
        unit.nh = group - part * nh < nh ? group - part * nh : nh;
        unit.r0 = u % tiles * nr;
        unit.nr = rows - unit.r0 < nr ? rows - unit.r0 : nr;
        flash_run_unit(half, work, a, unit);
    }
}

void q_attention_f32_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(false, work, a);
}

void q_attention_f16_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(true, work, a);
}
