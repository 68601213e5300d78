/* SPDX-License-Identifier: MIT */
/*
 * rope.c: rotary positions: the table of cosines and sines of this step, and the rotation of each
 * head.
 *
 *   t = position of row r * inv_freq[i];  table[r] = { cos(t)*magnitude [n_pairs], sin(t)*magnitude
 *   [n_pairs] } out_i = fma(x_i, cos, -(x_j*sin)),  out_j = fma(x_j, cos, x_i*sin),  j = i +
 *   n_pairs
 */
#include "scalar.h"

void q_rope_table_scalar(const q_work *work, const q_rope_table_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_real *row = scalar_row_out(a->table, a->table_stride, r);
        q_span span = q_span_of_row(work->run, rows, r);
        double position = (double)span.position + (double)(r - span.row);
        for (uint32_t i = 0; i < a->n_pairs; i++) {
            double t = position * a->inv_freq[i];
            row[i] = (q_real)(q_cos_f64(t) * a->magnitude);
            row[a->n_pairs + i] = (q_real)(q_sin_f64(t) * a->magnitude);
        }
    }
}

/* Pairs are read before they are written, so that out may equal x. */
static void rope_head(const q_rope_args *a, const q_real *x, const q_real *table, q_real *out)
{
    uint32_t n = a->n_pairs;
    for (uint32_t i = 0; i < n; i++) {
        q_real xi = x[i];
        q_real xj = x[i + n];
        out[i] = q_fma(xi, table[i], -(xj * table[i + n]));
        out[i + n] = q_fma(xj, table[i], xi * table[i + n]);
    }
    for (uint32_t i = 2 * n; i < a->head_dim; i++) {
        out[i] = x[i];
    }
}

void q_rope_scalar(const q_work *work, const q_rope_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        const q_real *table = scalar_row(a->table, a->table_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t h = 0; h < a->heads; h++) {
            rope_head(a, x + (size_t)h * a->head_dim, table, out + (size_t)h * a->head_dim);
        }
    }
}
