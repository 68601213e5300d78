/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8.c: fast products y[r][m] = sum over k of x[r][k] * w[m][k], x as 8-bit rows of
 * quantize_a8.
 *
 * Per block of 32 columns, ascending, and per plane of x: i = sum of q_x*q_w in i32 (|i| <= 32*127*128, exact in f32),
 *   then acc = acc + real(i) * (d_w*d_x)                      Q8_0 (q_w -128..127), Q4_0 (q_w - 8)
 *   Q4_1 (q_w 0..15) then also acc = acc + (m_w*d_x) * real(sum of q_x)
 */
#include "dequantize.h"
#include "epilogue.h"

enum { GEMM_A8_ROWS = 4 }; /* rows of x that share one decoded block */

/* One row of x as quantize_a8 lays it out. */
typedef struct a8_row {
    const int8_t *q;    /* [k] */
    const float *d;     /* [k/32] */
    const int32_t *sum; /* [k/32] */
} a8_row;

/* One block of a panel, decoded. */
typedef struct a8_block {
    int16_t q[Q_BLOCK][Q_PANEL_ROWS];
    q_real d[Q_PANEL_ROWS];
    q_real m[Q_PANEL_ROWS];
} a8_block;

static a8_row a8_row_at(const q_gemm_args *a, uint32_t r, uint32_t plane)
{
    uint32_t k = a->k;
    const uint8_t *base = (const uint8_t *)a->x + a->x_stride * r + (size_t)(k / 4u * 5u) * plane;
    a8_row row;
    row.q = (const int8_t *)base;
    row.d = (const float *)(const void *)(base + k);
    row.sum = (const int32_t *)(const void *)(row.d + k / Q_BLOCK);
    return row;
}

static void a8_decode_q8(a8_block *out, const uint8_t *q)
{
    for (uint32_t c = 0; c < Q_BLOCK; c++) {
        for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
            out->q[c][i] = (int16_t)(int8_t)q[(c / 4u) * 64u + i * 4u + c % 4u];
        }
    }
}

/* `zero` is what the quant 0 stands for: -8 in Q4_0, 0 in Q4_1. */
static void a8_decode_q4(a8_block *out, const uint8_t *q, int32_t zero)
{
    for (uint32_t c = 0; c < Q_BLOCK / 2; c++) {
        for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
            int32_t byte = q[(c / 4u) * 64u + i * 4u + c % 4u];
            out->q[c][i] = (int16_t)((byte & 15) + zero);
            out->q[c + 16u][i] = (int16_t)((byte >> 4) + zero);
        }
    }
}

static void a8_decode(a8_block *out, uint32_t dtype, const uint8_t *panel, uint32_t k,
                      uint32_t block)
{
    const uint8_t *quants = scalar_panel_quants(dtype, panel, k);
    const uint16_t *d = (const uint16_t *)(const void *)panel + (size_t)block * Q_PANEL_ROWS;
    const uint16_t *m = d + (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS;
    if (dtype == Q_Q8_0) {
        a8_decode_q8(out, quants + (size_t)block * 512u);
    } else {
        a8_decode_q4(out, quants + (size_t)block * 256u, dtype == Q_Q4_0 ? -8 : 0);
    }
    for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
        out->d[i] = (q_real)q_f32_from_f16(d[i]);
        out->m[i] = dtype == Q_Q4_1 ? (q_real)q_f32_from_f16(m[i]) : 0;
    }
}

/* acc += block by the 32 activations of x. */
static void a8_block_dot(q_real acc[Q_PANEL_ROWS], const a8_block *w, uint32_t dtype,
                         const a8_row *x, uint32_t block)
{
    const int8_t *q = x->q + (size_t)block * Q_BLOCK;
    q_real d = (q_real)x->d[block];
    int32_t dot[Q_PANEL_ROWS] = {0};
    for (uint32_t c = 0; c < Q_BLOCK; c++) {
        int16_t v = q[c];
        for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
            dot[i] += w->q[c][i] * v;
        }
    }
    for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
        acc[i] = acc[i] + (q_real)dot[i] * (w->d[i] * d);
    }
    if (dtype == Q_Q4_1) {
        q_real sum = (q_real)x->sum[block];
        for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
            acc[i] = acc[i] + (w->m[i] * d) * sum;
        }
    }
}

/* n rows from r by the panel of weight rows m0 .. m0 + 15, of which those < a->m are stored. */
static void a8_tile_scalar(const q_gemm_args *a, uint32_t dtype, const uint8_t *panel, uint32_t r,
                    uint32_t n, uint32_t m0)
{
    uint32_t lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
    q_real acc[GEMM_A8_ROWS][Q_PANEL_ROWS];
    uint32_t planes = a->planes == 2 ? 2 : 1;
    a8_row x[GEMM_A8_ROWS][2];
    a8_block w;
    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t p = 0; p < planes; p++) {
            x[t][p] = a8_row_at(a, r + t, p);
        }
        for (uint32_t i = 0; i < Q_PANEL_ROWS; i++) {
            acc[t][i] = a->epilogue.bias != NULL && i < lanes ? a->epilogue.bias[m0 + i] : 0;
        }
    }
    for (uint32_t block = 0; block < a->k / Q_BLOCK; block++) {
        a8_decode(&w, dtype, panel, a->k, block);
        for (uint32_t t = 0; t < n * planes; t++) {
            a8_block_dot(acc[t / planes], &w, dtype, &x[t / planes][t % planes], block);
        }
    }
    for (uint32_t t = 0; t < n; t++) {
        q_real *y = scalar_row_out(a->y, a->y_stride, r + t);
        for (uint32_t i = 0; i < lanes; i++) {
            y[m0 + i] = scalar_epilogue(&a->epilogue, r + t, m0 + i, acc[t][i]);
        }
    }
}

static void gemm_a8(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    size_t panel_bytes = (size_t)q_panel_bytes(dtype, a->k);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->m, Q_PANEL_ROWS), &begin, &end);
    for (uint32_t p = begin; p < end; p++) {
        const uint8_t *panel = (const uint8_t *)a->weights + p * panel_bytes;
        for (uint32_t r = 0; r < rows; r += GEMM_A8_ROWS) {
            uint32_t n = rows - r < GEMM_A8_ROWS ? rows - r : (uint32_t)GEMM_A8_ROWS;
            a8_tile_scalar(a, dtype, panel, r, n, p * Q_PANEL_ROWS);
        }
    }
}

void q_gemm_a8_q8_0_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_a8(work, a, Q_Q8_0);
}

void q_gemm_a8_q4_0_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_a8(work, a, Q_Q4_0);
}

void q_gemm_a8_q4_1_scalar(const q_work *work, const q_gemm_args *a)
{
    gemm_a8(work, a, Q_Q4_1);
}
