/* SPDX-License-Identifier: MIT */
/*
 * tile.c: the register tile of float products, 6 rows of x by 16 columns, and the two ends of every
 * tile.
 *
 * Peak needs 2 FMAs a cycle, each waiting 4 to 5 cycles for its accumulator: 12 accumulators keep
 * both units busy and leave 4 registers for two weight vectors and the broadcast.
 */
#include "kernels_avx2.h"
#include "../x86/activation.h"
#include "../x86/tile.h"

/* q_tile_f32_avx2 for a constant number of rows. */
X86_INLINE void tile_f32(const uint32_t rows, uint32_t k, const float *x, size_t x_row,
                            size_t x_step, const float *b, size_t b_step, float *acc)
{
    const uint8_t *bp = (const uint8_t *)(const void *)b;
    const uint8_t *xp[Q_AVX2_TILE_ROWS];
    __m256 c[Q_AVX2_TILE_ROWS][2];
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        xp[t] = (const uint8_t *)(const void *)x + x_row * t;
        c[t][0] = _mm256_load_ps(acc + t * 16u);
        c[t][1] = _mm256_load_ps(acc + t * 16u + 8u);
    }
    size_t off = 0;
    for (uint32_t p = 0; p < k; p++) {
        __m256 b0 = _mm256_loadu_ps((const float *)(const void *)bp);
        __m256 b1 = _mm256_loadu_ps((const float *)(const void *)bp + 8);
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m256 v = _mm256_broadcast_ss((const float *)(const void *)(xp[t] + off));
            c[t][0] = _mm256_fmadd_ps(v, b0, c[t][0]);
            c[t][1] = _mm256_fmadd_ps(v, b1, c[t][1]);
        }
        bp += b_step;
        off += x_step;
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        _mm256_store_ps(acc + t * 16u, c[t][0]);
        _mm256_store_ps(acc + t * 16u + 8u, c[t][1]);
    }
}

void q_tile_f32_avx2(uint32_t rows, uint32_t k, const float *x, size_t x_row, size_t x_step,
                     const float *b, size_t b_step, float *acc)
{
    switch (rows) {
    case 1:
        tile_f32(1, k, x, x_row, x_step, b, b_step, acc);
        break;
    case 2:
        tile_f32(2, k, x, x_row, x_step, b, b_step, acc);
        break;
    case 3:
        tile_f32(3, k, x, x_row, x_step, b, b_step, acc);
        break;
    case 4:
        tile_f32(4, k, x, x_row, x_step, b, b_step, acc);
        break;
    case 5:
        tile_f32(5, k, x, x_row, x_step, b, b_step, acc);
        break;
    default:
        tile_f32(6, k, x, x_row, x_step, b, b_step, acc);
        break;
    }
}

void q_tile_start_avx2(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row)
{
    tile_start(rows, bias, m0, lanes, acc, acc_row);
}

void q_tile_finish_avx2(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes, const float *acc,
                        size_t acc_row, float *y, size_t y_stride)
{
    tile_finish(e, r, rows, m0, lanes, acc, acc_row, y, y_stride);
}
