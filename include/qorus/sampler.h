/* SPDX-License-Identifier: MIT */
/*
 * sampler.h: from the logits of one position to the next token.
 *
 *     q_sampler_config cfg;
 *     q_sampler_defaults(&cfg);
 *     cfg.temperature = 0.8;
 *     cfg.top_p = 0.95;
 *     size_t size;
 *     q_error_code rc = q_sampler_work_size(n_vocab, &cfg, &size, &diag);
 *     ...
 *     rc = q_sampler_sample(&cfg, logits, n_vocab, history, n_history, step, work, size,
 *                           &token, &diag);
 *
 * The same configuration, logits, history and step give the same token on every machine. The
 * algorithm, each float operation rounded on its own, in this order:
 *
 *  1. Penalties, for each distinct token t of the last penalty_window tokens of the history, c
 *     occurrences there (Keskar et al. 2019, "CTRL", for the first; OpenAI's API for the others):
 *         x[t] = x[t] > 0 ? x[t] / repeat_penalty : x[t] * repeat_penalty
 *         x[t] = x[t] - (c * frequency_penalty + presence_penalty)
 *  2. Bias, in the order given: x[bias.token] = x[bias.token] + bias.value.
 *  3. Order: larger x first, among equals (-0 equals 0) the lower token. Temperature 0 takes the
 *     first token, and that is all.
 *  4. Weights, M the largest x:
 *         s = f32(min(94548.46219969910 / temperature, FLT_MAX))       2^16 log2(e), in double
 *         t = (M - x) * s
 *         v = t < 2621440 ? truncate(t + 0.5) : weight 0               40 * 2^16
 *         w = 2^40 * 2^(-v / 2^16), cut to an integer
 *     so that w is e^((x - M) / temperature) in units of 2^-40, its error below 1e-5 of it and a
 *     unit; a token 10^12 times less likely than the first is never drawn. The power of
 *     two is (H[v >> 8 & 255] * L[v & 255]) >> (22 + (v >> 16)), where H[i] = round(2^31 *
 *     2^(-i/2^8)) and L[j] = round(2^31 * 2^(-j/2^16)). From here on arithmetic is exact, so the
 *     order of the sums does not matter.
 *  5. Three cuts, each keeping a beginning of the order; the shortest counts:
 *         top_k   its first top_k tokens
 *         top_p   the least beginning whose weights reach top_p of the weight that top_k left
 *                 (top_p read as floor(top_p * 2^53) / 2^53)
 *         min_p   tokens with w >= min_p * 2^40, that is min_p times the first one's probability
 *  6. Draw: W the weight kept, u 64 bits of q_random_u64 at {seed, step, Q_RANDOM_NODE_SAMPLER,
 *     sequence}, block 0: r = floor(u * W / 2^64); the token is the first one kept, in order of
 *     *token numbers*, at which the running sum of weights exceeds r.
 *
 * Nothing is sorted: cuts are found by histograms. Cost: O(n_vocab + n_history + n_bias).
 */
#ifndef QORUS_SAMPLER_H
#define QORUS_SAMPLER_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Largest vocabulary: weights of 41 bits then add up within 64. */
#define Q_SAMPLER_MAX_VOCAB ((uint32_t)1 << 23)

/* Added to the logit of one token. -Infinity forbids the token. */
typedef struct q_logit_bias {
    int32_t token;
    float value;
} q_logit_bias;

typedef struct q_sampler_config {
    uint32_t struct_size;     /* sizeof(q_sampler_config) */
    uint32_t top_k;           /* 0, or n_vocab and more: off */
    double temperature;       /* >= 0, finite; 0: greedy */
    double top_p;             /* (0, 1]; 1: off */
    double min_p;             /* [0, 1]; 0: off */
    double repeat_penalty;    /* > 0, finite as a float; 1: off */
    double presence_penalty;  /* finite as a float; 0: off */
    double frequency_penalty; /* finite as a float; 0: off */
    uint32_t penalty_window;  /* latest tokens that the penalties look at; 0: none */
    uint32_t sequence;        /* number of the sequence in a batch; 0 for one alone */
    uint64_t seed;            /* any value */
    const q_logit_bias *bias; /* n_bias entries; the caller's, read during calls only */
    uint32_t n_bias;
    uint32_t reserved; /* 0 */
} q_sampler_config;

/* A token that survived the cuts. */
typedef struct q_sampler_candidate {
    int32_t token;
    float probability;
} q_sampler_candidate;

/* Greedy, no cuts, no penalties (but a window of 64 for when one is set), seed 0. O(1). */
void q_sampler_defaults(q_sampler_config *cfg);

/*
 * Checks a configuration for a vocabulary; diag.field names the member that is wrong and
 * diag.offset the entry of bias. Errors: Q_ERR_INVALID_ARG, Q_ERR_INVALID_SIZE (n_vocab 0 or above
 * the limit), Q_ERR_INVALID_TOKEN (a bias for a token outside the vocabulary). O(n_bias).
 */
Q_NODISCARD q_error_code q_sampler_check(const q_sampler_config *cfg, uint32_t n_vocab,
                                         q_diag *diag);

/*
 * Bytes of work memory that calls with this configuration need: exactly those they use; 0 for plain
 * greedy search, at most some 9 * n_vocab + 8 KiB. Of the configuration, only which members are
 * "off" matters. Errors: those of q_sampler_check.
 */
Q_NODISCARD q_error_code q_sampler_work_size(uint32_t n_vocab, const q_sampler_config *cfg,
                                             size_t *size, q_diag *diag);

/*
 * The next token.
 *
 *   logits   n_vocab floats, not modified; -infinity marks a token that must not come
 *   history  tokens so far, prompt included, oldest first; NULL if n_history is 0
 *   step     number of the token within the generation: selects the random number
 *   work     work_size bytes at a multiple of Q_ALIGN, contents do not matter; NULL if 0 are
 *            needed. It must not overlap the other arguments
 *
 * Errors: those of q_sampler_check; Q_ERR_INVALID_TOKEN (history holds a token outside the
 * vocabulary; offset is its index), Q_ERR_MISALIGNED, Q_ERR_ALIASING, Q_ERR_NO_SPACE (need, have),
 * Q_ERR_NON_FINITE (a logit is NaN or +infinity: field "logits", or becomes so by penalties and
 * bias: field "adjusted logits"; offset is its index; or all are -infinity: field "all masked").
 */
Q_NODISCARD q_error_code q_sampler_sample(const q_sampler_config *cfg, const float *logits,
                                          uint32_t n_vocab, const int32_t *history,
                                          size_t n_history, uint64_t step, void *work,
                                          size_t work_size, int32_t *token, q_diag *diag);

/*
 * The tokens q_sampler_sample would draw from, in order of token numbers, with their probabilities.
 * *n receives their number even if it exceeds `capacity`, which cuts the list and is no error; out
 * may be NULL if capacity is 0. With temperature 0 there is one, of probability 1. Errors as
 * q_sampler_sample.
 */
Q_NODISCARD q_error_code q_sampler_candidates(const q_sampler_config *cfg, const float *logits,
                                              uint32_t n_vocab, const int32_t *history,
                                              size_t n_history, void *work, size_t work_size,
                                              q_sampler_candidate *out, uint32_t capacity,
                                              uint32_t *n, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_SAMPLER_H */
