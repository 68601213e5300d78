/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: exact products y[r][m] = sum over k of x[r][k] * w[m][k], weights in panels made real on
 * the fly.
 *
 * Lane = row of the panel. Up to 96 rows of x share one decoded slab of 256 columns (16 KiB of
 * f32); their chains wait in the workspace between slabs. F32 panels are read in place.
 *
 * Q8_0: d*q, Q4_0: d*(q-8), both exact; Q4_1: d*q, exact, + m, rounded once: as in the scalar
 * backend.
 */
#include "gemm.h"

/* Workspace: one decoded slab, then the chains of a group of rows. */
typedef struct gemm_space_avx2 {
    float slab[Q_AVX2_SLAB][Q_PANEL_ROWS];
    float acc[Q_AVX2_GROUP_ROWS][Q_PANEL_ROWS];
} gemm_space_avx2;

Q_STATIC_ASSERT(sizeof(gemm_space_avx2) <= Q_AVX2_WORKSPACE, "slab and chains fit the workspace");

static void gemm_slab_f16(const uint16_t *w, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n * 16u; i += 8u) {
        _mm256_store_ps(out + i, vec_load_f16(w + i));
    }
}

static void gemm_slab_bf16(const uint16_t *w, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n * 16u; i += 8u) {
        _mm256_store_ps(out + i, vec_load_bf16(w + i));
    }
}

/* One block of 32 columns by 8 rows (half 0 or 1) of Q8_0. */
static void gemm_block_q8_0(const uint8_t *q, const uint16_t *d, uint32_t half, float *out)
{
    __m256 scale = vec_load_f16(d + half * 8u);
    for (uint32_t g = 0; g < 8; g++) {
        __m256i v = _mm256_load_si256((const __m256i *)(const void *)(q + g * 64u + half * 32u));
        float *o = out + g * 64u + half * 8u;
        _mm256_store_ps(o, _mm256_mul_ps(scale, gemm_signed_column(v, 0)));
        _mm256_store_ps(o + 16, _mm256_mul_ps(scale, gemm_signed_column(v, 1)));
        _mm256_store_ps(o + 32, _mm256_mul_ps(scale, gemm_signed_column(v, 2)));
        _mm256_store_ps(o + 48, _mm256_mul_ps(scale, gemm_signed_column(v, 3)));
    }
}

/* Four columns by 8 rows of nibbles: d*(q - zero) + m; adding m = -0 changes no bits of Q4_0. */
static inline void gemm_group_q4(__m256i v, __m256 scale, __m256 zero, __m256 min, float *o)
{
    __m256 c0 = _mm256_sub_ps(gemm_nibble_column(v, 0), zero);
    __m256 c1 = _mm256_sub_ps(gemm_nibble_column(v, 1), zero);
    __m256 c2 = _mm256_sub_ps(gemm_nibble_column(v, 2), zero);
    __m256 c3 = _mm256_sub_ps(gemm_nibble_column(v, 3), zero);
    _mm256_store_ps(o, _mm256_add_ps(_mm256_mul_ps(scale, c0), min));
    _mm256_store_ps(o + 16, _mm256_add_ps(_mm256_mul_ps(scale, c1), min));
    _mm256_store_ps(o + 32, _mm256_add_ps(_mm256_mul_ps(scale, c2), min));
    _mm256_store_ps(o + 48, _mm256_add_ps(_mm256_mul_ps(scale, c3), min));
}

/* One block of 32 columns by 8 rows of Q4_0 (m NULL) or Q4_1. */
static void gemm_block_q4(const uint8_t *q, const uint16_t *d, const uint16_t *m, uint32_t half,
                          float *out)
{
    __m256 scale = vec_load_f16(d + half * 8u);
    __m256 min = m != NULL ? vec_load_f16(m + half * 8u) : _mm256_set1_ps(-0.0f);
    __m256 zero = _mm256_set1_ps(m != NULL ? 0.0f : 8.0f);
    for (uint32_t g = 0; g < 4; g++) {
        __m256i v = _mm256_load_si256((const __m256i *)(const void *)(q + g * 64u + half * 32u));
        gemm_group_q4(v, scale, zero, min, out + g * 64u + half * 8u);
        gemm_group_q4(_mm256_srli_epi32(v, 4), scale, zero, min, out + (g + 4u) * 64u + half * 8u);
    }
}

