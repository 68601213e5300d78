/* SPDX-License-Identifier: MIT */
/*
 * product_driver.h: products of floats, by blocks, one fma chain per output, p ascending.
 *
 * The register tile is PRODUCT_ROWS rows of A by two registers of columns of B; what is left of the rows goes by
 * PRODUCT_MORE, PRODUCT_LESS and singly. A slab, up to PRODUCT_SLAB rows of B by PRODUCT_COLUMNS, meets up to PRODUCT_GROUP
 * rows of A: a tile of them stays in the first cache while the slab streams from the second. Rows of A that many columns
 * meet are copied side by side. Chains rest in c from one slab to the next, or, where c is also the residual and so still to
 * be read, PRODUCT_REST columns at a time in the workspace. Meanwhile the next slab and the chains of the next tile are
 * fetched.
 *
 * The file that includes this says those sizes, each a constant.
 */
#ifndef QORUS_BACKENDS_X86_PRODUCT_DRIVER_H
#define QORUS_BACKENDS_X86_PRODUCT_DRIVER_H

#include "product.h"

enum {
    PRODUCT_COLUMNS = 2 * VEC,
    PRODUCT_STEPS = 16, /* of p between fetches */
    PRODUCT_FEW = 640,  /* columns: up to these A is read where it lies */
    PRODUCT_PITCH = PRODUCT_REST + 16, /* floats: no power of two */
    PRODUCT_A_PITCH = PRODUCT_SLAB + 16
};

#include "product_slab.h"

typedef struct product_space {
    float b[PRODUCT_SLAB * PRODUCT_COLUMNS];
    float start[PRODUCT_COLUMNS];
    float acc[PRODUCT_GROUP][PRODUCT_PITCH];
    float a[PRODUCT_GROUP * PRODUCT_A_PITCH];
} product_space;

/* Up to a group of rows of A, from the first p of a slab; bytes from one row to the next, and from p to p + 1. */
typedef struct product_rows {
    const float *a;
    size_t row;
    size_t step;
} product_rows;

/* Where the chains of a tile begin and end; bytes between rows. */
typedef struct product_ends {
    const float *from;
    size_t from_row;
    float *to;
    size_t to_row;
} product_ends;

/* What a tile fetches on the way, every PRODUCT_STEPS steps: `at_once` lines from each of b[0] and b[1], b_step bytes
   apart, and a row of c. */
typedef struct product_ahead {
    const uint8_t *b[2];
    size_t b_step;
    uint32_t at_once;
    const uint8_t *c;
    size_t c_row;
} product_ahead;

static inline const float *product_at(const float *a, size_t bytes)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)a + bytes);
}

static inline float *product_to(float *a, size_t bytes)
{
    return (float *)(void *)((uint8_t *)(void *)a + bytes);
}

/* -- the register tile --------------------------------------------------------------------------- */

/* No address faults: past an end it fetches for nothing. */
X86_INLINE void product_fetch(product_ahead *x)
{
    for (uint32_t i = 0; i < x->at_once; i++) {
        _mm_prefetch((const char *)x->b[0], _MM_HINT_T1);
        _mm_prefetch((const char *)x->b[1], _MM_HINT_T1);
        x->b[0] = (const uint8_t *)((uintptr_t)x->b[0] + x->b_step);
        x->b[1] = (const uint8_t *)((uintptr_t)x->b[1] + x->b_step);
    }
    _mm_prefetch((const char *)x->c, _MM_HINT_T0);
    if (PRODUCT_COLUMNS > 16) {
        _mm_prefetch((const char *)((uintptr_t)x->c + 64u), _MM_HINT_T0);
    }
    x->c = (const uint8_t *)((uintptr_t)x->c + x->c_row);
}

/* Chain [t][0..31] = fma(A[t][p], B[p][0..31], chain) for p = 0 .. k - 1, t < rows, a constant. A is reached by a
   pointer for every three rows: so many registers there are. */
