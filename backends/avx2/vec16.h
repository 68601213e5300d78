/* SPDX-License-Identifier: MIT */
/*
 * vec16.h: the 16 lanes of a sum, in every backend's order, on AVX2: the part of vec.h, which includes it, that is about
 * them. avx512/vec16.h spells the same names.
 */
#ifndef QORUS_BACKENDS_AVX2_VEC16_H
#define QORUS_BACKENDS_AVX2_VEC16_H

/* 16 floats, two registers */
typedef struct vec16 {
    __m256 lo;
    __m256 hi;
} vec16;

enum { VEC16_PARTS = 2 };

static inline vec16 vec16_of(vec lo, vec hi)
{
    vec16 v = {lo, hi};
    return v;
}

static inline vec16 vec16_join(const vec v[VEC16_PARTS])
{
    return vec16_of(v[0], v[1]);
}

static inline vec16 vec16_zero(void)
{
    return vec16_of(vec_zero(), vec_zero());
}

static inline vec16 vec16_set(float x)
{
    return vec16_of(vec_set(x), vec_set(x));
}

static inline vec16 vec16_load(const float *p)
{
    return vec16_of(vec_load(p), vec_load(p + 8));
}

static inline vec16 vec16_load_n(const float *p, uint32_t n)
{
    return vec16_of(vec_load_n(p, n), n > 8u ? vec_load_n(p + 8, n - 8u) : vec_zero());
}

static inline void vec16_store(float *p, vec16 v)
{
    vec_store(p, v.lo);
    vec_store(p + 8, v.hi);
}

static inline void vec16_store_n(float *p, uint32_t n, vec16 v)
{
    vec_store_n(p, n, v.lo);
    if (n > 8u) {
        vec_store_n(p + 8, n - 8u, v.hi);
    }
}

/* v in the first n lanes, else `rest`. */
static inline vec16 vec16_first(vec16 v, uint32_t n, vec16 rest)
{
    if (n >= 16u) {
        return v;
    }
    return vec16_of(vec_choose(vec_first(n), v.lo, rest.lo), vec_choose(vec_first(n > 8u ? n - 8u : 0u), v.hi, rest.hi));
}

static inline vec16 vec16_add(vec16 a, vec16 b)
{
    return vec16_of(vec_add(a.lo, b.lo), vec_add(a.hi, b.hi));
}

static inline vec16 vec16_sub(vec16 a, vec16 b)
{
    return vec16_of(vec_sub(a.lo, b.lo), vec_sub(a.hi, b.hi));
}

static inline vec16 vec16_mul(vec16 a, vec16 b)
{
    return vec16_of(vec_mul(a.lo, b.lo), vec_mul(a.hi, b.hi));
}

static inline vec16 vec16_fma(vec16 a, vec16 b, vec16 c)
{
    return vec16_of(vec_fma(a.lo, b.lo, c.lo), vec_fma(a.hi, b.hi, c.hi));
}

static inline vec16 vec16_max(vec16 a, vec16 b)
{
    return vec16_of(vec_max(a.lo, b.lo), vec_max(a.hi, b.hi));
}

/* Sum of the lanes by the tree 8-4-2-1. */
static inline float vec16_sum(vec16 v)
{
    return q_hsum16_m256(v.lo, v.hi);
}

/* Largest lane by the same tree, the upper half first, as in the scalar backend: that settles the sign of a zero. */
static inline float vec16_top(vec16 v)
{
    __m256 a = _mm256_max_ps(v.hi, v.lo);
    __m128 b = _mm_max_ps(_mm256_extractf128_ps(a, 1), _mm256_castps256_ps128(a));
    __m128 c = _mm_max_ps(_mm_movehl_ps(b, b), b);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}

/* Largest lane of v. Of zeros of both signs: either. */
static inline float vec_top(vec v)
{
    return vec16_top(vec16_of(v, v));
}

static inline vec16 vec16_exp(vec16 v)
{
    return vec16_of(vec_exp(v.lo), vec_exp(v.hi));
}

#endif /* QORUS_BACKENDS_AVX2_VEC16_H */
