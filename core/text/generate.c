/* SPDX-License-Identifier: MIT */
/* The generation loop: feed, sample, hold text back while a stop string may be coming, and start over. */
#include "generate_inner.h"

#include "../model/plan.h"

void q_generate_defaults(q_generate_config *config)
{
    memset(config, 0, sizeof(*config));
    config->struct_size = sizeof(*config);
    q_sampler_defaults(&config->sampler);
}

/* ---- Size and layout -------------------------------------------------------------------------------------- */

static q_error_code generate_check(const q_generate_config *c, q_diag *diag)
{
    const char *what = "q_generate_config";
    if (c->struct_size != sizeof(*c)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "struct_size", sizeof(*c), c->struct_size);
    }
    if (c->full > Q_FULL_SHIFT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "full", Q_FULL_SHIFT, c->full);
    }
    if (c->n_stops > Q_GENERATE_MAX_STOPS || (c->n_stops != 0 && c->stops == NULL)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "n_stops", Q_GENERATE_MAX_STOPS, c->n_stops);
    }
    for (uint32_t i = 0; i < c->n_stops; i++) {
        size_t n = c->stops[i] != NULL ? q_generate_stop_bytes(c->stops[i]) : 0;
        if (n == 0 || n > Q_GENERATE_MAX_STOP_BYTES) {
            return q_fail(diag, Q_ERR_INVALID_ARG, what, "stops", Q_GENERATE_MAX_STOP_BYTES, n);
        }
    }
    return Q_OK;
}

/* The vocabulary of the model, from its logits; a padded vocabulary may exceed the tokenizer's. */
static q_error_code vocabulary(const q_session *session, const q_tokenizer *t, uint32_t *n_vocab, q_diag *diag)
{
    const q_plan *plan = q_session_plan(session);
    uint32_t n = q_plan_output_columns(plan, 0);
    if (!q_plan_reads_tokens(plan) || !q_plan_writes_selected(plan)) {
        return q_fail(diag, Q_ERR_MISMATCH, "model", "token ids in, logits of selected rows out", 1,
                      q_model_n_inputs(q_session_model(session)));
    }
    if (n < q_tokenizer_n_vocab(t)) {
        return q_fail(diag, Q_ERR_MISMATCH, "tokenizer", "n_vocab", n, q_tokenizer_n_vocab(t));
    }
    *n_vocab = n;
    return Q_OK;
}

static void generator_layout(q_arena *arena, q_generator *fill, q_generator **out)
{
    *out = (q_generator *)q_arena_alloc(arena, sizeof(q_generator), Q_ALIGN);
    fill->history = (int32_t *)q_arena_alloc(arena, fill->capacity * sizeof(int32_t), Q_ALIGN);
    fill->work = (uint8_t *)q_arena_alloc(arena, fill->work_size, Q_ALIGN);
    fill->held = (char *)q_arena_alloc(arena, fill->held_size, Q_ALIGN);
}

static q_error_code generator_fill(q_generator *fill, q_session *session, const q_tokenizer *tokenizer,
                                   const q_generate_config *config, q_diag *diag)
{
    q_error_code e;
    if (session == NULL || tokenizer == NULL || config == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator",
                      session == NULL ? "session" : tokenizer == NULL ? "tokenizer" : "config", 1, 0);
    }
    if (tokenizer->kind == 0) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_generator", "tokenizer", 1, 0);
    }
    e = generate_check(config, diag);
    memset(fill, 0, sizeof(*fill));
    fill->session = session;
    fill->tokenizer = tokenizer;
    fill->config = *config;
    fill->capacity = q_plan_maxima(q_session_plan(session)).kv;
    if (e == Q_OK) {
        e = vocabulary(session, tokenizer, &fill->n_vocab, diag);
    }
    if (e == Q_OK) {
        e = q_sampler_work_size(fill->n_vocab, &config->sampler, &fill->work_size, diag);
    }
    /* a token's bytes and a character's head behind the longest stop string */
    fill->held_size = Q_GENERATE_MAX_STOP_BYTES + q_tokenizer_max_token(tokenizer) + 8;
    return e;
}

q_error_code q_generator_size(const q_session *session, const q_tokenizer *tokenizer,
                              const q_generate_config *config, size_t *bytes, q_diag *diag)
{
    q_generator fill;
    q_generator *unused;
    q_arena arena = {NULL, SIZE_MAX, 0, 0, 0};
    q_error_code e = generator_fill(&fill, (q_session *)(uintptr_t)session, tokenizer, config, diag);
    if (e != Q_OK) {
        return e;
    }
    if (bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_size", "bytes", 1, 0);
    }
    generator_layout(&arena, &fill, &unused);
    *bytes = arena.high;
    return Q_OK;
}

