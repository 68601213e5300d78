/* SPDX-License-Identifier: MIT */
/*
 * sampler_cases.h: runs vectors/sampler/cases.inc without libc, files or allocation, so that every
 * port can.
 *
 * A case names its inputs by the seed of a generator; what comes out is compared exactly (tokens,
 * kept set) or to SAMPLER_CASES_GATE (probabilities).
 */
#ifndef QORUS_TEST_SAMPLER_CASES_H
#define QORUS_TEST_SAMPLER_CASES_H

#include "qorus/sampler.h"

enum {
    SAMPLER_CASE_STEPS = 8, /* tokens drawn, at steps step .. step + 7 */
    SAMPLER_CASE_SHOWN = 4, /* most likely tokens whose probabilities are known */
    SAMPLER_CASE_BIASES = 3,
    SAMPLER_CASE_LIST = 4
};

/*
 * Largest relative error of a probability. v is rounded to 2^-16 octave, which is ln(2) * 2^-17
 * = 5.3e-6 in the token's weight, and half as much is left for the sum, where such errors cancel.
 * Beyond that, weights are cut to whole units of 2^-40.
 */
#define SAMPLER_CASES_GATE 8e-6

/* Work memory that the largest case needs. */
#define SAMPLER_CASES_WORK ((size_t)1200 << 10)

typedef struct sampler_case {
    const char *name;
    uint32_t n_vocab;
    uint32_t kind;
    uint32_t peaks;
    uint64_t logit_seed;
    double temperature;
    double top_p;
    double min_p;
    double repeat_penalty;
    double presence_penalty;
    double frequency_penalty;
    uint32_t top_k;
    uint32_t window;
    uint32_t n_history;
    uint32_t span; /* tokens of the history are below it */
    uint32_t sequence;
    uint64_t seed;
    uint64_t step;
    uint32_t n_bias;
    q_logit_bias bias[SAMPLER_CASE_BIASES];
    float list[SAMPLER_CASE_LIST]; /* the logits, if kind is the last */
    int32_t tokens[SAMPLER_CASE_STEPS];
    uint32_t n_kept;
    uint64_t kept_hash; /* FNV-1a of the kept tokens as 32-bit little-endian numbers, ascending */
    uint32_t n_shown;
    struct {
        int32_t token;
        double probability;
    } shown[SAMPLER_CASE_SHOWN];
} sampler_case;

typedef void (*sampler_cases_print)(void *user, const char *line, size_t n);

/*
 * Runs every case; prints the name of each that fails. work: SAMPLER_CASES_WORK bytes at a multiple
 * of Q_ALIGN, filled with `fill` before each case. *passed and *failed grow; *worst becomes the
 * largest relative error of a probability, if it was smaller.
 */
void sampler_cases_run(void *work, uint8_t fill, sampler_cases_print print, void *user,
                       uint32_t *passed, uint32_t *failed, double *worst);

#endif /* QORUS_TEST_SAMPLER_CASES_H */
