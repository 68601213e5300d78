/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by online softmax.
 *
 * A tile of work is up to 12 slots, a slot being one (row, head), all of one kv head, so that a key or value once
 * loaded serves every slot; up to 8 tiles form a batch. Chunk of 256 keys by chunk, tile by tile, so that the chunk is
 * fetched once for the batch:
 *   scores    lanes = 16 keys of a panel of K, tiles of 12, 6, 3, 2 or 1 slots, one fma chain over head_dim per score
 *   weights   per slot: maxima of the blocks of 64, all factors by one exponential, p = exp(s - max) in place, sum
 *   values    lanes = dimensions, o in registers through the whole chunk: tiles of 6, 3, 2 or 1 slots
 *   merge     into out
 *
 * Visibility is per slot. Scores of keys a slot does not see are computed (within the panel they may come from cache
 * that was never written) and thrown away: they reach neither maximum, sum nor o.
 */
#include "attention.h"
#include "elementary_avx512.h"

/* -- weights ----------------------------------------------------------------------------------- */

/* Bits of the keys of block `block` of the chunk that lie in [from, to), which lies in the chunk. */
static inline uint64_t attend_visible(uint32_t block, uint32_t from, uint32_t to)
{
    uint32_t first = block * ATTEND_BLOCK;
    uint32_t low = attend_clamp(from % ATTEND_CHUNK, first, first + ATTEND_BLOCK) - first;
    uint32_t high = attend_clamp((to - 1u) % ATTEND_CHUNK + 1u, first, first + ATTEND_BLOCK) - first;
    return low < high ? UINT64_MAX >> (ATTEND_BLOCK - (high - low)) << low : 0;
}

