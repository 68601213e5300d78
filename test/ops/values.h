/* SPDX-License-Identifier: MIT */
/* values.h: operands in every order of axes, and an output compared with all bytes around it. */
#ifndef QORUS_TEST_OPS_VALUES_H
#define QORUS_TEST_OPS_VALUES_H

#include "ops_test.h"

/* How the axes of a tensor lie in memory. */
typedef enum lie { CONTIGUOUS, ROWS_APART, PLANES_APART, HEADS_INSIDE, LIES } lie;

enum { OUT = 4, REFERENCE = 5 }; /* buffers of the output and of what it should be */

float values_random(void);
void values_fill(uint32_t buffer);
q_tensor values_view(uint32_t buffer, lie how, uint32_t b, uint32_t h, uint32_t r, uint32_t c);
q_tensor values_like(uint32_t buffer, lie how, const uint32_t ne[4]);
float *values_row(const q_tensor *t, uint32_t b, uint32_t h, uint32_t r);
q_tensor values_reference(const q_tensor *out);
void values_begin(void);
bool values_right(void);

#endif /* QORUS_TEST_OPS_VALUES_H */
