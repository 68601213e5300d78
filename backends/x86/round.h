/* SPDX-License-Identifier: MIT */
/*
 * round.h: values rounded to a narrower type and taken back. The including file gives
 *
 *   round_quantize(v, plane)  a block of 32 as a row of quantize_a8 of its own; v becomes what the plane leaves
 *   round_quants(q)           VEC signed bytes as reals
 *   round_f16(x), round_bf16(x)
 */
#ifndef QORUS_BACKENDS_X86_ROUND_H
#define QORUS_BACKENDS_X86_ROUND_H

enum { ROUND_VECS = Q_BLOCK / VEC };

X86_INLINE void round_block(uint32_t planes, const float *x, float *out)
{
    Q_ALIGNED(Q_ALIGN) uint8_t plane[Q_ALIGN];
    vec v[ROUND_VECS];
    vec y[ROUND_VECS];
    X86_UNROLL
    for (uint32_t i = 0; i < ROUND_VECS; i++) {
        v[i] = vec_load_n(x + i * VEC, VEC);
    }
    for (uint32_t p = 0; p < planes; p++) {
        round_quantize(v, plane);
        const vec d = vec_set(*(const float *)(const void *)(plane + Q_BLOCK));
        X86_UNROLL
        for (uint32_t i = 0; i < ROUND_VECS; i++) {
            vec t = vec_mul(round_quants(plane + i * VEC), d);
            y[i] = p == 0 ? t : vec_add(y[i], t);
        }
    }
    X86_UNROLL
    for (uint32_t i = 0; i < ROUND_VECS; i++) {
        vec_store_n(out + i * VEC, VEC, y[i]);
    }
}

X86_INLINE void round_part(const q_round_args *a, uint32_t begin, uint32_t end, const float *x, float *out)
{
    if (a->dtype == Q_A8 || a->dtype == Q_A8X2) {
        for (uint32_t i = begin; i < end; i += Q_BLOCK) {
            round_block(a->dtype == Q_A8X2 ? 2 : 1, x + i, out + i);
        }
        return;
    }
    for (uint32_t i = begin; i < end; i += VEC) {
        vec v = vec_load_n(x + i, end - i);
        vec_store_n(out + i, end - i, a->dtype == Q_F16 ? round_f16(v) : round_bf16(v));
    }
}

X86_INLINE void round_rows(const q_work *work, const q_round_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        round_part(a, part.col0, part.col1, x86_row(a->x, a->x_stride, r), x86_row_out(a->out, a->out_stride, r));
    }
}

#endif /* QORUS_BACKENDS_X86_ROUND_H */
