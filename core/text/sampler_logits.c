/* SPDX-License-Identifier: MIT */
/* sampler_logits.c: logits become keys, penalties and bias are applied, the largest is found. */
#include "sampler_inner.h"

/* ---- Loading --------------------------------------------------------------------------------- */

/* Turns logits into keys; *low and *high become the least and the largest. n > 0. Inner loops of
   fixed length: compilers vectorise them at -O2. */
static void sampler_load(const float *Q_RESTRICT x, int32_t *Q_RESTRICT keys, uint32_t n,
                         int32_t *low, int32_t *high)
{
    int32_t lo = INT32_MAX;
    int32_t hi = INT32_MIN;
    uint32_t whole = n - n % SAMPLER_BLOCK;
    for (uint32_t b = 0; b < whole; b += SAMPLER_BLOCK) {
        for (uint32_t i = 0; i < SAMPLER_BLOCK; i++) {
            int32_t key = sampler_key(x[b + i]);
            keys[b + i] = key;
            lo = key < lo ? key : lo;
            hi = key > hi ? key : hi;
        }
    }
    for (uint32_t i = whole; i < n; i++) {
        keys[i] = sampler_key(x[i]);
        lo = keys[i] < lo ? keys[i] : lo;
        hi = keys[i] > hi ? keys[i] : hi;
    }
    *low = lo;
    *high = hi;
}

static int32_t sampler_largest(const int32_t *keys, uint32_t n)
{
    int32_t hi = INT32_MIN;
    uint32_t whole = n - n % SAMPLER_BLOCK;
    for (uint32_t b = 0; b < whole; b += SAMPLER_BLOCK) {
        for (uint32_t i = 0; i < SAMPLER_BLOCK; i++) {
            hi = keys[b + i] > hi ? keys[b + i] : hi;
        }
    }
    for (uint32_t i = whole; i < n; i++) {
        hi = keys[i] > hi ? keys[i] : hi;
    }
    return hi;
}

static void sampler_find_tops(const q_sampler_state *s)
{
    uint32_t whole = s->n / SAMPLER_BLOCK;
    for (uint32_t b = 0; b < whole; b++) {
        s->tops[b] = sampler_largest(s->keys + b * SAMPLER_BLOCK, SAMPLER_BLOCK);
    }
    if (whole != s->n_blocks) {
        s->tops[whole] = sampler_largest(s->keys + whole * SAMPLER_BLOCK, s->n % SAMPLER_BLOCK);
    }
}

/* NaN of either sign and +infinity lie outside the keys that are allowed. */
static bool sampler_key_bad(int32_t key)
{
    return key >= SAMPLER_KEY_PLUS_INF || key < SAMPLER_KEY_MINUS_INF;
}

static q_error_code sampler_report_logits(const float *logits, q_diag *diag)
{
    uint32_t i = 0;
    while (!sampler_key_bad(sampler_key(logits[i]))) {
        i++;
    }
    return q_sampler_fail(diag, Q_ERR_NON_FINITE, "logits", i);
}

/* ---- Penalties and bias ---------------------------------------------------------------------- */

static float sampler_penalise(const q_sampler_config *cfg, float x, uint32_t count)
{
    float repeat = (float)cfg->repeat_penalty;
    float less = (float)count * (float)cfg->frequency_penalty;
    less = less + (float)cfg->presence_penalty;
    x = x > 0.0f ? x / repeat : x * repeat;
    return x - less;
}

/* Stores an adjusted logit; false if it is no longer one. */
static bool sampler_store(const q_sampler_state *s, uint32_t token, float x)
{
    s->keys[token] = sampler_key(x);
    return !sampler_key_bad(s->keys[token]);
}

/* The window's tokens are below n: ids serves as their counts. */
static q_error_code sampler_apply_penalties(const q_sampler_state *s, const int32_t *window,
                                            size_t n, q_diag *diag)
{
    for (size_t i = 0; i < n; i++) {
        s->ids[window[i]] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        s->ids[window[i]]++;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t token = (uint32_t)window[i];
        uint32_t count = s->ids[token];
        float x = sampler_float(s->keys[token]);
        s->ids[token] = 0; /* each token once */
        if (count != 0 && !sampler_store(s, token, sampler_penalise(s->cfg, x, count))) {
            return q_sampler_fail(diag, Q_ERR_NON_FINITE, "adjusted logits", token);
        }
    }
    return Q_OK;
}

