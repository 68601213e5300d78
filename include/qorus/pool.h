/* SPDX-License-Identifier: MIT */
/*
 * pool.h: tensors to be taken and given back, for code that computes in a loop of its own (ops.h). All memory is one block of
 * the caller's; nothing else is ever asked for. Sessions do not need it: plans know beforehand where everything goes.
 */
#ifndef QORUS_POOL_H
#define QORUS_POOL_H

#include "ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Read by the caller at most. */
typedef struct q_pool {
    uint8_t *base;
    size_t size;
    size_t used;    /* bytes of taken tensors, with what keeps them apart */
    size_t high;    /* highest value `used` ever had */
    uint32_t taken; /* tensors */
    uint32_t reserved;
} q_pool;

/* Bytes of the block that one plain tensor takes; a pool of exactly the sum serves those tensors at once. Errors: those of
   q_tensor_init. */
Q_NODISCARD q_error_code q_pool_bytes(uint32_t dtype, const uint32_t ne[Q_MAX_DIMS], size_t *bytes, q_diag *diag);

/* base: a multiple of Q_ALIGN. Errors: Q_ERR_INVALID_ARG, MISALIGNED, NO_SPACE (below Q_ALIGN bytes). */
Q_NODISCARD q_error_code q_pool_init(q_pool *pool, q_block memory, q_diag *diag);

/* A plain contiguous tensor ne[0..3] of unspecified contents; data is a multiple of Q_ALIGN. Q_ERR_NO_SPACE: need is what it
   takes, have the largest free piece; others as q_tensor_init. Cost: one look at every tensor taken, at worst. */
Q_NODISCARD q_error_code q_pool_take(q_pool *pool, q_tensor *out, uint32_t dtype, const uint32_t ne[Q_MAX_DIMS],
                                     q_diag *diag);

/* Gives a tensor back; tensor->data becomes NULL. Q_ERR_INVALID_ARG: it is not one of this pool that is out. O(1). */
Q_NODISCARD q_error_code q_pool_give(q_pool *pool, q_tensor *tensor, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_POOL_H */
