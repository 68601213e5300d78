/* SPDX-License-Identifier: MIT */
/* A whole training: epochs of shuffled batches, evaluations, early stopping. Where it stands follows from the number of
   steps alone, so that a training can stop after any step and go on later. */
#include "qorus/base/random.h"
#include "trainer.h"

/* One call of q_model_train. */
typedef struct fit {
    q_trainer *t;
    const q_fit_config *c;
    const q_dataset *train;
    const q_dataset *validate;
    uint32_t *order;      /* [train->n] of the epoch that runs */
    uint32_t *ids;        /* [batch] of an evaluation */
    uint8_t *best;        /* copy of the parameters, or NULL */
    uint64_t per_epoch;   /* steps */
    q_fit_state *state;
    q_fit_state own;      /* where the caller keeps none */
    q_fit_progress progress;
    q_fit_result result;
    q_diag *diag;
} fit;

static uint64_t steps_of_epoch(const q_fit_config *c, const q_dataset *train)
{
    return ((uint64_t)train->n + c->batch - 1) / c->batch;
}

/* ---- Checks ----------------------------------------------------------------------------------------------- */

static q_error_code dataset_check(const q_dataset *d, const char *who, q_diag *diag)
{
    if (d->struct_size != sizeof(*d)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "struct_size", sizeof(*d), d->struct_size);
    }
    if (d->n == 0 || d->load == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, d->n == 0 ? "n" : "load", 1, 0);
    }
    return Q_OK;
}

static q_error_code fit_check(const q_trainer *t, const q_fit_config *c, const q_dataset *train, q_diag *diag)
{
    const char *who = "q_fit_config";
    const char *bad;
    if (t == NULL || c == NULL || train == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_train", t == NULL ? "trainer" : c == NULL ? "config" : "train", 1, 0);
    }
    if (c->struct_size != sizeof(*c)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "struct_size", sizeof(*c), c->struct_size);
    }
    bad = (c->flags & ~(uint32_t)(Q_FIT_IN_ORDER | Q_FIT_KEEP_BEST | Q_FIT_AVERAGE)) != 0 ? "flags"
          : c->reserved != 0                                                           ? "reserved"
          : c->batch == 0                                                              ? "batch"
          : c->micro_batch > c->batch                                                  ? "micro_batch"
          : c->epochs == 0 && c->max_steps == 0                                        ? "epochs"
          : !(c->min_delta >= 0)                                                       ? "min_delta"
          : (c->flags & Q_FIT_AVERAGE) != 0 && t->config.average == 0                  ? "flags: the trainer keeps no average"
                                                                                       : NULL;
    if (bad != NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, bad, 1, 0);
    }
    return dataset_check(train, "q_dataset (train)", diag);
}

/* Slots: trained ones, and those that forward writes. */
size_t q_fit_best_size(const q_session *s)
{
    size_t sum = 0;
    for (uint32_t i = 0; s != NULL && i < s->plan->model->n.params; i++) {
        sum += s->plan->params[i].slot.bytes;
    }
    return sum;
}

static void fit_layout(q_arena *arena, const q_trainer *t, const q_fit_config *c, const q_dataset *train, fit *out)
{
    out->order = (uint32_t *)q_arena_alloc(arena, train->n * sizeof(uint32_t), Q_ALIGN);
    out->ids = (uint32_t *)q_arena_alloc(arena, c->batch * sizeof(uint32_t), Q_ALIGN);
    out->best = (c->flags & Q_FIT_KEEP_BEST) != 0 ? (uint8_t *)q_arena_alloc(arena, q_fit_best_size(t->session), Q_ALIGN) : NULL;
}

q_error_code q_fit_size(const q_trainer *trainer, const q_fit_config *config, const q_dataset *train, size_t *bytes,
                        q_diag *diag)
{
    q_arena arena = layout_arena(NULL, 0);
    q_error_code e = fit_check(trainer, config, train, diag);
    fit unused;
    if (e == Q_OK && bytes == NULL) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, "q_fit_size", "bytes", 1, 0);
    }
    if (e == Q_OK) {
        (void)q_arena_alloc(&arena, sizeof(fit), Q_ALIGN);
        fit_layout(&arena, trainer, config, train, &unused);
        *bytes = arena.high;
    }
    return e;
}

/* ---- Order ------------------------------------------------------------------------------------------------ */

