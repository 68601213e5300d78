/* SPDX-License-Identifier: MIT */
/*
 * random.h: random numbers that depend on where they are used, not on what was drawn before.
 *
 * The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011): a keyed bijection of 128-bit counters. There is no state to keep, save or
 * share; the number for (seed, step, node, sample, element) is the same on every machine, for any
 * number of threads and any split of a batch. Integer arithmetic only.
 *
 *   seed     chosen by the user; every 64-bit value is a good one, 0 included
 *   step     token or training step
 *   node     node of the graph, or one of Q_RANDOM_NODE_* for users outside a graph
 *   sample   sequence of a batch, or example
 *   element  index within the sample; less than 2^34
 *
 * counter = {element / 4, sample, node, low half of step}, key = {low half of seed, high half of
 * seed XOR high half of step}; the element's number is word element % 4 of the result.
 */
#ifndef QORUS_BASE_RANDOM_H
#define QORUS_BASE_RANDOM_H

#include "../../qorus_types.h"

/* Users of random numbers that are no node of a graph. */
#define Q_RANDOM_NODE_SAMPLER 0xFFFFFFFFu
#define Q_RANDOM_NODE_SHUFFLE 0xFFFFFFFEu
#define Q_RANDOM_NODE_INIT    0xFFFFFFFDu

/* Where a number is used; the element is given apart. */
typedef struct q_random_place {
    uint64_t seed;
    uint64_t step;
    uint32_t node;
    uint32_t sample;
} q_random_place;

/* Philox4x32 with 10 rounds: out = the four words that `counter` becomes under `key`. out may be
   counter. Some 60 operations. */
static inline void q_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0];
    uint32_t c1 = counter[1];
    uint32_t c2 = counter[2];
    uint32_t c3 = counter[3];
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The numbers of elements 4 * block .. 4 * block + 3. */
static inline void q_random_block(const q_random_place *place, uint32_t block, uint32_t out[4])
{
    uint32_t counter[4];
    uint32_t key[2];
    counter[0] = block;
    counter[1] = place->sample;
    counter[2] = place->node;
    counter[3] = (uint32_t)place->step;
    key[0] = (uint32_t)place->seed;
    key[1] = (uint32_t)(place->seed >> 32) ^ (uint32_t)(place->step >> 32);
    q_philox4x32(counter, key, out);
}

/* 32 random bits for one element. */
static inline uint32_t q_random_u32(const q_random_place *place, uint64_t element)
{
    uint32_t out[4];
    q_random_block(place, (uint32_t)(element >> 2), out);
    return out[element & 3u];
}

/* 64 random bits: words 0 (low) and 1 of a block. */
static inline uint64_t q_random_u64(const q_random_place *place, uint32_t block)
{
    uint32_t out[4];
    q_random_block(place, block, out);
    return (uint64_t)out[1] << 32 | out[0];
}

/* Uniform in [0, 1): the upper 24 of 32 random bits, exactly. */
static inline float q_random_unit_f32(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}

/* Uniform in [0, 1): the upper 53 of 64 random bits, exactly. */
static inline double q_random_unit_f64(uint64_t bits)
{
    return (double)(uint32_t)(bits >> 32) * 0x1p-32 + (double)((uint32_t)bits >> 11) * 0x1p-53;
}

#endif /* QORUS_BASE_RANDOM_H */
