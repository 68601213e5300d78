/* SPDX-License-Identifier: MIT */
/*
 * scale.h: values times a factor, all of them or those that dropout keeps. The including file gives `dropout_bits`, 4
 * registers of random bits, with
 *
 *   dropout_same(x)                 x in every lane
 *   dropout_draw(place, block)      the numbers of elements 4*block .. 4*block + 4*VEC - 1, in order
 *   dropout_keep(bits, threshold, y) y where the upper 24 bits are at least that, else 0
 */
#ifndef QORUS_BACKENDS_X86_SCALE_H
#define QORUS_BACKENDS_X86_SCALE_H

/* to[i] = from[i] + y[i], or y[i] where from is NULL. */
X86_INLINE void scale_put(float *to, const float *from, uint32_t i, uint32_t n, vec y)
{
    if (from != NULL) {
        y = vec_add(vec_load_n(from + i, n), y);
    }
    vec_store_n(to + i, n, y);
}

X86_INLINE void scale_rows(const q_work *work, const q_scale_args *a)
{
    const vec factor = vec_set(a->factor);
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += VEC) {
            uint32_t n = part.col1 - i;
            scale_put(out, a->accumulate != 0 ? out : NULL, i, n, vec_mul(vec_load_n(x + i, n), factor));
        }
    }
}

/* Columns col0 .. col1 - 1 of row r, whose first block is `first`. */
X86_INLINE void dropout_row(const q_dropout_args *a, const q_random_place *place, uint32_t first, x86_items part, uint32_t r)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    const float *residual = a->residual != NULL ? x86_row(a->residual, a->residual_stride, r) : NULL;
    float *out = x86_row_out(a->out, a->out_stride, r);
    const vec factor = vec_set(a->factor);
    dropout_bits bits = dropout_same(a->whole != 0 ? q_random_u32(place, 0) : 0);
    for (uint32_t i = part.col0; i < part.col1; i += 4 * VEC) {
        if (a->whole == 0) {
            bits = dropout_draw(place, first + i / 4u);
        }
        X86_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            uint32_t at = i + VEC * j;
            if (at < part.col1) {
                uint32_t n = part.col1 - at;
                vec y = vec_mul(vec_load_n(x + at, n), factor);
                scale_put(out, residual, at, n, dropout_keep(bits.word[j], a->threshold, y));
            }
        }
    }
}

X86_INLINE void dropout_rows(const q_work *work, const q_dropout_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    x86_items part = x86_share_items(work, rows, a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        q_sample_row at = q_sample_of_row(work->run, rows, a->per_sample, r);
        q_random_place place = {work->run->seed, work->run->step, a->node, at.sample};
        dropout_row(a, &place, at.row * q_ceil_div_u32(a->dim, 4), part, r);
    }
}

#endif /* QORUS_BACKENDS_X86_SCALE_H */
