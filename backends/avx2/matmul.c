/* SPDX-License-Identifier: MIT */
/*
 * matmul.c: c[i][j] = start + sum over p of A[i][p]*B[p][j], plain matrices, either one transposed.
 *
 * Lane = column of c. A slab of 256 rows of B by 16 columns is copied into the workspace,
 * transposed and zero-padded where needed, and meets up to 96 rows of A in the register tile of
 * gemm.c; their chains wait in the workspace between slabs. A transposed A differs only in the two
 * strides the tile is given.
 */
#include "kernels_avx2.h"

enum { MATMUL_LANES = 16 };

typedef struct matmul_space {
    float slab[Q_AVX2_SLAB][MATMUL_LANES];
    float acc[Q_AVX2_GROUP_ROWS][MATMUL_LANES];
} matmul_space;

Q_STATIC_ASSERT(sizeof(matmul_space) <= Q_AVX2_WORKSPACE, "slab and chains fit the workspace");

/* Sizes of this step. */
typedef struct matmul_size {
    uint32_t m;
    uint32_t n;
    uint32_t k;
} matmul_size;

/* out[p][l] = b[j0 + l][p0 + p], 8 rows by 8: b points at the first, out has 16 lanes a row. */
static void matmul_transpose8(const float *b, size_t stride, float *out)
{
    __m256 r[8];
    for (uint32_t i = 0; i < 8; i++) {
        r[i] = _mm256_loadu_ps(x86_row(b, stride, i));
    }
    vec_turn(r);
    for (uint32_t i = 0; i < 8; i++) {
        _mm256_store_ps(out + i * 16u, r[i]);
    }
}

/* slab[p][l] = b[j0 + l][p0 + p] for l < lanes, p < rows: B transposed. */
static void matmul_pack_transposed(const q_matmul_args *a, uint32_t p0, uint32_t rows, uint32_t j0,
                                   uint32_t lanes, float slab[][MATMUL_LANES])
{
    uint32_t whole = lanes == MATMUL_LANES ? rows / 8u * 8u : 0;
    for (uint32_t p = 0; p < whole; p += 8) {
        matmul_transpose8(x86_row(a->b, a->b_stride, j0) + p0 + p, a->b_stride, slab[p]);
        matmul_transpose8(x86_row(a->b, a->b_stride, j0 + 8u) + p0 + p, a->b_stride, slab[p] + 8);
    }
    for (uint32_t p = whole; p < rows; p++) {
        for (uint32_t l = 0; l < MATMUL_LANES; l++) {
            slab[p][l] = l < lanes ? x86_row(a->b, a->b_stride, j0 + l)[p0 + p] : 0.0f;
        }
    }
}

static void matmul_pack(const q_matmul_args *a, uint32_t p0, uint32_t rows, uint32_t j0,
                        uint32_t lanes, float slab[][MATMUL_LANES])
{
    for (uint32_t p = 0; p < rows; p++) {
        const float *b = x86_row(a->b, a->b_stride, p0 + p) + j0;
        __m256 hi = lanes > 8u ? vec_load_n(b + 8, lanes - 8u) : _mm256_setzero_ps();
        _mm256_store_ps(slab[p], vec_load_n(b, lanes));
        _mm256_store_ps(slab[p] + 8, hi);
    }
}

/* Where a chain starts: from c, or from the bias or 0. */
static void matmul_begin(const q_matmul_args *a, uint32_t i0, uint32_t rows, uint32_t j0,
                         uint32_t lanes, float *acc)
{
    if (!a->accumulate) {
        q_tile_start_avx2(rows, a->epilogue.bias, j0, lanes, acc);
        return;
    }
    for (uint32_t t = 0; t < rows; t++) {
        q_tile_start_avx2(1, x86_row_out(a->c, a->c_stride, i0 + t), j0, lanes, acc + t * 16u);
    }
}

/* One slab: chains of rows i0 .. by rows p0 .. p0 + n - 1 of B. */
static void matmul_slab(const q_matmul_args *a, uint32_t i0, uint32_t rows, uint32_t p0, uint32_t n,
                        const float *b, size_t b_step, float *acc)
{
    size_t x_row = a->transpose_a ? sizeof(float) : a->a_stride;
    size_t x_step = a->transpose_a ? a->a_stride : sizeof(float);
    for (uint32_t t = 0; t < rows; t += Q_AVX2_TILE_ROWS) {
        uint32_t tile = rows - t < Q_AVX2_TILE_ROWS ? rows - t : (uint32_t)Q_AVX2_TILE_ROWS;
        const uint8_t *x = (const uint8_t *)(const void *)a->a + (i0 + t) * x_row + p0 * x_step;
        q_tile_f32_avx2(tile, n, (const float *)(const void *)x, x_row, x_step, b, b_step,
                        acc + t * 16u);
    }
}

/* Rows i0 .. i0 + rows - 1, at most a group, by columns j0 .. j0 + 15. */
static void matmul_columns(const q_matmul_args *a, matmul_size size, matmul_space *space,
                           uint32_t i0, uint32_t rows, uint32_t j0)
{
    uint32_t lanes = size.n - j0 < MATMUL_LANES ? size.n - j0 : (uint32_t)MATMUL_LANES;
    bool in_place = !a->transpose_b && lanes == MATMUL_LANES && rows <= Q_AVX2_TILE_ROWS;
    matmul_begin(a, i0, rows, j0, lanes, space->acc[0]);
    for (uint32_t p0 = 0; p0 < size.k; p0 += Q_AVX2_SLAB) {
        uint32_t n = size.k - p0 < Q_AVX2_SLAB ? size.k - p0 : (uint32_t)Q_AVX2_SLAB;
        const float *b = space->slab[0];
        size_t b_step = sizeof(space->slab[0]);
        if (a->transpose_b == Q_MATMUL_PANELS) {
            b = x86_row(a->b, a->b_stride, j0 / MATMUL_LANES) + (size_t)p0 * MATMUL_LANES;
        } else if (in_place) {
            b = x86_row(a->b, a->b_stride, p0) + j0;
            b_step = a->b_stride;
        } else if (a->transpose_b) {
            matmul_pack_transposed(a, p0, n, j0, lanes, space->slab);
        } else {
            matmul_pack(a, p0, n, j0, lanes, space->slab);
        }
        matmul_slab(a, i0, rows, p0, n, b, b_step, space->acc[0]);
    }
    q_tile_finish_avx2(&a->epilogue, i0, rows, j0, lanes, space->acc[0], a->c, a->c_stride);
}

void q_matmul_avx2(const q_work *work, const q_matmul_args *a)
{
    matmul_size size;
    size.m = q_count_value(work->run, a->m);
    size.n = q_count_value(work->run, a->n);
    size.k = q_count_value(work->run, a->k);
    x86_part part = x86_share(work, size.m, q_ceil_div_u32(size.n, MATMUL_LANES));
    for (uint32_t i = part.row0; i < part.row1; i += Q_AVX2_GROUP_ROWS) {
        uint32_t rows =
            part.row1 - i < Q_AVX2_GROUP_ROWS ? part.row1 - i : (uint32_t)Q_AVX2_GROUP_ROWS;
        for (uint32_t p = part.panel0; p < part.panel1; p++) {
            matmul_columns(a, size, (matmul_space *)work->workspace, i, rows, p * MATMUL_LANES);
        }
    }
}
