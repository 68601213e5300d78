/* SPDX-License-Identifier: MIT */
/*
 * elementwise.c: out = a + b, a * b, silu(a) * b, exp(x), the causal mask and the choice of rows.
 *
 * Outputs may equal inputs: each element is read before it is written, and no other is read after.
 */
#include "scalar.h"

void q_add_scalar(const q_work *work, const q_binary_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->a, a->a_stride, r);
        const q_real *y = scalar_row(a->b, a->b_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            out[i] = x[i] + y[i];
        }
    }
}

void q_mul_scalar(const q_work *work, const q_binary_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->a, a->a_stride, r);
        const q_real *y = scalar_row(a->b, a->b_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            out[i] = x[i] * y[i];
        }
    }
}

void q_silu_mul_scalar(const q_work *work, const q_binary_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->a, a->a_stride, r);
        const q_real *y = scalar_row(a->b, a->b_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            out[i] = q_silu(x[i]) * y[i];
        }
    }
}

void q_exp_scalar(const q_work *work, const q_unary_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            out[i] = q_exp(x[i]);
        }
    }
}

void q_causal_mask_scalar(const q_work *work, const q_causal_mask_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_span span = q_span_of_row(work->run, rows, r);
        q_real *x = scalar_row_out(a->x, a->x_stride, r);
        for (uint64_t c = (uint64_t)(r - span.row) + span.position + 1u; c < a->cols; c++) {
            x[c] = scalar_minus_infinity();
        }
    }
}

void q_select_rows_scalar(const q_work *work, const q_select_rows_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, work->run->n_selected, &begin, &end);
    for (uint32_t s = begin; s < end; s++) {
        const q_real *x = scalar_row(a->x, a->x_stride, work->run->selected[s]);
        memcpy(scalar_row_out(a->out, a->out_stride, s), x, a->dim * sizeof(q_real));
    }
}
