/* SPDX-License-Identifier: MIT */
/* test_sampler.c: the sampler's vectors, statistics and memory; runs test_sampler_bad.c as well. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <string.h>
#include <sys/mman.h>

#include "../../core/text/sampler_inner.h"
#include "qorus/base/random.h"
#include "sampler_tests.h"

check_state check_now;

float test_logits[SAMPLER_TEST_BIG];
int32_t test_history[SAMPLER_TEST_HISTORY];
Q_ALIGNED(64) uint8_t test_work[SAMPLER_CASES_WORK];

/* ---- Helpers --------------------------------------------------------------------------------- */

void test_fill_logits(uint32_t n)
{
    uint32_t s = 12345;
    for (uint32_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        test_logits[i] = (float)(s >> 20) / 256.0f - 8.0f;
    }
    for (uint32_t i = 0; i < SAMPLER_TEST_HISTORY; i++) {
        test_history[i] = (int32_t)(i * 37u % n);
    }
}

q_sampler_config test_full_config(void)
{
    q_sampler_config cfg;
    q_sampler_defaults(&cfg);
    cfg.temperature = 0.9;
    cfg.top_k = 20;
    cfg.top_p = 0.9;
    cfg.min_p = 0.01;
    cfg.repeat_penalty = 1.2;
    cfg.presence_penalty = 0.1;
    cfg.frequency_penalty = 0.1;
    return cfg;
}

q_error_code test_sample(const q_sampler_config *cfg, int32_t *token, q_diag *d)
{
    return q_sampler_sample(cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                            SAMPLER_TEST_HISTORY, 7, test_work, sizeof test_work, token, d);
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static void print_case(void *user, const char *line, size_t n)
{
    (void)user;
    (void)fprintf(stderr, "case %.*s is wrong\n", (int)n, line);
}

static void vectors_with(uint8_t fill)
{
    uint32_t passed = 0;
    uint32_t failed = 0;
    double worst = 0.0;
    sampler_cases_run(test_work, fill, print_case, NULL, &passed, &failed, &worst);
    (void)printf("     %u cases, largest relative error of a probability %.2g\n", passed + failed,
                 worst);
    CHECK(passed >= 120);
    CHECK_EQ(failed, 0);
    CHECK(worst > 0.0);
}

static void vectors_memory_filled_00(void)
{
    vectors_with(0);
}

static void vectors_memory_filled_ff_r12(void)
{
    vectors_with(0xFF);
}

static void vectors_memory_filled_7f_r12(void)
{
    vectors_with(0x7F);
}

/* ---- Random numbers -------------------------------------------------------------------------- */

/* Known answers published with the generator (Random123, kat_vectors: philox4x32, 10 rounds). */
static void philox_known_answers(void)
{
    static const uint32_t in[3][6] = {
        { 0, 0, 0, 0, 0, 0 },
        { 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu },
        { 0x243F6A88u, 0x85A308D3u, 0x13198A2Eu, 0x03707344u, 0xA4093822u, 0x299F31D0u }
    };
    static const uint32_t want[3][4] = { { 0x6627E8D5u, 0xE169C58Du, 0xBC57AC4Cu, 0x9B00DBD8u },
                                         { 0x408F276Du, 0x41C83B0Eu, 0xA20BC7C6u, 0x6D5451FDu },
                                         { 0xD16CFE09u, 0x94FDCCEBu, 0x5001E420u, 0x24126EA1u } };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        q_philox4x32(in[i], in[i] + 4, out);
        CHECK(memcmp(out, want[i], sizeof out) == 0);
    }
}

static void random_place_reaches_every_word(void)
{
    const q_random_place base = { 1, 2, 3, 4 };
    q_random_place other[6];
    uint32_t out[4];
    q_random_block(&base, 5, out);
    for (int i = 0; i < 6; i++) {
        other[i] = base;
    }
    other[0].seed ^= 1u;
    other[1].seed ^= (uint64_t)1 << 63;
    other[2].step ^= 1u;
    other[3].step ^= (uint64_t)1 << 63;
    other[4].node ^= 1u;
    other[5].sample ^= 1u;
    for (int i = 0; i < 6; i++) {
        CHECK(q_random_u32(&other[i], 20) != out[0]);
    }
    for (uint32_t e = 0; e < 4; e++) {
        CHECK_EQ(q_random_u32(&base, 20u + e), out[e]);
    }
    CHECK(q_random_u64(&base, 5) == ((uint64_t)out[1] << 32 | out[0]));
}

