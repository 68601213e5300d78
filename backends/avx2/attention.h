/* SPDX-License-Identifier: MIT */
/*
 * attention.h: what the three passes of attention share; see attention.c.
 */
#ifndef Q_ATTENTION_AVX2_H
#define Q_ATTENTION_AVX2_H

#include "kernels_avx2.h"

enum {
    FLASH_SLOTS = 12,
    FLASH_TILE = 6,
    FLASH_CHUNK = 256,
    FLASH_BLOCK = 64,
    FLASH_BLOCKS = FLASH_CHUNK / FLASH_BLOCK
};

/* One (row, head). Keys lo <= j < hi are visible; those of the current chunk are from <= j < to. */
typedef struct flash_slot {
    const float *q;
    float *out;
    uint32_t lo;
    uint32_t hi;
    uint32_t from;
    uint32_t to;
    float max; /* of the chunks merged so far */
    float sum;
    float chunk_max;
    float chunk_sum;
    float old;                   /* factor of what out holds; 0 before the first chunk */
    float fresh;                 /* factor of the current chunk */
    float rescale[FLASH_BLOCKS]; /* factor of the chunk's o before each of its blocks */
} flash_slot;

typedef struct flash_space {
    float p[FLASH_SLOTS][FLASH_CHUNK];
    flash_slot slot[FLASH_SLOTS];
} flash_space;

Q_STATIC_ASSERT(sizeof(flash_space) <= Q_AVX2_WORKSPACE, "weights and slots fit the workspace");

/* The kv head of a unit, and the chunk at hand. */
typedef struct flash_keys {
    const void *k;
    const void *v;
    uint32_t dim;
    uint32_t from; /* keys of the chunk that any slot sees */
    uint32_t to;
    float scale;
    float softcap;
} flash_keys;

/* Scores s = scale * q.k (capped) of all keys of the chunk, by the first n slots, into p. */
void q_flash_scores_f32_avx2(const flash_keys *keys, flash_space *space, uint32_t n);
void q_flash_scores_f16_avx2(const flash_keys *keys, flash_space *space, uint32_t n);

/* out = out*old + fresh * (sum of p_j * v_j over the chunk) of the first n slots. */
void q_flash_values_f32_avx2(const flash_keys *keys, const flash_space *space, uint32_t n);
void q_flash_values_f16_avx2(const flash_keys *keys, const flash_space *space, uint32_t n);

Q_AVX2_INLINE __m256 flash_load(const bool half, const void *base, size_t i)
{
    return half ? avx2_load_f16((const uint16_t *)base + i)
                : _mm256_loadu_ps((const float *)base + i);
}

static inline uint32_t flash_clamp(uint32_t v, uint32_t low, uint32_t high)
{
    v = v < high ? v : high;
    return v > low ? v : low;
}

#endif /* Q_ATTENTION_AVX2_H */
