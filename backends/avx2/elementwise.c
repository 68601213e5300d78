/* SPDX-License-Identifier: MIT */
/*
 * elementwise.c: out = a + b, a * b, silu(a) * b, exp(x), and the causal mask.
 *
 * Outputs may equal inputs. One row is shared out in pieces of 64 columns, several rows whole.
 */
#include "kernels_avx2.h"
#include "elementary_avx2.h"

void q_add_avx2(const q_work *work, const q_binary_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->a, a->a_stride, r);
        const float *y = x86_row(a->b, a->b_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 8) {
            uint32_t n = part.col1 - i;
            vec_store_n(out + i, n, _mm256_add_ps(vec_load_n(x + i, n), vec_load_n(y + i, n)));
        }
    }
}

void q_mul_avx2(const q_work *work, const q_binary_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->a, a->a_stride, r);
        const float *y = x86_row(a->b, a->b_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 8) {
            uint32_t n = part.col1 - i;
            vec_store_n(out + i, n, _mm256_mul_ps(vec_load_n(x + i, n), vec_load_n(y + i, n)));
        }
    }
}

void q_silu_mul_avx2(const q_work *work, const q_binary_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->a, a->a_stride, r);
        const float *y = x86_row(a->b, a->b_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 8) {
            uint32_t n = part.col1 - i;
            __m256 v = q_silu_m256(vec_load_n(x + i, n));
            vec_store_n(out + i, n, _mm256_mul_ps(v, vec_load_n(y + i, n)));
        }
    }
}

void q_exp_avx2(const q_work *work, const q_unary_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 8) {
            uint32_t n = part.col1 - i;
            vec_store_n(out + i, n, q_exp_m256(vec_load_n(x + i, n)));
        }
    }
}

void q_causal_mask_avx2(const q_work *work, const q_causal_mask_args *a)
{
    const __m256 low = _mm256_set1_ps(q_float_u32(0xff800000u));
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_span span = q_span_of_row(work->run, rows, r);
        float *x = x86_row_out(a->x, a->x_stride, r);
        for (uint64_t c = (uint64_t)(r - span.row) + span.position + 1u; c < a->cols; c += 8) {
            vec_store_n(x + c, a->cols - (uint32_t)c, low);
        }
    }
}
