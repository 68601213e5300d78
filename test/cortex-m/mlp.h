/* SPDX-License-Identifier: MIT */
/* mlp.h: three steps of Adam on a perceptron of 33 parameters, in static arrays, the same on every machine. */
#ifndef QORUS_TEST_CORTEX_M_MLP_H
#define QORUS_TEST_CORTEX_M_MLP_H

#include "qorus.h"

/* hash: of all parameters behind the last step. Errors: those of the calls, told in d. */
q_error_code mlp_train(const q_backend *backend, uint8_t hash[Q_SHA256_BYTES], q_diag *d);

#endif /* QORUS_TEST_CORTEX_M_MLP_H */
