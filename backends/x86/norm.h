/* SPDX-License-Identifier: MIT */
/*
 * norm.h: LayerNorm along the row, forward and backward.
 *
 * One row waits for each step of its chains of sums; four rows at a time keep the units busy.
 */
#ifndef Q_X86_NORM_H
#define Q_X86_NORM_H

#include "sum.h"

enum { LAYERNORM_ROWS = 4 };

/* Mean of `rows` rows. */
X86_INLINE void layernorm_means_of(const uint32_t rows, const float *const *x, uint32_t dim, float *mean)
{
    vec16 sum[LAYERNORM_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        sum[t] = vec16_zero();
    }
    for (; i + 16u <= dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            sum[t] = vec16_add(sum[t], vec16_load(x[t] + i));
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        sum[t] = vec16_add(sum[t], vec16_load_n(x[t] + i, dim - i));
        mean[t] = vec16_sum(sum[t]) / (float)dim;
    }
}

/* 1/sqrt(var + eps) of `rows` rows. */
X86_INLINE void layernorm_scales_of(const uint32_t rows, const float *const *x, uint32_t dim, float eps,
                                    const float *mean, float *s)
{
    vec16 sum[LAYERNORM_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        sum[t] = vec16_zero();
    }
    for (; i + 16u <= dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            vec16 d = vec16_sub(vec16_load(x[t] + i), vec16_set(mean[t]));
            sum[t] = vec16_fma(d, d, sum[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        vec16 d = vec16_sub(vec16_load_n(x[t] + i, dim - i), vec16_set(mean[t]));
        d = vec16_first(d, dim - i, vec16_zero());
        sum[t] = vec16_fma(d, d, sum[t]);
        s[t] = 1.0f / q_sqrt(vec16_sum(sum[t]) / (float)dim + eps);
    }
}

static void layernorm_write(const q_layernorm_args *a, const float *x, float *y, float mean, float s)
{
    const vec center = vec_set(mean);
    const vec scale = vec_set(s);
    for (uint32_t i = 0; i < a->dim; i += VEC) {
        const vec_tail m = vec_tail_of(a->dim - i);
        vec v = vec_mul(vec_sub(vec_load_tail(x + i, m), center), scale);
        v = vec_mul(v, vec_load_tail(a->weight + i, m));
        v = a->bias != NULL ? vec_add(v, vec_load_tail(a->bias + i, m)) : v;
        vec_store_tail(y + i, m, v);
    }
}

/* `rows` rows from r. */
X86_INLINE void layernorm_some(const uint32_t rows, const q_layernorm_args *a, uint32_t r)
{
    const float *x[LAYERNORM_ROWS];
    float mean[LAYERNORM_ROWS];
    float s[LAYERNORM_ROWS];
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        x[t] = sum_row(&a->sum, a->x, a->x_stride, a->dim, r + t);
    }
    layernorm_means_of(rows, x, a->dim, mean);
    layernorm_scales_of(rows, x, a->dim, a->eps, mean, s);
    for (uint32_t t = 0; t < rows; t++) {
        layernorm_write(a, x[t], x86_row_out(a->y, a->y_stride, r + t), mean[t], s[t]);
        if (a->stats != NULL) {
            a->stats[2u * (size_t)(r + t)] = mean[t];
            a->stats[2u * (size_t)(r + t) + 1u] = s[t];
        }
    }
}

static void x86_layernorm(const q_work *work, const q_layernorm_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r + LAYERNORM_ROWS <= end; r += LAYERNORM_ROWS) {
        layernorm_some(LAYERNORM_ROWS, a, r);
    }
    for (; r < end; r++) {
        layernorm_some(1, a, r);
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* g and h of n <= 16 values; h is 0 behind them. */
X86_INLINE void layernorm_sums(const q_layernorm_grad_args *a, const float *x, const float *dy, const float *stats,
                               uint32_t i, uint32_t n, vec16 *sum, vec16 *sum_h)
{
    vec16 g = vec16_mul(vec16_load_n(dy + i, n), vec16_load_n(a->weight + i, n));
    vec16 h = vec16_mul(vec16_sub(vec16_load_n(x + i, n), vec16_set(stats[0])), vec16_set(stats[1]));
    *sum = vec16_add(*sum, g);
    *sum_h = vec16_fma(g, vec16_first(h, n, vec16_zero()), *sum_h);
}

static inline vec layernorm_h(const float *x, const float *stats, vec_tail m)
{
    return vec_mul(vec_sub(vec_load_tail(x, m), vec_set(stats[0])), vec_set(stats[1]));
}

static void layernorm_grad_row(const q_layernorm_grad_args *a, uint32_t r)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    const float *stats = a->stats + 2u * (size_t)r;
    float *dx = x86_row_out(a->dx, a->dx_stride, r);
    vec16 sum = vec16_zero();
    vec16 sum_h = vec16_zero();
    uint32_t i = 0;
    for (; i + 16u <= a->dim; i += 16) {
        layernorm_sums(a, x, dy, stats, i, 16, &sum, &sum_h);
    }
    if (i < a->dim) {
        layernorm_sums(a, x, dy, stats, i, a->dim - i, &sum, &sum_h);
    }
    const vec mean = vec_set(vec16_sum(sum) / (float)a->dim);
    const vec mean_h = vec_set(vec16_sum(sum_h) / (float)a->dim);
    for (i = 0; i < a->dim; i += VEC) {
        const vec_tail m = vec_tail_of(a->dim - i);
        vec d = vec_sub(vec_mul(vec_load_tail(dy + i, m), vec_load_tail(a->weight + i, m)), mean);
        d = vec_sub(d, vec_mul(layernorm_h(x + i, stats, m), mean_h));
        d = vec_mul(d, vec_set(stats[1]));
        d = a->accumulate != 0 ? vec_add(vec_load_tail(dx + i, m), d) : d;
        vec_store_tail(dx + i, m, d);
    }
    sum_pass(&a->pass, dx, a->dim, r);
}

static void x86_layernorm_grad(const q_work *work, const q_layernorm_grad_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r < end; r++) {
        layernorm_grad_row(a, r);
    }
}

