/* SPDX-License-Identifier: MIT */
/* Trainer: its making, micro-batches, evaluation. */
#include "trainer.h"

/* ---- Making ----------------------------------------------------------------------------------------------- */

static uint32_t n_groups_of(const q_train_config *config)
{
    return config->groups != NULL ? config->n_groups : 2;
}

uint32_t q_train_moments(const q_train_config *config)
{
    return config->optimizer.cls->moments(&config->optimizer) + (config->average != 0 ? 1u : 0u);
}

static bool is_limit(double value)
{
    return value >= 0 && value - value == 0;
}

static q_error_code train_config_check(const q_train_config *c, q_diag *diag)
{
    const char *who = "q_train_config";
    const char *bad = NULL;
    q_error_code e;
    if (c == NULL || c->struct_size != sizeof(*c)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "struct_size", sizeof(*c), c != NULL ? c->struct_size : 0);
    }
    e = q_optimizer_check(&c->optimizer, diag);
    if (e == Q_OK) {
        e = q_schedule_check(&c->schedule, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    bad = (c->flags & ~(uint32_t)Q_TRAIN_KEEP_STATE) != 0 ? "flags"
          : c->reserved != 0                              ? "reserved"
          : !is_limit(c->clip_norm)                       ? "clip_norm"
          : !is_limit(c->clip_value)                      ? "clip_value"
          : !is_limit(c->weight_norm)                     ? "weight_norm"
          : !(c->average >= 0 && c->average < 1)          ? "average"
          : c->groups != NULL && (c->n_groups == 0 || c->n_groups > Q_MAX_GROUPS) ? "n_groups"
                                                                                  : NULL;
    if (bad != NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, bad, 0, 0);
    }
    for (uint32_t i = 0; c->groups != NULL && i < c->n_groups; i++) {
        if (!is_limit(c->groups[i].rate_scale) || !is_limit(c->groups[i].decay_scale)) {
            return q_fail(diag, Q_ERR_INVALID_ARG, who, "groups", 0, i);
        }
    }
    return Q_OK;
}

bool q_train_has_gradient(const q_session *s, q_param p)
{
    return s->plan->params[p].grad.bytes != 0;
}

static size_t elements_of(const q_session *s, q_param p)
{
    const uint32_t *ne = s->plan->model->params[p].type.ne;
    return (size_t)ne[0] * ne[1] * ne[2] * ne[3];
}

static uint32_t chunks_of(size_t n)
{
    return (uint32_t)((n + Q_SUM_SQUARES_CHUNK - 1) / Q_SUM_SQUARES_CHUNK);
}

static void trainer_layout(q_arena *arena, const q_session *s, q_trainer *fill, q_trainer **out)
{
    size_t partials = 0;
    fill->n_trained = 0;
    for (q_param p = 0; p < s->plan->model->n.params; p++) {
        if (q_train_has_gradient(s, p)) {
            fill->n_trained++;
            partials += chunks_of(elements_of(s, p));
        }
    }
    *out = (q_trainer *)q_arena_alloc(arena, sizeof(q_trainer), Q_ALIGN);
    fill->list = (trained *)q_arena_alloc(arena, fill->n_trained * sizeof(trained), Q_ALIGN);
    fill->partial = (q_real *)q_arena_alloc(arena, partials * sizeof(q_real), Q_ALIGN);
}

q_error_code q_trainer_size(const q_session *session, const q_train_config *config, size_t *bytes, q_diag *diag)
{
    q_arena arena;
    q_trainer fill;
    q_trainer *unused;
    q_error_code e;
    if (session == NULL || bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_trainer_size", session == NULL ? "session" : "bytes", 1, 0);
    }
    e = train_config_check(config, diag);
    if (e != Q_OK) {
        return e;
    }
    if (session->plan->config.mode != Q_PLAN_TRAIN) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_trainer_size", "the plan is not one for training", 1, 0);
    }
    if (session->plan->config.moments < q_train_moments(config)) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_plan_config", "moments", q_train_moments(config),
                      session->plan->config.moments);
    }
    arena = layout_arena(NULL, 0);
    trainer_layout(&arena, session, &fill, &unused);
    if (fill.n_trained == 0) {
        return q_fail(diag, Q_ERR_NOT_FOUND, "q_trainer_size", "trainable parameters", 1, 0);
    }
    *bytes = arena.high;
    return Q_OK;
}

static uint32_t group_of(const q_train_config *c, const model_param *p)
{
    uint32_t group = p->type.ne[0] == 1 && p->type.ne[1] == 1 && p->type.ne[2] == 1 ? 1 : 0;
    if (c->group != NULL) {
        group = c->group(c->user, p->name, &p->type);
    }
    return group < n_groups_of(c) ? group : n_groups_of(c) - 1;
}

