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

/* Heads h0 .. h0 + nh - 1, all of one kv head, by rows r0 .. r0 + nr - 1 of the span; nh * nr <=
   FLASH_SLOTS. */
typedef struct flash_unit {
    q_span span;
    uint32_t h0;
    uint32_t nh;
    uint32_t r0;
    uint32_t nr;
} flash_unit;

/* First key that the query at position `at` sees. */
static inline uint32_t flash_first_key(const q_attention_args *a, uint32_t at)
{
    return a->window != 0 && at >= a->window ? at + 1u - a->window : 0;
}

static uint32_t flash_fill_slots(const q_attention_args *a, const flash_unit *unit,
                                 flash_slot *slot)
{
    uint32_t n = 0;
    for (uint32_t i = unit->r0; i < unit->r0 + unit->nr; i++) {
        uint32_t r = unit->span.row + i;
        for (uint32_t h = unit->h0; h < unit->h0 + unit->nh; h++) {
            flash_slot *t = &slot[n++];
            t->q = avx2_row(a->q, a->q_stride, r) + (size_t)h * a->head_dim;
            t->out = avx2_row_out(a->out, a->out_stride, r) + (size_t)h * a->head_dim;
            t->hi = unit->span.position + i + 1u;
            t->lo = flash_first_key(a, t->hi - 1u);
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
                           const flash_unit *unit)
{
    flash_space *space = (flash_space *)work->workspace;
    uint32_t n = flash_fill_slots(a, unit, space->slot);
    size_t head = (size_t)(unit->h0 / (a->heads / a->kv_heads)) * a->capacity * a->head_dim;
    size_t at = unit->span.sequence * a->sequence_stride +
                head * (half ? sizeof(uint16_t) : sizeof(float));
    uint32_t lo = space->slot[0].lo;
    uint32_t hi = space->slot[n - 1].hi;
    flash_keys keys;
    keys.k = (const uint8_t *)a->k_cache + at;
    keys.v = (const uint8_t *)a->v_cache + at;
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

/* -- work sharing ------------------------------------------------------------------------------ */

/*
 * An item is one head of a tile, a tile up to nr rows of one span. Items lie in the order (part of a
 * kv head's group, tile, head); each worker takes those whose beginning, counted in keys to be read,
 * lies in its part of the whole. So long sequences and short ones, one span or many balance, and
 * heads of a group stay together but where a part ends.
 */
typedef struct flash_plan {
    const q_work *work;
    const q_attention_args *a;
    uint64_t begin; /* cost at which this worker begins and ends */
    uint64_t end;
    uint64_t at;    /* cost before the current tile */
    uint32_t rows;
    uint32_t nr;    /* rows of a tile */
} flash_plan;

/* Cost of one head of the tile that begins at row r0 of the span: keys times rows, and a constant. */
static uint64_t flash_tile_cost(const flash_plan *plan, q_span span, uint32_t r0)
{
    uint32_t nr = span.rows - r0 < plan->nr ? span.rows - r0 : plan->nr;
    uint32_t last = span.position + r0 + nr - 1u;
    uint32_t keys = last + 1u - flash_first_key(plan->a, span.position + r0);
    return (uint64_t)nr * (keys + (uint32_t)FLASH_BLOCK);
}

/* Cost of one head of all tiles. */
static uint64_t flash_head_cost(const flash_plan *plan)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < q_span_count(plan->work->run); i++) {
        q_span span = q_span_at(plan->work->run, plan->rows, i);
        for (uint32_t r0 = 0; r0 < span.rows; r0 += plan->nr) {
            cost += flash_tile_cost(plan, span, r0);
        }
    }
    return cost;
}

/* The heads of one tile that are this worker's, as a unit. */
static void flash_take(bool half, const flash_plan *plan, flash_unit unit, uint64_t cost)
{
    uint64_t at = plan->at;
    uint32_t stop = unit.h0 + unit.nh;
    while (unit.h0 < stop && at < plan->begin) {
        unit.h0++;
        at += cost;
    }
    unit.nh = 0;
    while (unit.h0 + unit.nh < stop && at < plan->end) {
        unit.nh++;
        at += cost;
    }
    if (unit.nh != 0) {
        flash_run_unit(half, plan->work, plan->a, &unit);
    }
}

/* All tiles, by heads h0 .. h0 + nh - 1. */
static void flash_take_part(bool half, flash_plan *plan, uint32_t h0, uint32_t nh)
{
    flash_unit unit;
    unit.h0 = h0;
    unit.nh = nh;
    for (uint32_t i = 0; i < q_span_count(plan->work->run) && plan->at < plan->end; i++) {
        unit.span = q_span_at(plan->work->run, plan->rows, i);
        for (unit.r0 = 0; unit.r0 < unit.span.rows; unit.r0 += unit.nr) {
            uint64_t cost = flash_tile_cost(plan, unit.span, unit.r0);
            unit.nr = flash_clamp(plan->nr, 1, unit.span.rows - unit.r0);
            flash_take(half, plan, unit, cost);
            plan->at += cost * nh;
        }
    }
}

static void flash_attention(bool half, const q_work *work, const q_attention_args *a)
{
    uint32_t group = a->heads / a->kv_heads;
    uint32_t nh = group < FLASH_SLOTS ? group : (uint32_t)FLASH_SLOTS;
    flash_plan plan;
    plan.work = work;
    plan.a = a;
    plan.at = 0;
    plan.rows = q_count_value(work->run, a->rows);
    plan.nr = FLASH_SLOTS / nh;
    uint64_t whole = flash_head_cost(&plan) * a->heads;
    plan.begin = whole * work->worker / work->n_workers;
    plan.end = whole * (work->worker + 1u) / work->n_workers;
    for (uint32_t h = 0; h < a->heads; h += group) {
        for (uint32_t i = 0; i < group; i += nh) {
            flash_take_part(half, &plan, h + i, group - i < nh ? group - i : nh);
        }
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
