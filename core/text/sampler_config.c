/* SPDX-License-Identifier: MIT */
/* sampler_config.c: checking a sampler's configuration, and the layout of its work memory. */
#include "../base/diag.h"
#include "qorus/base/checked.h"
#include "sampler_inner.h"

/* ---- Configuration --------------------------------------------------------------------------- */

q_error_code q_sampler_fail(q_diag *diag, q_error_code code, const char *field, uint64_t offset)
{
    (void)q_fail(diag, code, "sampler", field, 0, 0);
    if (diag != NULL) {
        diag->offset = offset;
    }
    return code;
}

/* False for NaN as well. */
static bool sampler_fits_float(double x)
{
    return x >= -(double)SAMPLER_FLT_MAX && x <= (double)SAMPLER_FLT_MAX;
}

/* Name of the first number that is out of its range, NULL if none is. */
static const char *sampler_wrong_number(const q_sampler_config *c)
{
    if (!(c->temperature >= 0.0 && c->temperature - c->temperature == 0.0)) {
        return "temperature";
    }
    if (!(c->top_p > 0.0 && c->top_p <= 1.0)) {
        return "top_p";
    }
    if (!(c->min_p >= 0.0 && c->min_p <= 1.0)) {
        return "min_p";
    }
    if (!sampler_fits_float(c->repeat_penalty) || !((float)c->repeat_penalty > 0.0f)) {
        return "repeat_penalty";
    }
    if (!sampler_fits_float(c->presence_penalty)) {
        return "presence_penalty";
    }
    return sampler_fits_float(c->frequency_penalty) ? NULL : "frequency_penalty";
}

static q_error_code sampler_check_bias(const q_sampler_config *cfg, uint32_t n_vocab, q_diag *diag)
{
    if (cfg->n_bias != 0 && cfg->bias == NULL) {
        return q_sampler_fail(diag, Q_ERR_INVALID_ARG, "bias", 0);
    }
    for (uint32_t i = 0; i < cfg->n_bias; i++) {
        if ((uint32_t)cfg->bias[i].token >= n_vocab) {
            return q_sampler_fail(diag, Q_ERR_INVALID_TOKEN, "bias", i);
        }
        if (!(cfg->bias[i].value <= SAMPLER_FLT_MAX)) {
            return q_sampler_fail(diag, Q_ERR_INVALID_ARG, "bias", i);
        }
    }
    return Q_OK;
}

q_error_code q_sampler_check(const q_sampler_config *cfg, uint32_t n_vocab, q_diag *diag)
{
    if (cfg == NULL) {
        return q_sampler_fail(diag, Q_ERR_INVALID_ARG, "cfg", 0);
    }
    if (cfg->struct_size != sizeof(*cfg)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "sampler", "struct_size", sizeof(*cfg),
                      cfg->struct_size);
    }
    if (cfg->reserved != 0) {
        return q_sampler_fail(diag, Q_ERR_INVALID_ARG, "reserved", 0);
    }
    if (n_vocab == 0 || n_vocab > Q_SAMPLER_MAX_VOCAB) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, "sampler", "n_vocab", Q_SAMPLER_MAX_VOCAB, n_vocab);
    }
    const char *wrong = sampler_wrong_number(cfg);
    if (wrong != NULL) {
        return q_sampler_fail(diag, Q_ERR_INVALID_ARG, wrong, 0);
    }
    return sampler_check_bias(cfg, n_vocab, diag);
}

void q_sampler_defaults(q_sampler_config *cfg)
{
    cfg->struct_size = (uint32_t)sizeof(*cfg);
    cfg->top_k = 0;
    cfg->temperature = 0.0;
    cfg->top_p = 1.0;
    cfg->min_p = 0.0;
    cfg->repeat_penalty = 1.0;
    cfg->presence_penalty = 0.0;
    cfg->frequency_penalty = 0.0;
    cfg->penalty_window = 64;
    cfg->sequence = 0;
    cfg->seed = 0;
    cfg->bias = NULL;
    cfg->n_bias = 0;
    cfg->reserved = 0;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* The next `bytes` of work memory; NULL if they are not needed, or base is NULL. */
static void *sampler_take(uint8_t *base, size_t *at, bool needed, size_t bytes)
{
    void *piece = needed && base != NULL ? base + *at : NULL;
    *at += needed ? bytes : 0;
    return piece;
}

static void sampler_note(q_sampler_state *s, const q_sampler_config *cfg, uint32_t n)
{
    s->cfg = cfg;
    s->n = n;
    s->n_blocks = q_ceil_div_u32(n, SAMPLER_BLOCK);
    s->penalises = cfg->repeat_penalty != 1.0 || cfg->presence_penalty != 0.0;
    s->penalises = s->penalises || cfg->frequency_penalty != 0.0;
    s->penalises = s->penalises && cfg->penalty_window != 0;
    s->draws = cfg->temperature > 0.0;
    s->cuts_k = s->draws && cfg->top_k != 0 && cfg->top_k < n;
    s->cuts_p = s->draws && cfg->top_p < 1.0;
}

/* Arrays of 8 bytes come first. Below 2^27 bytes in all. */
size_t q_sampler_layout(q_sampler_state *s, const q_sampler_config *cfg, uint32_t n, uint8_t *base)
{
    size_t at = 0;
    sampler_note(s, cfg, n);
    bool selects = s->cuts_k || s->cuts_p;
    bool adjusts = s->penalises || cfg->n_bias != 0;
    s->bins = (uint64_t *)sampler_take(base, &at, s->cuts_p && !s->cuts_k,
                                       sizeof(uint64_t) * SAMPLER_BINS);
    s->digits = (uint64_t *)sampler_take(base, &at, selects, sizeof(uint64_t) * SAMPLER_DIGITS);
    s->sums = (uint64_t *)sampler_take(base, &at, s->draws, sizeof(uint64_t) * s->n_blocks);
    s->keys = (int32_t *)sampler_take(base, &at, s->draws || adjusts, sizeof(int32_t) * n);
    s->tops = (int32_t *)sampler_take(base, &at, s->draws, sizeof(int32_t) * s->n_blocks);
    s->ids = (uint32_t *)sampler_take(base, &at, selects || s->penalises, sizeof(uint32_t) * n);
    return at;
}

q_error_code q_sampler_work_size(uint32_t n_vocab, const q_sampler_config *cfg, size_t *size,
                                 q_diag *diag)
{
    q_sampler_state s;
    q_error_code rc = q_sampler_check(cfg, n_vocab, diag);
    if (rc != Q_OK) {
        return rc;
    }
    if (size == NULL) {
        return q_sampler_fail(diag, Q_ERR_INVALID_ARG, "size", 0);
    }
    *size = q_sampler_layout(&s, cfg, n_vocab, NULL);
    return Q_OK;
}