static void random_units_are_below_one(void)
{
    CHECK(q_random_unit_f32(0) == 0.0f);
    CHECK(q_random_unit_f32(UINT32_MAX) == 1.0f - 0x1p-24f);
    CHECK(q_random_unit_f64(0) == 0.0);
    CHECK(q_random_unit_f64(UINT64_MAX) == 1.0 - 0x1p-53);
    CHECK(q_random_unit_f64((uint64_t)1 << 11) == 0x1p-53);
    CHECK(q_random_unit_f64((uint64_t)1 << 63) == 0.5);
}

/* ---- Statistics ------------------------------------------------------------------------------ */

/* Pearson's statistic of 100,000 draws; the seed is fixed, so the verdict never changes. */
static double chi_square(const q_sampler_config *cfg, uint32_t n, uint32_t *kinds)
{
    static uint32_t seen[64];
    static q_sampler_candidate kept[64];
    const uint32_t draws = 100000;
    double sum = 0.0;
    uint32_t total = 0;
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < draws; i++) {
        int32_t token = -1;
        CHECK_EQ(q_sampler_sample(cfg, test_logits, n, NULL, 0, i, test_work, sizeof test_work,
                                  &token, NULL),
                 Q_OK);
        seen[token & 63]++;
    }
    CHECK_EQ(q_sampler_candidates(cfg, test_logits, n, NULL, 0, test_work, sizeof test_work, kept,
                                  64, kinds, NULL),
             Q_OK);
    for (uint32_t i = 0; i < *kinds; i++) {
        double expected = (double)kept[i].probability * draws;
        double d = (double)seen[kept[i].token] - expected;
        sum += d * d / expected;
        total += seen[kept[i].token];
    }
    CHECK_EQ(total, draws); /* nothing outside the kept set */
    return sum;
}

static void draws_follow_the_probabilities(void)
{
    q_sampler_config cfg;
    uint32_t kinds = 0;
    for (uint32_t i = 0; i < 24; i++) {
        test_logits[i] = (float)(i * 7u % 24u) * 0.2f;
    }
    q_sampler_defaults(&cfg);
    cfg.temperature = 1.3;
    cfg.seed = 2024;
    CHECK(chi_square(&cfg, 24, &kinds) < 49.7); /* 23 degrees of freedom, 0.1 % */
    CHECK_EQ(kinds, 24);
    cfg.top_k = 12;
    cfg.top_p = 0.9;
    double x = chi_square(&cfg, 24, &kinds);
    CHECK(kinds > 4 && kinds < 12);
    CHECK(x < 29.6);       /* at most 10 degrees of freedom, 0.1 % */
    cfg.temperature = 0.5; /* the test can fail: other temperatures give other probabilities */
    static q_sampler_candidate a[64];
    CHECK_EQ(q_sampler_candidates(&cfg, test_logits, 24, NULL, 0, test_work, sizeof test_work, a,
                                  64, &kinds, NULL),
             Q_OK);
    CHECK(a[0].probability > 0.0f && kinds < 8);
}

static void draws_differ_by_seed_step_and_sequence(void)
{
    q_sampler_config cfg;
    int32_t tokens[4][64];
    test_fill_logits(SAMPLER_TEST_BIG);
    q_sampler_defaults(&cfg);
    cfg.temperature = 3.0;
    for (uint32_t run = 0; run < 4; run++) {
        cfg.seed = run == 1 ? 1u : 0u;
        cfg.sequence = run == 2 ? 1u : 0u;
        for (uint32_t i = 0; i < 64; i++) {
            CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_BIG, NULL, 0, i, test_work,
                                      sizeof test_work, &tokens[run][i], NULL),
                     Q_OK);
        }
    }
    CHECK(memcmp(tokens[0], tokens[1], sizeof tokens[0]) != 0);
    CHECK(memcmp(tokens[0], tokens[2], sizeof tokens[0]) != 0);
    CHECK(memcmp(tokens[0], tokens[3], sizeof tokens[0]) == 0);
    CHECK(tokens[0][0] != tokens[0][1] || tokens[0][1] != tokens[0][2]);
}