q_error_code q_generator_init(q_generator **generator, q_block memory, q_session *session,
                              const q_tokenizer *tokenizer, const q_generate_config *config, q_diag *diag)
{
    q_generator fill;
    q_generator *g;
    q_arena arena;
    q_error_code e;
    size_t need = 0;
    if (generator == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_init", "generator", 1, 0);
    }
    e = q_generator_size(session, tokenizer, config, &need, diag);
    if (e == Q_OK) {
        e = q_block_check(memory, Q_ALIGN, need, "q_generator_init", diag);
    }
    if (e == Q_OK) {
        e = q_arena_init(&arena, memory.base, memory.size);
    }
    if (e == Q_OK) {
        e = generator_fill(&fill, session, tokenizer, config, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    generator_layout(&arena, &fill, &g);
    *g = fill;
    *generator = g;
    return Q_OK;
}

/* What a callback of a run may not do, because the run goes on where it was. */
static q_error_code not_running(const q_generator *g, const char *who, q_diag *diag)
{
    return g->running ? q_fail(diag, Q_ERR_INVALID_STATE, who, "a run is going on", 0, 1) : Q_OK;
}

q_error_code q_generator_configure(q_generator *generator, const q_generate_config *config, q_diag *diag)
{
    size_t work = 0;
    q_error_code e;
    if (generator == NULL || config == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_configure", "config", 1, 0);
    }
    e = not_running(generator, "q_generator_configure", diag);
    if (e == Q_OK) {
        e = generate_check(config, diag);
    }
    if (e == Q_OK) {
        e = q_sampler_work_size(generator->n_vocab, &config->sampler, &work, diag);
    }
    if (e == Q_OK && work > generator->work_size) {
        e = q_fail(diag, Q_ERR_NO_SPACE, "q_generator_configure", "sampler", work, generator->work_size);
    }
    if (e == Q_OK) {
        generator->config = *config;
    }
    return e;
}

/* ---- Feeding ---------------------------------------------------------------------------------------------- */

/* Reads what of the history the session does not hold yet; the last one's logits are wanted. After a shift that
   was stopped this is more than what is fed. */
static q_error_code read_history(q_generator *g, q_diag *diag)
{
    uint32_t from = q_session_position(g->session);
    const void *inputs[1];
    q_step step;
    q_error_code e;
    if (from >= g->n) {
        return q_fail(diag, Q_ERR_MISMATCH, "q_generator", "position of the session", g->n, from);
    }
    inputs[0] = g->history + from;
    memset(&step, 0, sizeof(step));
    step.n_tokens = g->n - from;
    step.inputs = inputs;
    step.select = Q_SELECT_LAST;
    step.deadline = g->config.deadline;
    e = q_model_forward(g->session, &step, diag);
    g->has_logits = e == Q_OK;
    return e;
}

/* Makes room for `more` tokens by dropping the older half of what is not kept, as often as needed. */
static q_error_code shift(q_generator *g, uint32_t more, q_diag *diag)
{
    uint32_t keep = g->config.keep < g->n ? g->config.keep : g->n;
    q_error_code e;
    if (more >= g->capacity - keep || g->n == keep) {
        return q_fail(diag, Q_ERR_CONTEXT_FULL, "q_generator", "tokens", g->capacity - keep, more);
    }
    e = q_session_rewind(g->session, keep < q_session_position(g->session) ? keep : q_session_position(g->session), diag);
    if (e != Q_OK) {
        return e;
    }
    while (g->n + more > g->capacity) {
        uint32_t rest = g->n - keep;
        uint32_t drop = (rest + 1) / 2;
        memmove(g->history + keep, g->history + keep + drop, (rest - drop) * sizeof(int32_t));
        g->n -= drop;
    }
    return g->n > keep ? read_history(g, diag) : Q_OK;
}

static q_error_code feed_tokens(q_generator *g, const int32_t *ids, size_t n, q_diag *diag)
{
    uint32_t before;
    q_error_code e = Q_OK;
    if (n == 0 && q_session_position(g->session) == g->n) {
        return Q_OK;
    }
    if (n > g->capacity || (n > g->capacity - g->n && g->config.full == Q_FULL_STOP)) {
        return q_fail(diag, Q_ERR_CONTEXT_FULL, "q_generator_feed", "n", g->capacity - g->n, n);
    }
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= g->n_vocab) {
            (void)q_fail(diag, Q_ERR_INVALID_TOKEN, "q_generator_feed", "ids", g->n_vocab, (uint64_t)(int64_t)ids[i]);
            if (diag != NULL) {
                diag->offset = i;
            }
            return Q_ERR_INVALID_TOKEN;
        }
    }
    if (n > g->capacity - g->n) {
        e = shift(g, (uint32_t)n, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    before = g->n;
    if (n != 0) {
        memcpy(g->history + g->n, ids, n * sizeof(int32_t));
    }
    g->n += (uint32_t)n;
    e = read_history(g, diag);
    if (e != Q_OK) {
        g->n = before;
    }
    return e;
}

static q_error_code feed_pending(q_generator *g, q_diag *diag)
{
    q_error_code e = g->has_pending ? feed_tokens(g, &g->pending, 1, diag) : Q_OK;
    g->has_pending = g->has_pending && e != Q_OK;
    return e;
}

q_error_code q_generator_feed(q_generator *generator, const int32_t *ids, size_t n, q_diag *diag)
{
    q_error_code e;
    if (generator == NULL || (ids == NULL && n != 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_feed", generator == NULL ? "generator" : "ids", 1, 0);
    }
    e = not_running(generator, "q_generator_feed", diag);
    if (e == Q_OK) {
        e = feed_pending(generator, diag);
    }
    return e == Q_OK ? feed_tokens(generator, ids, n, diag) : e;
}

size_t q_generator_text_work(const q_generator *generator, size_t n)
{
    size_t encode = q_tokenizer_encode_work_size(generator->tokenizer, n);
    size_t ids;
    if (!q_mul_size(n + 2, sizeof(int32_t), &ids) || !q_align_size(ids, Q_ALIGN, &ids) ||
        !q_add_size(encode, ids, &ids)) {
        return SIZE_MAX;
    }
    return ids;
}

q_error_code q_generator_text(q_generator *generator, const char *text, size_t n, uint32_t flags, void *work,
                              size_t work_size, q_diag *diag)
{
    q_arena arena;
    int32_t *ids;
    uint8_t *encode;
    size_t encode_size;
    size_t n_ids = 0;
    q_error_code e;
    if (generator == NULL || work == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_text", generator == NULL ? "generator" : "work", 1, 0);
    }
    if (work_size < q_generator_text_work(generator, n)) {
        return q_fail(diag, Q_ERR_NO_SPACE, "q_generator_text", "work", q_generator_text_work(generator, n), work_size);
    }
    if (q_arena_init(&arena, work, work_size) != Q_OK) {
        return q_fail(diag, Q_ERR_MISALIGNED, "q_generator_text", "work", Q_ALIGN, (uintptr_t)work % Q_ALIGN);
    }
    encode_size = q_tokenizer_encode_work_size(generator->tokenizer, n);
    ids = (int32_t *)q_arena_alloc(&arena, (n + 2) * sizeof(int32_t), Q_ALIGN);
    encode = (uint8_t *)q_arena_alloc(&arena, encode_size, Q_ALIGN);
    e = q_tokenizer_encode(generator->tokenizer, text, n, flags, encode, encode_size, ids, n + 2, &n_ids, diag);
    return e == Q_OK ? q_generator_feed(generator, ids, n_ids, diag) : e;
}

/* ---- The loop --------------------------------------------------------------------------------------------- */

static q_error_code sample(q_generator *g, int32_t *token, q_stop_reason *reason, q_diag *diag)
{
    q_tensor logits;
    q_error_code e = q_session_output(g->session, 0, &logits, diag);
    if (e != Q_OK) {
        return e;
    }
    if (g->config.on_logits != NULL && !g->config.on_logits(g->config.user, (float *)logits.data, g->n_vocab)) {
        *reason = Q_STOP_CALLER;
        return Q_OK;
    }
    e = q_sampler_sample(&g->config.sampler, (const float *)logits.data, g->n_vocab, g->history, g->n, g->step,
                         g->work, g->work_size, token, diag);
    g->step++;
    return e;
}

/* One token. *reason tells what it ended, if anything. */
static q_error_code generate_one(q_generator *g, q_stop_reason *reason, q_diag *diag)
{
    int32_t token = 0;
    q_error_code e = sample(g, &token, reason, diag);
    if (e != Q_OK || *reason != Q_STOP_NONE) {
        return e;
    }
    g->count++;
    if (g->config.on_token != NULL && !g->config.on_token(g->config.user, token)) {
        *reason = Q_STOP_CALLER;
        return Q_OK;
    }
    if (g->config.ignore_eog == 0 && q_tokenizer_is_eog(g->tokenizer, token)) {
        *reason = Q_STOP_TOKEN;
        return Q_OK;
    }
    *reason = q_generate_emit(g, token);
    g->pending = token;
    g->has_pending = true;
    if (*reason == Q_STOP_NONE && g->config.max_tokens != 0 && g->count >= g->config.max_tokens) {
        *reason = Q_STOP_COUNT;
    }
    if (*reason != Q_STOP_NONE) {
        return Q_OK;
    }
    if (g->n == g->capacity && g->config.full == Q_FULL_STOP) {
        *reason = Q_STOP_CONTEXT;
        return Q_OK;
    }
    return feed_pending(g, diag);
}

q_error_code q_generator_run(q_generator *generator, q_stop_reason *reason, q_diag *diag)
{
    q_generator *g = generator;
    q_error_code e = Q_OK;
    q_stop_reason why = Q_STOP_NONE;
    if (g == NULL || reason == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_run", g == NULL ? "generator" : "reason", 1, 0);
    }
    e = not_running(g, "q_generator_run", diag);
    if (e == Q_OK) {
        e = feed_pending(g, diag);
    }
    if (e == Q_OK && !g->has_logits) {
        e = q_fail(diag, Q_ERR_INVALID_STATE, "q_generator_run", "nothing has been fed", 1, 0);
    }
    if (e != Q_OK) {
        return e;
    }
    g->running = true;
    g->count = 0;
    q_utf8_stream_init(&g->utf8);
    g->n_held = 0;
    while (e == Q_OK && why == Q_STOP_NONE) {
        e = generate_one(g, &why, diag);
    }
    if (why != Q_STOP_STRING) {
        q_generate_flush(g);
    }
    g->running = false;
    if (e == Q_OK) {
        *reason = why;
    }
    return e;
}

/* ---- State ------------------------------------------------------------------------------------------------ */

const int32_t *q_generator_history(const q_generator *generator, uint32_t *n)
{
    *n = generator->n;
    return generator->history;
}

uint32_t q_generator_count(const q_generator *generator)
{
    return generator->count;
}

uint64_t q_generator_counter(const q_generator *generator)
{
    return generator->step;
}

void q_generator_set_counter(q_generator *generator, uint64_t counter)
{
    generator->step = counter;
}

q_error_code q_generator_rewind(q_generator *generator, uint32_t n, q_diag *diag)
{
    q_error_code e;
    if (generator == NULL || n > generator->n) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_rewind", "n", generator != NULL ? generator->n : 0, n);
    }
    e = not_running(generator, "q_generator_rewind", diag);
    if (e != Q_OK) {
        return e;
    }
    e = n < q_session_position(generator->session) ? q_session_rewind(generator->session, n, diag) : Q_OK;
    if (e == Q_OK) {
        generator->has_logits = generator->has_logits && n == generator->n;
        generator->has_pending = false;
        generator->n = n;
    }
    return e;
}

q_error_code q_generator_restore(q_generator *generator, const int32_t *ids, uint32_t n, q_diag *diag)
{
    if (generator == NULL || (ids == NULL && n != 0) || n > generator->capacity) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_generator_restore", "n",
                      generator != NULL ? generator->capacity : 0, n);
    }
    if (generator->running) {
        return not_running(generator, "q_generator_restore", diag);
    }
    if (q_session_position(generator->session) != n) {
        return q_fail(diag, Q_ERR_MISMATCH, "q_generator_restore", "n", q_session_position(generator->session), n);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= generator->n_vocab) {
            (void)q_fail(diag, Q_ERR_INVALID_TOKEN, "q_generator_restore", "ids", generator->n_vocab,
                         (uint64_t)(int64_t)ids[i]);
            if (diag != NULL) {
                diag->offset = i;
            }
            return Q_ERR_INVALID_TOKEN;
        }
    }
    if (n != 0) {
        memcpy(generator->history, ids, n * sizeof(int32_t));
    }
    generator->n = n;
    generator->has_logits = false;
    generator->has_pending = false;
    return Q_OK;
}
