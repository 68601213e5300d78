/* SPDX-License-Identifier: MIT */
/*
 * activation.h: q_activation and its slope on 8 lanes, with the bits of the scalar backend.
 */
#ifndef QORUS_BACKENDS_AVX2_ACTIVATION_H
#define QORUS_BACKENDS_AVX2_ACTIVATION_H

#include "elementary_avx2.h"
#include "kernels_avx2.h"

static inline __m256 vec_activation(uint32_t activation, __m256 y)
{
    switch (activation) {
    case Q_ACT_NONE:
        return y;
    case Q_ACT_RELU:
        return _mm256_max_ps(_mm256_setzero_ps(), y);
    case Q_ACT_SILU:
        return q_silu_m256(y);
    case Q_ACT_GELU_TANH:
        return q_gelu_tanh_m256(y);
    case Q_ACT_GELU_ERF:
        return q_gelu_erf_m256(y);
    case Q_ACT_SIGMOID:
        return q_sigmoid_m256(y);
    default:
        return q_tanh_m256(y);
    }
}

/* dy through an activation whose output is y: none, relu, sigmoid or tanh. */
static inline __m256 vec_through(uint32_t activation, __m256 y, __m256 dy)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    switch (activation) {
    case Q_ACT_RELU:
        return _mm256_and_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ), dy);
    case Q_ACT_SIGMOID:
        return _mm256_mul_ps(dy, _mm256_mul_ps(y, _mm256_sub_ps(one, y)));
    case Q_ACT_TANH:
        return _mm256_mul_ps(dy, _mm256_fnmadd_ps(y, y, one));
    default:
        return dy;
    }
}

#endif /* QORUS_BACKENDS_AVX2_ACTIVATION_H */
