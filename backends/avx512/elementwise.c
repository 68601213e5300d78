/* SPDX-License-Identifier: MIT */
/*
 * elementwise.c: out = a + b, a * b, silu(a) * b and exp(x).
 *
 * Outputs may equal inputs. One row is shared out in pieces of 64 columns, several rows whole.
 */
#include "kernels_avx512.h"
#include "elementary_avx512.h"

typedef enum item_op { ITEM_ADD, ITEM_MUL, ITEM_SILU_MUL, ITEM_EXP } item_op;

/* n <= 16 values; b only where op has two operands. */
X86_INLINE void item_sixteen(const item_op op, const float *a, const float *b, float *out, uint32_t n)
{
    __m512 v = vec_load_n(a, n);
    switch (op) {
    case ITEM_ADD:
        v = _mm512_add_ps(v, vec_load_n(b, n));
        break;
    case ITEM_MUL:
        v = _mm512_mul_ps(v, vec_load_n(b, n));
        break;
    case ITEM_SILU_MUL:
        v = _mm512_mul_ps(q_silu_m512(v), vec_load_n(b, n));
        break;
    default:
        v = q_exp_m512(v);
        break;
    }
    vec_store_n(out, n, v);
}

X86_INLINE void item_row(const item_op op, const float *a, const float *b, float *out, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 16u <= n; i += 16) {
        item_sixteen(op, a + i, b + i, out + i, 16);
    }
    if (i < n) {
        item_sixteen(op, a + i, b + i, out + i, n - i);
    }
}

X86_INLINE void item_binary(const item_op op, const q_work *work, const q_binary_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        item_row(op, x86_row(a->a, a->a_stride, r) + part.col0, x86_row(a->b, a->b_stride, r) + part.col0,
                 x86_row_out(a->out, a->out_stride, r) + part.col0, part.col1 - part.col0);
    }
}

X86_INLINE void item_unary(const item_op op, const q_work *work, const q_unary_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r) + part.col0;
        item_row(op, x, x, x86_row_out(a->out, a->out_stride, r) + part.col0, part.col1 - part.col0);
    }
}

void q_add_avx512(const q_work *work, const q_binary_args *a)
{
    item_binary(ITEM_ADD, work, a);
}

void q_mul_avx512(const q_work *work, const q_binary_args *a)
{
    item_binary(ITEM_MUL, work, a);
}

void q_silu_mul_avx512(const q_work *work, const q_binary_args *a)
{
    item_binary(ITEM_SILU_MUL, work, a);
}

void q_exp_avx512(const q_work *work, const q_unary_args *a)
{
    item_unary(ITEM_EXP, work, a);
}