/* Fisher and Yates, from the last place down. A place below n comes from the upper half of 32 random bits times n. */
static void shuffle(fit *f, uint64_t epoch)
{
    q_random_place place;
    place.seed = f->t->config.seed;
    place.step = epoch;
    place.node = Q_RANDOM_NODE_SHUFFLE;
    place.sample = 0;
    for (uint32_t i = 0; i < f->train->n; i++) {
        f->order[i] = i;
    }
    for (uint32_t i = f->train->n; i > 1 && (f->c->flags & Q_FIT_IN_ORDER) == 0; i--) {
        uint32_t j = (uint32_t)((uint64_t)q_random_u32(&place, i - 1) * i >> 32);
        uint32_t keep = f->order[i - 1];
        f->order[i - 1] = f->order[j];
        f->order[j] = keep;
    }
}

/* ---- Batches ---------------------------------------------------------------------------------------------- */

static q_error_code load(const q_dataset *d, const uint32_t *ids, uint32_t n, q_step *step, q_diag *diag)
{
    q_error_code e;
    memset(step, 0, sizeof(*step));
    e = d->load(d->user, ids, n, step);
    return e == Q_OK ? Q_OK : q_fail(diag, e, "q_dataset", "load", 0, ids[0]);
}

q_error_code q_model_evaluate(q_trainer *trainer, const q_dataset *dataset, uint32_t *ids, uint32_t batch,
                              void (*seen)(void *user, const q_step *step, const q_train_part *part, bool evaluated),
                              void *user, double *loss, q_diag *diag)
{
    double sum = 0;
    double count = 0;
    q_error_code e = Q_OK;
    if (trainer == NULL || dataset == NULL || ids == NULL || loss == NULL || batch == 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_evaluate",
                      trainer == NULL ? "trainer" : dataset == NULL ? "dataset" : ids == NULL ? "ids" : loss == NULL ? "loss" : "batch",
                      1, 0);
    }
    e = dataset_check(dataset, "q_dataset", diag);
    for (uint32_t first = 0; e == Q_OK && first < dataset->n; first += batch) {
        uint32_t n = dataset->n - first < batch ? dataset->n - first : batch;
        q_train_part part = {0, 0};
        q_step step;
        for (uint32_t i = 0; i < n; i++) {
            ids[i] = first + i;
        }
        e = load(dataset, ids, n, &step, diag);
        if (e == Q_OK) {
            e = q_trainer_evaluate(trainer, &step, &part, diag);
        }
        if (e == Q_OK && seen != NULL) {
            seen(user, &step, &part, true); /* the caller's */
        }
        sum = sum + part.loss;
        count = count + part.count;
    }
    *loss = e == Q_OK && count > 0 ? sum / count : *loss;
    return e;
}

/* Micro-batches and the update of one step. */
static q_error_code one_step(fit *f, uint64_t at)
{
    uint64_t first = at * f->c->batch;
    uint64_t end = first + f->c->batch < f->train->n ? first + f->c->batch : f->train->n;
    uint32_t each = f->c->micro_batch != 0 ? f->c->micro_batch : f->c->batch;
    q_error_code e = Q_OK;
    for (uint64_t i = first; i < end && e == Q_OK; i += each) {
        uint32_t n = end - i < each ? (uint32_t)(end - i) : each;
        q_train_part part;
        q_step step;
        e = load(f->train, f->order + i, n, &step, f->diag);
        if (e == Q_OK) {
            e = q_trainer_backward(f->t, &step, &part, f->diag);
        }
        if (e == Q_OK && f->c->seen != NULL) {
            f->c->seen(f->c->user, &step, &part, false);
        }
    }
    if (e == Q_OK) {
        e = q_trainer_update(f->t, &f->progress.report, f->diag);
    } else {
        q_trainer_forget(f->t);
    }
    f->progress.samples += end - first;
    f->progress.steps = f->t->steps;
    return e;
}

/* ---- The best --------------------------------------------------------------------------------------------- */

static void copy_slots(const fit *f, bool back)
{
    const q_session *s = f->t->session;
    uint8_t *at = f->best;
    for (uint32_t i = 0; i < s->plan->model->n.params; i++) {
        size_t bytes = s->plan->params[i].slot.bytes;
        if (bytes != 0) {
            memcpy(back ? s->params[i].data : at, back ? at : s->params[i].data, bytes);
            at += bytes;
        }
    }
}

/* A loss that is no number is best only as long as there is none that is one. */
static bool is_better(const fit *f)
{
    double loss = f->progress.validation;
    double best = f->state->best;
    return f->state->evaluations == 0 || loss < best - f->c->min_delta || (best != best && loss == loss);
}