static void fill_list(q_trainer *t)
{
    q_session *s = t->session;
    size_t partial = 0;
    uint32_t at = 0;
    for (q_param p = 0; p < s->plan->model->n.params; p++) {
        trained *x = &t->list[at];
        if (!q_train_has_gradient(s, p)) {
            continue;
        }
        memset(x, 0, sizeof(*x));
        x->param = p;
        x->name = s->plan->model->params[p].name;
        x->group = group_of(&t->config, &s->plan->model->params[p]);
        x->n = elements_of(s, p);
        x->chunks = chunks_of(x->n);
        x->partial = partial;
        x->w = (q_real *)s->params[p].data;
        x->grad = (q_real *)s->param_grads[p].data;
        for (uint32_t i = 0; i < s->plan->config.moments; i++) {
            q_tensor moment;
            x->moment[i] = q_session_param_moment(s, p, i, &moment, NULL) == Q_OK ? (q_real *)moment.data : NULL;
        }
        partial += x->chunks;
        at++;
    }
}

static uint32_t find_count(const q_session *s)
{
    for (uint32_t i = 1; i < s->plan->model->n.outputs; i++) {
        if (q_names_equal(s->plan->model->outputs[i].name, "count")) {
            return i;
        }
    }
    return Q_NONE;
}

/* An average begins as the weights are. */
static void begin_average(const q_trainer *t)
{
    uint32_t own = t->config.optimizer.cls->moments(&t->config.optimizer);
    for (uint32_t i = 0; i < t->n_trained && t->config.average != 0; i++) {
        memcpy(t->list[i].moment[own], t->list[i].w, t->list[i].n * sizeof(q_real));
    }
}

/* Lays a trainer out in memory of the right size. */
static q_trainer *place_trainer(q_block memory, const q_session *session)
{
    q_arena arena = layout_arena(memory.base, memory.size);
    q_trainer fill;
    q_trainer *t;
    memset(&fill, 0, sizeof(fill));
    trainer_layout(&arena, session, &fill, &t);
    *t = fill;
    return t;
}

q_error_code q_trainer_init(q_trainer **trainer, q_block memory, q_session *session, const q_train_config *config,
                            q_diag *diag)
{
    static const q_param_group usual[2] = {{1, 1}, {1, 0}};
    q_trainer *t;
    size_t need;
    q_error_code e;
    if (trainer == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_trainer_init", "trainer", 1, 0);
    }
    e = q_trainer_size(session, config, &need, diag);
    if (e == Q_OK) {
        e = q_block_check(memory, Q_ALIGN, need, "q_trainer_init", diag);
    }
    if (e != Q_OK) {
        return e;
    }
    t = place_trainer(memory, session);
    t->session = session;
    t->config = *config;
    memcpy(t->groups, config->groups != NULL ? config->groups : usual, n_groups_of(config) * sizeof(q_param_group));
    t->count_output = find_count(session);
    fill_list(t);
    begin_average(t);
    *trainer = t;
    return Q_OK;
}

/* ---- Micro-batches ---------------------------------------------------------------------------------------- */

q_error_code q_train_reset_sequences(q_session *s, const q_step *step, q_diag *diag)
{
    q_error_code e = Q_OK;
    if (!s->plan->attends) {
        return Q_OK;
    }
    if (step->n_spans == 0) {
        return q_sequence_rewind(s, 0, 0, diag);
    }
    for (uint32_t i = 0; e == Q_OK && step->spans != NULL && i < step->n_spans; i++) {
        e = q_sequence_rewind(s, step->spans[i].sequence, 0, diag);
    }
    return e;
}

/* Samples of a step: spans, or the batch. */
static uint32_t samples_of(const q_step *step)
{
    return step->n_spans != 0 ? step->n_spans : step->n_batch != 0 ? step->n_batch : 1;
}

static const q_real *output_of(const q_trainer *t, uint32_t i)
{
    return (const q_real *)t->session->values[q_plan_output(t->session->plan, i)].data;
}

static q_error_code run_forward(q_trainer *t, const q_step *step, uint32_t flags, q_train_part *part, q_diag *diag)
{
    bool keep = (t->config.flags & Q_TRAIN_KEEP_STATE) != 0;
    q_error_code e = keep ? Q_OK : q_train_reset_sequences(t->session, step, diag);
    t->step = *step;
    t->step.flags = flags;
    t->step.seed = t->config.seed;
    t->step.index = t->steps;
    t->step.first_sample = t->samples;
    if (e == Q_OK) {
        e = q_model_forward(t->session, &t->step, diag);
    }
    if (e == Q_OK) {
        part->loss = (double)output_of(t, 0)[0];
        part->count = samples_of(step);
    }
    if (e == Q_OK && t->count_output != Q_NONE) {
        part->count = (double)output_of(t, t->count_output)[0] + (double)output_of(t, t->count_output)[1];
    }
    return e;
}

