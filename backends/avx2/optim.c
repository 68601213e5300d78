/* SPDX-License-Identifier: MIT */
/*
 * optim.c: steps of optimizers, norms of gradients, averages of weights. The formulas are those of q_optimizer_args.
 */
#include "kernels_avx2.h"

/* The factors of a step in every lane. */
typedef struct optim_factors_avx2 {
    __m256 grad_scale;
    __m256 low;
    __m256 high;
    __m256 decay;
    __m256 keep;
    __m256 rate; /* negative */
    __m256 beta1;
    __m256 rest1;
    __m256 beta2;
    __m256 rest2;
    __m256 eps;
    __m256 correction;
} optim_factors_avx2;

static inline optim_factors_avx2 optim_factors_of_avx2(const q_optimizer_args *a)
{
    optim_factors_avx2 f;
    f.grad_scale = _mm256_set1_ps(a->grad_scale);
    f.low = _mm256_set1_ps(-a->limit);
    f.high = _mm256_set1_ps(a->limit);
    f.decay = _mm256_set1_ps(a->decay);
    f.keep = _mm256_set1_ps(a->keep);
    f.rate = _mm256_set1_ps(-a->rate);
    f.beta1 = _mm256_set1_ps(a->beta1);
    f.rest1 = _mm256_set1_ps(a->rest1);
    f.beta2 = _mm256_set1_ps(a->beta2);
    f.rest2 = _mm256_set1_ps(a->rest2);
    f.eps = _mm256_set1_ps(a->eps);
    f.correction = _mm256_set1_ps(a->correction);
    return f;
}

/* Of n <= 8 values. min and max give their second operand where one is NaN. */
static inline __m256 optim_gradient_avx2(const q_optimizer_args *a, const optim_factors_avx2 *f, size_t i, uint32_t n, __m256 w)
{
    __m256 g = _mm256_mul_ps(vec_load_n(a->grad + i, n), f->grad_scale);
    if (a->limit > 0) {
        g = _mm256_min_ps(f->high, _mm256_max_ps(f->low, g));
    }
    return a->decay > 0 ? _mm256_fmadd_ps(f->decay, w, g) : g;
}

static inline uint32_t optim_left_avx2(size_t i, size_t end)
{
    return end - i < 8u ? (uint32_t)(end - i) : 8u;
}

void q_sgd_avx2(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors_avx2 f = optim_factors_of_avx2(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 8) {
        uint32_t n = optim_left_avx2(i, end);
        __m256 w = vec_load_n(a->w + i, n);
        __m256 g = optim_gradient_avx2(a, &f, i, n, w);
        if (a->m != NULL) {
            __m256 m = _mm256_fmadd_ps(f.beta1, vec_load_n(a->m + i, n), g);
            vec_store_n(a->m + i, n, m);
            g = a->nesterov != 0 ? _mm256_fmadd_ps(f.beta1, m, g) : m;
        }
        vec_store_n(a->w + i, n, _mm256_fmadd_ps(f.rate, g, _mm256_mul_ps(w, f.keep)));
    }
}

void q_adam_avx2(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors_avx2 f = optim_factors_of_avx2(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 8) {
        uint32_t n = optim_left_avx2(i, end);
        __m256 w = vec_load_n(a->w + i, n);
        __m256 g = optim_gradient_avx2(a, &f, i, n, w);
        __m256 m = _mm256_fmadd_ps(f.beta1, vec_load_n(a->m + i, n), _mm256_mul_ps(f.rest1, g));
        __m256 v = _mm256_fmadd_ps(f.beta2, vec_load_n(a->v + i, n), _mm256_mul_ps(_mm256_mul_ps(f.rest2, g), g));
        __m256 d = _mm256_fmadd_ps(_mm256_sqrt_ps(v), f.correction, f.eps);
        vec_store_n(a->m + i, n, m);
        vec_store_n(a->v + i, n, v);
        vec_store_n(a->w + i, n, _mm256_fmadd_ps(f.rate, _mm256_div_ps(m, d), _mm256_mul_ps(w, f.keep)));
    }
}

/* 1, -1, or 0 for zeros and NaN. */
static inline __m256 optim_sign_avx2(__m256 u)
{
    const __m256 zero = _mm256_setzero_ps();
    __m256 up = _mm256_and_ps(_mm256_cmp_ps(u, zero, _CMP_GT_OQ), _mm256_set1_ps(1.0f));
    __m256 down = _mm256_and_ps(_mm256_cmp_ps(u, zero, _CMP_LT_OQ), _mm256_set1_ps(-1.0f));
    return _mm256_or_ps(up, down);
}

void q_lion_avx2(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors_avx2 f = optim_factors_of_avx2(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 8) {
        uint32_t n = optim_left_avx2(i, end);
        __m256 w = vec_load_n(a->w + i, n);
        __m256 m = vec_load_n(a->m + i, n);
        __m256 g = optim_gradient_avx2(a, &f, i, n, w);
        __m256 u = _mm256_fmadd_ps(f.beta1, m, _mm256_mul_ps(f.rest1, g));
        vec_store_n(a->w + i, n, _mm256_fmadd_ps(f.rate, optim_sign_avx2(u), _mm256_mul_ps(w, f.keep)));
        vec_store_n(a->m + i, n, _mm256_fmadd_ps(f.beta2, m, _mm256_mul_ps(f.rest2, g)));
    }
}

void q_sum_squares_avx2(const q_work *work, const q_sum_squares_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (uint32_t)((a->n + Q_SUM_SQUARES_CHUNK - 1) / Q_SUM_SQUARES_CHUNK), &begin, &end);
    for (uint32_t c = begin; c < end; c++) {
        size_t first = (size_t)c * Q_SUM_SQUARES_CHUNK;
        size_t last = a->n - first < Q_SUM_SQUARES_CHUNK ? a->n : first + Q_SUM_SQUARES_CHUNK;
        __m256 lo = _mm256_setzero_ps();
        __m256 hi = _mm256_setzero_ps();
        for (size_t i = first; i < last; i += 16) {
            uint32_t n = (uint32_t)(last - i);
            __m256 x = vec_load_n(a->x + i, n);
            lo = _mm256_fmadd_ps(x, x, lo);
            if (n > 8) {
                x = vec_load_n(a->x + i + 8, n - 8);
                hi = _mm256_fmadd_ps(x, x, hi);
            }
        }
        a->partial[c] = q_hsum16_m256(lo, hi);
    }
}

void q_rescale_avx2(const q_work *work, const q_rescale_args *a)
{
    const __m256 factor = _mm256_set1_ps(a->factor);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 8) {
        uint32_t n = optim_left_avx2(i, end);
        vec_store_n(a->x + i, n, _mm256_mul_ps(vec_load_n(a->x + i, n), factor));
    }
}

void q_average_avx2(const q_work *work, const q_average_args *a)
{
    const __m256 share = _mm256_set1_ps(a->share);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 8) {
        uint32_t n = optim_left_avx2(i, end);
        __m256 e = vec_load_n(a->average + i, n);
        vec_store_n(a->average + i, n, _mm256_fmadd_ps(share, _mm256_sub_ps(vec_load_n(a->x + i, n), e), e));
    }
}
