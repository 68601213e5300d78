/* SPDX-License-Identifier: MIT */
/*
 * norm.c: LayerNorm along the row, forward and backward. 16 lanes of a sum are two registers.
 */
#include "kernels_avx2.h"

/* Values i .. i + 15 of a row as two registers, the first n of them; the rest 0. */
typedef struct norm_pair {
    __m256 lo;
    __m256 hi;
} norm_pair;

static inline norm_pair norm_load(const float *p, uint32_t n)
{
    norm_pair v = {vec_load_n(p, n), _mm256_setzero_ps()};
    if (n > 8u) {
        v.hi = vec_load_n(p + 8, n - 8u);
    }
    return v;
}

static inline void norm_store(float *p, uint32_t n, norm_pair v)
{
    vec_store_n(p, n, v.lo);
    if (n > 8u) {
        vec_store_n(p + 8, n - 8u, v.hi);
    }
}

/* v where there is a value, else 0: what is not there must not count. */
static inline norm_pair norm_first(norm_pair v, uint32_t n)
{
    if (n < 16u) {
        v.lo = _mm256_and_ps(v.lo, _mm256_castsi256_ps(vec_mask(n)));
        v.hi = _mm256_and_ps(v.hi, _mm256_castsi256_ps(vec_mask(n > 8u ? n - 8u : 0u)));
    }
    return v;
}

static inline norm_pair norm_less(norm_pair v, __m256 mean)
{
    norm_pair d = {_mm256_sub_ps(v.lo, mean), _mm256_sub_ps(v.hi, mean)};
    return d;
}

static inline norm_pair norm_times(norm_pair a, norm_pair b)
{
    norm_pair p = {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
    return p;
}

static inline norm_pair norm_scaled(norm_pair a, __m256 s)
{
    norm_pair p = {_mm256_mul_ps(a.lo, s), _mm256_mul_ps(a.hi, s)};
    return p;
}

static inline norm_pair norm_plus(norm_pair a, norm_pair b)
{
    norm_pair p = {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
    return p;
}

static inline norm_pair norm_fma(norm_pair a, norm_pair b, norm_pair sum)
{
    norm_pair p = {_mm256_fmadd_ps(a.lo, b.lo, sum.lo), _mm256_fmadd_ps(a.hi, b.hi, sum.hi)};
    return p;
}

static inline norm_pair norm_zero(void)
{
    norm_pair p = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    return p;
}

static void layernorm_row(const q_layernorm_args *a, uint32_t r)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    float *y = x86_row_out(a->y, a->y_stride, r);
    norm_pair sum = norm_zero();
    for (uint32_t i = 0; i < a->dim; i += 16) {
        sum = norm_plus(sum, norm_load(x + i, a->dim - i));
    }
    float mean = q_hsum16_m256(sum.lo, sum.hi) / (float)a->dim;
    const __m256 center = _mm256_set1_ps(mean);
    sum = norm_zero();
    for (uint32_t i = 0; i < a->dim; i += 16) {
        norm_pair d = norm_first(norm_less(norm_load(x + i, a->dim - i), center), a->dim - i);
        sum = norm_fma(d, d, sum);
    }
    float s = 1.0f / q_sqrt(q_hsum16_m256(sum.lo, sum.hi) / (float)a->dim + a->eps);
    const __m256 scale = _mm256_set1_ps(s);
    for (uint32_t i = 0; i < a->dim; i += 16) {
        uint32_t n = a->dim - i;
        norm_pair v = norm_scaled(norm_less(norm_load(x + i, n), center), scale);
        v = norm_times(v, norm_load(a->weight + i, n));
        v = a->bias != NULL ? norm_plus(v, norm_load(a->bias + i, n)) : v;
        norm_store(y + i, n, v);
    }
    if (a->stats != NULL) {
        a->stats[2u * (size_t)r] = mean;
        a->stats[2u * (size_t)r + 1u] = s;
    }
}

void q_layernorm_avx2(const q_work *work, const q_layernorm_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        layernorm_row(a, r);
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

static inline norm_pair layernorm_h(const float *x, const float *stats, uint32_t n)
{
    norm_pair d = norm_less(norm_load(x, n), _mm256_set1_ps(stats[0]));
    return norm_first(norm_scaled(d, _mm256_set1_ps(stats[1])), n);
}

static void layernorm_grad_row(const q_layernorm_grad_args *a, uint32_t r)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    const float *stats = a->stats + 2u * (size_t)r;
    float *dx = x86_row_out(a->dx, a->dx_stride, r);
    norm_pair sum = norm_zero();
    norm_pair sum_h = norm_zero();
    for (uint32_t i = 0; i < a->dim; i += 16) {
        uint32_t n = a->dim - i;
        norm_pair g = norm_times(norm_load(dy + i, n), norm_load(a->weight + i, n));
        sum = norm_plus(sum, g);
        sum_h = norm_fma(g, layernorm_h(x + i, stats, n), sum_h);
    }
    const __m256 mean = _mm256_set1_ps(q_hsum16_m256(sum.lo, sum.hi) / (float)a->dim);
    const __m256 mean_h = _mm256_set1_ps(q_hsum16_m256(sum_h.lo, sum_h.hi) / (float)a->dim);
    const __m256 s = _mm256_set1_ps(stats[1]);
    for (uint32_t i = 0; i < a->dim; i += 16) {
        uint32_t n = a->dim - i;
        norm_pair d = norm_less(norm_times(norm_load(dy + i, n), norm_load(a->weight + i, n)), mean);
        norm_pair h = norm_scaled(layernorm_h(x + i, stats, n), mean_h);
        d.lo = _mm256_sub_ps(d.lo, h.lo);
        d.hi = _mm256_sub_ps(d.hi, h.hi);
        d = norm_scaled(d, s);
        d = a->accumulate != 0 ? norm_plus(norm_load(dx + i, n), d) : d;
        norm_store(dx + i, n, d);
    }
}

void q_layernorm_grad_avx2(const q_work *work, const q_layernorm_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        layernorm_grad_row(a, r);
    }
}

/* Columns i .. i + 15 of both gradients. */
static void layernorm_param_columns(const q_layernorm_grad_param_args *a, uint32_t rows, uint32_t i)
{
    uint32_t n = a->dim - i;
    norm_pair weight = a->grad_weight != NULL ? norm_load(a->grad_weight + i, n) : norm_zero();
    norm_pair bias = a->grad_bias != NULL ? norm_load(a->grad_bias + i, n) : norm_zero();
    for (uint32_t r = 0; r < rows; r++) {
        norm_pair g = norm_load(x86_row(a->dy, a->dy_stride, r) + i, n);
        weight = norm_fma(g, layernorm_h(x86_row(a->x, a->x_stride, r) + i, a->stats + 2u * (size_t)r, n), weight);
        bias = norm_plus(bias, g);
    }
    if (a->grad_weight != NULL) {
        norm_store(a->grad_weight + i, n, weight);
    }
    if (a->grad_bias != NULL) {
        norm_store(a->grad_bias + i, n, bias);
    }
}

void q_layernorm_grad_param_avx2(const q_work *work, const q_layernorm_grad_param_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, 16), &group, &end);
    for (; group < end; group++) {
        layernorm_param_columns(a, rows, group * 16u);
    }
}
