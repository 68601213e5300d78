/* SPDX-License-Identifier: MIT */
/*
 * softmax.h: out = e / sum(e), e = exp(x*scale - max(x*scale)), along each row.
 *
 * The maximum ignores NaN, and the sign of a zero maximum does not matter: x - 0 and x + 0 differ only in zeros, whose
 * exponential is 1. The sum runs over 16 lanes and the tree; tail lanes add +0.
 */
#ifndef Q_X86_SOFTMAX_H
#define Q_X86_SOFTMAX_H

static float softmax_max(const float *x, uint32_t dim, vec scale)
{
    const vec low = vec_set(q_float_u32(0xff800000u));
    vec m = low;
    uint32_t i = 0;
    for (; i + VEC <= dim; i += VEC) {
        m = vec_max(vec_mul(vec_load(x + i), scale), m);
    }
    if (i < dim) {
        vec v = vec_mul(vec_load_n(x + i, dim - i), scale);
        m = vec_max(vec_choose(vec_first(dim - i), v, low), m);
    }
    return vec_top(m);
}

/* A row without a finite value: -infinity gives 0, NaN stays. */
static void softmax_empty(const float *x, float *out, uint32_t dim, vec scale)
{
    for (uint32_t i = 0; i < dim; i += VEC) {
        vec v = vec_mul(vec_load_n(x + i, dim - i), scale);
        vec_store_n(out + i, dim - i, vec_keep(vec_nan(v), v));
    }
}

/* e of n <= 16 values. */
X86_INLINE vec16 softmax_exp(const float *x, uint32_t n, vec16 scale, vec16 max)
{
    return vec16_exp(vec16_sub(vec16_mul(vec16_load_n(x, n), scale), max));
}

static void softmax_row(const float *x, float *out, uint32_t dim, float scale_value)
{
    const vec16 scale = vec16_set(scale_value);
    float max_value = softmax_max(x, dim, vec_set(scale_value));
    const vec16 max = vec16_set(max_value);
    vec16 lane = vec16_zero();
    uint32_t i = 0;
    if (max_value == q_float_u32(0xff800000u)) {
        softmax_empty(x, out, dim, vec_set(scale_value));
        return;
    }
    for (; i + 16u <= dim; i += 16) {
        vec16 e = softmax_exp(x + i, 16, scale, max);
        lane = vec16_add(lane, e);
        vec16_store(out + i, e);
    }
    if (i < dim) {
        vec16 e = softmax_exp(x + i, dim - i, scale, max);
        lane = vec16_add(lane, vec16_first(e, dim - i, vec16_zero()));
        vec16_store_n(out + i, dim - i, e);
    }
    const vec sum = vec_set(vec16_sum(lane));
    for (i = 0; i + VEC <= dim; i += VEC) {
        vec_store(out + i, vec_div(vec_load(out + i), sum));
    }
    if (i < dim) {
        vec_store_n(out + i, dim - i, vec_div(vec_load_n(out + i, dim - i), sum));
    }
}

static void x86_softmax(const q_work *work, const q_softmax_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        softmax_row(x86_row(a->x, a->x_stride, r), x86_row_out(a->out, a->out_stride, r), a->dim, a->scale);
    }
}

#endif /* Q_X86_SOFTMAX_H */
