/* SPDX-License-Identifier: MIT */
/* part_sampler.c: `parts sampler`: one draw from logits shaped like a language model's. */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"

#include "qorus/sampler.h"

#include <stdio.h>

enum { DRAWS = 201, HISTORY = 64, MAX_VOCAB = 1 << 20 };

/* A triangular heap around 0, from -12 to 12, and a few dozen that stand out: 16 to 24. */
static void fill_logits(float *x, uint32_t n)
{
    uint32_t state = 2463534242u;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t sum = 0;
        for (int k = 0; k < 3; k++) {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            sum += state >> 16;
        }
        x[i] = (float)sum / 65536.0f * 8.0f - 12.0f;
        x[i] += i % 1231 == 7 ? 12.0f : 0.0f;
    }
}

static void time_draws(const char *what, const q_sampler_config *cfg, const float *logits, uint32_t n)
{
    static series s;
    static int32_t history[HISTORY];
    size_t size;
    void *work = NULL;
    q_diag diag;
    if (q_sampler_work_size(n, cfg, &size, &diag) != Q_OK) {
        parts_fail(diag.field);
    }
    if (size != 0) {
        work = parts_take(size);
    }
    for (int32_t i = 0; i < HISTORY; i++) {
        history[i] = (int32_t)((uint32_t)i * 7919u % n);
    }
    s.n = 0;
    for (uint32_t i = 0; i <= DRAWS; i++) {
        int32_t token;
        double t = parts_seconds();
        if (q_sampler_sample(cfg, logits, n, history, HISTORY, i, work, size, &token, &diag) != Q_OK) {
            parts_fail(diag.field);
        }
        t = parts_seconds() - t;
        if (i != 0) {
            series_add(&s, t * 1e6);
        }
    }
    series_sort(&s);
    (void)printf("{\"part\":\"sampler\",\"what\":\"%s\",\"vocabulary\":%u", what, n);
    series_print(&s, "us");
    (void)printf("}\n");
}

int part_sampler(const char *const *words, int n)
{
    uint32_t vocabulary = parts_number(words[0], MAX_VOCAB);
    float *logits = (float *)parts_take(vocabulary * sizeof(float));
    q_sampler_config cfg;
    (void)n;
    fill_logits(logits, vocabulary);
    q_sampler_defaults(&cfg);
    time_draws("greedy", &cfg, logits, vocabulary);
    cfg.temperature = 0.8;
    time_draws("temperature", &cfg, logits, vocabulary);
    cfg.top_k = 40;
    time_draws("top-k", &cfg, logits, vocabulary);
    cfg.top_k = 0;
    cfg.top_p = 0.95;
    time_draws("top-p", &cfg, logits, vocabulary);
    cfg.top_k = 40;
    cfg.min_p = 0.05;
    time_draws("top-k, top-p, min-p", &cfg, logits, vocabulary);
    cfg.repeat_penalty = 1.1;
    time_draws("top-k, top-p, min-p, repeat penalty", &cfg, logits, vocabulary);
    return 0;
}
