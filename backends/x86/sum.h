/* SPDX-License-Identifier: MIT */
/* sum.h: the row that a norm reads, where it makes it as a sum of two, and the gradient of it, handed on to both. */
#ifndef Q_X86_SUM_H
#define Q_X86_SUM_H

/* Row r of x, made before where there are addends. */
static inline const float *sum_row(const q_norm_sum *sum, const float *x, size_t stride, uint32_t dim, uint32_t r)
{
    if (sum->a != NULL) {
        const float *a = x86_row(sum->a, sum->a_stride, r);
        const float *b = x86_row(sum->b, sum->b_stride, r);
        float *to = x86_row_out(sum->x, stride, r);
        for (uint32_t i = 0; i < dim; i += VEC) {
            uint32_t n = dim - i;
            vec_store_n(to + i, n, vec_add(vec_load_n(a + i, n), vec_load_n(b + i, n)));
        }
    }
    return x86_row(x, stride, r);
}

/* Row r of dx to those who get it. */
static inline void sum_pass(const q_norm_pass *pass, const float *dx, uint32_t dim, uint32_t r)
{
    for (uint32_t t = 0; t < 2; t++) {
        bool adds = (pass->accumulate >> t & 1u) != 0;
        float *to = pass->to[t] != NULL ? x86_row_out(pass->to[t], pass->stride[t], r) : NULL;
        for (uint32_t i = 0; to != NULL && i < dim; i += VEC) {
            uint32_t n = dim - i;
            vec v = vec_load_n(dx + i, n);
            vec_store_n(to + i, n, adds ? vec_add(vec_load_n(to + i, n), v) : v);
        }
    }
}

#endif /* Q_X86_SUM_H */
