/* SPDX-License-Identifier: MIT */
/*
 * gemm_grad.c: dx[r][k] = start + sum over m of dy[r][m] * real(w[m][k]).
 *
 * A slab is 16 columns of 256 rows of the weights, made real 8 rows by 8 columns at a time and turned; up to 96 rows of
 * dy meet it in the register tile of gemm.c. Chains wait in dx from one slab to the next.
 */
#include "gemm.h"
#include "kernels_avx2.h"

enum { THROUGH_COLUMNS = 16, THROUGH_GROUP = 96 };

typedef struct through_space {
    float slab[Q_AVX2_SLAB][THROUGH_COLUMNS];
    float acc[THROUGH_GROUP][THROUGH_COLUMNS];
} through_space;

Q_STATIC_ASSERT(sizeof(through_space) <= Q_AVX2_WORKSPACE, "slab and chains fit the workspace");

/* -- weights ----------------------------------------------------------------------------------- */

/* Columns c .. c + 7, all of one half of a block, of rows half*8 .. of a quantised panel of k. */
static void through_quantised(uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t c, uint32_t half, __m256 v[8])
{
    const uint16_t *d = (const uint16_t *)(const void *)panel + (size_t)(c / Q_BLOCK) * Q_PANEL_ROWS + half * 8u;
    const uint8_t *q = panel + (size_t)q_panel_scale_bytes(dtype, k) + half * 32u;
    __m256 scale = vec_load_f16(d);
    __m256 min = dtype == Q_Q4_1 ? vec_load_f16(d + (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS) : _mm256_set1_ps(-0.0f);
    __m256 zero = _mm256_set1_ps(dtype == Q_Q4_0 ? 8.0f : 0.0f);
    q += dtype == Q_Q8_0 ? (size_t)c * Q_PANEL_ROWS
                         : (size_t)(c / Q_BLOCK) * 256u + (size_t)(c % 16u) * Q_PANEL_ROWS;
    for (uint32_t g = 0; g < 2; g++, q += 64, v += 4) {
        __m256i n = _mm256_load_si256((const __m256i *)(const void *)q);
        if (dtype == Q_Q8_0) {
            v[0] = _mm256_mul_ps(scale, gemm_signed_column(n, 0));
            v[1] = _mm256_mul_ps(scale, gemm_signed_column(n, 1));
            v[2] = _mm256_mul_ps(scale, gemm_signed_column(n, 2));
            v[3] = _mm256_mul_ps(scale, gemm_signed_column(n, 3));
            continue;
        }
        n = c % Q_BLOCK >= 16u ? _mm256_srli_epi32(n, 4) : n;
        v[0] = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_sub_ps(gemm_nibble_column(n, 0), zero)), min);
        v[1] = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_sub_ps(gemm_nibble_column(n, 1), zero)), min);
        v[2] = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_sub_ps(gemm_nibble_column(n, 2), zero)), min);
        v[3] = _mm256_add_ps(_mm256_mul_ps(scale, _mm256_sub_ps(gemm_nibble_column(n, 3), zero)), min);
    }
}

/* v[l] = column c + l of rows half*8 .. of a panel; 0 beyond the last column. */
static void through_columns(const q_gemm_grad_args *a, const uint8_t *panel, uint32_t c, uint32_t half, __m256 v[8])
{
    const uint16_t *halves = (const uint16_t *)(const void *)panel;
    if (q_dtype_is_quantised(a->dtype)) {
        through_quantised(a->dtype, panel, a->k, c, half, v);
        return;
    }
    for (uint32_t l = 0; l < 8; l++) {
        size_t at = (size_t)(c + l) * Q_PANEL_ROWS + half * 8u;
        v[l] = c + l >= a->k        ? _mm256_setzero_ps()
               : a->dtype == Q_F32  ? _mm256_load_ps((const float *)(const void *)panel + at)
               : a->dtype == Q_F16  ? vec_load_f16(halves + at)
                                    : vec_load_bf16(halves + at);
    }
}