X86_INLINE void product_tile(const uint32_t rows, uint32_t k, product_rows x, const float *const at[2],
                                  size_t b_step, product_ends ends, product_ahead ahead)
{
    vec c[PRODUCT_ROWS][2];
    const float *a[PRODUCT_ROWS / 3];
    const float *b0 = at[0];
    const float *b1 = at[1];
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        const float *from = product_at(ends.from, ends.from_row * t);
        a[t / 3u] = t % 3u == 0 ? product_at(x.a, x.row * t) : a[t / 3u];
        c[t][0] = vec_load(from);
        c[t][1] = vec_load(from + VEC);
    }
    while (k != 0) {
        uint32_t n = k < PRODUCT_STEPS ? k : (uint32_t)PRODUCT_STEPS;
        product_fetch(&ahead);
        k -= n;
        for (; n != 0; n--) {
            vec w0 = vec_load(b0);
            vec w1 = vec_load(b1);
            X86_UNROLL
            for (uint32_t t = 0; t < rows; t++) {
                vec v = vec_set(*product_at(a[t / 3u], t % 3u * x.row));
                c[t][0] = vec_fma(v, w0, c[t][0]);
                c[t][1] = vec_fma(v, w1, c[t][1]);
            }
            X86_UNROLL
            for (uint32_t t = 0; t < rows; t += 3u) {
                a[t / 3u] = product_at(a[t / 3u], x.step);
            }
            b0 = product_at(b0, b_step);
            b1 = product_at(b1, b_step);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        float *to = product_to(ends.to, ends.to_row * t);
        vec_store(to, c[t][0]);
        vec_store(to + VEC, c[t][1]);
    }
}

/* -- rows of A ------------------------------------------------------------------------------------ */

/* Copies n values of each of `rows` lines, `line` bytes apart, to lines `pitch` floats apart; fetches a dozen ahead. */
static void product_copy(const float *from, size_t line, uint32_t rows, uint32_t n, float *to, size_t pitch)
{
    for (uint32_t t = 0; t < rows; t++) {
        const float *v = product_at(from, line * t);
        const uint8_t *far = (const uint8_t *)((uintptr_t)v + line * PRODUCT_ROWS);
        uint32_t i = 0;
        for (; i + VEC <= n; i += VEC) {
            _mm_prefetch((const char *)((uintptr_t)far + i * sizeof(float)), _MM_HINT_T0);
            vec_store(to + pitch * t + i, vec_load(v + i));
        }
        if (i < n) {
            vec_store(to + pitch * t + i, vec_load_n(v + i, n - i));
        }
    }
}

/* Rows i .. of A, a group, n columns from p0. They are copied where many columns of B meet them, where they lie a
   multiple of 4 KiB apart, in the same set of the cache, and where they are columns in memory. */
static product_rows product_group(const product *x, uint32_t i, uint32_t rows, uint32_t p0, uint32_t n, bool many,
                                  float *to)
{
    product_rows g = {product_at(x->a, x->a_row * i + x->a_step * p0), x->a_row, x->a_step};
    if (x->a_step != sizeof(float)) {
        product_copy(g.a, x->a_step, n, rows, to, PRODUCT_GROUP);
        return (product_rows){to, sizeof(float), PRODUCT_GROUP * sizeof(float)};
    }
    if (many || x->a_row % 4096u == 0) {
        product_copy(g.a, x->a_row, rows, n, to, PRODUCT_A_PITCH);
        return (product_rows){to, PRODUCT_A_PITCH * sizeof(float), sizeof(float)};
    }
    return g;
}

/* -- where chains begin, rest and end ------------------------------------------------------------- */

/* A group of rows by one slab. */
typedef struct product_turn {
    const product *x;
    product_space *space;
    uint32_t i; /* rows of A */
    uint32_t rows;
    uint32_t p0; /* rows of B */
    uint32_t n;
    uint32_t j;     /* columns of B, PRODUCT_COLUMNS from here */
    uint32_t begin; /* the first of them in the workspace */
    bool rest_in_c; /* else in the workspace */
    product_rows a;
    product_lines next; /* of the slab after this one */
} product_turn;

