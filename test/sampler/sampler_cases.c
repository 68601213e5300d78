/* SPDX-License-Identifier: MIT */
/* sampler_cases.c: makes the inputs of the sampler's vectors and compares what comes out. */
#include "sampler_cases.h"

#include "qorus/base/mem.h"

#define SAMPLER_CASE_MINUS_INF (-__builtin_inff())

static const sampler_case sampler_case_table[] = {
#include "../../vectors/sampler/cases.inc"
};

enum { SAMPLER_CASE_IS_LIST = 8 }; /* kind of a case that brings its logits */

enum { SAMPLER_CASE_COUNT = sizeof sampler_case_table / sizeof sampler_case_table[0] };

/* Inputs and memory of one case. */
typedef struct sampler_bench {
    q_sampler_config cfg;
    float *logits;
    int32_t *history;
    q_sampler_candidate *kept;
    void *work;
    size_t work_size;
} sampler_bench;

/* ---- Inputs ---------------------------------------------------------------------------------- */

/* 31 bits. */
static uint32_t case_random(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

static float case_spread(uint32_t r)
{
    return (float)((int32_t)(r % 4096u) - 2048) / 128.0f;
}

static float case_normal(uint32_t r, uint64_t *s)
{
    uint32_t sum = r % 2048u;
    for (int i = 0; i < 3; i++) {
        sum += case_random(s) % 2048u;
    }
    return (float)((int32_t)sum - 4096) / 256.0f;
}

static float case_logit(uint32_t kind, uint64_t *s)
{
    uint32_t r = case_random(s);
    switch (kind) {
    case 0: return case_spread(r);
    case 1: return case_normal(r, s);
    case 2: return 1.5f;
    case 3: return (float)(r % 5u) * 0.5f;
    case 4: return r % 8u != 0 ? SAMPLER_CASE_MINUS_INF : case_spread(r >> 3);
    case 5: return 1.0f + (float)(r % 1024u) * 0x1p-23f;
    case 6: return (float)((int32_t)(r % 4096u) - 2048) * 0x1p+100f;
    default: return r % 2u != 0 ? -0.0f : 0.0f;
    }
}

static void case_fill_inputs(const sampler_case *c, sampler_bench *b)
{
    uint64_t s = c->logit_seed;
    uint32_t span = c->span < c->n_vocab ? c->span : c->n_vocab;
    for (uint32_t i = 0; i < c->n_vocab; i++) {
        b->logits[i] = c->kind == SAMPLER_CASE_IS_LIST ? c->list[i] : case_logit(c->kind, &s);
    }
    for (uint32_t i = 0; i < c->peaks; i++) {
        uint32_t at = case_random(&s) % c->n_vocab;
        b->logits[at] = 12.0f + (float)(case_random(&s) % 1024u) / 128.0f;
    }
    for (uint32_t i = 0; i < c->n_history; i++) {
        b->history[i] = (int32_t)(case_random(&s) % span);
    }
}

static void case_fill_config(const sampler_case *c, q_sampler_config *cfg)
{
    q_sampler_defaults(cfg);
    cfg->temperature = c->temperature;
    cfg->top_p = c->top_p;
    cfg->min_p = c->min_p;
    cfg->repeat_penalty = c->repeat_penalty;
    cfg->presence_penalty = c->presence_penalty;
    cfg->frequency_penalty = c->frequency_penalty;
    cfg->top_k = c->top_k;
    cfg->penalty_window = c->window;
    cfg->sequence = c->sequence;
    cfg->seed = c->seed;
    cfg->bias = c->bias;
    cfg->n_bias = c->n_bias;
}

/* Cuts the memory into logits, history, kept tokens and exactly the sampler's work memory. */
static bool case_place(const sampler_case *c, uint8_t *memory, sampler_bench *b)
{
    /* every part at a multiple of 64 bytes */
    const size_t n = ((size_t)c->n_vocab + 15u) / 16u * 16u;
    const size_t h = ((size_t)c->n_history + 15u) / 16u * 16u;
    b->logits = (float *)(void *)memory;
    b->history = (int32_t *)(void *)(memory + 4u * n);
    b->kept = (q_sampler_candidate *)(void *)(memory + 4u * (n + h));
    b->work = memory + 4u * (3u * n + h);
    case_fill_config(c, &b->cfg);
    return q_sampler_work_size(c->n_vocab, &b->cfg, &b->work_size, NULL) == Q_OK &&
           4u * (3u * n + h) + b->work_size <= SAMPLER_CASES_WORK;
}

/* ---- Outputs --------------------------------------------------------------------------------- */

static bool case_tokens_right(const sampler_case *c, const sampler_bench *b)
{
    for (uint32_t i = 0; i < SAMPLER_CASE_STEPS; i++) {
        int32_t token = -1;
        q_error_code rc = q_sampler_sample(&b->cfg, b->logits, c->n_vocab, b->history, c->n_history,
                                           c->step + i, b->work, b->work_size, &token, NULL);
        if (rc != Q_OK || token != c->tokens[i]) {
            return false;
        }
    }
    return true;
}

static uint64_t case_hash(const q_sampler_candidate *kept, uint32_t n)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t shift = 0; shift < 32; shift += 8) {
            h = (h ^ ((uint32_t)kept[i].token >> shift & 255u)) * 0x100000001B3u;
        }
    }
    return h;
}

/* Relative error of a token's probability, a unit of weight left out; 1 if it was not kept. */
static double case_error(const q_sampler_candidate *kept, uint32_t n, int32_t token,
                         double probability)
{
    for (uint32_t i = 0; i < n; i++) {
        if (kept[i].token == token) {
            double d = (double)kept[i].probability - probability;
            d = (d < 0.0 ? -d : d) - 0x1p-40;
            return d < 0.0 ? 0.0 : d / probability;
        }
    }
    return 1.0;
}

static bool case_kept_right(const sampler_case *c, const sampler_bench *b, double *worst)
{
    uint32_t n = 0;
    bool right = true;
    if (q_sampler_candidates(&b->cfg, b->logits, c->n_vocab, b->history, c->n_history, b->work,
                             b->work_size, b->kept, c->n_vocab, &n, NULL) != Q_OK) {
        return false;
    }
    if (n != c->n_kept || case_hash(b->kept, n) != c->kept_hash) {
        return false;
    }
    for (uint32_t i = 0; i < c->n_shown; i++) {
        double error = case_error(b->kept, n, c->shown[i].token, c->shown[i].probability);
        *worst = error > *worst ? error : *worst;
        right = right && error <= SAMPLER_CASES_GATE;
    }
    return right;
}

void sampler_cases_run(void *work, uint8_t fill, sampler_cases_print print, void *user,
                       uint32_t *passed, uint32_t *failed, double *worst)
{
    for (uint32_t i = 0; i < SAMPLER_CASE_COUNT; i++) {
        const sampler_case *c = &sampler_case_table[i];
        sampler_bench b;
        size_t n = 0;
        (void)memset(work, fill, SAMPLER_CASES_WORK);
        bool right = case_place(c, (uint8_t *)work, &b);
        if (right) {
            case_fill_inputs(c, &b);
            right = case_tokens_right(c, &b) && case_kept_right(c, &b, worst);
        }
        *passed += right ? 1u : 0u;
        *failed += right ? 0u : 1u;
        while (c->name[n] != '\0') {
            n++;
        }
        if (!right) {
            print(user, c->name, n);
        }
    }
}
