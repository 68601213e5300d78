/* SPDX-License-Identifier: MIT */
/*
 * tile.c: the two ends of every product's tile: where its chains start, and what happens to them before they are
 * stored. One register = 16 columns of y; tails by masks.
 */
#include "kernels_avx512.h"
#include "../x86/activation.h"
#include "../x86/tile.h"

void q_tile_start_avx512(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row)
{
    tile_start(rows, bias, m0, lanes, acc, acc_row);
}

void q_tile_finish_avx512(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes, const float *acc,
                          size_t acc_row, float *y, size_t y_stride)
{
    tile_finish(e, r, rows, m0, lanes, acc, acc_row, y, y_stride);
}
