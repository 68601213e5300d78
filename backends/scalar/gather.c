/* SPDX-License-Identifier: MIT */
/*
 * gather.c: out[r][k] = scale * real(w[ids[r]][k]): embedding rows, and dequantisation where ids is
 * NULL.
 */
#include "dequantize.h"

static q_real gather_weight(const q_gather_args *a, uint32_t dtype, uint32_t row, uint32_t column)
{
    const uint8_t *base = (const uint8_t *)a->weights;
    if (a->layout == Q_PANEL16) {
        const uint8_t *panel = base + a->weights_stride * (row / Q_PANEL_ROWS);
        return scalar_panel_weight(dtype, panel, a->k, row % Q_PANEL_ROWS, column);
    }
    if (dtype == Q_F32) {
        return scalar_row((const q_real *)a->weights, a->weights_stride, row)[column];
    }
    return scalar_plain_weight(dtype, base + a->weights_stride * row, column);
}

static void gather(const q_work *work, const q_gather_args *a, uint32_t dtype)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        uint32_t row = a->ids != NULL ? (uint32_t)a->ids[r] : r;
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->k; i++) {
            q_real w = gather_weight(a, dtype, row, i);
            out[i] = w * a->scale;
        }
    }
}

void q_gather_f32_scalar(const q_work *work, const q_gather_args *a)
{
    gather(work, a, Q_F32);
}

void q_gather_f16_scalar(const q_work *work, const q_gather_args *a)
{
    gather(work, a, Q_F16);
}

void q_gather_bf16_scalar(const q_work *work, const q_gather_args *a)
{
    gather(work, a, Q_BF16);
}

void q_gather_q8_0_scalar(const q_work *work, const q_gather_args *a)
{
    gather(work, a, Q_Q8_0);
}

void q_gather_q4_0_scalar(const q_work *work, const q_gather_args *a)
{
    gather(work, a, Q_Q4_0);
}

void q_gather_q4_1_scalar(const q_work *work, const q_gather_args *a)
{
    gather(work, a, Q_Q4_1);
}
