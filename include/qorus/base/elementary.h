/* SPDX-License-Identifier: MIT */
/*
 * elementary.h: the elementary functions of the library, by its real type.
 *
 * q_exp(x) is q_exp_f32 in the float build and q_exp_f64 in the double build, and so on. Code that
 * wants a fixed type (tables, hyper-parameters) names it.
 */
#ifndef QORUS_BASE_ELEMENTARY_H
#define QORUS_BASE_ELEMENTARY_H

#include "elementary_f32.h"
#include "elementary_f64.h"
#include "elementary_trig.h"

static inline q_real q_exp(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_exp_f64(x);
#else
    return q_exp_f32(x);
#endif
}

static inline q_real q_log(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_log_f64(x);
#else
    return q_log_f32(x);
#endif
}

static inline q_real q_sin(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_sin_f64(x);
#else
    return q_sin_f32(x);
#endif
}

static inline q_real q_cos(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_cos_f64(x);
#else
    return q_cos_f32(x);
#endif
}

static inline q_real q_tanh(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_tanh_f64(x);
#else
    return q_tanh_f32(x);
#endif
}

static inline q_real q_sigmoid(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_sigmoid_f64(x);
#else
    return q_sigmoid_f32(x);
#endif
}

static inline q_real q_silu(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_silu_f64(x);
#else
    return q_silu_f32(x);
#endif
}

static inline q_real q_gelu_tanh(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_gelu_tanh_f64(x);
#else
    return q_gelu_tanh_f32(x);
#endif
}

static inline q_real q_erf(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_erf_f64(x);
#else
    return q_erf_f32(x);
#endif
}

static inline q_real q_gelu_erf(q_real x)
{
#ifdef Q_REAL_DOUBLE
    return q_gelu_erf_f64(x);
#else
    return q_gelu_erf_f32(x);
#endif
}

#endif /* QORUS_BASE_ELEMENTARY_H */