/* Largest visible score of a block; -infinity where there is none. */
static inline float attend_block_max(const float *p, uint64_t visible)
{
    __m512 m = _mm512_set1_ps(q_float_u32(0xff800000u));
    Q_AVX512_UNROLL
    for (uint32_t i = 0; i < ATTEND_BLOCK; i += 16) {
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
    Q_AVX512_UNROLL
    for (uint32_t i = 0; i < ATTEND_BLOCK; i += 16) {
        __mmask16 keys = (__mmask16)(visible >> i);
        __m512 e = q_exp_m512(_mm512_sub_ps(_mm512_maskz_load_ps(keys, p + i), m));
        e = _mm512_maskz_mov_ps(keys, e);
        _mm512_store_ps(p + i, e);
        lane = _mm512_add_ps(lane, e);
    }
    return avx512_lane_sum(lane);
}

/* Maxima before and after each block of a chunk, then those of out and of both. */
typedef struct attend_maxima {
    float before[ATTEND_BLOCKS];
    float after[ATTEND_BLOCKS];
    float old;
    float both;
} attend_maxima;

/* One exponential for all factors of a slot in the chunk: of its blocks, of out, of the chunk. The first visible
   block has 0, blocks without a visible key have 1. */
static inline void attend_factors(attend_slot *t, const attend_maxima *m, uint32_t first, uint32_t last)
{
    const uint32_t blocks = (1u << ATTEND_BLOCKS) - 1u;
    uint32_t seen = (2u << last) - (1u << first);
    __m256 before =
        _mm256_setr_ps(m->before[0], m->before[1], m->before[2], m->before[3], m->old, m->after[3], 0, 0);
    __m256 after = _mm256_setr_ps(m->after[0], m->after[1], m->after[2], m->after[3], m->both, m->both, 0, 0);
    __m256 e = _mm512_castps512_ps256(q_exp_m512(_mm512_castps256_ps512(_mm256_sub_ps(before, after))));
    e = _mm256_mask_mov_ps(e, (__mmask8)(blocks & ~seen), _mm256_set1_ps(1.0f));
    e = _mm256_maskz_mov_ps((__mmask8) ~(1u << first), e);
    _mm_storeu_ps(t->rescale, _mm256_castps256_ps128(e));
    __m128 merge = _mm256_extractf128_ps(e, 1);
    t->old = _mm_cvtss_f32(merge);
    t->fresh = _mm_cvtss_f32(_mm_movehdup_ps(merge));
}

/* A slot's weights of the chunk, by blocks ascending, and the factors by which out and this chunk's o merge; the
   first chunk of a slot is taken as it is. */
static void attend_slot_weights(attend_slot *t, float *p)
{
    uint32_t first = t->from % ATTEND_CHUNK / ATTEND_BLOCK;
    uint32_t last = (t->to - 1u) % ATTEND_CHUNK / ATTEND_BLOCK;
    float max = q_float_u32(0xff800000u);
    float sum = 0;
    attend_maxima m;
    Q_AVX512_UNROLL
    for (uint32_t b = 0; b < ATTEND_BLOCKS; b++) {
        m.before[b] = max;
        if (first <= b && b <= last) {
            float v = attend_block_max(p + b * ATTEND_BLOCK, attend_visible(b, t->from, t->to));
            max = v > max ? v : max;
        }
        m.after[b] = max;
    }
    m.old = t->from == t->lo ? max : t->max;
    m.both = max > m.old ? max : m.old;
    attend_factors(t, &m, first, last);
    for (uint32_t b = first; b <= last; b++) {
        uint64_t visible = attend_visible(b, t->from, t->to);
        sum = sum * t->rescale[b] + attend_block_exp(p + b * ATTEND_BLOCK, visible, m.after[b]);
    }
    t->sum = t->from == t->lo ? sum : t->sum * t->old + sum * t->fresh;
    t->max = m.both;
}

/* The chunk [base, base + 256): which keys each slot sees there, then its weights. */
static void attend_weights(attend_slot *slot, float (*p)[ATTEND_CHUNK], uint32_t n, uint32_t base)
{
    for (uint32_t s = 0; s < n; s++) {
        attend_slot *t = &slot[s];
        t->from = t->lo > base ? t->lo : base;
        t->to = t->hi < base + ATTEND_CHUNK ? t->hi : base + ATTEND_CHUNK;
        if (t->from < t->to) {
            attend_slot_weights(t, p[s]);
        }
    }
}

/* -- batches ----------------------------------------------------------------------------------- */

/* Heads h0 .. h0 + nh - 1, all of one kv head, by rows r0 .. r0 + nr - 1 of the span. Tiles have up to
   ATTEND_SLOTS / nh rows each, a batch up to ATTEND_TILES of them. */
typedef struct attend_batch {
    q_span span;
    uint32_t h0;
    uint32_t nh;
    uint32_t r0;
    uint32_t nr;
} attend_batch;

/* First key that the query at position `at` sees. */
static inline uint32_t attend_first_key(const q_attention_args *a, uint32_t at)
{
    return a->window != 0 && at >= a->window ? at + 1u - a->window : 0;
}

static uint32_t attend_fill_slots(const q_attention_args *a, const attend_batch *batch, attend_slot *slot)
{
    uint32_t n = 0;
    for (uint32_t i = batch->r0; i < batch->r0 + batch->nr; i++) {
        uint32_t r = batch->span.row + i;
        for (uint32_t h = batch->h0; h < batch->h0 + batch->nh; h++) {
            attend_slot *t = &slot[n++];
            t->q = avx512_row(a->q, a->q_stride, r) + (size_t)h * a->head_dim;
            t->out = avx512_row_out(a->out, a->out_stride, r) + (size_t)h * a->head_dim;
            t->hi = batch->span.position + i + 1u;
            t->lo = attend_first_key(a, t->hi - 1u);
        }
    }
    return n;
}

static void attend_divide(const attend_slot *slot, uint32_t n, uint32_t dim)
{
    for (uint32_t s = 0; s < n; s++) {
        const __m512 sum = _mm512_set1_ps(slot[s].sum);
        for (uint32_t d = 0; d < dim; d += 16) {
            float *out = slot[s].out + d;
            avx512_store_n(out, dim - d, _mm512_div_ps(avx512_load_n(out, dim - d), sum));
        }
    }
}

/* The three passes of one tile, n slots with rows ascending, over the chunk at base. */
static void attend_chunk(attend_kind kind, attend_keys *keys, attend_slot *slot, float (*p)[ATTEND_CHUNK],
                         uint32_t n, uint32_t base)
{
    uint32_t lo = slot[0].lo;
    uint32_t hi = slot[n - 1u].hi;
    keys->from = lo > base ? lo : base;
    keys->to = hi < base + ATTEND_CHUNK ? hi : base + ATTEND_CHUNK;
    if (keys->from < keys->to) {
        q_attend_scores_avx512(kind, keys, slot, p, n);
        attend_weights(slot, p, n, base);
        q_attend_values_avx512(kind, keys, slot, (const float(*)[ATTEND_CHUNK])p, n);
    }
}

static void attend_run(attend_kind kind, const q_work *work, const q_attention_args *a, const attend_batch *batch)
{
    attend_space *space = (attend_space *)work->workspace;
    uint32_t n = attend_fill_slots(a, batch, space->slot);
    uint32_t tile = ATTEND_SLOTS / batch->nh * batch->nh;
    uint32_t hi = space->slot[n - 1u].hi;
    size_t at = (size_t)q_kv_head_bytes(kind, a->capacity, a->head_dim) * (batch->h0 / (a->heads / a->kv_heads)) +
                batch->span.sequence * a->sequence_stride;
    attend_keys keys;
    keys.k = (const uint8_t *)a->k_cache + at;
    keys.v = (const uint8_t *)a->v_cache + at;
    keys.group = (size_t)q_kv_group_bytes(kind, a->head_dim);
    keys.dim = a->head_dim;
    keys.scale = a->scale;
    keys.softcap = a->softcap;
    for (uint32_t base = space->slot[0].lo / ATTEND_CHUNK * ATTEND_CHUNK; base < hi; base += ATTEND_CHUNK) {
        keys.ahead = hi - base > ATTEND_CHUNK ? ATTEND_CHUNK / 16u * keys.group : 0;
        for (uint32_t s = 0; s < n; s += tile) {
            attend_chunk(kind, &keys, space->slot + s, space->p, n - s < tile ? n - s : tile, base);
        }
    }
    attend_divide(space->slot, n, a->head_dim);
}

/* -- work sharing ------------------------------------------------------------------------------ */

/*
 * An item is one head of a tile, a tile up to nr rows of one span. Items lie in the order (part of a
 * kv head's group, tile, head); each worker takes those whose beginning, counted in keys to be read,
 * lies in its part of the whole. So long sequences and short ones, one span or many balance, and
 * heads of a group stay together but where a part ends.
 */
typedef struct attend_plan {
    const q_work *work;
    const q_attention_args *a;
    uint64_t begin; /* cost at which this worker begins and ends */
    uint64_t end;
    uint64_t at; /* cost before the current tile */
    uint32_t rows;
    uint32_t nr; /* rows of a tile */
} attend_plan;

/* Cost of one head of the tile that begins at row r0 of the span: keys times rows, and a constant. */
static uint64_t attend_tile_cost(const attend_plan *plan, q_span span, uint32_t r0)
{
    uint32_t nr = span.rows - r0 < plan->nr ? span.rows - r0 : plan->nr;
    uint32_t last = span.position + r0 + nr - 1u;
    uint32_t keys = last + 1u - attend_first_key(plan->a, span.position + r0);
    return (uint64_t)nr * (keys + (uint32_t)ATTEND_BLOCK);
}

/* Cost of one head of all tiles. */
static uint64_t attend_head_cost(const attend_plan *plan)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < q_span_count(plan->work->run); i++) {
        q_span span = q_span_at(plan->work->run, plan->rows, i);
        for (uint32_t r0 = 0; r0 < span.rows; r0 += plan->nr) {
            cost += attend_tile_cost(plan, span, r0);
        }
    }
    return cost;
}

