/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by
 * online softmax.
 *
 * A tile of work is up to 12 slots, a slot being one (row, head), all of one kv head, so that a key
 * or value once loaded serves every slot; up to 8 tiles form a batch. Chunk of 256 keys by chunk,
 * tile by tile, so that the chunk is fetched once for the batch:
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
static void flash_weights(flash_slot *slot, float (*p)[FLASH_CHUNK], uint32_t n, uint32_t base)
{
    for (uint32_t s = 0; s < n; s++) {
        flash_slot *t = &slot[s];
        t->from = t->lo > base ? t->lo : base;
        t->to = t->hi < base + FLASH_CHUNK ? t->hi : base + FLASH_CHUNK;
        if (t->from < t->to) {
            flash_slot_weights(t, p[s]);
            flash_slot_factors(t);
        }
    }
}

/* -- batches ----------------------------------------------------------------------------------- */

/* Heads h0 .. h0 + nh - 1, all of one kv head, by rows r0 .. r0 + nr - 1 of the span. Tiles have up to
   FLASH_SLOTS / nh rows each, a batch up to FLASH_TILES of them. */
typedef struct flash_batch {
    q_span span;
    uint32_t h0;
    uint32_t nh;
    uint32_t r0;
    uint32_t nr;
} flash_batch;

/* First key that the query at position `at` sees. */
static inline uint32_t flash_first_key(const q_attention_args *a, uint32_t at)
{
    return a->window != 0 && at >= a->window ? at + 1u - a->window : 0;
}

static uint32_t flash_fill_slots(const q_attention_args *a, const flash_batch *batch,
                                 flash_slot *slot)
{
    uint32_t n = 0;
    for (uint32_t i = batch->r0; i < batch->r0 + batch->nr; i++) {
        uint32_t r = batch->span.row + i;
        for (uint32_t h = batch->h0; h < batch->h0 + batch->nh; h++) {
            flash_slot *t = &slot[n++];
            t->q = avx2_row(a->q, a->q_stride, r) + (size_t)h * a->head_dim;
            t->out = avx2_row_out(a->out, a->out_stride, r) + (size_t)h * a->head_dim;
            t->hi = batch->span.position + i + 1u;
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

/* The three passes of one tile, n slots with rows ascending, over the chunk at base. */
static void flash_chunk(flash_kind kind, flash_keys *keys, flash_slot *slot,
                        float (*p)[FLASH_CHUNK], uint32_t n, uint32_t base)
{
    uint32_t lo = slot[0].lo;
    uint32_t hi = slot[n - 1u].hi;
    keys->from = lo > base ? lo : base;
    keys->to = hi < base + FLASH_CHUNK ? hi : base + FLASH_CHUNK;
    if (keys->from < keys->to) {
        q_flash_scores_avx2(kind, keys, slot, p, n);
        flash_weights(slot, p, n, base);
        q_flash_values_avx2(kind, keys, slot, (const float(*)[FLASH_CHUNK])p, n);
    }
}

static void flash_run(flash_kind kind, const q_work *work, const q_attention_args *a,
                      const flash_batch *batch)
{
    flash_space *space = (flash_space *)work->workspace;
    uint32_t n = flash_fill_slots(a, batch, space->slot);
    uint32_t tile = FLASH_SLOTS / batch->nh * batch->nh;
    uint32_t hi = space->slot[n - 1u].hi;
    size_t at = (size_t)q_kv_head_bytes(kind, a->capacity, a->head_dim) *
                    (batch->h0 / (a->heads / a->kv_heads)) +
                batch->span.sequence * a->sequence_stride;
    flash_keys keys;
    keys.k = (const uint8_t *)a->k_cache + at;
    keys.v = (const uint8_t *)a->v_cache + at;
    keys.group = (size_t)q_kv_group_bytes(kind, a->head_dim);
    keys.dim = a->head_dim;
    keys.scale = a->scale;
    keys.softcap = a->softcap;
    for (uint32_t base = space->slot[0].lo / FLASH_CHUNK * FLASH_CHUNK; base < hi;
         base += FLASH_CHUNK) {
        for (uint32_t s = 0; s < n; s += tile) {
            flash_chunk(kind, &keys, space->slot + s, space->p, n - s < tile ? n - s : tile, base);
        }
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

/* Runs the batch and leaves it empty. */
static void flash_flush(flash_kind kind, const flash_plan *plan, flash_batch *batch)
{
    if (batch->nr != 0) {
        flash_run(kind, plan->work, plan->a, batch);
        batch->nr = 0;
    }
}

/* The heads of one tile, nr rows at r0, that are this worker's: they join the batch, or begin the next one. */
static void flash_take(flash_kind kind, const flash_plan *plan, flash_batch *batch,
                       flash_batch tile, uint64_t cost)
{
    uint64_t at = plan->at;
    uint32_t stop = tile.h0 + tile.nh;
    while (tile.h0 < stop && at < plan->begin) {
        tile.h0++;
        at += cost;
    }
    tile.nh = 0;
    while (tile.h0 + tile.nh < stop && at < plan->end) {
        tile.nh++;
        at += cost;
    }
    if (tile.nh == 0) {
        return;
    }
    if (batch->nr == 0 || batch->h0 != tile.h0 || batch->nh != tile.nh ||
        batch->nr + tile.nr > plan->nr * (uint32_t)FLASH_TILES) {
        flash_flush(kind, plan, batch);
        *batch = tile;
    } else {
        batch->nr += tile.nr;
    }
}

/* All tiles, by heads h0 .. h0 + nh - 1. */
static void flash_take_part(flash_kind kind, flash_plan *plan, uint32_t h0, uint32_t nh)
{
    flash_batch batch;
    flash_batch tile;
    batch.nr = 0;
    tile.h0 = h0;
    tile.nh = nh;
    for (uint32_t i = 0; i < q_span_count(plan->work->run) && plan->at < plan->end; i++) {
        tile.span = q_span_at(plan->work->run, plan->rows, i);
        for (tile.r0 = 0; tile.r0 < tile.span.rows; tile.r0 += tile.nr) {
            uint64_t cost = flash_tile_cost(plan, tile.span, tile.r0);
            tile.nr = flash_clamp(plan->nr, 1, tile.span.rows - tile.r0);
            flash_take(kind, plan, &batch, tile, cost);
            plan->at += cost * nh;
        }
        flash_flush(kind, plan, &batch);
    }
}

static void flash_attention(flash_kind kind, const q_work *work, const q_attention_args *a)
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
            flash_take_part(kind, &plan, h + i, group - i < nh ? group - i : nh);
        }
    }
}

void q_attention_f32_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(FLASH_F32, work, a);
}

void q_attention_f16_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(FLASH_F16, work, a);
}

void q_attention_q8_0_avx2(const q_work *work, const q_attention_args *a)
{
    flash_attention(FLASH_Q8_0, work, a);
}
