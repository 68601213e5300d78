/* SPDX-License-Identifier: MIT */
/*
 * activation.h: q_activation and its slope on 16 lanes, with the bits of the scalar backend.
 */
#ifndef QORUS_BACKENDS_AVX512_ACTIVATION_H
#define QORUS_BACKENDS_AVX512_ACTIVATION_H

#include "elementary_avx512.h"
#include "kernels_avx512.h"

static inline __m512 vec_activation(uint32_t activation, __m512 y)
{
    switch (activation) {
    case Q_ACT_NONE:
        return y;
    case Q_ACT_RELU:
        return _mm512_max_ps(_mm512_setzero_ps(), y);
    case Q_ACT_SILU:
        return q_silu_m512(y);
    case Q_ACT_GELU_TANH:
        return q_gelu_tanh_m512(y);
    case Q_ACT_GELU_ERF:
        return q_gelu_erf_m512(y);
    case Q_ACT_SIGMOID:
        return q_sigmoid_m512(y);
    default:
        return q_tanh_m512(y);
    }
}

/* dy through an activation whose output is y: none, relu, sigmoid or tanh. */
static inline __m512 vec_through(uint32_t activation, __m512 y, __m512 dy)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    switch (activation) {
    case Q_ACT_RELU:
        return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_GT_OQ), dy);
    case Q_ACT_SIGMOID:
        return _mm512_mul_ps(dy, _mm512_mul_ps(y, _mm512_sub_ps(one, y)));
    case Q_ACT_TANH:
        return _mm512_mul_ps(dy, _mm512_fnmadd_ps(y, y, one));
    default:
        return dy;
    }
}

#endif /* QORUS_BACKENDS_AVX512_ACTIVATION_H */