/* How many of the 16 columns from j there are. */
static inline uint32_t product_lanes(const product *x, uint32_t j)
{
    return j >= x->n ? 0 : x->n - j < Q_PANEL_ROWS ? x->n - j : (uint32_t)Q_PANEL_ROWS;
}

static inline bool product_plain(const q_epilogue *e)
{
    return e->scale == NULL && e->shift == NULL && e->activation == Q_ACT_NONE && e->gate == NULL &&
           e->residual == NULL;
}

/* Chains of row t of the group in the workspace. */
static inline float *product_acc(const product_turn *v, uint32_t t)
{
    return v->space->acc[t] + (v->rest_in_c ? 0 : v->j - v->begin);
}

static void product_start(const product_turn *v)
{
    for (uint32_t l = 0; l < PRODUCT_COLUMNS; l += Q_PANEL_ROWS) {
        uint32_t lanes = product_lanes(v->x, v->j + l);
        const float *bias = lanes != 0 ? v->x->epilogue->bias : NULL;
        x86_tile_start(1, bias, v->j + l, lanes, v->space->start + l, PRODUCT_COLUMNS);
    }
}

/* Chains of rows t .. t + rows - 1 of the group: from c into the workspace, or back. */
static void product_carry(const product_turn *v, uint32_t t, uint32_t rows, bool back)
{
    const product *x = v->x;
    for (uint32_t l = 0; l < PRODUCT_COLUMNS && v->j + l < x->n; l += VEC) {
        uint32_t lanes = slab_lanes(x, v->j + l);
        for (uint32_t r = t; r < t + rows; r++) {
            float *c = x86_row_out(x->c, x->c_stride, v->i + r) + v->j + l;
            float *acc = product_acc(v, r) + l;
            if (back) {
                vec_store_n(c, lanes, vec_load(acc));
            } else {
                vec_store(acc, vec_load_n(c, lanes));
            }
        }
    }
}

static void product_finish(const product_turn *v, uint32_t t, uint32_t rows)
{
    const product *x = v->x;
    for (uint32_t l = 0; l < PRODUCT_COLUMNS && v->j + l < x->n; l += Q_PANEL_ROWS) {
        x86_tile_finish(x->epilogue, v->i + t, rows, v->j + l, product_lanes(x, v->j + l), product_acc(v, t) + l,
                        PRODUCT_PITCH, x->c, x->c_stride);
    }
}

/* What rows t .. t + rows - 1 fetch: their share of the next slab, and the chains of the next tile. */
static inline product_ahead product_look(const product_turn *v, uint32_t t, uint32_t rows)
{
    const product *x = v->x;
    const uint8_t *c = (const uint8_t *)(const void *)(x->c + v->j);
    uint32_t next = t + rows < v->rows ? v->i + t + rows : v->i;
    product_ahead ahead;
    ahead.b_step = v->next.step;
    ahead.at_once = v->n != 0 ? q_ceil_div_u32(v->next.n, q_ceil_div_u32(v->n, PRODUCT_STEPS)) : 0;
    for (uint32_t h = 0; h < 2; h++) {
        ahead.b[h] = (const uint8_t *)((uintptr_t)v->next.b[h] + t / PRODUCT_ROWS * v->next.tile);
    }
    ahead.c_row = x->c_stride;
    ahead.c = (const uint8_t *)((uintptr_t)c + x->c_stride * next + (next == v->i ? PRODUCT_COLUMNS * 4u : 0));
    return ahead;
}

