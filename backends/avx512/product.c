/* SPDX-License-Identifier: MIT */
/*
 * product.c: products of floats, by blocks: c[i][j] = start + sum over p of A[i][p] * B[p][j], one fma chain per
 * output, p ascending.
 *
 * Register tile: 12 rows of A by 32 columns. Peak needs 2 FMAs a cycle, each waiting 4 cycles for its accumulator; 24
 * accumulators leave 8 registers, and a step of 24 FMAs (12 cycles) loads 14 values (7 cycles).
 *
 * 256 rows of B by 32 columns (32 KiB) meet up to 96 rows of A, which are copied into the workspace when several
 * slabs meet them: rows a power of two apart would fall into the same sets of the cache. Chains rest in c from one slab
 * to the next, or, where c is also the residual and so still to be read, in the workspace.
 */
#include "product.h"

enum { PRODUCT_A_PITCH = PRODUCT_SLAB + 16 /* floats: no power of two */ };

typedef struct product_space {
    float b[PRODUCT_SLAB * PRODUCT_COLUMNS];
    float acc[PRODUCT_GROUP][PRODUCT_COLUMNS];
    float a[PRODUCT_GROUP * PRODUCT_A_PITCH];
} product_space;

Q_STATIC_ASSERT(sizeof(product_space) <= Q_AVX512_WORKSPACE, "slab, chains and rows fit the workspace");

/* Up to a group of rows of A: p columns from the slab's first. */
typedef struct product_rows {
    const float *a;
    size_t row;
    size_t step;
} product_rows;

static inline const float *product_at(const float *a, size_t bytes)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)a + bytes);
}

/* -- the register tile --------------------------------------------------------------------------- */

/* acc[t][0..31] = fma(A[t][p], B[p][0..31], acc) for p = 0 .. k - 1, t < rows, a constant. */
Q_AVX512_INLINE void product_tile(const uint32_t rows, uint32_t k, product_rows x, const float *const at[2],
                                  size_t b_step, float acc[][PRODUCT_COLUMNS])
{
    const float *a[PRODUCT_ROWS];
    __m512 c[PRODUCT_ROWS][2];
    Q_AVX512_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        a[t] = product_at(x.a, x.row * t);
        c[t][0] = _mm512_load_ps(acc[t]);
        c[t][1] = _mm512_load_ps(acc[t] + 16);
    }
    size_t a_at = 0;
    size_t b_at = 0;
    for (uint32_t p = 0; p < k; p++) {
        __m512 b0 = _mm512_loadu_ps(product_at(at[0], b_at));
        __m512 b1 = _mm512_loadu_ps(product_at(at[1], b_at));
        Q_AVX512_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512 v = _mm512_set1_ps(*product_at(a[t], a_at));
            c[t][0] = _mm512_fmadd_ps(v, b0, c[t][0]);
            c[t][1] = _mm512_fmadd_ps(v, b1, c[t][1]);
        }
        a_at += x.step;
        b_at += b_step;
    }
    Q_AVX512_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        _mm512_store_ps(acc[t], c[t][0]);
        _mm512_store_ps(acc[t] + 16, c[t][1]);
    }
}

/* All rows of a group by one slab. */
static void product_slab_rows(uint32_t rows, uint32_t k, product_rows x, const float *const at[2], size_t b_step,
                              float acc[][PRODUCT_COLUMNS])
{
    uint32_t t = 0;
    for (; t + PRODUCT_ROWS <= rows; t += PRODUCT_ROWS, x.a = product_at(x.a, x.row * PRODUCT_ROWS)) {
        product_tile(PRODUCT_ROWS, k, x, at, b_step, acc + t);
    }
    for (; t + 4u <= rows; t += 4u, x.a = product_at(x.a, x.row * 4u)) {
        product_tile(4, k, x, at, b_step, acc + t);
    }
    for (; t < rows; t++, x.a = product_at(x.a, x.row)) {
        product_tile(1, k, x, at, b_step, acc + t);
    }
}

/* -- rows of A ------------------------------------------------------------------------------------ */

/* Copies n values of each of `rows` lines, `line` bytes apart, to lines `pitch` floats apart. */
static void product_copy(const float *from, size_t line, uint32_t rows, uint32_t n, float *to, size_t pitch)
{
    for (uint32_t t = 0; t < rows; t++) {
        const float *v = product_at(from, line * t);
        uint32_t i = 0;
        for (; i + 16u <= n; i += 16u) {
            _mm512_store_ps(to + pitch * t + i, _mm512_loadu_ps(v + i));
        }
        if (i < n) {
            _mm512_store_ps(to + pitch * t + i, avx512_load_n(v + i, n - i));
        }
    }
}

/* Rows i .. i + rows - 1 of A, n columns from p0: copied into the workspace if `copy`. */
static product_rows product_group(const product *x, uint32_t i, uint32_t rows, uint32_t p0, uint32_t n, bool copy,
                                  float *to)
{
    product_rows g = {product_at(x->a, x->a_row * i + x->a_step * p0), x->a_row, x->a_step};
    if (copy && x->a_step == sizeof(float)) {
        product_copy(g.a, x->a_row, rows, n, to, PRODUCT_A_PITCH);
        g.row = PRODUCT_A_PITCH * sizeof(float);
        g.a = to;
    } else if (copy) {
        product_copy(g.a, x->a_step, n, rows, to, PRODUCT_GROUP);
        g.row = sizeof(float);
        g.step = PRODUCT_GROUP * sizeof(float);
        g.a = to;
    }
    return g;
}

