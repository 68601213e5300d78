/* SPDX-License-Identifier: MIT */
/*
 * rows_grad.c: gradients of what moves rows (embedding, select_rows), of RoPE, and of products of two values.
 *
 * Each gradient is made and then stored, or added to what is there.
 */
#include "scalar.h"

static inline void scalar_put(q_real *at, q_real v, uint32_t accumulate)
{
    *at = accumulate != 0 ? *at + v : v;
}

void q_embedding_grad_scalar(const q_work *work, const q_embedding_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, a->dim, &begin, &end);
    for (uint32_t r = 0; r < rows; r++) {
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        q_real *grad = scalar_row_out(a->grad, a->grad_stride, (uint32_t)a->ids[r]);
        for (uint32_t i = begin; i < end; i++) {
            grad[i] = grad[i] + (a->scale == 1 ? dy[i] : dy[i] * a->scale);
        }
    }
}

void q_select_rows_grad_scalar(const q_work *work, const q_select_rows_grad_args *a)
{
    const q_run *run = work->run;
    uint32_t s = 0;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(run, a->rows), &begin, &end);
    while (s < run->n_selected && run->selected[s] < begin) {
        s++;
    }
    for (uint32_t r = begin; r < end; r++) {
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        if (s < run->n_selected && run->selected[s] == r) {
            const q_real *dy = scalar_row(a->dy, a->dy_stride, s++);
            for (uint32_t i = 0; i < a->dim; i++) {
                scalar_put(dx + i, dy[i], a->accumulate);
            }
        } else if (a->accumulate == 0) {
            memset(dx, 0, a->dim * sizeof(q_real));
        }
    }
}

static void rope_grad_head(const q_rope_grad_args *a, const q_real *dy, const q_real *table, q_real *dx)
{
    uint32_t n = a->n_pairs;
    for (uint32_t i = 0; i < n; i++) {
        q_real di = dy[i];
        q_real dj = dy[i + n];
        scalar_put(dx + i, q_fma(di, table[i], dj * table[i + n]), a->accumulate);
        scalar_put(dx + i + n, q_fma(dj, table[i], -(di * table[i + n])), a->accumulate);
    }
    for (uint32_t i = 2 * n; i < a->head_dim; i++) {
        scalar_put(dx + i, dy[i], a->accumulate);
    }
}

void q_rope_grad_scalar(const q_work *work, const q_rope_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        const q_real *table = scalar_row(a->table, a->table_stride, r);
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        for (uint32_t h = 0; h < a->heads; h++) {
            rope_grad_head(a, dy + (size_t)h * a->head_dim, table, dx + (size_t)h * a->head_dim);
        }
    }
}

void q_mul_grad_scalar(const q_work *work, const q_binary_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->a, a->a_stride, r);
        const q_real *y = scalar_row(a->b, a->b_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        q_real *da = a->da != NULL ? scalar_row_out(a->da, a->da_stride, r) : NULL;
        q_real *db = a->db != NULL ? scalar_row_out(a->db, a->db_stride, r) : NULL;
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real to_b = dy[i] * x[i];
            if (da != NULL) {
                scalar_put(da + i, dy[i] * y[i], a->accumulate & 1u);
            }
            if (db != NULL) {
                scalar_put(db + i, to_b, a->accumulate & 2u);
            }
        }
    }
}

/* silu'(x) = g*(1 + x*(1 - g)), g = sigmoid(x) */
static q_real scalar_silu_slope(q_real x)
{
    q_real g = q_sigmoid(x);
    return g * q_fma(x, 1 - g, 1);
}

void q_silu_mul_grad_scalar(const q_work *work, const q_binary_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->a, a->a_stride, r);
        const q_real *y = scalar_row(a->b, a->b_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        q_real *da = a->da != NULL ? scalar_row_out(a->da, a->da_stride, r) : NULL;
        q_real *db = a->db != NULL ? scalar_row_out(a->db, a->db_stride, r) : NULL;
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real to_b = dy[i] * q_silu(x[i]);
            if (da != NULL) {
                scalar_put(da + i, (dy[i] * y[i]) * scalar_silu_slope(x[i]), a->accumulate & 1u);
            }
            if (db != NULL) {
                scalar_put(db + i, to_b, a->accumulate & 2u);
            }
        }
    }
}