/* Rows t .. t + rows - 1 of the group, rows a constant. */
X86_INLINE void product_tile_of(const product_turn *v, uint32_t t, const uint32_t rows, const float *const at[2],
                                     size_t b_step)
{
    const product *x = v->x;
    const bool whole = x->n - v->j >= PRODUCT_COLUMNS;
    const bool last = v->p0 + v->n == x->k;
    float *c = x86_row_out(x->c, x->c_stride, v->i + t) + v->j;
    float *acc = product_acc(v, t);
    product_rows a = {product_at(v->a.a, v->a.row * t), v->a.row, v->a.step};
    product_ends ends = {acc, sizeof(v->space->acc[0]), acc, sizeof(v->space->acc[0])};
    if (v->p0 == 0 && !x->accumulate) {
        ends.from = v->space->start;
        ends.from_row = 0;
    } else if (whole && v->rest_in_c) {
        ends.from = c;
        ends.from_row = x->c_stride;
    } else if (v->rest_in_c || v->p0 == 0) {
        product_carry(v, t, rows, false);
    }
    if (whole && (last ? product_plain(x->epilogue) : v->rest_in_c)) {
        ends.to = c;
        ends.to_row = x->c_stride;
    }
    product_tile(rows, v->n, a, at, b_step, ends, product_look(v, t, rows));
    if (ends.to == c) {
        return;
    }
    if (last) {
        product_finish(v, t, rows);
    } else if (v->rest_in_c) {
        product_carry(v, t, rows, true);
    }
}

/* Functions of their own: among the loops around them strides would not keep their registers. */
static X86_NOINLINE void product_tile_whole(const product_turn *v, uint32_t t, const float *const at[2], size_t b_step)
{
    product_tile_of(v, t, PRODUCT_ROWS, at, b_step);
}

static X86_NOINLINE void product_tile_more(const product_turn *v, uint32_t t, const float *const at[2], size_t b_step)
{
    product_tile_of(v, t, PRODUCT_MORE, at, b_step);
}

static X86_NOINLINE void product_tile_less(const product_turn *v, uint32_t t, const float *const at[2], size_t b_step)
{
    product_tile_of(v, t, PRODUCT_LESS, at, b_step);
}

static X86_NOINLINE void product_tile_one(const product_turn *v, uint32_t t, const float *const at[2], size_t b_step)
{
    product_tile_of(v, t, 1, at, b_step);
}

/* All rows of the group by the slab. Plain rows of B are read where they lie if that happens once, or if they are an odd number
   of lines apart and so spread over all sets of the cache. */
static void product_run(const product_turn *v)
{
    const float *at[2];
    size_t step;
    uint32_t t = 0;
    product_slab(v->x, v->j, v->p0, v->n, v->rows <= PRODUCT_ROWS || v->x->b.stride % 128u == 64u, v->space->b, at, &step);
    product_start(v);
    for (; t + PRODUCT_ROWS <= v->rows && v->rows - t != 2u * PRODUCT_MORE; t += PRODUCT_ROWS) {
        product_tile_whole(v, t, at, step);
    }
    for (; t + PRODUCT_MORE <= v->rows; t += PRODUCT_MORE) {
        product_tile_more(v, t, at, step);
    }
    for (; t + PRODUCT_LESS <= v->rows; t += PRODUCT_LESS) {
        product_tile_less(v, t, at, step);
    }
    for (; t < v->rows; t++) {
        product_tile_one(v, t, at, step);
    }
}

/* -- loops ---------------------------------------------------------------------------------------- */

/* Cuts k into slabs of whole blocks of weights, as equal as they may be; at least one, which may be empty. */
static inline uint32_t product_slabs(uint32_t k)
{
    return k != 0 ? q_ceil_div_u32(k, PRODUCT_SLAB) : 1u;
}

static inline uint32_t product_cut(uint32_t k, uint32_t s)
{
    uint32_t at = (uint32_t)((uint64_t)q_ceil_div_u32(k, Q_BLOCK) * s / product_slabs(k)) * Q_BLOCK;
    return at < k ? at : k;
}

