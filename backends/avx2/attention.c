/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out[r][h] = sum over visible keys j of p_j * v_j, p = softmax(scale * q.k), by online softmax.
 *
 * A unit of work is up to 12 slots, a slot being one (row, head), all of one kv head, so that a key or value
 * once loaded serves every slot. Chunk of 256 keys by chunk:
 *   scores   lanes = 16 keys of a panel of K, tiles of 6, 3 or 1 slots, one fma chain over head_dim per score
 *   weights  per slot and block of 64: maximum, p = exp(s - max) in place, sum, factor for what came before
 *   values   lanes = dimensions, o in registers through the whole chunk: tiles of 6, 3 or 1 slots
 *   merge    into out
 *
 * Visibility is per slot. Scores of keys a slot does not see are computed (within the panel they may come from
 * cache that was never written) and thrown away: they reach neither maximum, sum nor o.
 */
#include "elementary_avx2.h"
#include "kernels_avx2.h"
#include "qorus/base/elementary_f32.h"

enum {
    FLASH_SLOTS = 12,
    FLASH_TILE = 6,
    FLASH_CHUNK = 256,
    FLASH_BLOCK = 64,
    FLASH_BLOCKS = FLASH_CHUNK / FLASH_BLOCK
};

/* One (row, head). Keys lo <= j < hi are visible; those of the current chunk are from <= j < to. */
typedef struct flash_slot {
    const float *q;
    float *out;
    uint32_t lo;
    uint32_t hi;
    uint32_t from;
    uint32_t to;
    float max; /* of the chunks merged so far */
    float sum;
    float chunk_max;
    float chunk_sum;
    float old;   /* factor of what out holds; 0 before the first chunk */
    float fresh; /* factor of the current chunk */
    float rescale[FLASH_BLOCKS]; /* factor of the chunk's o before each of its blocks */
} flash_slot;

typedef struct flash_space {
    float p[FLASH_SLOTS][FLASH_CHUNK];
    flash_slot slot[FLASH_SLOTS];
} flash_space;

Q_STATIC_ASSERT(sizeof(flash_space) <= Q_AVX2_WORKSPACE, "weights and slots fit the workspace");

/* The kv head of a unit, and the chunk at hand. */
typedef struct flash_keys {
    const void *k;
    const void *v;
    uint32_t dim;
    uint32_t from; /* keys of the chunk that any slot sees */
    uint32_t to;
    float scale;
    float softcap;
} flash_keys;

/* -- scores --------------------------------------------------------------------------------------------- */

Q_AVX2_INLINE __m256 flash_load(const bool half, const void *base, size_t i)
{
    return half ? avx2_load_f16((const uint16_t *)base + i) : _mm256_loadu_ps((const float *)base + i);
}

static inline __m256 flash_score(const flash_keys *keys, __m256 dot)
{
    __m256 s = _mm256_mul_ps(dot, _mm256_set1_ps(keys->scale));
    if (keys->softcap > 0) {
        __m256 c = _mm256_set1_ps(keys->softcap);
        s = _mm256_mul_ps(c, q_tanh_m256(_mm256_div_ps(s, c)));
    }
    return s;
}

/* Scores of `slots` slots by the 16 * `panels` keys from j, a multiple of 16. slots * panels <= 6. */
Q_AVX2_INLINE void flash_score_tile(const bool half, const uint32_t slots, const uint32_t panels,
                                    const flash_keys *keys, flash_space *space, uint32_t s0, uint32_t j)
{
    size_t stride = (size_t)keys->dim * 16u;
    size_t at = j / 16u * stride;
    const float *q[FLASH_TILE];
    __m256 c[FLASH_TILE][8];
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        q[s] = space->slot[s0 + s].q;
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            c[s][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t d = 0; d < keys->dim; d++) {
        __m256 k[8];
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            k[i] = flash_load(half, keys->k, at + i / 2u * stride + i % 2u * 8u);
        }
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 v = _mm256_broadcast_ss(q[s] + d);
            Q_AVX2_UNROLL
            for (uint32_t i = 0; i < 2u * panels; i++) {
                c[s][i] = _mm256_fmadd_ps(v, k[i], c[s][i]);
            }
        }
        at += 16;
    }
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            _mm256_store_ps(space->p[s0 + s] + j % FLASH_CHUNK + i * 8u, flash_score(keys, c[s][i]));
        }
    }
}

/* Scores of `slots` slots from s0 by the keys of the chunk, `panels` panels at a time. */
Q_AVX2_INLINE void flash_score_slots(const bool half, const uint32_t slots, const uint32_t panels,
                                     const flash_keys *keys, flash_space *space, uint32_t s0)
{
    uint32_t j = keys->from / 16u * 16u;
    for (; j + 16u * (panels - 1u) < keys->to; j += 16u * panels) {
        flash_score_tile(half, slots, panels, keys, space, s0, j);
    }
    for (; j < keys->to; j += 16u) {
        flash_score_tile(half, slots, 1, keys, space, s0, j);
    }
}

