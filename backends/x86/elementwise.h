/* SPDX-License-Identifier: MIT */
/*
 * elementwise.h: out = a + b, a * b, silu(a) * b, exp(x), and the causal mask.
 *
 * Outputs may equal inputs. One row is shared out in pieces of 64 columns, several rows whole.
 */
#ifndef Q_X86_ELEMENTWISE_H
#define Q_X86_ELEMENTWISE_H

typedef enum item_op { ITEM_ADD, ITEM_MUL, ITEM_SILU_MUL, ITEM_EXP } item_op;

/* n <= VEC values; b only where op has two operands. */
X86_INLINE void item_lanes(const item_op op, const float *a, const float *b, float *out, uint32_t n)
{
    vec v = vec_load_n(a, n);
    switch (op) {
    case ITEM_ADD:
        v = vec_add(v, vec_load_n(b, n));
        break;
    case ITEM_MUL:
        v = vec_mul(v, vec_load_n(b, n));
        break;
    case ITEM_SILU_MUL:
        v = vec_mul(vec_silu(v), vec_load_n(b, n));
        break;
    default:
        v = vec_exp(v);
        break;
    }
    vec_store_n(out, n, v);
}

X86_INLINE void item_row(const item_op op, const float *a, const float *b, float *out, uint32_t n)
{
    uint32_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        item_lanes(op, a + i, b + i, out + i, VEC);
    }
    if (i < n) {
        item_lanes(op, a + i, b + i, out + i, n - i);
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

static void x86_add(const q_work *work, const q_binary_args *a)
{
    item_binary(ITEM_ADD, work, a);
}

static void x86_mul(const q_work *work, const q_binary_args *a)
{
    item_binary(ITEM_MUL, work, a);
}

static void x86_silu_mul(const q_work *work, const q_binary_args *a)
{
    item_binary(ITEM_SILU_MUL, work, a);
}

static void x86_exp(const q_work *work, const q_unary_args *a)
{
    item_unary(ITEM_EXP, work, a);
}

static void x86_causal_mask(const q_work *work, const q_causal_mask_args *a)
{
    const vec low = vec_set(q_float_u32(0xff800000u));
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_span span = q_span_of_row(work->run, rows, r);
        float *x = x86_row_out(a->x, a->x_stride, r);
        for (uint64_t c = (uint64_t)(r - span.row) + span.position + 1u; c < a->cols; c += VEC) {
            vec_store_n(x + c, a->cols - (uint32_t)c, low);
        }
    }
}

#endif /* Q_X86_ELEMENTWISE_H */