/* Columns k0 .. k0 + n - 1 of a quantised panel as f32 [n][16]; k0 and n are multiples of 32. */
static void gemm_slab_quantised(uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t k0,
                                uint32_t n, float *out)
{
    const uint8_t *quants = panel + (size_t)q_panel_scale_bytes(dtype, k);
    const uint16_t *d = (const uint16_t *)(const void *)panel;
    const uint16_t *m = d + (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS;
    for (uint32_t block = k0 / Q_BLOCK; block < (k0 + n) / Q_BLOCK; block++) {
        size_t at = (size_t)block * Q_PANEL_ROWS;
        for (uint32_t half = 0; half < 2; half++) {
            if (dtype == Q_Q8_0) {
                gemm_block_q8_0(quants + (size_t)block * 512u, d + at, half, out);
            } else {
                gemm_block_q4(quants + (size_t)block * 256u, d + at,
                              dtype == Q_Q4_1 ? m + at : NULL, half, out);
            }
        }
        out += Q_BLOCK * Q_PANEL_ROWS;
    }
}

/* Columns k0 .. k0 + n - 1 of a panel as f32 [n][16]: in place, or decoded into out. */
static const float *gemm_slab(uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t k0,
                              uint32_t n, float *out)
{
    const void *at = panel + (size_t)k0 * Q_PANEL_ROWS * 2u;
    switch (dtype) {
    case Q_F32:
        return (const float *)(const void *)panel + (size_t)k0 * Q_PANEL_ROWS;
    case Q_F16:
        gemm_slab_f16((const uint16_t *)at, n, out);
        break;
    case Q_BF16:
        gemm_slab_bf16((const uint16_t *)at, n, out);
        break;
    default:
        gemm_slab_quantised(dtype, panel, k, k0, n, out);
        break;
    }
    return out;
}

/* Rows r .. r + rows - 1 of y by one panel. */
static void gemm_panel_rows(const q_gemm_args *a, uint32_t dtype, const uint8_t *panel, uint32_t m0,
                            uint32_t r, uint32_t rows, gemm_space_avx2 *space)
{
    uint32_t lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
    q_tile_start_avx2(rows, a->epilogue.bias, m0, lanes, space->acc[0]);
    for (uint32_t k0 = 0; k0 < a->k; k0 += Q_AVX2_SLAB) {
        uint32_t n = a->k - k0 < Q_AVX2_SLAB ? a->k - k0 : (uint32_t)Q_AVX2_SLAB;
        const float *slab = gemm_slab(dtype, panel, a->k, k0, n, space->slab[0]);
        for (uint32_t t = 0; t < rows; t += Q_AVX2_TILE_ROWS) {
            const float *x = x86_row((const float *)a->x, a->x_stride, r + t) + k0;
            uint32_t tile = rows - t < Q_AVX2_TILE_ROWS ? rows - t : (uint32_t)Q_AVX2_TILE_ROWS;
            q_tile_f32_avx2(tile, n, x, a->x_stride, sizeof(float), slab, 64, space->acc[t]);
        }
    }
    q_tile_finish_avx2(&a->epilogue, r, rows, m0, lanes, space->acc[0], a->y, a->y_stride);
}

static void gemm_exact(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    gemm_space_avx2 *space = (gemm_space_avx2 *)work->workspace;
    size_t panel_bytes = (size_t)q_panel_bytes(dtype, a->k);
    x86_part part =
        x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    if (part.row1 - part.row0 < GEMM_FEW_ROWS) {
        q_gemm_stream_avx2(a, dtype, part);
        return;
    }
    for (uint32_t r = part.row0; r < part.row1; r += Q_AVX2_GROUP_ROWS) {
        uint32_t n =
            part.row1 - r < Q_AVX2_GROUP_ROWS ? part.row1 - r : (uint32_t)Q_AVX2_GROUP_ROWS;
        for (uint32_t p = part.panel0; p < part.panel1; p++) {
            const uint8_t *panel = (const uint8_t *)a->weights + p * panel_bytes;
            gemm_panel_rows(a, dtype, panel, p * Q_PANEL_ROWS, r, n, space);
        }
    }
}

void q_gemm_f32_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact(work, a, Q_F32);
}

void q_gemm_f16_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact(work, a, Q_F16);
}

void q_gemm_bf16_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact(work, a, Q_BF16);
}

void q_gemm_q8_0_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact(work, a, Q_Q8_0);
}

void q_gemm_q4_0_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact(work, a, Q_Q4_0);
}

void q_gemm_q4_1_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact(work, a, Q_Q4_1);
}
