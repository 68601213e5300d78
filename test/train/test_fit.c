/* SPDX-License-Identifier: MIT */
/* q_model_train: epochs, shuffling, evaluation, early stopping, going on, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "fit.h"

enum { SAMPLES = 37 };

/* Rows of the bench's inputs whose targets are a linear map of them. */
typedef struct rows {
    q_real x[SAMPLES * BENCH_IN];
    q_real target[SAMPLES * BENCH_OUT];
    _Alignas(64) uint8_t buffer[4096];
    q_table table;
    uint32_t seen[SAMPLES]; /* how often each sample was loaded */
    uint32_t fail_at;       /* call of load that fails; 0: none */
    uint32_t calls;
} rows;

static void fill_rows(rows *r, uint32_t state)
{
    memset(r, 0, sizeof(*r));
    for (uint32_t i = 0; i < SAMPLES; i++) {
        for (uint32_t k = 0; k < BENCH_IN; k++) {
            state = state * 1664525u + 1013904223u;
            r->x[i * BENCH_IN + k] = (q_real)(float)((double)(int32_t)state / 2147483648.0);
        }
        for (uint32_t k = 0; k < BENCH_OUT; k++) {
            r->target[i * BENCH_OUT + k] = r->x[i * BENCH_IN + k] - r->x[i * BENCH_IN + k + 3] / 2;
        }
    }
    r->table.n = SAMPLES;
    r->table.n_inputs = 2;
    r->table.data[0] = r->x;
    r->table.data[1] = r->target;
    r->table.bytes[0] = BENCH_IN * sizeof(q_real);
    r->table.bytes[1] = BENCH_OUT * sizeof(q_real);
    r->table.buffer = r->buffer;
    r->table.size = sizeof(r->buffer);
}

static q_error_code counting_load(void *user, const uint32_t *ids, uint32_t n, q_step *step)
{
    rows *r = (rows *)user;
    for (uint32_t i = 0; i < n; i++) {
        r->seen[ids[i]]++;
    }
    if (++r->calls == r->fail_at) {
        return Q_ERR_IO;
    }
    return q_table_dataset(&r->table).load(&r->table, ids, n, step);
}

static q_dataset dataset_of(rows *r)
{
    q_dataset d = {sizeof(d), SAMPLES, counting_load, r};
    return d;
}

static q_fit_config fit_of(uint64_t epochs)
{
    q_fit_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.batch = BENCH_BATCH;
    c.epochs = epochs;
    return c;
}

static uint8_t kept[65536]; /* best slots of the last call */

static q_error_code train(bench *b, const q_fit_config *c, rows *r, rows *validate, q_fit_result *result, q_diag *d)
{
    q_dataset data = dataset_of(r);
    q_dataset held = validate != NULL ? dataset_of(validate) : data;
    q_error_code e;
    size_t n;
    void *memory;
    e = q_fit_size(b->trainer, c, &data, &n, d);
    if (e != Q_OK) {
        return e;
    }
    memory = aligned_alloc(64, (n + 63) / 64 * 64);
    e = q_model_train(b->trainer, (q_block){memory, n}, c, &data, validate != NULL ? &held : NULL, result, d);
    if (c->state != NULL && c->state->best_slots != NULL && q_fit_best_size(b->session) <= sizeof(kept)) {
        memcpy(kept, c->state->best_slots, q_fit_best_size(b->session));
        c->state->best_slots = kept;
    }
    free(memory);
    return e;
}

static void test_epochs(void)
{
    const q_train_config tc = plain_config(&q_optimizer_adam);
    const bench_options o = {0};
    q_fit_config c = fit_of(40);
    q_fit_result result;
    static rows data;
    static rows held;
    q_diag d;
    bench b;
    bool all = true;
    fill_rows(&data, 1);
    fill_rows(&held, 2);
    bench_open(&b, &o, &tc);
    must(train(&b, &c, &data, &held, &result, &d), &d);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        all = all && data.seen[i] == 40;
    }
    check(all, "every sample once an epoch");
    check(result.end == Q_FIT_DONE && result.steps == 40 * 5 && result.epochs == 40 && result.evaluations == 40,
          "40 epochs of 5 steps, evaluated after each");
    check(result.best < 0.1 && result.validation < 0.1 && result.loss < 0.1, "a linear map is learnt");
    bench_close(&b);
}

/* Stopped and gone on, in two calls and in one; in micro-batches; the same bits. */
static bool stop_at_seven(void *user, const q_fit_progress *p)
{
    (void)user;
    return p->steps != 7;
}