/* Both ends of every token's share, in and between blocks, with tokens cut in the midst. */
static void draws_meet_every_boundary(void)
{
    static uint64_t sums[3];
    static int32_t keys[130];
    static int32_t tops[3];
    q_sampler_config cfg;
    q_sampler_state s;
    uint64_t r = 0;
    memset(&s, 0, sizeof s);
    q_sampler_defaults(&cfg);
    s.cfg = &cfg;
    s.n = 130;
    s.n_blocks = 3;
    s.keys = keys;
    s.tops = tops;
    s.sums = sums;
    s.scale = 65536.0f;
    s.least = 2;
    s.last.key = sampler_key(-30.0f);
    s.last.id = 100;
    for (uint32_t i = 0; i < 130; i++) {
        keys[i] = sampler_key(-(float)(i % 41u));
    }
    tops[0] = tops[1] = keys[0];
    tops[2] = keys[128];
    uint64_t total = q_sampler_sum(&s);
    for (uint32_t i = 0; i < 130; i++) {
        uint64_t w = i % 41 < 30 || (i % 41 == 30 && i <= 100) ? (uint64_t)1 << (40 - i % 41) : 0;
        CHECK(q_sampler_kept(&s, i) == w);
        if (w != 0) {
            CHECK_EQ(q_sampler_pick(&s, r), i);
            CHECK_EQ(q_sampler_pick(&s, r + w - 1), i);
        }
        r += w;
    }
    CHECK(r == total && sums[0] + sums[1] + sums[2] == total);
}

/* Products and shares at their largest, against values worked out by hand. */
static void exact_arithmetic_at_its_limits(void)
{
    bool rest = true;
    CHECK(q_sampler_mul_high(UINT64_MAX, UINT64_MAX) == UINT64_MAX - 1);
    CHECK(q_sampler_mul_high(UINT64_MAX, 2) == 1);
    CHECK(q_sampler_mul_high((uint64_t)1 << 32, ((uint64_t)1 << 32) - 1) == 0);
    CHECK(q_sampler_mul_high((uint64_t)1 << 63, (uint64_t)1 << 63) == (uint64_t)1 << 62);
    CHECK(q_sampler_share((uint64_t)1 << 63, 1.0) == (uint64_t)1 << 63);
    CHECK(q_sampler_share(3, 0.5) == 2);
    CHECK(q_sampler_share(4, 0.5) == 2);
    CHECK(q_sampler_share(5, 0x1p-1074) == 1);
    CHECK(q_sampler_fixed(1.0, 40, &rest) == (uint64_t)1 << 40 && !rest);
    CHECK(q_sampler_fixed(0.75, 53, &rest) == (uint64_t)3 << 51 && !rest);
    CHECK(q_sampler_fixed(1.0 - 0x1p-53, 40, &rest) == ((uint64_t)1 << 40) - 1 && rest);
    CHECK(q_sampler_fixed(0x1p-41, 40, &rest) == 0 && rest);
    CHECK(q_sampler_fixed(0x1p-1074, 40, &rest) == 0 && rest);
    CHECK(q_sampler_fixed(0.0, 40, &rest) == 0 && !rest);
}

