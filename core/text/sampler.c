/* SPDX-License-Identifier: MIT */
/* sampler.c: one call of the sampler: arguments checked, cuts made, a token drawn. */
#include "../base/diag.h"
#include "qorus/base/checked.h"
#include "qorus/base/random.h"
#include "../base/fpenv.h"
#include "sampler_inner.h"

/* ---- Drawing --------------------------------------------------------------------------------- */

static float sampler_scale(double temperature)
{
    double s = 94548.46219969910 / temperature; /* infinity for the smallest temperatures */
    return s < (double)SAMPLER_FLT_MAX ? (float)s : SAMPLER_FLT_MAX;
}

static uint32_t sampler_draw(const q_sampler_state *s, uint64_t total, uint64_t step)
{
    q_random_place place;
    place.seed = s->cfg->seed;
    place.step = step;
    place.node = Q_RANDOM_NODE_SAMPLER;
    place.sample = s->cfg->sequence;
    return q_sampler_pick(s, q_sampler_mul_high(q_random_u64(&place, 0), total));
}

/* ---- A call ---------------------------------------------------------------------------------- */

static q_error_code sampler_check_inputs(const q_sampler_call *c)
{
    q_error_code rc = q_sampler_check(c->cfg, c->n_vocab, c->diag);
    if (rc != Q_OK) {
        return rc;
    }
    if (c->logits == NULL) {
        return q_sampler_fail(c->diag, Q_ERR_INVALID_ARG, "logits", 0);
    }
    if (c->history == NULL && c->n_history != 0) {
        return q_sampler_fail(c->diag, Q_ERR_INVALID_ARG, "history", 0);
    }
    for (size_t i = 0; i < c->n_history; i++) {
        if ((uint32_t)c->history[i] >= c->n_vocab) {
            return q_sampler_fail(c->diag, Q_ERR_INVALID_TOKEN, "history", i);
        }
    }
    return Q_OK;
}

/* True if work shares a byte with what is read from it or written beside it. */
static bool sampler_aliases(const q_sampler_call *c, size_t need, const void *out, size_t out_bytes)
{
    return q_overlaps(c->work, need, c->logits, sizeof(float) * c->n_vocab) ||
           q_overlaps(c->work, need, c->history, sizeof(int32_t) * c->n_history) ||
           q_overlaps(c->work, need, c->cfg->bias, sizeof(q_logit_bias) * c->cfg->n_bias) ||
           q_overlaps(c->work, need, c->cfg, sizeof(*c->cfg)) ||
           q_overlaps(c->work, need, out, out_bytes);
}

static q_error_code sampler_check_work(const q_sampler_call *c, q_sampler_state *s, const void *out,
                                       size_t out_bytes)
{
    size_t need = q_sampler_layout(s, c->cfg, c->n_vocab, NULL);
    if (need == 0) {
        return Q_OK;
    }
    if (c->work_size < need) {
        return q_fail(c->diag, Q_ERR_NO_SPACE, "sampler", "work", need, c->work_size);
    }
    if (c->work == NULL) {
        return q_sampler_fail(c->diag, Q_ERR_INVALID_ARG, "work", 0);
    }
    if ((uintptr_t)c->work % Q_ALIGN != 0) {
        return q_fail(c->diag, Q_ERR_MISALIGNED, "sampler", "work", Q_ALIGN,
                      (uintptr_t)c->work % Q_ALIGN);
    }
    if (sampler_aliases(c, need, out, out_bytes)) {
        return q_sampler_fail(c->diag, Q_ERR_ALIASING, "work", 0);
    }
    (void)q_sampler_layout(s, c->cfg, c->n_vocab, (uint8_t *)c->work);
    return Q_OK;
}

/* Everything up to the draw. *total is 0 if the choice is greedy: *token is then the token. */
static q_error_code sampler_run(const q_sampler_call *c, q_sampler_state *s, const void *out,
                                size_t out_bytes, uint64_t *total, uint32_t *token)
{
    q_error_code rc = sampler_check_work(c, s, out, out_bytes);
    if (rc == Q_OK) {
        rc = q_sampler_prepare(c, s, token);
    }
    if (rc != Q_OK) {
        return rc;
    }
    *total = 0;
    if (s->draws) {
        s->scale = sampler_scale(c->cfg->temperature);
        q_sampler_cut(s);
        *total = q_sampler_sum(s);
    }
    return Q_OK;
}

