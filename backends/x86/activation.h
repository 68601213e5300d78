/* SPDX-License-Identifier: MIT */
/*
 * activation.h: q_activation and its slope on the lanes of a vec, with the bits of the scalar backend.
 */
#ifndef Q_X86_ACTIVATION_H
#define Q_X86_ACTIVATION_H

static inline vec vec_activation(uint32_t activation, vec y)
{
    switch (activation) {
    case Q_ACT_NONE:
        return y;
    case Q_ACT_RELU:
        return vec_max(vec_zero(), y);
    case Q_ACT_SILU:
        return vec_silu(y);
    case Q_ACT_GELU_TANH:
        return vec_gelu_tanh(y);
    case Q_ACT_GELU_ERF:
        return vec_gelu_erf(y);
    case Q_ACT_SIGMOID:
        return vec_sigmoid(y);
    default:
        return vec_tanh(y);
    }
}

/* dy through an activation whose output is y: none, relu, sigmoid or tanh. */
static inline vec vec_through(uint32_t activation, vec y, vec dy)
{
    const vec one = vec_set(1.0f);
    switch (activation) {
    case Q_ACT_RELU:
        return vec_keep(vec_above(y, vec_zero()), dy);
    case Q_ACT_SIGMOID:
        return vec_mul(dy, vec_mul(y, vec_sub(one, y)));
    case Q_ACT_TANH:
        return vec_mul(dy, vec_fnma(y, y, one));
    default:
        return dy;
    }
}

#endif /* Q_X86_ACTIVATION_H */