static q_error_code evaluate(fit *f)
{
    bool average = (f->c->flags & Q_FIT_AVERAGE) != 0;
    uint32_t each = f->c->micro_batch != 0 ? f->c->micro_batch : f->c->batch;
    q_error_code e = average ? q_trainer_exchange_average(f->t, f->diag) : Q_OK;
    if (e == Q_OK) {
        e = q_model_evaluate(f->t, f->validate, f->ids, each, f->c->seen, f->c->user, &f->progress.validation, f->diag);
    }
    f->progress.improved = e == Q_OK && is_better(f) ? 1u : 0u;
    if (f->progress.improved != 0 && f->best != NULL) {
        copy_slots(f, false);
    }
    if (average && f->t->exchanged) {
        q_error_code back = q_trainer_exchange_average(f->t, f->diag);
        e = e == Q_OK ? back : e;
    }
    if (e != Q_OK) {
        return e;
    }
    f->state->evaluations++;
    f->state->waiting = f->progress.improved != 0 ? 0 : f->state->waiting + 1;
    f->progress.evaluated = 1;
    f->result.validation = f->progress.validation;
    if (f->progress.improved != 0) {
        f->state->best = f->progress.validation;
        f->state->best_step = f->t->steps;
    }
    return Q_OK;
}

static bool is_time_to_evaluate(const fit *f)
{
    uint64_t every = f->c->evaluate_every != 0 ? f->c->evaluate_every : f->per_epoch;
    return f->validate != NULL && f->t->steps % every == 0;
}

static bool is_over(const fit *f)
{
    return (f->c->max_steps != 0 && f->t->steps >= f->c->max_steps) ||
           (f->c->epochs != 0 && f->t->steps / f->per_epoch >= f->c->epochs);
}

static q_error_code run(fit *f)
{
    uint64_t epoch = UINT64_MAX;
    while (!is_over(f)) {
        bool goes_on;
        q_error_code e;
        if (f->t->steps / f->per_epoch != epoch) {
            epoch = f->t->steps / f->per_epoch;
            shuffle(f, epoch);
        }
        f->progress.epoch = epoch;
        f->progress.evaluated = f->progress.improved = 0;
        e = one_step(f, f->t->steps % f->per_epoch);
        if (e == Q_OK && is_time_to_evaluate(f)) {
            e = evaluate(f);
        }
        if (e != Q_OK) {
            return e;
        }
        f->result.loss = f->progress.report.loss;
        goes_on = f->c->progress == NULL || f->c->progress(f->c->user, &f->progress);
        if (f->c->patience != 0 && f->state->waiting >= f->c->patience) {
            f->result.end = Q_FIT_PATIENCE;
            return Q_OK;
        }
        if (!goes_on && !is_over(f)) {
            f->result.end = Q_FIT_STOPPED;
            return Q_OK;
        }
    }
    return Q_OK;
}

/* Takes over what an earlier call left. */
static void begin_state(fit *f)
{
    f->state = f->c->state != NULL ? f->c->state : &f->own;
    if (f->best != NULL) {
        if (f->state->evaluations != 0 && f->state->best_slots != NULL) {
            memmove(f->best, f->state->best_slots, q_fit_best_size(f->t->session));
        }
        f->state->best_slots = f->best;
    }
}

q_error_code q_model_train(q_trainer *trainer, q_block memory, const q_fit_config *config, const q_dataset *train,
                           const q_dataset *validate, q_fit_result *result, q_diag *diag)
{
    q_arena arena;
    fit *f;
    size_t need;
    q_error_code e = q_fit_size(trainer, config, train, &need, diag);
    if (e == Q_OK) {
        e = q_block_check(memory, Q_ALIGN, need, "q_model_train", diag);
    }
    if (e == Q_OK && validate != NULL) {
        e = dataset_check(validate, "q_dataset (validate)", diag);
    }
    if (e != Q_OK) {
        return e;
    }
    arena = layout_arena(memory.base, memory.size);
    f = (fit *)q_arena_alloc(&arena, sizeof(fit), Q_ALIGN);
    memset(f, 0, sizeof(*f));
    fit_layout(&arena, trainer, config, train, f);
    f->t = trainer;
    f->c = config;
    f->train = train;
    f->validate = validate;
    f->per_epoch = steps_of_epoch(config, train);
    f->diag = diag;
    begin_state(f);
    e = run(f);
    if (e == Q_OK && f->best != NULL && f->state->evaluations != 0 && f->result.end != Q_FIT_STOPPED) {
        copy_slots(f, true);
    }
    f->result.evaluations = f->state->evaluations;
    f->result.best = f->state->best;
    f->result.best_step = f->state->best_step;
    f->result.steps = trainer->steps;
    f->result.epochs = trainer->steps / f->per_epoch;
    if (result != NULL) {
        *result = f->result;
    }
    return e;
}