Q_AVX2_INLINE void flash_scores(const bool half, const flash_keys *keys, flash_space *space, uint32_t n)
{
    uint32_t s = 0;
    for (; s + 6u <= n; s += 6) {
        flash_score_slots(half, 6, 1, keys, space, s);
    }
    for (; s + 3u <= n; s += 3) {
        flash_score_slots(half, 3, 2, keys, space, s);
    }
    for (; s < n; s++) {
        flash_score_slots(half, 1, 4, keys, space, s);
    }
}

/* -- weights -------------------------------------------------------------------------------------------- */

/* Lanes of the keys j .. j + 7 that lie in [from, to). */
static inline __m256 flash_visible(uint32_t j, uint32_t from, uint32_t to)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i key = _mm256_add_epi32(_mm256_set1_epi32((int)j), index);
    __m256i low = _mm256_cmpgt_epi32(key, _mm256_set1_epi32((int)from - 1));
    return _mm256_castsi256_ps(_mm256_and_si256(low, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)to), key)));
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

/* p = exp(s - max) of the keys from .. to - 1 of one block; returns their sum over 16 lanes and the tree. */
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

/* -- values --------------------------------------------------------------------------------------------- */

/* n <= 8 values from element i of the V cache. */
Q_AVX2_INLINE __m256 flash_load_tail(const bool half, const void *v, size_t i, uint32_t n)
{
    if (half) {
        Q_ALIGNED(16) uint16_t h[8] = {0};
        memcpy(h, (const uint16_t *)v + i, n * sizeof(uint16_t));
        return avx2_load_f16(h);
    }
    return avx2_load_n((const float *)v + i, n);
}

/* The vectors of one key's dimensions d .. ; n < 8 only where vectors is 1. */
Q_AVX2_INLINE void flash_load_value(const bool half, const uint32_t vectors, const flash_keys *keys, uint32_t j,
                                    uint32_t d, uint32_t n, __m256 v[8])
{
    size_t at = (size_t)j * keys->dim + d;
    if (vectors == 1 && n < 8u) {
        v[0] = flash_load_tail(half, keys->v, at, n);
        return;
    }
    Q_AVX2_UNROLL
    for (uint32_t i = 0; i < vectors; i++) {
        v[i] = flash_load(half, keys->v, at + i * 8u);
    }
}

/* Keys j0 .. j1 - 1 by slots which do not all see them. */
Q_AVX2_INLINE void flash_ragged(const bool half, const uint32_t slots, const uint32_t vectors,
                                const flash_keys *keys, const flash_slot *slot, const float (*p)[FLASH_CHUNK],
                                uint32_t j0, uint32_t j1, uint32_t d, uint32_t n, __m256 c[FLASH_TILE][8])
{
    for (uint32_t j = j0; j < j1; j++) {
        __m256 v[8];
        flash_load_value(half, vectors, keys, j, d, n, v);
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            if (slot[s].from <= j && j < slot[s].to) {
                __m256 w = _mm256_broadcast_ss(&p[s][j % FLASH_CHUNK]);
                Q_AVX2_UNROLL
                for (uint32_t i = 0; i < vectors; i++) {
                    c[s][i] = _mm256_fmadd_ps(w, v[i], c[s][i]);
                }
            }
        }
    }
}

/* Keys j0 .. j1 - 1, seen by every slot that takes part in this chunk. */
Q_AVX2_INLINE void flash_common(const bool half, const uint32_t slots, const uint32_t vectors,
                                const flash_keys *keys, const float (*p)[FLASH_CHUNK], uint32_t j0, uint32_t j1,
                                uint32_t d, uint32_t n, __m256 c[FLASH_TILE][8])
{
    for (uint32_t j = j0; j < j1; j++) {
        __m256 v[8];
        flash_load_value(half, vectors, keys, j, d, n, v);
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 w = _mm256_broadcast_ss(&p[s][j % FLASH_CHUNK]);
            Q_AVX2_UNROLL
            for (uint32_t i = 0; i < vectors; i++) {
                c[s][i] = _mm256_fmadd_ps(w, v[i], c[s][i]);
            }
        }
    }
}

/* out = out*old + o*fresh, n <= 8 values; the first chunk of a slot is stored. */
static inline void flash_merge(const flash_slot *t, uint32_t d, uint32_t n, __m256 o)
{
    if (t->from >= t->to) {
        return;
    }
    if (t->from != t->lo) {
        __m256 before = _mm256_mul_ps(avx2_load_n(t->out + d, n), _mm256_set1_ps(t->old));
        o = _mm256_add_ps(before, _mm256_mul_ps(o, _mm256_set1_ps(t->fresh)));
    }
    avx2_store_n(t->out + d, n, o);
}

