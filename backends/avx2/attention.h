/* SPDX-License-Identifier: MIT */
/*
 * attention.h: what the three passes of attention share; see attention.c.
 */
#ifndef Q_ATTENTION_AVX2_H
#define Q_ATTENTION_AVX2_H

#include "kernels_avx2.h"
#include "qorus/base/kv.h"

/* Element type of the cache; a constant wherever code is made for it. */
typedef enum flash_kind { FLASH_F32 = Q_F32, FLASH_F16 = Q_F16, FLASH_Q8_0 = Q_Q8_0 } flash_kind;

enum {
    FLASH_SLOTS = 12, /* of a tile: these share every key and value loaded */
    FLASH_TILES = 8,  /* that pass one after the other over a chunk while it lies in the cache of the CPU */
    FLASH_TILE = 6,
    FLASH_AHEAD = 4096, /* bytes */
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
    flash_slot slot[FLASH_TILES * FLASH_SLOTS];
} flash_space;

Q_STATIC_ASSERT(sizeof(flash_space) <= Q_AVX2_WORKSPACE, "weights and slots fit the workspace");

/* The kv head of a batch, and the chunk at hand. */
typedef struct flash_keys {
    const uint8_t *k;
    const uint8_t *v;
    size_t group; /* bytes of 16 positions of K, and of V */
    uint32_t dim;
    uint32_t from; /* keys of the chunk that any slot of the tile sees */
    uint32_t to;
    float scale;
    float softcap;
} flash_keys;

/* Scores s = scale * q.k (capped) of all keys of the chunk, by n slots, into p. */
void q_flash_scores_avx2(flash_kind kind, const flash_keys *keys, const flash_slot *slot,
                         float (*p)[FLASH_CHUNK], uint32_t n);

/* out = out*old + fresh * (sum of p_j * v_j over the chunk) of n slots. */
void q_flash_values_avx2(flash_kind kind, const flash_keys *keys, const flash_slot *slot,
                         const float (*p)[FLASH_CHUNK], uint32_t n);

/* Fetches what lies FLASH_AHEAD bytes behind p: with few slots a cache streams through faster than
   the CPU foresees. A prefetch of any address is harmless. */
Q_AVX2_INLINE void flash_ahead(const uint8_t *p)
{
    _mm_prefetch((const char *)((uintptr_t)p + FLASH_AHEAD), _MM_HINT_T0);
}

/* Eight i8 at p, times a scale. */
Q_AVX2_INLINE __m256 flash_dequant(const uint8_t *p, __m256 scale)
{
    __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(q), scale);
}

static inline uint32_t flash_clamp(uint32_t v, uint32_t low, uint32_t high)
{
    v = v < high ? v : high;
    return v > low ? v : low;
}

#endif /* Q_ATTENTION_AVX2_H */
