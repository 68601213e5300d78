/* SPDX-License-Identifier: MIT */
/*
 * sha256.h: SHA-256 of a stream of bytes (FIPS 180-4), in 32-bit arithmetic.
 */
#ifndef QORUS_SHA256_H
#define QORUS_SHA256_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { Q_SHA256_BYTES = 32 };

/* A hash under way; plain data, may be copied to branch off. */
typedef struct q_sha256 {
    uint32_t state[8];
    uint64_t length;   /* bytes taken so far */
    uint8_t block[64]; /* the last length % 64 of them */
} q_sha256;

/* Starts a hash. */
void q_sha256_init(q_sha256 *hash);

/* Takes n more bytes; data may be NULL if n is 0. Any split of the bytes gives the same hash.
   Cost: O(n). */
void q_sha256_update(q_sha256 *hash, const void *data, size_t n);

/* Ends it and writes the 32 bytes; the state must be started again before another use. */
void q_sha256_final(q_sha256 *hash, uint8_t out[Q_SHA256_BYTES]);

/* All three at once. */
void q_sha256_of(const void *data, size_t n, uint8_t out[Q_SHA256_BYTES]);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_SHA256_H */
