/* SPDX-License-Identifier: MIT */
/* sampler_tests.h: what the files of the sampler's test share. */
#ifndef QORUS_TEST_SAMPLER_SAMPLER_TESTS_H
#define QORUS_TEST_SAMPLER_SAMPLER_TESTS_H

#include "../port/check.h"
#include "sampler_cases.h"

enum { SAMPLER_TEST_VOCAB = 100, SAMPLER_TEST_BIG = 49152, SAMPLER_TEST_HISTORY = 300 };

extern float test_logits[SAMPLER_TEST_BIG];
extern int32_t test_history[SAMPLER_TEST_HISTORY];
extern uint8_t test_work[SAMPLER_CASES_WORK];

/* Makes n logits and a history of tokens below n. */
void test_fill_logits(uint32_t n);

/* A configuration that uses everything but bias. */
q_sampler_config test_full_config(void);

/* Samples from SAMPLER_TEST_VOCAB logits with all of history and work, at step 7. */
q_error_code test_sample(const q_sampler_config *cfg, int32_t *token, q_diag *d);

/* Runs the tests of arguments that must be refused. */
void test_sampler_bad_all(void);

#endif /* QORUS_TEST_SAMPLER_SAMPLER_TESTS_H */
