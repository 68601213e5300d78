/* SPDX-License-Identifier: MIT */
/*
 * exact_f64.h: sums and products of doubles without error, as unevaluated sums of two doubles.
 */
#ifndef QORUS_BASE_EXACT_F64_H
#define QORUS_BASE_EXACT_F64_H

#include "bits.h"

/* a + b exactly, as h + *l; needs |a| >= |b| or a == 0. */
static inline double q_fast_sum_f64(double a, double b, double *l)
{
    double h = a + b;
    *l = b - (h - a);
    return h;
}

/* a * b exactly, as h + *l (Veltkamp, Dekker); |a|, |b| < 2^990 and no underflow. */
static inline double q_product_f64(double a, double b, double *l)
{
    double ta = a * 134217729.0;
    double tb = b * 134217729.0;
    double a1 = ta - (ta - a);
    double b1 = tb - (tb - b);
    double a0 = a - a1;
    double b0 = b - b1;
    double h = a * b;
    *l = ((a1 * b1 - h) + a1 * b0 + a0 * b1) + a0 * b0;
    return h;
}

#endif /* QORUS_BASE_EXACT_F64_H */
