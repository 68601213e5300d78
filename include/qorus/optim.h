/* SPDX-License-Identifier: MIT */
/* optim.h: optimizers: what turns the gradients of a training session into its next parameters. */
#ifndef QORUS_OPTIM_H
#define QORUS_OPTIM_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Plain stochastic gradient descent over every trainable parameter: w = w - learning_rate * (grad_scale * g), g
 * the sum that backward left. grad_scale is 1/N, N the number of terms the loss is a mean of, over all micro-
 * batches. Errors: Q_ERR_INVALID_ARG (a rate or scale that is negative or not finite), Q_ERR_INVALID_STATE
 * (not a training session). Cost: O(parameters).
 */
Q_NODISCARD q_error_code q_sgd_step(q_session *session, double learning_rate, double grad_scale, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_OPTIM_H */
