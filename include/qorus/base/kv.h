/* SPDX-License-Identifier: MIT */
/*
 * kv.h: where each value of a KV cache lies, and the bytes it takes.
 *
 * A head's K and V are groups of 16 positions, capacity/16 of them, position p in group p/16; a group holds
 *
 *   real, F16   K: [head_dim][16], V: [16][head_dim]
 *   Q8_0        scales f16 [head_dim/32][16], of (block of 32 dimensions, position); then i8, K: [head_dim][16],
 *               V: [16][head_dim]; value = scale * quant
 *
 * so that lanes are 16 positions of K and neighbouring dimensions of V. Heads follow one another; with a capacity
 * that is a multiple of 64 each head takes a multiple of 64 bytes. K and V take the same.
 */
#ifndef QORUS_BASE_KV_H
#define QORUS_BASE_KV_H

#include "panel.h"

enum {
    Q_KV_GROUP = 16, /* positions */
    Q_KV_ROUND = 64  /* a capacity is a multiple of it */
};

/* True if a cache of this element type (Q_REAL, Q_F16, Q_Q8_0) takes this head_dim; Q8_0 needs whole blocks. */
static inline bool q_kv_fits(uint32_t dtype, uint32_t head_dim)
{
    return dtype == Q_REAL || dtype == Q_F16 || (dtype == Q_Q8_0 && head_dim % Q_BLOCK == 0);
}

/* Bytes of one group of K, and of V. Asks for q_kv_fits(). */
static inline uint64_t q_kv_group_bytes(uint32_t dtype, uint32_t head_dim)
{
    return (uint64_t)(head_dim / q_dtype_block(dtype)) * q_dtype_block_bytes(dtype) * Q_KV_GROUP;
}

/* Bytes of one head of K, and of V, for `capacity` positions, a multiple of Q_KV_GROUP; within 64 bits for every
   head_dim and capacity within the caps of the format. Asks for q_kv_fits(). */
static inline uint64_t q_kv_head_bytes(uint32_t dtype, uint32_t capacity, uint32_t head_dim)
{
    return q_kv_group_bytes(dtype, head_dim) * (capacity / Q_KV_GROUP);
}

/* Q8_0: where, from the start of a head's K or V, the group of position p begins; its scales take head_dim bytes. */
static inline size_t q_kv_q8_0_group(uint32_t head_dim, uint32_t p)
{
    return (size_t)(p / Q_KV_GROUP) * head_dim * 17u;
}

/* Q8_0: element, within the f16 scales of its group, of dimension d of position p. */
static inline size_t q_kv_q8_0_scale(uint32_t p, uint32_t d)
{
    return (size_t)(d / Q_BLOCK) * Q_KV_GROUP + p % Q_KV_GROUP;
}

#endif /* QORUS_BASE_KV_H */
