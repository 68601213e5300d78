/* SPDX-License-Identifier: MIT */
/* test_sampler_bad.c: arguments the sampler must refuse, naming what is wrong. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <math.h>
#include <string.h>

#include "sampler_tests.h"

/* Each bad input differs from an accepted twin by one defect. */

static void expect(const q_sampler_config *cfg, q_error_code code, const char *field)
{
    q_sampler_config good = test_full_config();
    int32_t token = -5;
    size_t size = 77;
    uint32_t n = 77;
    q_diag d;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    CHECK_EQ(test_sample(&good, &token, &d), Q_OK);
    token = -5;
    memset(&d, 0, sizeof d);
    CHECK_EQ(test_sample(cfg, &token, &d), code);
    CHECK_EQ(d.code, code);
    CHECK(strcmp(d.field, field) == 0);
    CHECK_EQ(token, -5);
    CHECK_EQ(test_sample(cfg, &token, NULL), code);
    CHECK_EQ(q_sampler_check(cfg, SAMPLER_TEST_VOCAB, &d), code);
    CHECK_EQ(q_sampler_work_size(SAMPLER_TEST_VOCAB, cfg, &size, &d), code);
    CHECK_EQ(q_sampler_candidates(cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                                  SAMPLER_TEST_HISTORY, test_work, sizeof test_work, NULL, 0, &n,
                                  &d),
             code);
    CHECK(size == 77 && n == 77);
}

static void a01_null_pointers(void)
{
    q_sampler_config cfg = test_full_config();
    int32_t token = -5;
    uint32_t n = 0;
    q_diag d;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    CHECK_EQ(q_sampler_sample(NULL, test_logits, SAMPLER_TEST_VOCAB, test_history,
                              SAMPLER_TEST_HISTORY, 7, test_work, sizeof test_work, &token, &d),
             Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "cfg") == 0);
    CHECK_EQ(q_sampler_sample(&cfg, NULL, SAMPLER_TEST_VOCAB, test_history, SAMPLER_TEST_HISTORY, 7,
                              test_work, sizeof test_work, &token, &d),
             Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "logits") == 0);
    CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, NULL, SAMPLER_TEST_HISTORY, 7,
                              test_work, sizeof test_work, &token, &d),
             Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "history") == 0);
    CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                              SAMPLER_TEST_HISTORY, 7, test_work, sizeof test_work, NULL, &d),
             Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "token") == 0);
    CHECK_EQ(q_sampler_work_size(SAMPLER_TEST_VOCAB, &cfg, NULL, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_sampler_candidates(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                                  SAMPLER_TEST_HISTORY, test_work, sizeof test_work, NULL, 1, &n,
                                  &d),
             Q_ERR_INVALID_ARG);
    CHECK_EQ(q_sampler_candidates(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                                  SAMPLER_TEST_HISTORY, test_work, sizeof test_work, NULL, 0, NULL,
                                  &d),
             Q_ERR_INVALID_ARG);
    cfg.n_bias = 1;
    expect(&cfg, Q_ERR_INVALID_ARG, "bias");
}

static void a05_struct_size(void)
{
    const int32_t by[2] = { -8, 8 };
    for (int i = 0; i < 2; i++) {
        q_sampler_config cfg = test_full_config();
        cfg.struct_size = (uint32_t)((int32_t)sizeof cfg + by[i]);
        expect(&cfg, Q_ERR_INVALID_ARG, "struct_size");
    }
    q_sampler_config cfg = test_full_config();
    cfg.reserved = 1;
    expect(&cfg, Q_ERR_INVALID_ARG, "reserved");
}

static void a09_tokens_outside_the_vocabulary(void)
{
    const int32_t bad[4] = { -1, INT32_MIN, SAMPLER_TEST_VOCAB, INT32_MAX };
    for (int i = 0; i < 4; i++) {
        q_sampler_config cfg = test_full_config();
        const q_logit_bias bias[2] = { { SAMPLER_TEST_VOCAB - 1, 1.0f }, { bad[i], 1.0f } };
        int32_t token = -5;
        q_diag d;
        test_fill_logits(SAMPLER_TEST_VOCAB);
        test_history[123] = bad[i];
        CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_INVALID_TOKEN);
        CHECK(strcmp(d.field, "history") == 0 && d.offset == 123);
        CHECK_EQ(token, -5);
        test_fill_logits(SAMPLER_TEST_VOCAB);
        cfg.bias = bias;
        cfg.n_bias = 2;
        CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_INVALID_TOKEN);
        CHECK(strcmp(d.field, "bias") == 0 && d.offset == 1);
        cfg.n_bias = 1;
        CHECK_EQ(test_sample(&cfg, &token, &d), Q_OK);
    }
}