/* ---- One token, or all that could come ------------------------------------------------------- */

static q_error_code sampler_one(const q_sampler_call *c, uint64_t step, int32_t *token)
{
    q_sampler_state s;
    uint64_t total;
    uint32_t id;
    q_error_code rc = sampler_check_inputs(c);
    if (rc != Q_OK) {
        return rc;
    }
    if (token == NULL) {
        return q_sampler_fail(c->diag, Q_ERR_INVALID_ARG, "token", 0);
    }
    rc = sampler_run(c, &s, token, sizeof(*token), &total, &id);
    if (rc != Q_OK) {
        return rc;
    }
    *token = (int32_t)(total != 0 ? sampler_draw(&s, total, step) : id);
    return Q_OK;
}

/* Integers above 2^32 by halves: 32-bit targets would need a compiler helper for the whole. */
static float sampler_ratio(uint64_t w, uint64_t total)
{
    double a = (double)(uint32_t)(w >> 32) * 0x1p32 + (double)(uint32_t)w;
    double b = (double)(uint32_t)(total >> 32) * 0x1p32 + (double)(uint32_t)total;
    return (float)(a / b);
}

static uint32_t sampler_list(const q_sampler_state *s, uint64_t total, q_sampler_candidate *out,
                             uint32_t capacity)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t w = s->sums[i / SAMPLER_BLOCK] != 0 ? q_sampler_kept(s, i) : 0;
        if (w != 0 && n < capacity) {
            out[n].token = (int32_t)i;
            out[n].probability = sampler_ratio(w, total);
        }
        n += w != 0 ? 1u : 0u;
    }
    return n;
}

static q_error_code sampler_all(const q_sampler_call *c, q_sampler_candidate *out,
                                uint32_t capacity, uint32_t *n)
{
    q_sampler_state s;
    uint64_t total;
    uint32_t id;
    q_error_code rc = sampler_check_inputs(c);
    if (rc != Q_OK) {
        return rc;
    }
    if (n == NULL || (out == NULL && capacity != 0)) {
        return q_sampler_fail(c->diag, Q_ERR_INVALID_ARG, n == NULL ? "n" : "out", 0);
    }
    capacity = capacity < c->n_vocab ? capacity : c->n_vocab;
    rc = sampler_run(c, &s, out, sizeof(*out) * capacity, &total, &id);
    if (rc != Q_OK) {
        return rc;
    }
    if (total == 0 && capacity != 0) {
        out[0].token = (int32_t)id;
        out[0].probability = 1.0f;
    }
    *n = total != 0 ? sampler_list(&s, total, out, capacity) : 1u;
    return Q_OK;
}

/* ---- Public ---------------------------------------------------------------------------------- */

q_error_code q_sampler_sample(const q_sampler_config *cfg, const float *logits, uint32_t n_vocab,
                              const int32_t *history, size_t n_history, uint64_t step, void *work,
                              size_t work_size, int32_t *token, q_diag *diag)
{
    const q_sampler_call c = { cfg, logits, n_vocab, history, n_history, work, work_size, diag };
    q_fp_state caller = q_fp_enter();
    q_error_code rc = sampler_one(&c, step, token);
    q_fp_leave(caller);
    return rc;
}

q_error_code q_sampler_candidates(const q_sampler_config *cfg, const float *logits,
                                  uint32_t n_vocab, const int32_t *history, size_t n_history,
                                  void *work, size_t work_size, q_sampler_candidate *out,
                                  uint32_t capacity, uint32_t *n, q_diag *diag)
{
    const q_sampler_call c = { cfg, logits, n_vocab, history, n_history, work, work_size, diag };
    q_fp_state caller = q_fp_enter();
    q_error_code rc = sampler_all(&c, out, capacity, n);
    q_fp_leave(caller);
    return rc;
}