void q_trainer_forget(q_trainer *t)
{
    t->samples = 0;
    t->loss = 0;
    t->count = 0;
}

q_error_code q_trainer_backward(q_trainer *trainer, const q_step *step, q_train_part *part, q_diag *diag)
{
    q_trainer *t = trainer;
    q_train_part got;
    q_error_code e;
    if (t == NULL || step == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_trainer_backward", t == NULL ? "trainer" : "step", 1, 0);
    }
    if (t->exchanged) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_trainer_backward", "averages are in the parameters' place", 0, 1);
    }
    e = run_forward(t, step, 0, &got, diag);
    if (e == Q_OK && !(got.loss - got.loss == 0)) {
        e = q_fail(diag, Q_ERR_NON_FINITE, t->session->plan->model->outputs[0].name, "loss", 0, 0);
    }
    if (e == Q_OK) {
        e = q_model_backward(t->session, t->samples != 0, diag);
    }
    if (e != Q_OK) {
        q_trainer_forget(t);
        return e;
    }
    t->samples += samples_of(step);
    t->loss += got.loss;
    t->count += got.count;
    if (part != NULL) {
        *part = got;
    }
    return Q_OK;
}

q_error_code q_trainer_evaluate(q_trainer *trainer, const q_step *step, q_train_part *part, q_diag *diag)
{
    if (trainer == NULL || step == NULL || part == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_trainer_evaluate",
                      trainer == NULL ? "trainer" : step == NULL ? "step" : "part", 1, 0);
    }
    return run_forward(trainer, step, Q_STEP_EVALUATE, part, diag);
}

/* ---- Steps ------------------------------------------------------------------------------------------------ */

q_error_code q_trainer_update(q_trainer *trainer, q_train_report *report, q_diag *diag)
{
    q_trainer *t = trainer;
    bool good;
    if (t == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_trainer_update", "trainer", 1, 0);
    }
    if (t->exchanged || t->samples == 0 || t->session->busy || !(t->count > 0)) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_trainer_update",
                      t->exchanged         ? "averages are in place"
                      : t->samples == 0    ? "no micro-batch"
                      : t->session->busy   ? "a step is running"
                                           : "nothing was counted",
                      1, 0);
    }
    memset(&t->report, 0, sizeof(t->report));
    t->report.step = t->steps;
    t->report.loss = t->loss / t->count;
    t->report.count = t->count;
    t->report.learning_rate = t->config.optimizer.learning_rate * q_schedule_share(&t->config.schedule, t->steps);
    good = q_trainer_apply(t);
    q_trainer_forget(t);
    if (!good) {
        return q_fail(diag, Q_ERR_NON_FINITE, t->bad, "gradient", 0, 0);
    }
    t->steps++;
    if (report != NULL) {
        *report = t->report;
    }
    return Q_OK;
}

q_error_code q_trainer_exchange_average(q_trainer *trainer, q_diag *diag)
{
    uint32_t own;
    if (trainer == NULL || trainer->config.average == 0) {
        return q_fail(diag, trainer == NULL ? Q_ERR_INVALID_ARG : Q_ERR_INVALID_STATE, "q_trainer_exchange_average",
                      trainer == NULL ? "trainer" : "average", 1, 0);
    }
    own = trainer->config.optimizer.cls->moments(&trainer->config.optimizer);
    for (uint32_t i = 0; i < trainer->n_trained; i++) {
        const trained *x = &trainer->list[i];
        for (size_t j = 0; j < x->n; j++) {
            q_real w = x->w[j];
            x->w[j] = x->moment[own][j];
            x->moment[own][j] = w;
        }
    }
    trainer->exchanged = !trainer->exchanged;
    return Q_OK;
}

void q_trainer_audit(q_trainer *trainer, void (*seen)(void *user, const q_audit *audit), void *user)
{
    trainer->audit = seen;
    trainer->audit_user = user;
}

uint64_t q_trainer_steps(const q_trainer *trainer)
{
    return trainer->steps;
}

void q_trainer_set_steps(q_trainer *trainer, uint64_t steps)
{
    trainer->steps = steps;
}

q_session *q_trainer_session(const q_trainer *trainer)
{
    return trainer->session;
}