static void a14_temperature(void)
{
    const double bad[4] = { -1e-300, -1.0, (double)INFINITY, (double)NAN };
    for (int i = 0; i < 4; i++) {
        q_sampler_config cfg = test_full_config();
        cfg.temperature = bad[i];
        expect(&cfg, Q_ERR_INVALID_ARG, "temperature");
    }
    q_sampler_config cfg = test_full_config();
    int32_t token = -5;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    cfg.repeat_penalty = 1.0;
    cfg.presence_penalty = cfg.frequency_penalty = 0.0;
    test_logits[55] = 50.0f;
    cfg.temperature = -0.0;
    CHECK_EQ(test_sample(&cfg, &token, NULL), Q_OK);
    CHECK_EQ(token, 55);
}

static void a15_top_k(void)
{
    const uint32_t off[4] = { 0, SAMPLER_TEST_VOCAB, SAMPLER_TEST_VOCAB + 1, UINT32_MAX };
    for (int i = 0; i < 4; i++) {
        q_sampler_config cfg;
        uint32_t n = 0;
        test_fill_logits(SAMPLER_TEST_VOCAB);
        q_sampler_defaults(&cfg);
        cfg.temperature = 1.0;
        cfg.top_k = off[i];
        CHECK_EQ(q_sampler_candidates(&cfg, test_logits, SAMPLER_TEST_VOCAB, NULL, 0, test_work,
                                      sizeof test_work, NULL, 0, &n, NULL),
                 Q_OK);
        CHECK_EQ(n, SAMPLER_TEST_VOCAB);
    }
}

static void a16_top_p_and_min_p(void)
{
    const double bad_p[6] = { 0.0, -0.5, 1.0 + 0x1p-52, 2.0, (double)INFINITY, (double)NAN };
    const double bad_m[4] = { -0x1p-1074, 1.0 + 0x1p-52, (double)INFINITY, (double)NAN };
    for (int i = 0; i < 6; i++) {
        q_sampler_config cfg = test_full_config();
        cfg.top_p = bad_p[i];
        expect(&cfg, Q_ERR_INVALID_ARG, "top_p");
    }
    for (int i = 0; i < 4; i++) {
        q_sampler_config cfg = test_full_config();
        cfg.min_p = bad_m[i];
        expect(&cfg, Q_ERR_INVALID_ARG, "min_p");
    }
}

static void a16_penalties_and_bias(void)
{
    const double bad_repeat[6] = { 0.0, -1.0, 1e-300, 1e300, (double)INFINITY, (double)NAN };
    const double bad_other[4] = { 1e300, -1e300, (double)INFINITY, (double)NAN };
    const float bad_bias[2] = { INFINITY, NAN };
    for (int i = 0; i < 6; i++) {
        q_sampler_config cfg = test_full_config();
        cfg.repeat_penalty = bad_repeat[i];
        expect(&cfg, Q_ERR_INVALID_ARG, "repeat_penalty");
    }
    for (int i = 0; i < 4; i++) {
        q_sampler_config cfg = test_full_config();
        cfg.presence_penalty = bad_other[i];
        expect(&cfg, Q_ERR_INVALID_ARG, "presence_penalty");
        cfg = test_full_config();
        cfg.frequency_penalty = bad_other[i];
        expect(&cfg, Q_ERR_INVALID_ARG, "frequency_penalty");
    }
    for (int i = 0; i < 2; i++) {
        q_sampler_config cfg = test_full_config();
        const q_logit_bias bias = { 5, bad_bias[i] };
        cfg.bias = &bias;
        cfg.n_bias = 1;
        expect(&cfg, Q_ERR_INVALID_ARG, "bias");
    }
}

