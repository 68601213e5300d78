/* SPDX-License-Identifier: MIT */
/*
 * rope.c: rotates pairs (i, i + n_pairs) of each head.
 *
 *   out_i = fma(x_i, cos, -(x_j*sin)),  out_j = fma(x_j, cos, x_i*sin)
 *
 * Eight pairs at a time, both halves loaded before either is stored, so that out may equal x.
 */
#include "kernels_avx2.h"

static void rope_rotate(const float *x, const float *table, uint32_t pairs, float *out)
{
    for (uint32_t i = 0; i < pairs; i += 8) {
        uint32_t n = pairs - i;
        __m256 xi = vec_load_n(x + i, n);
        __m256 xj = vec_load_n(x + pairs + i, n);
        __m256 c = vec_load_n(table + i, n);
        __m256 s = vec_load_n(table + pairs + i, n);
        vec_store_n(out + i, n, _mm256_fmsub_ps(xi, c, _mm256_mul_ps(xj, s)));
        vec_store_n(out + pairs + i, n, _mm256_fmadd_ps(xj, c, _mm256_mul_ps(xi, s)));
    }
}

void q_rope_avx2(const q_work *work, const q_rope_args *a)
{
    uint32_t begin;
    uint32_t end;
    uint32_t rotated = 2u * a->n_pairs;
    q_share(work, q_count_value(work->run, a->rows) * a->heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t r = u / a->heads;
        size_t head = (size_t)(u % a->heads) * a->head_dim;
        const float *x = x86_row(a->x, a->x_stride, r) + head;
        float *out = x86_row_out(a->out, a->out_stride, r) + head;
        rope_rotate(x, x86_row(a->table, a->table_stride, r), a->n_pairs, out);
        for (uint32_t i = rotated; i < a->head_dim; i += 8) {
            vec_store_n(out + i, a->head_dim - i, vec_load_n(x + i, a->head_dim - i));
        }
    }
}
