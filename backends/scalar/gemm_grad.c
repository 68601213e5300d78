/* SPDX-License-Identifier: MIT */
/*
 * gemm_grad.c: dx[r][k] = start + sum over m of dy[r][m] * real(w[m][k]), weights in panels made real on the fly, one
 * fma chain per output, m ascending. Chains wait in dx from one panel to the next.
 */
#include "dequantize.h"

enum { GRAD_COLUMNS = 16 };

/* Columns k0 .. k0 + n - 1 of the weight rows of one panel, [16][GRAD_COLUMNS]. */
static void grad_decode(const q_gemm_grad_args *a, const uint8_t *panel, uint32_t lanes, uint32_t k0, uint32_t n,
                        q_real w[Q_PANEL_ROWS][GRAD_COLUMNS])
{
    for (uint32_t i = 0; i < lanes; i++) {
        for (uint32_t c = 0; c < n; c++) {
            w[i][c] = scalar_panel_weight(a->dtype, panel, a->k, i, k0 + c);
        }
    }
}

/* Row r by the weights of the panel whose first row is m0. */
static void grad_row(const q_gemm_grad_args *a, uint32_t r, uint32_t m0, uint32_t lanes, uint32_t k0, uint32_t n,
                     q_real w[Q_PANEL_ROWS][GRAD_COLUMNS])
{
    const q_real *dy = scalar_row(a->dy, a->dy_stride, r) + m0;
    q_real *dx = scalar_row_out(a->dx, a->dx_stride, r) + k0;
    for (uint32_t c = 0; c < n; c++) {
        q_real acc = m0 == 0 && a->accumulate == 0 ? 0 : dx[c];
        for (uint32_t i = 0; i < lanes; i++) {
            acc = q_fma(dy[i], w[i][c], acc);
        }
        dx[c] = acc;
    }
}

void q_gemm_grad_scalar(const q_work *work, const q_gemm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    size_t panel_bytes = (size_t)q_panel_bytes(a->dtype, a->k);
    uint32_t begin;
    uint32_t end;
    q_real w[Q_PANEL_ROWS][GRAD_COLUMNS];
    q_share(work, q_ceil_div_u32(a->k, GRAD_COLUMNS), &begin, &end);
    for (uint32_t b = begin; b < end && rows != 0; b++) {
        uint32_t k0 = b * GRAD_COLUMNS;
        uint32_t n = a->k - k0 < GRAD_COLUMNS ? a->k - k0 : (uint32_t)GRAD_COLUMNS;
        for (uint32_t m0 = 0; m0 < a->m; m0 += Q_PANEL_ROWS) {
            uint32_t lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
            grad_decode(a, (const uint8_t *)a->weights + m0 / Q_PANEL_ROWS * panel_bytes, lanes, k0, n, w);
            for (uint32_t r = 0; r < rows; r++) {
                grad_row(a, r, m0, lanes, k0, n, w);
            }
        }
    }
}