/* One bad logit in each place, greedy and not. */
static void a18_nan_and_plus_infinity(void)
{
    const float bad[3] = { NAN, -NAN, INFINITY };
    for (uint32_t i = 0; i < 3u * SAMPLER_TEST_VOCAB; i++) {
        q_sampler_config cfg = test_full_config();
        int32_t token = -5;
        q_diag d;
        test_fill_logits(SAMPLER_TEST_VOCAB);
        test_logits[i / 3] = bad[i % 3];
        test_logits[SAMPLER_TEST_VOCAB - 1] =
            i % 2 == 0 ? NAN : test_logits[SAMPLER_TEST_VOCAB - 1];
        CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
        CHECK(strcmp(d.field, "logits") == 0);
        CHECK_EQ(d.offset, i / 3);
        q_sampler_defaults(&cfg);
        CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
        CHECK_EQ(d.offset, i / 3);
        CHECK_EQ(token, -5);
    }
}

static void a17_all_masked(void)
{
    q_sampler_config cfg = test_full_config();
    int32_t token = -5;
    q_diag d;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    for (uint32_t i = 0; i < SAMPLER_TEST_VOCAB; i++) {
        test_logits[i] = -INFINITY;
    }
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
    CHECK(strcmp(d.field, "all masked") == 0);
    cfg.temperature = 0.0;
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
    q_sampler_defaults(&cfg);
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
    CHECK_EQ(token, -5);
    test_logits[42] = -1e38f; /* one that is not */
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_OK);
    CHECK_EQ(token, 42);
    cfg = test_full_config();
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_OK);
    CHECK_EQ(token, 42);
}

static void a18_penalty_or_bias_overflows(void)
{
    q_sampler_config cfg = test_full_config();
    const q_logit_bias bias = { 9, 3e38f };
    int32_t token = -5;
    q_diag d;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    test_logits[9] = 3e38f;
    cfg.bias = &bias;
    cfg.n_bias = 1;
    cfg.penalty_window = 0;
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
    CHECK(strcmp(d.field, "adjusted logits") == 0 && d.offset == 9);
    cfg.n_bias = 0;
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_OK);
    cfg.penalty_window = 300;
    cfg.repeat_penalty = 0.5;
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_ERR_NON_FINITE);
    CHECK(strcmp(d.field, "adjusted logits") == 0 && d.offset == 9);
}

static void a19_seed_0_and_vocabulary_limits(void)
{
    q_sampler_config cfg = test_full_config();
    int32_t token = -5;
    size_t size = 0;
    q_diag d;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    cfg.seed = 0;
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_OK);
    CHECK(token >= 0 && token < SAMPLER_TEST_VOCAB);
    CHECK_EQ(q_sampler_work_size(0, &cfg, &size, &d), Q_ERR_INVALID_SIZE);
    CHECK(strcmp(d.field, "n_vocab") == 0);
    CHECK_EQ(q_sampler_work_size(Q_SAMPLER_MAX_VOCAB + 1, &cfg, &size, &d), Q_ERR_INVALID_SIZE);
    CHECK_EQ(d.need, Q_SAMPLER_MAX_VOCAB);
}

static void candidates_are_cut_to_the_capacity(void)
{
    static q_sampler_candidate out[6];
    q_sampler_config cfg;
    uint32_t n = 0;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    q_sampler_defaults(&cfg);
    CHECK_EQ(q_sampler_candidates(&cfg, test_logits, SAMPLER_TEST_VOCAB, NULL, 0, NULL, 0, NULL, 0,
                                  &n, NULL),
             Q_OK);
    CHECK_EQ(n, 1);
    cfg.temperature = 1.0;
    memset(out, 0xA5, sizeof out);
    CHECK_EQ(q_sampler_candidates(&cfg, test_logits, SAMPLER_TEST_VOCAB, NULL, 0, test_work,
                                  sizeof test_work, out, 5, &n, NULL),
             Q_OK);
    CHECK_EQ(n, SAMPLER_TEST_VOCAB);
    CHECK(out[4].token == 4 && out[4].probability > 0.0f);
    CHECK_EQ((uint32_t)out[5].token, 0xA5A5A5A5u);
}

void test_sampler_bad_all(void)
{
    RUN(a01_null_pointers);
    RUN(a05_struct_size);
    RUN(a09_tokens_outside_the_vocabulary);
    RUN(a14_temperature);
    RUN(a15_top_k);
    RUN(a16_top_p_and_min_p);
    RUN(a16_penalties_and_bias);
    RUN(a17_all_masked);
    RUN(a18_nan_and_plus_infinity);
    RUN(a18_penalty_or_bias_overflows);
    RUN(a19_seed_0_and_vocabulary_limits);
    RUN(candidates_are_cut_to_the_capacity);
}
