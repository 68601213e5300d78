/* SPDX-License-Identifier: MIT */
/*
 * rope.h: rotates pairs (i, i + n_pairs) of each head.
 *
 *   out_i = fma(x_i, cos, -(x_j*sin)),  out_j = fma(x_j, cos, x_i*sin)
 *
 * VEC pairs at a time, both halves loaded before either is stored, so that out may equal x.
 */
#ifndef Q_X86_ROPE_H
#define Q_X86_ROPE_H

/* n <= VEC pairs; the other half lies `pairs` values on. */
static inline void rope_pairs(const float *x, const float *table, uint32_t pairs, uint32_t n, float *out)
{
    vec xi = vec_load_n(x, n);
    vec xj = vec_load_n(x + pairs, n);
    vec c = vec_load_n(table, n);
    vec s = vec_load_n(table + pairs, n);
    vec_store_n(out, n, vec_fms(xi, c, vec_mul(xj, s)));
    vec_store_n(out + pairs, n, vec_fma(xj, c, vec_mul(xi, s)));
}

static void rope_head(const q_rope_args *a, const float *x, const float *table, float *out)
{
    uint32_t i = 0;
    for (; i + VEC <= a->n_pairs; i += VEC) {
        rope_pairs(x + i, table + i, a->n_pairs, VEC, out + i);
    }
    if (i < a->n_pairs) {
        rope_pairs(x + i, table + i, a->n_pairs, a->n_pairs - i, out + i);
    }
    for (i = 2u * a->n_pairs; i < a->head_dim; i += VEC) {
        vec_store_n(out + i, a->head_dim - i, vec_load_n(x + i, a->head_dim - i));
    }
}

static void x86_rope(const q_work *work, const q_rope_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows) * a->heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t r = u / a->heads;
        size_t head = (size_t)(u % a->heads) * a->head_dim;
        rope_head(a, x86_row(a->x, a->x_stride, r) + head, x86_row(a->table, a->table_stride, r),
                         x86_row_out(a->out, a->out_stride, r) + head);
    }
}

#endif /* Q_X86_ROPE_H */