/* min_p between two integers: the weight just below is cut, the one above kept. */
static void min_p_is_rounded_up(void)
{
    q_sampler_config cfg;
    q_sampler_candidate kept[2];
    const float two[2] = { 1.0f, 0.0f };
    uint32_t n = 0;
    q_sampler_defaults(&cfg);
    cfg.temperature = 94548.46219969910 / 65536.0; /* weights 2^40 and 2^39 */
    cfg.min_p = 0.5;
    CHECK_EQ(
        q_sampler_candidates(&cfg, two, 2, NULL, 0, test_work, sizeof test_work, kept, 2, &n, NULL),
        Q_OK);
    CHECK_EQ(n, 2);
    cfg.min_p = 0.5 + 0x1p-50;
    CHECK_EQ(
        q_sampler_candidates(&cfg, two, 2, NULL, 0, test_work, sizeof test_work, kept, 2, &n, NULL),
        Q_OK);
    CHECK_EQ(n, 1);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Each combination of what is on, at exactly the size asked for, between pages nobody may touch. */
static void size_between_guard_pages(q_sampler_config *cfg, uint8_t *pages, size_t span, uint32_t n)
{
    size_t size = 0;
    q_diag d;
    int32_t want = -1;
    CHECK_EQ(q_sampler_work_size(n, cfg, &size, &d), Q_OK);
    CHECK(size <= sizeof test_work);
    CHECK_EQ(q_sampler_sample(cfg, test_logits, n, test_history, SAMPLER_TEST_HISTORY, 3, test_work,
                              sizeof test_work, &want, &d),
             Q_OK);
    uint8_t *ends[2] = { pages + 4096, pages + 4096 + span - (size + 63) / 64 * 64 };
    for (int i = 0; i < 2; i++) {
        int32_t token = -1;
        memset(ends[i], 0xA5, (size + 63) / 64 * 64);
        CHECK_EQ(q_sampler_sample(cfg, test_logits, n, test_history, SAMPLER_TEST_HISTORY, 3,
                                  ends[i], size, &token, &d),
                 Q_OK);
        CHECK_EQ(token, want);
        for (size_t b = size; b % 64 != 0; b++) {
            CHECK_EQ(ends[i][b], 0xA5);
        }
        if (size != 0) {
            token = -5;
            CHECK_EQ(q_sampler_sample(cfg, test_logits, n, test_history, SAMPLER_TEST_HISTORY, 3,
                                      ends[i], size - 1, &token, &d),
                     Q_ERR_NO_SPACE);
            CHECK_EQ(d.need, size);
            CHECK_EQ(d.have, size - 1);
            CHECK_EQ(token, -5);
        }
    }
}

static void work_is_exact_r01_r02(void)
{
    const uint32_t sizes[4] = { 1, 64, 1000, 4099 };
    const size_t span = (size_t)64 << 10;
    uint8_t *pages = (uint8_t *)mmap(NULL, span + 8192, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK((void *)pages != MAP_FAILED);
    CHECK_EQ(mprotect(pages, 4096, PROT_NONE), 0);
    CHECK_EQ(mprotect(pages + 4096 + span, 4096, PROT_NONE), 0);
    for (uint32_t i = 0; i < 4; i++) {
        test_fill_logits(sizes[i]);
        for (uint32_t bits = 0; bits < 32; bits++) {
            const q_logit_bias bias = { 0, 1.0f };
            q_sampler_config cfg;
            q_sampler_defaults(&cfg);
            cfg.temperature = (bits & 1u) != 0 ? 0.8 : 0.0;
            cfg.top_k = (bits & 2u) != 0 ? 10 : 0;
            cfg.top_p = (bits & 4u) != 0 ? 0.9 : 1.0;
            cfg.repeat_penalty = (bits & 8u) != 0 ? 1.1 : 1.0;
            cfg.bias = &bias;
            cfg.n_bias = (bits & 16u) != 0 ? 1 : 0;
            size_between_guard_pages(&cfg, pages, span, sizes[i]);
        }
    }
    CHECK_EQ(munmap(pages, span + 8192), 0);
}

static void work_size_grows_with_the_vocabulary_r13(void)
{
    q_sampler_config cfg = test_full_config();
    size_t last = 0;
    for (uint32_t n = 21; n < 3000; n++) {
        size_t size = 0;
        CHECK_EQ(q_sampler_work_size(n, &cfg, &size, NULL), Q_OK);
        CHECK(size > last);
        last = size;
    }
    cfg.top_k = 0;
    CHECK_EQ(q_sampler_work_size(Q_SAMPLER_MAX_VOCAB, &cfg, &last, NULL), Q_OK);
    CHECK(last > 8u * (size_t)Q_SAMPLER_MAX_VOCAB && last < 9u * (size_t)Q_SAMPLER_MAX_VOCAB);
}

static void work_plain_greedy_needs_none(void)
{
    q_sampler_config cfg;
    size_t size = 9;
    int32_t token = -1;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    test_logits[31] = test_logits[77] = 99.0f;
    q_sampler_defaults(&cfg);
    CHECK_EQ(q_sampler_work_size(SAMPLER_TEST_VOCAB, &cfg, &size, NULL), Q_OK);
    CHECK_EQ(size, 0);
    CHECK_EQ(
        q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, NULL, 0, 0, NULL, 0, &token, NULL),
        Q_OK);
    CHECK_EQ(token, 31);
}

static void work_bad_blocks_r03_r04_r05_r07(void)
{
    q_sampler_config cfg = test_full_config();
    int32_t token = -5;
    q_diag d;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    CHECK_EQ(test_sample(&cfg, &token, &d), Q_OK);
    token = -5;
    CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                              SAMPLER_TEST_HISTORY, 7, NULL, 0, &token, &d),
             Q_ERR_NO_SPACE);
    CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                              SAMPLER_TEST_HISTORY, 7, NULL, sizeof test_work, &token, &d),
             Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "work") == 0);
    for (uint32_t by = 1; by < 64; by++) {
        CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                                  SAMPLER_TEST_HISTORY, 7, test_work + by, sizeof test_work - by,
                                  &token, &d),
                 Q_ERR_MISALIGNED);
    }
    CHECK_EQ(d.need, 64);
    float *inside = (float *)(void *)(test_work + 64);
    memcpy(inside, test_logits, SAMPLER_TEST_VOCAB * sizeof(float));
    CHECK_EQ(q_sampler_sample(&cfg, inside, SAMPLER_TEST_VOCAB, test_history, SAMPLER_TEST_HISTORY,
                              7, test_work, sizeof test_work, &token, &d),
             Q_ERR_ALIASING);
    CHECK_EQ(q_sampler_sample(&cfg, test_logits, SAMPLER_TEST_VOCAB, test_history,
                              SAMPLER_TEST_HISTORY, 7, test_work, sizeof test_work,
                              (int32_t *)(void *)test_work, &d),
             Q_ERR_ALIASING);
    CHECK_EQ(token, -5);
}

