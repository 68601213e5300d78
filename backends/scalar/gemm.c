/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: exact products y[r][m] = sum over k of x[r][k] * w[m][k], weights in panels made real on
 * the fly.
 *
 * Lane = row of the panel. Each output is one chain acc = fma(x, w, acc), k ascending, from the
 * bias or 0.
 */
#include "dequantize.h"
#include "epilogue.h"

enum { GEMM_ROWS = 4 }; /* rows of x that share one decoded column */

/* Scales of one block of a panel as reals. */
typedef struct gemm_scales {
    q_real d[Q_PANEL_ROWS];
    q_real m[Q_PANEL_ROWS];
} gemm_scales;

static void gemm_load_scales(gemm_scales *s, uint32_t dtype, const uint8_t *panel, uint32_t k,
                             uint32_t block)
{
    const uint16_t *d = (const uint16_t *)(const void *)panel + (size_t)block * Q_PANEL_ROWS;
    const uint16_t *m = d + (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS;
    for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
        s->d[i] = (q_real)q_f32_from_f16(d[i]);
        s->m[i] = dtype == Q_Q4_1 ? (q_real)q_f32_from_f16(m[i]) : 0;
    }
}

/* w[i] = weight (row i, column) of a quantised panel. */
static void gemm_quant_column(q_real w[Q_PANEL_ROWS], const gemm_scales *s, uint32_t dtype,
                              const uint8_t *quants, uint32_t column)
{
    for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
        uint32_t q = scalar_panel_quant(dtype, quants, i, column);
        if (dtype == Q_Q8_0) {
            w[i] = s->d[i] * (q_real)((int32_t)(q ^ 0x80u) - 128);
        } else if (dtype == Q_Q4_0) {
            w[i] = s->d[i] * (q_real)((int32_t)q - 8);
        } else {
            w[i] = s->d[i] * (q_real)(int32_t)q + s->m[i];
        }
    }
}

static void gemm_float_column(q_real w[Q_PANEL_ROWS], uint32_t dtype, const uint8_t *panel,
                              uint32_t column)
{
    for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
        w[i] = scalar_float_weight(dtype, panel, (size_t)column * Q_PANEL_ROWS + i);
    }
}

/* The chains of n <= GEMM_ROWS rows from row r by one panel; acc[t] begins as the bias and ends as
   the sum. */
static void gemm_chains(const q_gemm_args *a, uint32_t dtype, const uint8_t *panel, uint32_t r,
                        uint32_t n, q_real acc[GEMM_ROWS][Q_PANEL_ROWS])
{
    const uint8_t *quants = scalar_panel_quants(dtype, panel, a->k);
    bool quantised = q_dtype_is_quantised(dtype);
    gemm_scales scales;
    q_real w[Q_PANEL_ROWS];
    for (uint32_t k = 0; k < a->k; k++) {
        if (quantised && k % Q_BLOCK == 0) {
            gemm_load_scales(&scales, dtype, panel, a->k, k / Q_BLOCK);
        }
        if (quantised) {
            gemm_quant_column(w, &scales, dtype, quants, k);
        } else {
            gemm_float_column(w, dtype, panel, k);
        }
        for (uint32_t t = 0; t < n; t++) {
            q_real x = scalar_row((const q_real *)a->x, a->x_stride, r + t)[k];
            for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
                acc[t][i] = q_fma(x, w[i], acc[t][i]);
            }
        }
    }
}

/* n rows from r by the panel of weight rows m0 .. m0 + 15, of which those < a->m are stored. */
static void gemm_tile(const q_gemm_args *a, uint32_t dtype, const uint8_t *panel, uint32_t r,
                      uint32_t n, uint32_t m0)
{
    uint32_t lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
    q_real acc[GEMM_ROWS][Q_PANEL_ROWS];
    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
            acc[t][i] = a->epilogue.bias != NULL && i < lanes ? a->epilogue.bias[m0 + i] : 0;
        }
    }
    gemm_chains(a, dtype, panel, r, n, acc);
    for (uint32_t t = 0; t < n; t++) {
        q_real *y = scalar_row_out(a->y, a->y_stride, r + t);
        for (uint32_t i = 0; i < lanes; i++) {
            y[m0 + i] = scalar_epilogue(&a->epilogue, r + t, m0 + i, acc[t][i]);
        }
    }
}

static inline void gemm_real(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    size_t panel_bytes = (size_t)q_panel_bytes(dtype, a->k);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->m, Q_PANEL_ROWS), &begin, &end);
    for (uint32_t p = begin; p < end; p++) {
        const uint8_t *panel = (const uint8_t *)a->weights + p * panel_bytes;
        for (uint32_t r = 0; r < rows; r += GEMM_ROWS) {
            uint32_t n = rows - r < GEMM_ROWS ? rows - r : (uint32_t)GEMM_ROWS;
            gemm_tile(a, dtype, panel, r, n, p * Q_PANEL_ROWS);
        }
    }
}

void q_gemm_f32_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_real(work, a, Q_F32);
}

void q_gemm_f16_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_real(work, a, Q_F16);
}

void q_gemm_bf16_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_real(work, a, Q_BF16);
}

void q_gemm_q8_0_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_real(work, a, Q_Q8_0);
}

void q_gemm_q4_0_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_real(work, a, Q_Q4_0);
}

void q_gemm_q4_1_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_real(work, a, Q_Q4_1);
}
