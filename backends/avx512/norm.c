/* SPDX-License-Identifier: MIT */
/*
 * norm.c: LayerNorm along the row, forward and backward.
 *
 * One row waits for each step of its chains of sums; four rows at a time keep the units busy.
 */
#include "kernels_avx512.h"

enum { LAYERNORM_ROWS = 4 };

/* Mean of `rows` rows. */
X86_INLINE void layernorm_means_of(const uint32_t rows, const float *const *x, uint32_t dim, float *mean)
{
    __m512 sum[LAYERNORM_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        sum[t] = _mm512_setzero_ps();
    }
    for (; i + 16u <= dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            sum[t] = _mm512_add_ps(sum[t], _mm512_loadu_ps(x[t] + i));
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        const __mmask16 m = avx512_mask(dim - i);
        sum[t] = _mm512_mask_add_ps(sum[t], m, sum[t], _mm512_maskz_loadu_ps(m, x[t] + i));
        mean[t] = avx512_lane_sum(sum[t]) / (float)dim;
    }
}

/* 1/sqrt(var + eps) of `rows` rows. */
X86_INLINE void layernorm_scales_of(const uint32_t rows, const float *const *x, uint32_t dim, float eps,
                                         const float *mean, float *s)
{
    __m512 sum[LAYERNORM_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        sum[t] = _mm512_setzero_ps();
    }
    for (; i + 16u <= dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512 d = _mm512_sub_ps(_mm512_loadu_ps(x[t] + i), _mm512_set1_ps(mean[t]));
            sum[t] = _mm512_fmadd_ps(d, d, sum[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        const __mmask16 m = avx512_mask(dim - i);
        __m512 d = _mm512_maskz_sub_ps(m, _mm512_maskz_loadu_ps(m, x[t] + i), _mm512_set1_ps(mean[t]));
        sum[t] = _mm512_mask3_fmadd_ps(d, d, sum[t], m);
        s[t] = 1.0f / q_sqrt(avx512_lane_sum(sum[t]) / (float)dim + eps);
    }
}

static void layernorm_write(const q_layernorm_args *a, const float *x, float *y, float mean, float s)
{
    const __m512 center = _mm512_set1_ps(mean);
    const __m512 scale = _mm512_set1_ps(s);
    for (uint32_t i = 0; i < a->dim; i += 16) {
        const __mmask16 m = avx512_mask(a->dim - i);
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), center), scale);
        v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, a->weight + i));
        v = a->bias != NULL ? _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, a->bias + i)) : v;
        _mm512_mask_storeu_ps(y + i, m, v);
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
        x[t] = x86_row(a->x, a->x_stride, r + t);
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

void q_layernorm_avx512(const q_work *work, const q_layernorm_args *a)
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

/* g and h of n <= 16 values. */
static inline __m512 layernorm_g(const q_layernorm_grad_args *a, const float *dy, uint32_t i, __mmask16 m)
{
    return _mm512_mul_ps(_mm512_maskz_loadu_ps(m, dy + i), _mm512_maskz_loadu_ps(m, a->weight + i));
}

static inline __m512 layernorm_h(const float *x, const float *stats, uint32_t i, __mmask16 m)
{
    __m512 d = _mm512_maskz_sub_ps(m, _mm512_maskz_loadu_ps(m, x + i), _mm512_set1_ps(stats[0]));
    return _mm512_mul_ps(d, _mm512_set1_ps(stats[1]));
}

static void layernorm_grad_row(const q_layernorm_grad_args *a, uint32_t r)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    const float *stats = a->stats + 2u * (size_t)r;
    float *dx = x86_row_out(a->dx, a->dx_stride, r);
    __m512 sum = _mm512_setzero_ps();
    __m512 sum_h = _mm512_setzero_ps();
    for (uint32_t i = 0; i < a->dim; i += 16) {
        const __mmask16 m = avx512_mask(a->dim - i);
        __m512 g = layernorm_g(a, dy, i, m);
        sum = _mm512_mask_add_ps(sum, m, sum, g);
        sum_h = _mm512_mask3_fmadd_ps(g, layernorm_h(x, stats, i, m), sum_h, m);
    }
    const __m512 mean = _mm512_set1_ps(avx512_lane_sum(sum) / (float)a->dim);
    const __m512 mean_h = _mm512_set1_ps(avx512_lane_sum(sum_h) / (float)a->dim);
    for (uint32_t i = 0; i < a->dim; i += 16) {
        const __mmask16 m = avx512_mask(a->dim - i);
        __m512 d = _mm512_sub_ps(layernorm_g(a, dy, i, m), mean);
        d = _mm512_sub_ps(d, _mm512_mul_ps(layernorm_h(x, stats, i, m), mean_h));
        d = _mm512_mul_ps(d, _mm512_set1_ps(stats[1]));
        d = a->accumulate != 0 ? _mm512_add_ps(_mm512_maskz_loadu_ps(m, dx + i), d) : d;
        _mm512_mask_storeu_ps(dx + i, m, d);
    }
}

void q_layernorm_grad_avx512(const q_work *work, const q_layernorm_grad_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r < end; r++) {
        layernorm_grad_row(a, r);
    }
}

/* Columns i .. of both gradients, `vectors` times 16; rows are many, and so are the columns in flight. */
X86_INLINE void layernorm_param_columns(const uint32_t vectors, const q_layernorm_grad_param_args *a, uint32_t rows,
                                             uint32_t i)
{
    __m512 weight[4];
    __m512 bias[4];
    __mmask16 m[4];
    X86_UNROLL
    for (uint32_t v = 0; v < vectors; v++) {
        m[v] = avx512_mask(a->dim - i - 16u * v);
        weight[v] = a->grad_weight != NULL ? _mm512_maskz_loadu_ps(m[v], a->grad_weight + i + 16u * v) : _mm512_setzero_ps();
        bias[v] = a->grad_bias != NULL ? _mm512_maskz_loadu_ps(m[v], a->grad_bias + i + 16u * v) : _mm512_setzero_ps();
    }
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = x86_row(a->x, a->x_stride, r) + i;
        const float *dy = x86_row(a->dy, a->dy_stride, r) + i;
        X86_UNROLL
        for (uint32_t v = 0; v < vectors; v++) {
            __m512 g = _mm512_maskz_loadu_ps(m[v], dy + 16u * v);
            weight[v] = _mm512_fmadd_ps(g, layernorm_h(x, a->stats + 2u * (size_t)r, 16u * v, m[v]), weight[v]);
            bias[v] = _mm512_add_ps(bias[v], g);
        }
    }
    X86_UNROLL
    for (uint32_t v = 0; v < vectors; v++) {
        if (a->grad_weight != NULL) {
            _mm512_mask_storeu_ps(a->grad_weight + i + 16u * v, m[v], weight[v]);
        }
        if (a->grad_bias != NULL) {
            _mm512_mask_storeu_ps(a->grad_bias + i + 16u * v, m[v], bias[v]);
        }
    }
}

void q_layernorm_grad_param_avx512(const q_work *work, const q_layernorm_grad_param_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, 16), &group, &end);
    for (; group + 4u <= end; group += 4) {
        layernorm_param_columns(4, a, rows, group * 16u);
    }
    for (; group < end; group++) {
        layernorm_param_columns(1, a, rows, group * 16u);
    }
}