/* -- where chains begin, rest and end ------------------------------------------------------------- */

/* Lanes of half h of the 32 columns from j. */
static inline uint32_t product_lanes(const product *x, uint32_t j, uint32_t h)
{
    uint32_t left = x->n - j;
    left = left > h * 16u ? left - h * 16u : 0;
    return left < 16u ? left : 16u;
}

static void product_load(const product *x, uint32_t i, uint32_t rows, uint32_t j, bool from_c,
                         float acc[][PRODUCT_COLUMNS])
{
    for (uint32_t h = 0; h < 2 && product_lanes(x, j, h) != 0; h++) {
        uint32_t lanes = product_lanes(x, j, h);
        if (!from_c) {
            q_tile_start_avx512(rows, x->epilogue->bias, j + h * 16u, lanes, acc[0] + h * 16u, PRODUCT_COLUMNS);
            continue;
        }
        for (uint32_t t = 0; t < rows; t++) {
            const float *c = avx512_row(x->c, x->c_stride, i + t) + j + h * 16u;
            _mm512_store_ps(acc[t] + h * 16u, avx512_load_n(c, lanes));
        }
    }
}

static void product_store(const product *x, uint32_t i, uint32_t rows, uint32_t j, bool finished,
                          float acc[][PRODUCT_COLUMNS])
{
    for (uint32_t h = 0; h < 2 && product_lanes(x, j, h) != 0; h++) {
        uint32_t lanes = product_lanes(x, j, h);
        if (finished) {
            q_tile_finish_avx512(x->epilogue, i, rows, j + h * 16u, lanes, acc[0] + h * 16u, PRODUCT_COLUMNS, x->c,
                                 x->c_stride);
            continue;
        }
        for (uint32_t t = 0; t < rows; t++) {
            float *c = avx512_row_out(x->c, x->c_stride, i + t) + j + h * 16u;
            avx512_store_n(c, lanes, _mm512_load_ps(acc[t] + h * 16u));
        }
    }
}

/* -- loops ---------------------------------------------------------------------------------------- */

/* A group by one slab of B, of n rows from p0, and the 32 columns from j; chains come from c and go there. */
static void product_step(const product *x, product_rows g, uint32_t i, uint32_t rows, uint32_t p0, uint32_t n,
                         uint32_t j, product_space *space)
{
    const float *at[2];
    size_t step;
    product_load(x, i, rows, j, p0 != 0 || x->accumulate, space->acc);
    q_product_slab_avx512(x, j, p0, n, rows <= PRODUCT_ROWS, space->b, at, &step);
    product_slab_rows(rows, n, g, at, step, space->acc);
    product_store(x, i, rows, j, p0 + n == x->k, space->acc);
}

/* A group by all of k and the 32 columns from j; chains stay in the workspace. */
static void product_columns(const product *x, uint32_t i, uint32_t rows, uint32_t j, product_space *space)
{
    product_load(x, i, rows, j, x->accumulate, space->acc);
    for (uint32_t p0 = 0; p0 < x->k; p0 += PRODUCT_SLAB) {
        uint32_t n = x->k - p0 < PRODUCT_SLAB ? x->k - p0 : (uint32_t)PRODUCT_SLAB;
        const float *at[2];
        size_t step;
        q_product_slab_avx512(x, j, p0, n, rows <= PRODUCT_ROWS, space->b, at, &step);
        product_slab_rows(rows, n, product_group(x, i, rows, p0, n, false, space->a), at, step, space->acc);
    }
    product_store(x, i, rows, j, true, space->acc);
}

void q_product_avx512(const q_work *work, const product *x, avx512_part part)
{
    product_space *space = (product_space *)work->workspace;
    uint32_t begin = part.panel0 * 16u;
    uint32_t end = part.panel1 * 16u < x->n ? part.panel1 * 16u : x->n;
    product mine = *x;
    bool rest_in_c = x->epilogue->residual != x->c && x->k != 0 && end - begin > 2u * PRODUCT_COLUMNS;
    mine.n = end;
    for (uint32_t i = part.row0; i < part.row1; i += PRODUCT_GROUP) {
        uint32_t rows = part.row1 - i < PRODUCT_GROUP ? part.row1 - i : (uint32_t)PRODUCT_GROUP;
        for (uint32_t j = begin; j < end && !rest_in_c; j += PRODUCT_COLUMNS) {
            product_columns(&mine, i, rows, j, space);
        }
        for (uint32_t p0 = 0; p0 < x->k && rest_in_c; p0 += PRODUCT_SLAB) {
            uint32_t n = x->k - p0 < PRODUCT_SLAB ? x->k - p0 : (uint32_t)PRODUCT_SLAB;
            product_rows g = product_group(x, i, rows, p0, n, true, space->a);
            for (uint32_t j = begin; j < end; j += PRODUCT_COLUMNS) {
                product_step(&mine, g, i, rows, p0, n, j, space);
            }
        }
    }
}