/* Columns i .. of both gradients, `vectors` times VEC; rows are many, and so are the columns in flight. */
X86_INLINE void layernorm_param_columns(const uint32_t vectors, const q_layernorm_grad_param_args *a, uint32_t rows,
                                        uint32_t i)
{
    vec weight[4];
    vec bias[4];
    vec_tail m[4];
    X86_UNROLL
    for (uint32_t v = 0; v < vectors; v++) {
        m[v] = vec_tail_of(a->dim - i - VEC * v);
        weight[v] = a->grad_weight != NULL ? vec_load_tail(a->grad_weight + i + VEC * v, m[v]) : vec_zero();
        bias[v] = a->grad_bias != NULL ? vec_load_tail(a->grad_bias + i + VEC * v, m[v]) : vec_zero();
    }
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = x86_row(a->x, a->x_stride, r) + i;
        const float *dy = x86_row(a->dy, a->dy_stride, r) + i;
        X86_UNROLL
        for (uint32_t v = 0; v < vectors; v++) {
            vec g = vec_load_tail(dy + VEC * v, m[v]);
            weight[v] = vec_fma(g, layernorm_h(x + VEC * v, a->stats + 2u * (size_t)r, m[v]), weight[v]);
            bias[v] = vec_add(bias[v], g);
        }
    }
    X86_UNROLL
    for (uint32_t v = 0; v < vectors; v++) {
        if (a->grad_weight != NULL) {
            vec_store_tail(a->grad_weight + i + VEC * v, m[v], weight[v]);
        }
        if (a->grad_bias != NULL) {
            vec_store_tail(a->grad_bias + i + VEC * v, m[v], bias[v]);
        }
    }
}

static void x86_layernorm_grad_param(const q_work *work, const q_layernorm_grad_param_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, VEC), &group, &end);
    for (; group + 4u <= end; group += 4) {
        layernorm_param_columns(4, a, rows, group * VEC);
    }
    for (; group < end; group++) {
        layernorm_param_columns(1, a, rows, group * VEC);
    }
}

#endif /* Q_X86_NORM_H */