static void inputs_stay_untouched(void)
{
    static float before[SAMPLER_TEST_VOCAB];
    int32_t seen[300];
    q_sampler_config cfg = test_full_config();
    int32_t token = -1;
    test_fill_logits(SAMPLER_TEST_VOCAB);
    memcpy(before, test_logits, sizeof before);
    memcpy(seen, test_history, sizeof seen);
    CHECK_EQ(test_sample(&cfg, &token, NULL), Q_OK);
    CHECK(memcmp(before, test_logits, sizeof before) == 0);
    CHECK(memcmp(seen, test_history, sizeof seen) == 0);
}

int main(void)
{
    RUN(vectors_memory_filled_00);
    RUN(vectors_memory_filled_ff_r12);
    RUN(vectors_memory_filled_7f_r12);
    RUN(philox_known_answers);
    RUN(random_place_reaches_every_word);
    RUN(random_units_are_below_one);
    RUN(draws_follow_the_probabilities);
    RUN(draws_differ_by_seed_step_and_sequence);
    RUN(draws_meet_every_boundary);
    RUN(exact_arithmetic_at_its_limits);
    RUN(min_p_is_rounded_up);
    RUN(work_is_exact_r01_r02);
    RUN(work_size_grows_with_the_vocabulary_r13);
    RUN(work_plain_greedy_needs_none);
    RUN(work_bad_blocks_r03_r04_r05_r07);
    RUN(inputs_stay_untouched);
    test_sampler_bad_all();
    return check_summary();
}