static void test_going_on(void)
{
    const q_train_config tc = plain_config(&q_optimizer_adamw);
    const bench_options o = {0};
    q_fit_config c = fit_of(4);
    q_fit_result result;
    static rows data;
    q_diag d;
    uint64_t hash[3];
    for (int i = 0; i < 3; i++) {
        bench b;
        fill_rows(&data, 1);
        bench_open(&b, &o, &tc);
        c.progress = i == 1 ? stop_at_seven : NULL;
        c.micro_batch = i == 2 ? 3 : 0;
        must(train(&b, &c, &data, NULL, &result, &d), &d);
        if (i == 1) {
            check(result.end == Q_FIT_STOPPED && result.steps == 7 && result.epochs == 1, "stopped by its caller");
            c.progress = NULL;
            must(train(&b, &c, &data, NULL, &result, &d), &d);
        }
        hash[i] = bench_hash(&b);
        check(result.steps == 20, "20 steps in all");
        bench_close(&b);
    }
    check(hash[1] == hash[0], "stopped and gone on: the bits of a training that never stopped");
    check(hash[2] == hash[0], "micro-batches of 3 have the bits of batches of 8");
}

static void test_order(void)
{
    const q_train_config tc = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    q_fit_config c = fit_of(0);
    static rows data;
    q_diag d;
    bench b;
    uint32_t first = 0;
    fill_rows(&data, 1);
    bench_open(&b, &o, &tc);
    c.max_steps = 1;
    must(train(&b, &c, &data, NULL, NULL, &d), &d);
    for (uint32_t i = 0; i < BENCH_BATCH; i++) {
        first += data.seen[i];
    }
    check(first < BENCH_BATCH, "shuffled");
    bench_close(&b);
    fill_rows(&data, 1);
    bench_open(&b, &o, &tc);
    c.flags = Q_FIT_IN_ORDER;
    first = 0;
    must(train(&b, &c, &data, NULL, NULL, &d), &d);
    for (uint32_t i = 0; i < BENCH_BATCH; i++) {
        first += data.seen[i];
    }
    check(first == BENCH_BATCH, "in order");
    bench_close(&b);
}

/* Training that goes wrong on purpose: the rate is far too high, so the first evaluations are the best. */
static void test_patience(void)
{
    q_train_config tc = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    q_fit_config c = fit_of(50);
    q_fit_result result;
    static rows data;
    static rows held;
    q_dataset set;
    q_diag d;
    bench b;
    double loss = 0;
    uint32_t ids[BENCH_BATCH];
    fill_rows(&data, 1);
    fill_rows(&held, 2);
    tc.optimizer.learning_rate = 0.7;
    tc.clip_norm = 1;
    bench_open(&b, &o, &tc);
    c.patience = 3;
    c.evaluate_every = 1;
    c.flags = Q_FIT_KEEP_BEST;
    must(train(&b, &c, &data, &held, &result, &d), &d);
    check(result.end == Q_FIT_PATIENCE && result.steps == result.best_step + 3, "no better loss three times: stopped");
    set = dataset_of(&held);
    must(q_model_evaluate(b.trainer, &set, ids, BENCH_BATCH, NULL, NULL, &loss, &d), &d);
    check(loss == result.best && result.best < result.validation, "the parameters of the best evaluation are back");
    bench_close(&b);
}

/* Mends the sample that made the first evaluation no number. */
static bool mend(void *user, const q_fit_progress *p)
{
    if (p->evaluated != 0) {
        ((rows *)user)->x[0] = 0;
    }
    return true;
}

static void test_no_number(void)
{
    const q_train_config tc = plain_config(&q_optimizer_adam);
    const bench_options o = {0};
    q_fit_config c = fit_of(4);
    q_fit_result result;
    static rows data;
    static rows held;
    q_diag d;
    bench b;
    fill_rows(&data, 1);
    fill_rows(&held, 2);
    held.x[0] = (q_real)NAN;
    bench_open(&b, &o, &tc);
    c.progress = mend;
    c.user = &held;
    c.flags = Q_FIT_KEEP_BEST;
    must(train(&b, &c, &data, &held, &result, &d), &d);
    check(result.best_step > 5 && result.best == result.validation, "an evaluation that is no number is never the best for long");
    bench_close(&b);
}

static bool stop_at(void *user, const q_fit_progress *p)
{
    return p->steps != *(const uint64_t *)user;
}

/* Stopped after the best evaluation and gone on with what evaluations left: the same end, step for step and bit for bit. */
static void test_state(void)
{
    q_train_config tc = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    q_fit_config c = fit_of(50);
    static rows data;
    static rows held;
    uint64_t hash[2];
    uint64_t steps[2];
    uint64_t at = 0;
    tc.optimizer.learning_rate = 0.7;
    tc.clip_norm = 1;
    c.patience = 3;
    c.evaluate_every = 1;
    c.flags = Q_FIT_KEEP_BEST;
    for (int i = 0; i < 2; i++) {
        q_fit_result result;
        q_fit_state state;
        q_diag d;
        bench b;
        fill_rows(&data, 1);
        fill_rows(&held, 2);
        memset(&state, 0, sizeof(state));
        bench_open(&b, &o, &tc);
        c.state = &state;
        c.progress = i == 1 ? stop_at : NULL;
        c.user = &at;
        must(train(&b, &c, &data, &held, &result, &d), &d);
        if (i == 1) {
            check(result.end == Q_FIT_STOPPED && state.waiting == 1 && state.best_slots == kept,
                  "stopped one evaluation after the best, whose weights are kept");
            c.progress = NULL;
            must(train(&b, &c, &data, &held, &result, &d), &d);
        }
        check(result.end == Q_FIT_PATIENCE, "ended by patience");
        hash[i] = bench_hash(&b);
        steps[i] = result.steps;
        at = result.best_step + 1;
        bench_close(&b);
    }
    check(hash[0] == hash[1] && steps[0] == steps[1], "early stopping goes on where it was");
}

