/* SPDX-License-Identifier: MIT */
/*
 * product.c: products of floats, by blocks: c[i][j] = start + sum over p of A[i][p] * B[p][j], one fma chain per
 * output, p ascending.
 *
 * Register tile: 12 rows of A by 32 columns. Peak needs 2 FMAs a cycle, each waiting 4 cycles for its accumulator; 24
 * accumulators leave 8 registers, and a step of 24 FMAs (12 cycles) loads 14 values (7 cycles). What is left of the rows
 * goes by 8, of which 16 are two, by 4, whose 8 accumulators only just cover the wait, and singly.
 *
 * A slab, up to 512 rows of B by 32 columns (64 KiB), meets up to 96 rows of A: 24 KiB of a tile of them stay in the
 * first cache while the slab streams from the second. Rows of A that many columns meet are copied side by side. Chains
 * rest in c from one slab to the next, or, where c is also the residual and so still to be read, 256 columns at a time
 * in the workspace. Meanwhile the next slab and the chains of the next tile are fetched.
 */
#include "product.h"

enum {
    PRODUCT_STEPS = 16, /* of p between fetches */
    PRODUCT_FEW = 640,  /* columns: up to these A is read where it lies */
    PRODUCT_REST = 256, /* columns of chains in the workspace */
    PRODUCT_PITCH = PRODUCT_REST + 16,   /* floats: no power of two */
    PRODUCT_A_PITCH = PRODUCT_SLAB + 16
};

typedef struct product_space {
    float b[PRODUCT_SLAB * PRODUCT_COLUMNS];
    float start[PRODUCT_COLUMNS];
    float acc[PRODUCT_GROUP][PRODUCT_PITCH];
    float a[PRODUCT_GROUP * PRODUCT_A_PITCH];
} product_space;

Q_STATIC_ASSERT(sizeof(product_space) <= Q_AVX512_WORKSPACE, "slab, chains and rows fit the workspace");

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
    _mm_prefetch((const char *)((uintptr_t)x->c + 64u), _MM_HINT_T0);
    x->c = (const uint8_t *)((uintptr_t)x->c + x->c_row);
}

/* Chain [t][0..31] = fma(A[t][p], B[p][0..31], chain) for p = 0 .. k - 1, t < rows, a constant. A is reached by a
   pointer for every three rows: so many registers there are. */
