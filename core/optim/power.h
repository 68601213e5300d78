/* SPDX-License-Identifier: MIT */
/* power.h: whole powers; private to core/optim. */
#ifndef QORUS_CORE_OPTIM_POWER_H
#define QORUS_CORE_OPTIM_POWER_H

#include <stdint.h>

/* base^n by squaring: the same bits everywhere. */
static inline double q_power(double base, uint64_t n)
{
    double result = 1;
    for (; n != 0; n >>= 1) {
        result = (n & 1u) != 0 ? result * base : result;
        base = base * base;
    }
    return result;
}

#endif /* QORUS_CORE_OPTIM_POWER_H */