/* The lines of slab s from column j, or of what comes after the last column. */
static product_lines product_next(const product_turn *v, uint32_t s, uint32_t j, uint32_t end)
{
    if (j >= end) {
        j = v->begin;
        s = s + 1u < product_slabs(v->x->k) ? s + 1u : 0;
    }
    uint32_t p0 = product_cut(v->x->k, s);
    return product_slab_lines(v->x, j, p0, product_cut(v->x->k, s + 1u) - p0, q_ceil_div_u32(v->rows, PRODUCT_ROWS));
}

/* A group of rows by the columns v->begin .. end - 1, slab by slab. */
static void product_block(product_turn *v, uint32_t end)
{
    const product *x = v->x;
    for (uint32_t s = 0; s < product_slabs(x->k); s++) {
        v->p0 = product_cut(x->k, s);
        v->n = product_cut(x->k, s + 1u) - v->p0;
        v->a = product_group(x, v->i, v->rows, v->p0, v->n, end - v->begin > PRODUCT_FEW, v->space->a);
        for (v->j = v->begin; v->j < end; v->j += PRODUCT_COLUMNS) {
            v->next = product_next(v, s, v->j + PRODUCT_COLUMNS, end);
            product_run(v);
        }
    }
}

/* Whole tiles of rows or of columns, whichever leaves the busiest worker less, reading a tile of rows for the first
   time being a quarter of a product by a tile of columns; columns where it is much the same, since then weights are read
   once. Without enough of them as any product is shared. */
static x86_part product_share(const q_work *work, uint32_t rows, uint32_t panels)
{
    const uint32_t wide = PRODUCT_COLUMNS / Q_PANEL_ROWS; /* panels of a tile */
    uint32_t tiles = q_ceil_div_u32(rows, PRODUCT_ROWS);
    uint32_t across = q_ceil_div_u32(panels, wide);
    uint64_t by_rows = (uint64_t)q_ceil_div_u32(tiles, work->n_workers) * (4u * (uint64_t)across + 1u);
    uint64_t by_columns = (uint64_t)tiles * (4u * (uint64_t)q_ceil_div_u32(across, work->n_workers) + 1u);
    x86_part part = {0, rows, 0, panels};
    if (tiles < 4u * work->n_workers && across < 4u * work->n_workers) {
        return x86_share(work, rows, panels);
    }
    if (by_rows + by_rows / 32u < by_columns) {
        q_share(work, tiles, &part.row0, &part.row1);
        part.row0 *= PRODUCT_ROWS;
        part.row1 = part.row1 * PRODUCT_ROWS < rows ? part.row1 * PRODUCT_ROWS : rows;
    } else {
        q_share(work, across, &part.panel0, &part.panel1);
        part.panel0 *= wide;
        part.panel1 = part.panel1 * wide < panels ? part.panel1 * wide : panels;
    }
    return part;
}

/* This worker's part of a product, which becomes that. */
static void product_all(const q_work *work, product *x)
{
    x86_part part = product_share(work, x->m, q_ceil_div_u32(x->n, Q_PANEL_ROWS));
    product_turn v;
    x->n = part.panel1 * Q_PANEL_ROWS < x->n ? part.panel1 * Q_PANEL_ROWS : x->n;
    v.x = x;
    v.space = (product_space *)work->workspace;
    v.rest_in_c = x->epilogue->residual != x->c;
    for (v.i = part.row0; v.i < part.row1; v.i += v.rows) {
        uint32_t left = part.row1 - v.i;
        uint32_t tiles = q_ceil_div_u32(left, PRODUCT_ROWS);
        v.rows = q_ceil_div_u32(tiles, q_ceil_div_u32(left, PRODUCT_GROUP)) * PRODUCT_ROWS;
        v.rows = v.rows < left ? v.rows : left;
        uint32_t end;
        for (v.begin = part.panel0 * Q_PANEL_ROWS; v.begin < x->n; v.begin = end) {
            end = v.rest_in_c || x->n - v.begin < PRODUCT_REST ? x->n : v.begin + (uint32_t)PRODUCT_REST;
            product_block(&v, end);
        }
    }
}

#endif /* QORUS_BACKENDS_X86_PRODUCT_DRIVER_H */