X86_INLINE void product_tile(const uint32_t rows, uint32_t k, product_rows x, const float *const at[2],
                                  size_t b_step, product_ends ends, product_ahead ahead)
{
    __m512 c[PRODUCT_ROWS][2];
    const float *a[PRODUCT_ROWS / 3];
    const float *b0 = at[0];
    const float *b1 = at[1];
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        const float *from = product_at(ends.from, ends.from_row * t);
        a[t / 3u] = t % 3u == 0 ? product_at(x.a, x.row * t) : a[t / 3u];
        c[t][0] = _mm512_loadu_ps(from);
        c[t][1] = _mm512_loadu_ps(from + 16);
    }
    while (k != 0) {
        uint32_t n = k < PRODUCT_STEPS ? k : (uint32_t)PRODUCT_STEPS;
        product_fetch(&ahead);
        k -= n;
        for (; n != 0; n--) {
            __m512 w0 = _mm512_loadu_ps(b0);
            __m512 w1 = _mm512_loadu_ps(b1);
            X86_UNROLL
            for (uint32_t t = 0; t < rows; t++) {
                __m512 v = _mm512_set1_ps(*product_at(a[t / 3u], t % 3u * x.row));
                c[t][0] = _mm512_fmadd_ps(v, w0, c[t][0]);
                c[t][1] = _mm512_fmadd_ps(v, w1, c[t][1]);
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
        _mm512_storeu_ps(to, c[t][0]);
        _mm512_storeu_ps(to + 16, c[t][1]);
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
        for (; i + 16u <= n; i += 16u) {
            _mm_prefetch((const char *)((uintptr_t)far + i * sizeof(float)), _MM_HINT_T0);
            _mm512_store_ps(to + pitch * t + i, _mm512_loadu_ps(v + i));
        }
        if (i < n) {
            _mm512_store_ps(to + pitch * t + i, vec_load_n(v + i, n - i));
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
    uint32_t j;     /* columns of B, 32 from here */
    uint32_t begin; /* the first of them in the workspace */
    bool rest_in_c; /* else in the workspace */
    product_rows a;
    product_lines next; /* of the slab after this one */
} product_turn;

/* Lanes of half h of the 32 columns from j. */
static inline uint32_t product_lanes(const product *x, uint32_t j, uint32_t h)
{
    uint32_t left = x->n - j;
    left = left > h * 16u ? left - h * 16u : 0;
    return left < 16u ? left : 16u;
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
    for (uint32_t h = 0; h < 2; h++) {
        uint32_t lanes = product_lanes(v->x, v->j, h);
        const float *bias = lanes != 0 ? v->x->epilogue->bias : NULL;
        q_tile_start_avx512(1, bias, v->j + h * 16u, lanes, v->space->start + h * 16u, PRODUCT_COLUMNS);
    }
}

/* Chains of rows t .. t + rows - 1 of the group: from c into the workspace, or back. */
static void product_carry(const product_turn *v, uint32_t t, uint32_t rows, bool back)
{
    const product *x = v->x;
    for (uint32_t h = 0; h < 2 && product_lanes(x, v->j, h) != 0; h++) {
        uint32_t lanes = product_lanes(x, v->j, h);
        for (uint32_t r = t; r < t + rows; r++) {
            float *c = x86_row_out(x->c, x->c_stride, v->i + r) + v->j + h * 16u;
            float *acc = product_acc(v, r) + h * 16u;
            if (back) {
                vec_store_n(c, lanes, _mm512_load_ps(acc));
            } else {
                _mm512_store_ps(acc, vec_load_n(c, lanes));
            }
        }
    }
}

static void product_finish(const product_turn *v, uint32_t t, uint32_t rows)
{
    const product *x = v->x;
    for (uint32_t h = 0; h < 2 && product_lanes(x, v->j, h) != 0; h++) {
        q_tile_finish_avx512(x->epilogue, v->i + t, rows, v->j + h * 16u, product_lanes(x, v->j, h),
                             product_acc(v, t) + h * 16u, PRODUCT_PITCH, x->c, x->c_stride);
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

/* All rows of the group by the slab. */
static void product_run(const product_turn *v)
{
    const float *at[2];
    size_t step;
    uint32_t t = 0;
    q_product_slab_avx512(v->x, v->j, v->p0, v->n, v->rows <= PRODUCT_ROWS, v->space->b, at, &step);
    product_start(v);
    for (; t + PRODUCT_ROWS <= v->rows && v->rows - t != 16u; t += PRODUCT_ROWS) {
        product_tile_of(v, t, PRODUCT_ROWS, at, step);
    }
    for (; t + 8u <= v->rows; t += 8u) {
        product_tile_of(v, t, 8, at, step);
    }
    for (; t + 4u <= v->rows; t += 4u) {
        product_tile_of(v, t, 4, at, step);
    }
    for (; t < v->rows; t++) {
        product_tile_of(v, t, 1, at, step);
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
    return q_product_lines_avx512(v->x, j, p0, product_cut(v->x->k, s + 1u) - p0,
                                  q_ceil_div_u32(v->rows, PRODUCT_ROWS));
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
   time being a quarter of a product by 32 columns; columns where it is much the same, since then weights are read
   once. Without enough of them as any product is shared. */
static x86_part product_share(const q_work *work, uint32_t rows, uint32_t panels)
{
    uint32_t tiles = q_ceil_div_u32(rows, PRODUCT_ROWS);
    uint32_t pairs = q_ceil_div_u32(panels, 2);
    uint64_t by_rows = (uint64_t)q_ceil_div_u32(tiles, work->n_workers) * (4u * (uint64_t)pairs + 1u);
    uint64_t by_columns = (uint64_t)tiles * (4u * (uint64_t)q_ceil_div_u32(pairs, work->n_workers) + 1u);
    x86_part part = {0, rows, 0, panels};
    if (tiles < 4u * work->n_workers && pairs < 4u * work->n_workers) {
        return x86_share(work, rows, panels);
    }
    if (by_rows + by_rows / 32u < by_columns) {
        q_share(work, tiles, &part.row0, &part.row1);
        part.row0 *= PRODUCT_ROWS;
        part.row1 = part.row1 * PRODUCT_ROWS < rows ? part.row1 * PRODUCT_ROWS : rows;
    } else {
        q_share(work, pairs, &part.panel0, &part.panel1);
        part.panel0 *= 2u;
        part.panel1 = part.panel1 * 2u < panels ? part.panel1 * 2u : panels;
    }
    return part;
}

void q_product_avx512(const q_work *work, const product *x, uint32_t rows)
{
    x86_part part = product_share(work, rows, q_ceil_div_u32(x->n, 16));
    product mine = *x;
    product_turn v;
    mine.n = part.panel1 * 16u < x->n ? part.panel1 * 16u : x->n;
    v.x = &mine;
    v.space = (product_space *)work->workspace;
    v.rest_in_c = x->epilogue->residual != x->c;
    for (v.i = part.row0; v.i < part.row1; v.i += v.rows) {
        uint32_t left = part.row1 - v.i;
        uint32_t tiles = q_ceil_div_u32(left, PRODUCT_ROWS);
        v.rows = q_ceil_div_u32(tiles, q_ceil_div_u32(left, PRODUCT_GROUP)) * PRODUCT_ROWS;
        v.rows = v.rows < left ? v.rows : left;
        uint32_t end;
        for (v.begin = part.panel0 * 16u; v.begin < mine.n; v.begin = end) {
            end = v.rest_in_c || mine.n - v.begin < PRODUCT_REST ? mine.n : v.begin + (uint32_t)PRODUCT_REST;
            product_block(&v, end);
        }
    }
}

/* A few rows by panels: weights in panels, which gemm streams. */
static bool product_streams(const q_work *work, const q_matmul_args *a, uint32_t rows, const product *x)
{
    q_gemm_args g = {.rows = {rows, Q_SYM_ONE},
                     .m = x->n,
                     .k = x->k,
                     .weights = a->b,
                     .x = a->a,
                     .x_stride = a->a_stride,
                     .y = a->c,
                     .y_stride = a->c_stride,
                     .epilogue = a->epilogue};
    if (rows > 2 || a->transpose_b != Q_MATMUL_PANELS || a->transpose_a != 0 || a->accumulate != 0 ||
        a->b_stride != (size_t)q_panel_bytes(Q_F32, x->k)) {
        return false;
    }
    q_gemm_f32_avx512(work, &g);
    return true;
}

/* Plain matrices, either one transposed: a transposed A differs only in its two strides. */
void q_matmul_avx512(const q_work *work, const q_matmul_args *a)
{
    product x;
    uint32_t m = q_count_value(work->run, a->m);
    x.n = q_count_value(work->run, a->n);
    x.k = q_count_value(work->run, a->k);
    if (product_streams(work, a, m, &x)) {
        return;
    }
    x.a = a->a;
    x.a_row = a->transpose_a ? sizeof(float) : a->a_stride;
    x.a_step = a->transpose_a ? a->a_stride : sizeof(float);
    x.b = (product_b){a->b, a->b_stride, 0, Q_DTYPE_COUNT, a->transpose_b != 0, 0};
    if (a->transpose_b == Q_MATMUL_PANELS) {
        x.b = (product_b){a->b, 0, a->b_stride, Q_F32, false, 0};
    }
    x.c = a->c;
    x.c_stride = a->c_stride;
    x.accumulate = a->accumulate != 0;
    x.epilogue = &a->epilogue;
    q_product_avx512(work, &x, m);
}
