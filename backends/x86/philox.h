/* SPDX-License-Identifier: MIT */
/*
 * philox.h: the rounds of q_philox4x32 on as many blocks as a register has words. The including file gives `words` and
 *
 *   philox_multiply(x, by, high, low)  upper and lower halves of the products with one word
 *   philox_mix(a, b, key)              a ^ b ^ key
 */
#ifndef QORUS_BACKENDS_X86_PHILOX_H
#define QORUS_BACKENDS_X86_PHILOX_H

/* c[w] has word w of each block. */
static inline void philox_rounds(const q_random_place *place, words c[4])
{
    uint32_t k0 = (uint32_t)place->seed;
    uint32_t k1 = (uint32_t)(place->seed >> 32) ^ (uint32_t)(place->step >> 32);
    for (uint32_t round = 0; round < 10; round++) {
        words high[2];
        words low[2];
        philox_multiply(c[0], 0xD2511F53u, &high[0], &low[0]);
        philox_multiply(c[2], 0xCD9E8D57u, &high[1], &low[1]);
        c[0] = philox_mix(high[1], c[1], k0);
        c[2] = philox_mix(high[0], c[3], k1);
        c[1] = low[1];
        c[3] = low[0];
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

#endif /* QORUS_BACKENDS_X86_PHILOX_H */