static void test_accidents(void)
{
    const q_train_config tc = plain_config(&q_optimizer_adam);
    const bench_options o = {0};
    q_fit_config c = fit_of(3);
    static rows data;
    q_fit_result result;
    q_diag d;
    bench b;
    uint64_t hash;
    fill_rows(&data, 1);
    bench_open(&b, &o, &tc);
    data.fail_at = 4;
    c.micro_batch = 4;
    check(train(&b, &c, &data, NULL, &result, &d) == Q_ERR_IO && strcmp(d.field, "load") == 0 && result.steps == 1,
          "a dataset that fails ends the training");
    hash = bench_hash(&b);
    data.x[3] = (q_real)NAN;
    data.fail_at = 0;
    check(train(&b, &c, &data, NULL, &result, &d) == Q_ERR_NON_FINITE && result.steps < 5, "a loss that is no number ends it");
    check(result.steps != 1 || bench_hash(&b) == hash, "with the parameters of the last step");
    bench_close(&b);
}

static void refused(q_fit_config c, const char *field)
{
    const q_train_config tc = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    static rows data;
    q_diag d;
    char what[64];
    bench b;
    fill_rows(&data, 1);
    bench_open(&b, &o, &tc);
    (void)snprintf(what, sizeof(what), "fit: %s refused", field);
    check(train(&b, &c, &data, NULL, NULL, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, field) == 0, what);
    bench_close(&b);
}

static void test_refusals(void)
{
    q_fit_config c = fit_of(1);
    c.struct_size = 8;
    refused(c, "struct_size");
    c = fit_of(0);
    refused(c, "epochs");
    c = fit_of(1);
    c.batch = 0;
    refused(c, "batch");
    c = fit_of(1);
    c.micro_batch = 9;
    refused(c, "micro_batch");
    c = fit_of(1);
    c.flags = 64;
    refused(c, "flags");
    c = fit_of(1);
    c.reserved = 1;
    refused(c, "reserved");
    c = fit_of(1);
    c.min_delta = (double)NAN;
    refused(c, "min_delta");
    c = fit_of(1);
    c.flags = Q_FIT_AVERAGE;
    refused(c, "flags: the trainer keeps no average");
}

static void test_windows(void)
{
    static int32_t text[100];
    static int32_t tokens[3 * 8];
    static int32_t targets[3 * 8];
    static q_step_span spans[3];
    const uint32_t ids[2] = {10, 0};
    q_windows w = {text, 100, 8, 8, 3, 0, tokens, targets, spans, {NULL, NULL}};
    q_dataset d = q_windows_dataset(&w);
    q_step step;
    for (int32_t i = 0; i < 100; i++) {
        text[i] = i;
    }
    memset(&step, 0, sizeof(step));
    check(d.n == 12, "99 pairs hold 12 windows of 8");
    check(d.load(d.user, ids, 2, &step) == Q_OK && step.n_spans == 2 && step.n_tokens == 16 && tokens[0] == 80 &&
              targets[0] == 81 && targets[7] == 88 && tokens[8] == 0 && targets[15] == 8, "windows and what follows them");
    w.stride = 1;
    check(q_windows_dataset(&w).n == 92, "92 windows one token apart");
    w.n = 8;
    check(q_windows_dataset(&w).n == 0, "a text as short as a window holds none");
}

static void test_confusion(void)
{
    q_real logits[5][3] = {{3, 1, 2}, {0, 5, 5}, {1, 0, 9}, {2, 8, 1}, {9, 0, 0}};
    const int32_t targets[5] = {0, 1, 1, 1, 7};
    uint64_t count[9] = {0};
    q_confusion c = {3, 0, count};
    q_tensor t;
    memset(&t, 0, sizeof(t));
    t.data = logits;
    t.nb[2] = 3 * sizeof(q_real);
    q_confusion_add(&c, &t, targets, 5);
    check(count[0] == 1 && count[4] == 2 && count[5] == 1 && count[8] == 0, "answers by target; ties go to the lower class");
    check(q_confusion_accuracy(&c) == 0.75, "accuracy 3 of 4");
    check(fabs(q_confusion_f1(&c) - (1 + 0.8 + 0) / 3) < 1e-12, "F1 is the mean over the classes");
}

void test_fit(void)
{
    test_epochs();
    test_going_on();
    test_order();
    test_patience();
    test_no_number();
    test_state();
    test_accidents();
    test_refusals();
    test_windows();
    test_confusion();
}