/* Weight rows m0 .. m0 + n - 1, columns c .. c + 15, [n][16]; m0 is a multiple of 16. */
static void through_slab(const q_gemm_grad_args *a, uint32_t m0, uint32_t n, uint32_t c, float slab[][THROUGH_COLUMNS])
{
    size_t bytes = (size_t)q_panel_bytes(a->dtype, a->k);
    for (uint32_t i = 0; i < n; i += 8u) {
        const uint8_t *panel = (const uint8_t *)a->weights + (m0 + i) / Q_PANEL_ROWS * bytes;
        for (uint32_t part = 0; part < 16u; part += 8u) {
            __m256 v[8];
            if (c + part >= a->k) {
                for (uint32_t l = 0; l < 8; l++) {
                    v[l] = _mm256_setzero_ps();
                }
            } else {
                through_columns(a, panel, c + part, i / 8u % 2u, v);
                vec_turn(v);
            }
            for (uint32_t l = 0; l < 8 && i + l < n; l++) {
                _mm256_store_ps(slab[i + l] + part, v[l]);
            }
        }
    }
}

/* -- products ---------------------------------------------------------------------------------- */

/* Chains of columns c .. of rows r .. between dx and the workspace. */
static void through_carry(const q_gemm_grad_args *a, uint32_t r, uint32_t rows, uint32_t c, bool back, through_space *space)
{
    uint32_t lanes = a->k - c < THROUGH_COLUMNS ? a->k - c : (uint32_t)THROUGH_COLUMNS;
    for (uint32_t t = 0; t < rows; t++) {
        float *dx = x86_row_out(a->dx, a->dx_stride, r + t) + c;
        for (uint32_t i = 0; i < lanes; i += 8u) {
            if (back) {
                vec_store_n(dx + i, lanes - i, _mm256_load_ps(space->acc[t] + i));
            } else {
                _mm256_store_ps(space->acc[t] + i, vec_load_n(dx + i, lanes - i));
            }
        }
        if (lanes <= 8u && !back) {
            _mm256_store_ps(space->acc[t] + 8, _mm256_setzero_ps());
        }
    }
}

/* Rows r .. r + rows - 1 of dx, columns c .. c + 15. */
static void through_group(const q_gemm_grad_args *a, uint32_t r, uint32_t rows, uint32_t c, through_space *space)
{
    if (a->accumulate != 0) {
        through_carry(a, r, rows, c, false, space);
    } else {
        memset(space->acc, 0, rows * sizeof(space->acc[0]));
    }
    for (uint32_t m0 = 0; m0 < a->m; m0 += Q_AVX2_SLAB) {
        uint32_t n = a->m - m0 < Q_AVX2_SLAB ? a->m - m0 : (uint32_t)Q_AVX2_SLAB;
        through_slab(a, m0, n, c, space->slab);
        for (uint32_t t = 0; t < rows; t += Q_AVX2_TILE_ROWS) {
            const float *dy = x86_row(a->dy, a->dy_stride, r + t) + m0;
            uint32_t tile = rows - t < Q_AVX2_TILE_ROWS ? rows - t : (uint32_t)Q_AVX2_TILE_ROWS;
            q_tile_f32_avx2(tile, n, dy, a->dy_stride, sizeof(float), space->slab[0], 64, space->acc[t]);
        }
    }
    through_carry(a, r, rows, c, true, space);
}

void q_gemm_grad_avx2(const q_work *work, const q_gemm_grad_args *a)
{
    through_space *space = (through_space *)work->workspace;
    x86_part part =
        x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->k, THROUGH_COLUMNS));
    for (uint32_t r = part.row0; r < part.row1; r += THROUGH_GROUP) {
        uint32_t n = part.row1 - r < THROUGH_GROUP ? part.row1 - r : (uint32_t)THROUGH_GROUP;
        for (uint32_t p = part.panel0; p < part.panel1; p++) {
            through_group(a, r, n, p * THROUGH_COLUMNS, space);
        }
    }
}
