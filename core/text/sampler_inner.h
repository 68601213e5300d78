/* SPDX-License-Identifier: MIT */
/*
 * sampler_inner.h: what the files of the sampler share and nobody else sees.
 *
 * Logits are held as keys: integers in the order of the floats. -0 and 0 have one key, NaN none.
 */
#ifndef QORUS_CORE_TEXT_SAMPLER_INNER_H
#define QORUS_CORE_TEXT_SAMPLER_INNER_H

#include "qorus/base/bits.h"
#include "qorus/sampler.h"

enum {
    SAMPLER_BLOCK = 64, /* tokens whose largest key is kept, so that a pass can leave them out */
    SAMPLER_BINS = 641, /* weights by 1/16 octave: 40 octaves, and v = 40 * 2^16 itself */
    SAMPLER_BIN_SHIFT = 12, /* v has 16 fractional bits */
    SAMPLER_DIGITS = 256
};

#define SAMPLER_KEY_PLUS_INF  ((int32_t)0x7F800000)
#define SAMPLER_KEY_MINUS_INF (-(int32_t)0x7F800001)
#define SAMPLER_FLT_MAX       0x1.fffffep+127f
#define SAMPLER_V_LIMIT       2621440.0f /* 40 * 2^16: from here on weights are 0 */

/* Last member of a beginning of the order "larger key first, then lower id". */
typedef struct sampler_mark {
    int32_t key;
    uint32_t id;
} sampler_mark;

/* A call at work. Arrays that the configuration does not need are NULL. */
typedef struct q_sampler_state {
    const q_sampler_config *cfg;
    uint32_t n;
    uint32_t n_blocks;
    bool penalises; /* what of the configuration is on */
    bool draws;
    bool cuts_k;
    bool cuts_p;
    uint64_t *bins;    /* [SAMPLER_BINS] weight by bin of v */
    uint64_t *digits;  /* [SAMPLER_DIGITS] amount by digit of the key */
    uint64_t *sums;    /* [n_blocks] weight kept */
    int32_t *keys;     /* [n] */
    int32_t *tops;     /* [n_blocks] largest key */
    uint32_t *ids;     /* [n] counts for the penalties, then candidates of a selection, ascending */
    float max;         /* the largest logit */
    float scale;       /* 2^16 log2(e) / temperature */
    sampler_mark last; /* kept: at or before this mark, and of at least this weight */
    uint64_t least;    /* >= 1 */
} q_sampler_state;

/* Arguments of a public call. */
typedef struct q_sampler_call {
    const q_sampler_config *cfg;
    const float *logits;
    uint32_t n_vocab;
    const int32_t *history;
    size_t n_history;
    void *work;
    size_t work_size;
    q_diag *diag;
} q_sampler_call;

static inline int32_t sampler_key(float x)
{
    uint32_t u = q_bits_f32(x + 0.0f);
    return (int32_t)(u ^ ((0u - (u >> 31)) >> 1));
}

static inline float sampler_float(int32_t key)
{
    uint32_t u = (uint32_t)key;
    return q_float_u32(u ^ ((0u - (u >> 31)) >> 1));
}

static inline bool sampler_before(int32_t key, uint32_t id, sampler_mark last)
{
    return key > last.key || (key == last.key && id <= last.id);
}

/* ---- sampler_config.c ------------------------------------------------------------------------ */

/* Fills diag (may be NULL) with what "sampler" and returns code. */
q_error_code q_sampler_fail(q_diag *diag, q_error_code code, const char *field, uint64_t offset);

/* Places the arrays at base, or nowhere if base is NULL, and returns their bytes. cfg is valid. */
size_t q_sampler_layout(q_sampler_state *s, const q_sampler_config *cfg, uint32_t n, uint8_t *base);

/* ---- sampler_logits.c ------------------------------------------------------------------------ */

/* Loads and adjusts the logits of a checked call into a placed state. Greedy: *token is the result;
   otherwise s is ready to be cut. */
q_error_code q_sampler_prepare(const q_sampler_call *c, q_sampler_state *s, uint32_t *token);

/* ---- sampler_weight.c ------------------------------------------------------------------------ */

extern const uint32_t q_sampler_octave[256]; /* H of sampler.h */
extern const uint32_t q_sampler_fine[256];   /* L of sampler.h */

/* v of sampler.h, or SAMPLER_V_NONE where the weight is 0. */
#define SAMPLER_V_NONE UINT32_MAX
static inline uint32_t sampler_v(const q_sampler_state *s, int32_t key)
{
    float t = (s->max - sampler_float(key)) * s->scale;
    return t < SAMPLER_V_LIMIT ? (uint32_t)(int32_t)(t + 0.5f) : SAMPLER_V_NONE;
}

/* Weight of v <= 40 * 2^16: at most 2^40, at least 1. */
static inline uint64_t sampler_weight_of(uint32_t v)
{
    uint64_t product = (uint64_t)q_sampler_octave[v >> 8 & 255u] * q_sampler_fine[v & 255u];
    return product >> (22u + (v >> 16));
}

static inline uint64_t sampler_weight(const q_sampler_state *s, int32_t key)
{
    uint32_t v = sampler_v(s, key);
    return v == SAMPLER_V_NONE ? 0 : sampler_weight_of(v);
}

/* floor(x * 2^bits) for 0 <= x <= 1, bits <= 62; *rest tells if something was cut off. No
   conversion of floats: 32-bit targets would need a compiler helper for it. */
uint64_t q_sampler_fixed(double x, uint32_t bits, bool *rest);

/* floor(a * b / 2^64). */
uint64_t q_sampler_mul_high(uint64_t a, uint64_t b);

/* The least integer that is at least total * p, p = floor(top_p * 2^53) / 2^53, and at least 1;
   total >= 1. */
uint64_t q_sampler_share(uint64_t total, double top_p);

/* ---- sampler_select.c ------------------------------------------------------------------------ */

/* Makes s->last and s->least: the cuts. At least one token is kept. */
void q_sampler_cut(q_sampler_state *s);

/* Weight of a token, 0 if it was cut. */
uint64_t q_sampler_kept(const q_sampler_state *s, uint32_t id);

/* Fills s->sums with the weight kept; returns the total, >= 1. */
uint64_t q_sampler_sum(const q_sampler_state *s);

/* The token at which the running sum exceeds r, after q_sampler_sum; r is below the total. */
uint32_t q_sampler_pick(const q_sampler_state *s, uint64_t r);

#endif /* QORUS_CORE_TEXT_SAMPLER_INNER_H */
