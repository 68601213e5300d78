/* SPDX-License-Identifier: MIT */
/*
 * vec16.h: the 16 lanes of a sum, in every backend's order, on AVX-512: the part of vec.h, which includes it, that is about
 * them. avx2/vec16.h spells the same names.
 */
#ifndef QORUS_BACKENDS_AVX512_VEC16_H
#define QORUS_BACKENDS_AVX512_VEC16_H

/* 16 floats, one register */
typedef __m512 vec16;

enum { VEC16_PARTS = 1 };

static inline vec16 vec16_join(const vec v[VEC16_PARTS])
{
    return v[0];
}

static inline vec16 vec16_zero(void)
{
    return vec_zero();
}

static inline vec16 vec16_set(float x)
{
    return vec_set(x);
}

static inline vec16 vec16_load(const float *p)
{
    return vec_load(p);
}

static inline vec16 vec16_load_n(const float *p, uint32_t n)
{
    return vec_load_n(p, n);
}

static inline void vec16_store(float *p, vec16 v)
{
    vec_store(p, v);
}

static inline void vec16_store_n(float *p, uint32_t n, vec16 v)
{
    vec_store_n(p, n, v);
}

/* v in the first n lanes, else `rest`. */
static inline vec16 vec16_first(vec16 v, uint32_t n, vec16 rest)
{
    return n >= 16u ? v : vec_choose(vec_first(n), v, rest);
}

static inline vec16 vec16_add(vec16 a, vec16 b)
{
    return vec_add(a, b);
}

static inline vec16 vec16_sub(vec16 a, vec16 b)
{
    return vec_sub(a, b);
}

static inline vec16 vec16_mul(vec16 a, vec16 b)
{
    return vec_mul(a, b);
}

static inline vec16 vec16_fma(vec16 a, vec16 b, vec16 c)
{
    return vec_fma(a, b, c);
}

static inline vec16 vec16_max(vec16 a, vec16 b)
{
    return vec_max(a, b);
}

/* Sum of the lanes by the tree 8-4-2-1. */
static inline float vec16_sum(vec16 v)
{
    return avx512_lane_sum(v);
}

/* Largest lane by the same tree, the upper half first, as in the scalar backend: that settles the sign of a zero. */
static inline float vec16_top(vec16 v)
{
    return avx512_lane_max(v);
}

/* Largest lane of v. Of zeros of both signs: either. */
static inline float vec_top(vec v)
{
    return vec16_top(v);
}

static inline vec16 vec16_exp(vec16 v)
{
    return vec_exp(v);
}

#endif /* QORUS_BACKENDS_AVX512_VEC16_H */