/* The keys of the chunk that every slot with a part in it sees; empty ranges come out as from >= to. */
static void flash_common_range(const flash_slot *slot, uint32_t slots, uint32_t *from, uint32_t *to)
{
    *from = 0;
    *to = UINT32_MAX;
    for (uint32_t s = 0; s < slots; s++) {
        if (slot[s].from < slot[s].to) {
            *from = slot[s].from > *from ? slot[s].from : *from;
            *to = slot[s].to < *to ? slot[s].to : *to;
        }
    }
}

static inline uint32_t flash_clamp(uint32_t v, uint32_t low, uint32_t high)
{
    v = v < high ? v : high;
    return v > low ? v : low;
}

/*
 * Dimensions d .. d + 8*vectors - 1 (or + n - 1 where vectors is 1) of `slots` slots through the chunk. A slot
 * without a key in it collects values that are dropped.
 */
Q_AVX2_INLINE void flash_value_tile(const bool half, const uint32_t slots, const uint32_t vectors,
                                    const flash_keys *keys, const flash_space *space, uint32_t s0, uint32_t d,
                                    uint32_t n)
{
    const flash_slot *slot = &space->slot[s0];
    const float(*p)[FLASH_CHUNK] = &space->p[s0];
    uint32_t from;
    uint32_t to;
    __m256 c[FLASH_TILE][8];
    flash_common_range(slot, slots, &from, &to);
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < vectors; i++) {
            c[s][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t j = keys->from; j < keys->to;) {
        uint32_t block = j % FLASH_CHUNK / FLASH_BLOCK;
        uint32_t end = flash_clamp((j / FLASH_BLOCK + 1u) * FLASH_BLOCK, j, keys->to);
        uint32_t c0 = flash_clamp(from, j, end);
        uint32_t c1 = flash_clamp(to, c0, end);
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 factor = _mm256_broadcast_ss(&slot[s].rescale[block]);
            Q_AVX2_UNROLL
            for (uint32_t i = 0; i < vectors; i++) {
                c[s][i] = _mm256_mul_ps(c[s][i], factor);
            }
        }
        flash_ragged(half, slots, vectors, keys, slot, p, j, c0, d, n, c);
        flash_common(half, slots, vectors, keys, p, c0, c1, d, n, c);
        flash_ragged(half, slots, vectors, keys, slot, p, c1, end, d, n, c);
        j = end;
    }
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < vectors; i++) {
            flash_merge(&slot[s], d + i * 8u, vectors == 1 ? n : 8u, c[s][i]);
        }
    }
}

/* All dimensions of `slots` slots, `vectors` vectors at a time. */
Q_AVX2_INLINE void flash_value_slots(const bool half, const uint32_t slots, const uint32_t vectors,
                                     const flash_keys *keys, const flash_space *space, uint32_t s0)
{
    uint32_t d = 0;
    for (; d + 8u * vectors <= keys->dim; d += 8u * vectors) {
        flash_value_tile(half, slots, vectors, keys, space, s0, d, 8);
    }
    for (; d < keys->dim; d += 8u) {
        uint32_t n = keys->dim - d < 8u ? keys->dim - d : 8u;
        flash_value_tile(half, slots, 1, keys, space, s0, d, n);
    }
}

Q_AVX2_INLINE void flash_values(const bool half, const flash_keys *keys, const flash_space *space, uint32_t n)
{
    uint32_t s = 0;
    for (; s + 6u <= n; s += 6) {
        flash_value_slots(half, 6, 2, keys, space, s);
    }
    for (; s + 3u <= n; s += 3) {
        flash_value_slots(half, 3, 4, keys, space, s);
    }
    for (; s < n; s++) {
        flash_value_slots(half, 1, 8, keys, space, s);
    }
}

/* -- units ---------------------------------------------------------------------------------------------- */

/* Heads h0 .. h0 + nh - 1, all of one kv head, by rows r0 .. r0 + nr - 1; nh * nr <= FLASH_SLOTS. */
typedef struct flash_unit {
    uint32_t h0;
    uint32_t nh;
    uint32_t r0;
    uint32_t nr;
} flash_unit;

static uint32_t flash_fill_slots(const q_work *work, const q_attention_args *a, flash_unit unit, flash_slot *slot)
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

Q_AVX2_INLINE void flash_run_unit(const bool half, const q_work *work, const q_attention_args *a, flash_unit unit)
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
        flash_scores(half, &keys, space, n);
        flash_weights(space, n, base);
        flash_values(half, &keys, space, n);
    }
    flash_divide(space->slot, n, a->head_dim);
}

/* Few units, as in decode: each worker takes a run of heads and all rows. */
Q_AVX2_INLINE void flash_by_heads(const bool half, const q_work *work, const q_attention_args *a, uint32_t rows)
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

/* Units are dealt out in turn: neighbours cost nearly the same, so every worker gets its fair part. */
Q_AVX2_INLINE void flash_attention(const bool half, const q_work *work, const q_attention_args *a)
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
