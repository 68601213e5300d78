/* SPDX-License-Identifier: MIT */
/*
 * attention.h: what the three passes of attention share; see attention.c.
 */
#ifndef Q_ATTENTION_AVX512_H
#define Q_ATTENTION_AVX512_H

#include "kernels_avx512.h"
#include "qorus/base/kv.h"

/* Element type of the cache; a constant wherever code is made for it. */
typedef enum attend_kind { ATTEND_F32 = Q_F32, ATTEND_F16 = Q_F16, ATTEND_Q8_0 = Q_Q8_0 } attend_kind;

enum {
    ATTEND_SLOTS = 12, /* of a tile: these share every key and value loaded */
    ATTEND_TILES = 8,  /* that pass one after the other over a chunk while it lies in the cache of the CPU */
    ATTEND_CHUNK = 256,
    ATTEND_BLOCK = 64,
    ATTEND_BLOCKS = ATTEND_CHUNK / ATTEND_BLOCK
};

/* One (row, head). Keys lo <= j < hi are visible; those of the current chunk are from <= j < to. */
typedef struct attend_slot {
    const float *q;
    float *out;
    uint32_t lo;
    uint32_t hi;
    uint32_t from;
    uint32_t to;
    float max; /* of the chunks merged so far */
    float sum;
    float old;                    /* factor of what out holds; 0 before the first chunk */
    float fresh;                  /* factor of the current chunk */
    float rescale[ATTEND_BLOCKS]; /* factor of the chunk's o before each of its blocks */
} attend_slot;

typedef struct attend_space {
    float p[ATTEND_SLOTS][ATTEND_CHUNK];
    attend_slot slot[ATTEND_TILES * ATTEND_SLOTS];
} attend_space;

Q_STATIC_ASSERT(sizeof(attend_space) <= Q_AVX512_WORKSPACE, "weights and slots fit the workspace");

/* The kv head of a batch, and the chunk at hand. */
typedef struct attend_keys {
    const uint8_t *k;
    const uint8_t *v;
    size_t group; /* bytes of 16 positions of K, and of V */
    size_t ahead; /* bytes from a key of K to the one a chunk later; 0 where this chunk is the last */
    uint32_t dim;
    uint32_t from; /* keys of the chunk that any slot of the tile sees */
    uint32_t to;
    float scale;
    float softcap;
} attend_keys;

/* Scores s = scale * q.k (capped) of all keys of the chunk, by n slots, into p. */
void q_attend_scores_avx512(attend_kind kind, const attend_keys *keys, const attend_slot *slot,
                            float (*p)[ATTEND_CHUNK], uint32_t n);

/* out = out*old + fresh * (sum of p_j * v_j over the chunk) of n slots. */
void q_attend_values_avx512(attend_kind kind, const attend_keys *keys, const attend_slot *slot,
                            const float (*p)[ATTEND_CHUNK], uint32_t n);

/* Sixteen i8 at p, times a scale. */
Q_AVX512_INLINE __m512 attend_dequant(const uint8_t *p, __m512 scale)
{
    __m512i q = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(q), scale);
}

/* Bytes of an element, those of scales apart. */
Q_AVX512_INLINE size_t attend_element(const attend_kind kind)
{
    return kind == ATTEND_Q8_0 ? 1u : kind == ATTEND_F16 ? sizeof(uint16_t) : sizeof(float);
}

/* Fetches the lines of n bytes, `from` bytes into one part of the cache, that will be read next in another part. */
Q_AVX512_INLINE void attend_fetch(const uint8_t *part, size_t from, size_t n)
{
    Q_AVX512_UNROLL
    for (size_t i = 0; i < n; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)part + from + i), _MM_HINT_T1);
    }
}

static inline uint32_t attend_clamp(uint32_t v, uint32_t low, uint32_t high)
{
    v = v < high ? v : high;
    return v > low ? v : low;
}

#endif /* Q_ATTENTION_AVX512_H */
