/* SPDX-License-Identifier: MIT */
/*
 * rope.c: rotates pairs (i, i + n_pairs) of each head.
 *
 *   out_i = fma(x_i, cos, -(x_j*sin)),  out_j = fma(x_j, cos, x_i*sin)
 *
 * Sixteen pairs at a time, both halves loaded before either is stored, so that out may equal x.
 */
#include "kernels_avx512.h"

/* n <= 16 pairs; the other half lies `pairs` values on. */
static inline void rope_sixteen(const float *x, const float *table, uint32_t pairs, uint32_t n, float *out)
{
    __m512 xi = vec_load_n(x, n);
    __m512 xj = vec_load_n(x + pairs, n);
    __m512 c = vec_load_n(table, n);
    __m512 s = vec_load_n(table + pairs, n);
    vec_store_n(out, n, _mm512_fmsub_ps(xi, c, _mm512_mul_ps(xj, s)));
    vec_store_n(out + pairs, n, _mm512_fmadd_ps(xj, c, _mm512_mul_ps(xi, s)));
}

static void rope_head_avx512(const q_rope_args *a, const float *x, const float *table, float *out)
{
    uint32_t i = 0;
    for (; i + 16u <= a->n_pairs; i += 16) {
        rope_sixteen(x + i, table + i, a->n_pairs, 16, out + i);
    }
    if (i < a->n_pairs) {
        rope_sixteen(x + i, table + i, a->n_pairs, a->n_pairs - i, out + i);
    }
    for (i = 2u * a->n_pairs; i < a->head_dim; i += 16) {
        vec_store_n(out + i, a->head_dim - i, vec_load_n(x + i, a->head_dim - i));
    }
}

void q_rope_avx512(const q_work *work, const q_rope_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows) * a->heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t r = u / a->heads;
        size_t head = (size_t)(u % a->heads) * a->head_dim;
        rope_head_avx512(a, x86_row(a->x, a->x_stride, r) + head, x86_row(a->table, a->table_stride, r),
                         x86_row_out(a->out, a->out_stride, r) + head);
    }
}