/* Runs the batch and leaves it empty. */
static void attend_flush(attend_kind kind, const attend_plan *plan, attend_batch *batch)
{
    if (batch->nr != 0) {
        attend_run(kind, plan->work, plan->a, batch);
        batch->nr = 0;
    }
}

/* The heads of one tile, nr rows at r0, that are this worker's: they join the batch, or begin the next one. */
static void attend_take(attend_kind kind, const attend_plan *plan, attend_batch *batch, attend_batch tile,
                        uint64_t cost)
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
        batch->nr + tile.nr > plan->nr * (uint32_t)ATTEND_TILES) {
        attend_flush(kind, plan, batch);
        *batch = tile;
    } else {
        batch->nr += tile.nr;
    }
}

/* All tiles, by heads h0 .. h0 + nh - 1. */
static void attend_take_part(attend_kind kind, attend_plan *plan, uint32_t h0, uint32_t nh)
{
    attend_batch batch;
    attend_batch tile;
    batch.nr = 0;
    tile.h0 = h0;
    tile.nh = nh;
    for (uint32_t i = 0; i < q_span_count(plan->work->run) && plan->at < plan->end; i++) {
        tile.span = q_span_at(plan->work->run, plan->rows, i);
        for (tile.r0 = 0; tile.r0 < tile.span.rows; tile.r0 += tile.nr) {
            uint64_t cost = attend_tile_cost(plan, tile.span, tile.r0);
            tile.nr = attend_clamp(plan->nr, 1, tile.span.rows - tile.r0);
            attend_take(kind, plan, &batch, tile, cost);
            plan->at += cost * nh;
        }
        attend_flush(kind, plan, &batch);
    }
}

static void attend_attention(attend_kind kind, const q_work *work, const q_attention_args *a)
{
    uint32_t group = a->heads / a->kv_heads;
    uint32_t nh = group < ATTEND_SLOTS ? group : (uint32_t)ATTEND_SLOTS;
    attend_plan plan;
    plan.work = work;
    plan.a = a;
    plan.at = 0;
    plan.rows = q_count_value(work->run, a->rows);
    plan.nr = ATTEND_SLOTS / nh;
    uint64_t whole = attend_head_cost(&plan) * a->heads;
    plan.begin = whole * work->worker / work->n_workers;
    plan.end = whole * (work->worker + 1u) / work->n_workers;
    for (uint32_t h = 0; h < a->heads; h += group) {
        for (uint32_t i = 0; i < group; i += nh) {
            attend_take_part(kind, &plan, h + i, group - i < nh ? group - i : nh);
        }
    }
}

void q_attention_f32_avx512(const q_work *work, const q_attention_args *a)
{
    attend_attention(ATTEND_F32, work, a);
}

void q_attention_f16_avx512(const q_work *work, const q_attention_args *a)
{
    attend_attention(ATTEND_F16, work, a);
}

void q_attention_q8_0_avx512(const q_work *work, const q_attention_args *a)
{
    attend_attention(ATTEND_Q8_0, work, a);
}