static q_error_code sampler_apply_bias(const q_sampler_state *s, q_diag *diag)
{
    for (uint32_t i = 0; i < s->cfg->n_bias; i++) {
        uint32_t token = (uint32_t)s->cfg->bias[i].token;
        if (!sampler_store(s, token, sampler_float(s->keys[token]) + s->cfg->bias[i].value)) {
            return q_sampler_fail(diag, Q_ERR_NON_FINITE, "adjusted logits", token);
        }
    }
    return Q_OK;
}

static q_error_code sampler_adjust(const q_sampler_state *s, const int32_t *history,
                                   size_t n_history, q_diag *diag)
{
    if (s->penalises) {
        size_t n = n_history < s->cfg->penalty_window ? n_history : s->cfg->penalty_window;
        const int32_t *window = n != 0 ? history + (n_history - n) : NULL;
        q_error_code rc = sampler_apply_penalties(s, window, n, diag);
        if (rc != Q_OK) {
            return rc;
        }
    }
    return sampler_apply_bias(s, diag);
}

/* ---- Greedy ---------------------------------------------------------------------------------- */

/* First index of the largest key: the first block that holds it, then the place in that block. */
static uint32_t sampler_first(const int32_t *keys, uint32_t n)
{
    int32_t best = INT32_MIN;
    uint32_t at = 0;
    for (uint32_t b = 0; b < n; b += SAMPLER_BLOCK) {
        int32_t hi = sampler_largest(keys + b, n - b < SAMPLER_BLOCK ? n - b : SAMPLER_BLOCK);
        if (hi > best) {
            best = hi;
            at = b;
        }
    }
    while (keys[at] != best) {
        at++;
    }
    return at;
}

/* Without work memory: the best block, then its best token. */
static q_error_code sampler_greedy_plain(const float *logits, uint32_t n, uint32_t *token,
                                         q_diag *diag)
{
    int32_t keys[SAMPLER_BLOCK];
    int32_t best = SAMPLER_KEY_MINUS_INF;
    uint32_t found = 0;
    for (uint32_t b = 0; b < n; b += SAMPLER_BLOCK) {
        int32_t lo;
        int32_t hi;
        uint32_t count = n - b < SAMPLER_BLOCK ? n - b : SAMPLER_BLOCK;
        sampler_load(logits + b, keys, count, &lo, &hi);
        if (sampler_key_bad(lo) || sampler_key_bad(hi)) {
            return sampler_report_logits(logits, diag);
        }
        if (hi > best) {
            best = hi;
            found = b + sampler_first(keys, count);
        }
    }
    if (best == SAMPLER_KEY_MINUS_INF) {
        return q_sampler_fail(diag, Q_ERR_NON_FINITE, "all masked", 0);
    }
    *token = found;
    return Q_OK;
}

/* ---- Loaded and adjusted --------------------------------------------------------------------- */

q_error_code q_sampler_prepare(const q_sampler_call *c, q_sampler_state *s, uint32_t *token)
{
    int32_t lo;
    int32_t hi;
    if (s->keys == NULL) {
        return sampler_greedy_plain(c->logits, c->n_vocab, token, c->diag);
    }
    sampler_load(c->logits, s->keys, s->n, &lo, &hi);
    if (sampler_key_bad(lo) || sampler_key_bad(hi)) {
        return sampler_report_logits(c->logits, c->diag);
    }
    q_error_code rc = sampler_adjust(s, c->history, c->n_history, c->diag);
    if (rc != Q_OK) {
        return rc;
    }
    uint32_t first = 0;
    if (s->draws) {
        sampler_find_tops(s);
        hi = sampler_largest(s->tops, s->n_blocks);
    } else {
        first = sampler_first(s->keys, s->n);
        hi = s->keys[first];
    }
    if (hi == SAMPLER_KEY_MINUS_INF) {
        return q_sampler_fail(c->diag, Q_ERR_NON_FINITE, "all masked", 0);
    }
    s->max = sampler_float(hi);
    *token = first;
    return Q_OK;
}
