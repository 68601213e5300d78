/* SPDX-License-Identifier: MIT */
/* Entries of the catalogue that are about training: settings, steps, numbers that are none, labels. */
#include "rig_training.h"

#include "../common/recipe.h"
#include "../port/fault_port.h"

#include "qorus/base/mem.h"
#include "qorus/net.h"

static void build_classifier(q_graph *g, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge labels;
    (void)unused;
    q_net_begin(&n, g);
    x = q_net_features(&n, "x", FEATURES);
    labels = q_net_labels(&n, "labels", CLASSES);
    x = q_net_linear(&n, "first", q_net_layernorm(&n, "norm", x), HIDDEN, Q_ACT_RELU);
    q_net_cross_entropy(&n, q_net_linear(&n, "second", x, CLASSES, Q_ACT_NONE), labels);
}

q_train_config training_config(const q_optimizer_class *cls)
{
    return recipe_of(cls, 0.01);
}

/* ---- Opening ------------------------------------------------------------------------------------------------ */

static q_block take(rig *r, size_t n)
{
    q_block b = {rig_take(r, n), n};
    return b;
}

static q_error_code open_session(training *t, const q_port *port)
{
    static const uint8_t kinds[REGIONS] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN, Q_REGION_STATE};
    rig *r = t->r;
    const q_context context = {port, &r->backend, port != NULL ? WORKERS : 1, 0};
    q_region regions[REGIONS];
    q_plan_config pc;
    q_plan *plan = NULL;
    q_needs needs;
    size_t n = 0;
    q_error_code e = q_model_size(build_classifier, NULL, &n, &r->diag);
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = Q_PLAN_TRAIN;
    pc.precision = Q_PRECISION_EXACT;
    pc.max.batch = ROWS;
    pc.max.tokens = pc.max.selected = pc.max.sequences = 1;
    pc.n_workers = context.n_workers;
    pc.moments = 2;
    pc.workspace_size = r->backend.workspace_size;
    e = e == Q_OK ? q_model_init(&t->model, take(r, n), build_classifier, NULL, &r->diag) : e;
    e = e == Q_OK ? q_plan_size(t->model, &pc, &n, &r->diag) : e;
    e = e == Q_OK ? q_plan_init(&plan, take(r, n), t->model, &pc, &r->diag) : e;
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (uint32_t i = 0; i < REGIONS; i++) {
        regions[i].kind = kinds[i];
        regions[i].size = needs.bytes[kinds[i]][0];
        regions[i].base = rig_take(r, regions[i].size);
        if (regions[i].base != NULL) {
            memset(regions[i].base, 0, regions[i].size);
        }
    }
    e = q_session_size(plan, &n, &r->diag);
    return e == Q_OK ? q_session_init(&t->session, take(r, n), plan, &context, regions, REGIONS, NULL, &r->diag) : e;
}

static q_tensor param_of(const training *t, q_param p)
{
    q_tensor w;
    q_diag d;
    memset(&w, 0, sizeof(w));
    if (q_session_param(t->session, p, &w, &d) != Q_OK) {
        w.data = NULL;
    }
    return w;
}

/* The gradient of the first parameter. */
static q_real *gradient_of(const training *t)
{
    q_tensor g;
    q_diag d;
    return q_session_param_grad(t->session, 0, &g, &d) == Q_OK ? (q_real *)g.data : NULL;
}

/* Numbers from -1/2 to 1/2. */
static void fill(q_real *x, size_t n, uint32_t *state)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        x[i] = (q_real)((int32_t)(*state >> 16) - 32768) / 65536;
    }
}

static q_error_code open_on(training *t, rig *r, const q_train_config *config, const q_port *port)
{
    uint32_t state = 7;
    size_t n = 0;
    q_error_code e;
    memset(t, 0, sizeof(*t));
    t->r = r;
    t->config = *config;
    e = open_session(t, port);
    for (q_param p = 0; e == Q_OK && p < q_model_n_params(t->model); p++) {
        q_tensor w = param_of(t, p);
        fill((q_real *)w.data, (size_t)w.ne[2] * w.ne[3], &state);
    }
    fill(t->x, ROWS * FEATURES, &state);
    for (uint32_t i = 0; i < ROWS; i++) {
        t->labels[i] = (int32_t)(i % CLASSES);
    }
    t->inputs[0] = t->x;
    t->inputs[1] = t->labels;
    t->step.inputs = t->inputs;
    t->step.n_batch = ROWS;
    e = e == Q_OK ? q_trainer_size(t->session, config, &n, &r->diag) : e;
    return e == Q_OK ? q_trainer_init(&t->trainer, take(r, n), t->session, config, &r->diag) : e;
}

q_error_code training_open(training *t, rig *r, const q_train_config *config)
{
    return open_on(t, r, config, NULL);
}

/* ---- What has become of it ---------------------------------------------------------------------------------- */

uint64_t training_hash(const training *t)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (q_param p = 0; p < q_model_n_params(t->model); p++) {
        q_tensor w = param_of(t, p);
        const uint8_t *bytes = (const uint8_t *)w.data;
        for (size_t i = 0; i < (size_t)w.ne[2] * w.ne[3] * sizeof(q_real); i++) {
            hash = (hash ^ bytes[i]) * 0x100000001b3u;
        }
    }
    return hash;
}

static bool all_finite(const training *t)
{
    bool finite = true;
    for (q_param p = 0; p < q_model_n_params(t->model); p++) {
        q_tensor w = param_of(t, p);
        const q_real *x = (const q_real *)w.data;
        for (size_t i = 0; i < (size_t)w.ne[2] * w.ne[3]; i++) {
            finite = finite && x[i] - x[i] == 0;
        }
    }
    return finite;
}

static q_error_code backward(training *t)
{
    return q_trainer_backward(t->trainer, &t->step, NULL, &t->r->diag);
}

static q_error_code update(training *t)
{
    return q_trainer_update(t->trainer, NULL, &t->r->diag);
}

/* That code, and not one parameter has changed. */
static void refused(training *t, uint64_t before, q_error_code e, q_error_code want, const char *id)
{
    rig_report(t->r, e == want && training_hash(t) == before && q_trainer_steps(t->trainer) == 0, id, e, &t->r->diag);
}

/* A step that is made: other parameters, and all are numbers. */
static void stepped(training *t, uint64_t before, q_error_code e, const char *id)
{
    rig_report(t->r, e == Q_OK && training_hash(t) != before && all_finite(t), id, e, &t->r->diag);
}

/* ---- A26 .. A30: settings and steps ------------------------------------------------------------------------- */

typedef struct setting {
    const char *id;
    const q_optimizer_class *cls;
    size_t offset; /* of a double in the config */
    double value;
    const char *field; /* NULL: accepted */
} setting;

#define OF(field) offsetof(q_train_config, field)

static void check_settings(training *t)
{
    const double nan = __builtin_nan("");
    const double inf = __builtin_inf();
    const setting settings[] = {
        {"A26_learning_rate_0", &q_optimizer_adam, OF(optimizer.learning_rate), 0, NULL},
        {"A26_learning_rate_negative", &q_optimizer_adam, OF(optimizer.learning_rate), -1e-3, "learning_rate"},
        {"A26_learning_rate_NaN", &q_optimizer_adam, OF(optimizer.learning_rate), nan, "learning_rate"},
        {"A26_learning_rate_infinite", &q_optimizer_sgd, OF(optimizer.learning_rate), inf, "learning_rate"},
        {"A27_beta1_1", &q_optimizer_adam, OF(optimizer.beta1), 1, "beta1"},
        {"A27_beta2_1", &q_optimizer_adamw, OF(optimizer.beta2), 1, "beta2"},
        {"A27_lion_beta2_1", &q_optimizer_lion, OF(optimizer.beta2), 1, "beta2"},
        {"A27_beta1_NaN", &q_optimizer_adam, OF(optimizer.beta1), nan, "beta1"},
        {"A27_momentum_1", &q_optimizer_sgd, OF(optimizer.momentum), 1, "momentum"},
        {"A28_weight_decay_infinite", &q_optimizer_adamw, OF(optimizer.weight_decay), inf, "weight_decay"},
        {"A28_weight_decay_negative", &q_optimizer_sgd, OF(optimizer.weight_decay), -0.1, "weight_decay"},
        {"A28_weight_decay_NaN", &q_optimizer_adam, OF(optimizer.weight_decay), nan, "weight_decay"},
        {"A28_clip_norm_NaN", &q_optimizer_adam, OF(clip_norm), nan, "clip_norm"},
        {"A28_clip_value_negative", &q_optimizer_adam, OF(clip_value), -1, "clip_value"},
        {"A28_average_1", &q_optimizer_adam, OF(average), 1, "average"},
    };
    for (uint32_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        const setting *s = &settings[i];
        q_train_config c = training_config(s->cls);
        q_error_code e;
        size_t n = 0;
        memcpy((uint8_t *)&c + s->offset, &s->value, sizeof(s->value));
        e = q_trainer_size(t->session, &c, &n, &t->r->diag);
        rig_report(t->r, s->field == NULL ? e == Q_OK : e == Q_ERR_INVALID_ARG && rig_same_text(t->r->diag.field, s->field), s->id,
                   e, &t->r->diag);
    }
}

static void check_steps(training *t)
{
    static const char *const ids[] = {"A29_step_0", "A29_step_2^63", "A29_step_2^64-1"};
    static const uint64_t steps[] = {0, (uint64_t)1 << 63, UINT64_MAX};
    uint64_t before = training_hash(t);
    refused(t, before, update(t), Q_ERR_INVALID_STATE, "A30_an_update_of_no_micro-batch");
    for (uint32_t i = 0; i < 3; i++) {
        q_error_code e;
        before = training_hash(t);
        q_trainer_set_steps(t->trainer, steps[i]);
        e = backward(t);
        e = e == Q_OK ? update(t) : e;
        stepped(t, before, e, ids[i]);
    }
    q_trainer_set_steps(t->trainer, 0);
}

/* ---- A31, A32: the observer --------------------------------------------------------------------------------- */

static q_error_code observe(void *user, const q_observation *seen)
{
    training *t = (training *)user;
    (void)seen;
    if (t->reenters) {
        t->reenters = false;
        t->entered = q_trainer_backward(t->trainer, &t->step, NULL, &t->r->diag);
    }
    return t->answer;
}

static void check_observer(training *t)
{
    q_session_config c;
    uint64_t before = training_hash(t);
    q_error_code e;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.observe = observe;
    c.user = t;
    t->reenters = true;
    e = q_session_configure(t->session, &c, &t->r->diag);
    e = e == Q_OK ? backward(t) : e;
    rig_report(t->r, t->entered == Q_ERR_INVALID_STATE, "A31_backward_within_backward", t->entered, &t->r->diag);
    t->answer = Q_ERR_IO;
    refused(t, before, backward(t), Q_ERR_IO, "A32_an_observer_ends_a_step_of_training");
    refused(t, before, update(t), Q_ERR_INVALID_STATE, "A32_and_its_micro-batch_is_forgotten");
    t->answer = Q_OK;
}

/* ---- N01 .. N08: numbers ------------------------------------------------------------------------------------ */

/* A step with one input, label or weight of another value. */
static void check_inputs(training *t)
{
    const uint64_t before = training_hash(t);
    const q_real keep = t->x[4];
    t->x[4] = (q_real)__builtin_nan("");
    refused(t, before, backward(t), Q_ERR_NON_FINITE, "N01_an_input_that_is_NaN");
    t->x[4] = (q_real)__builtin_inf();
    refused(t, before, backward(t), Q_ERR_NON_FINITE, "N02_an_input_that_is_Inf");
    t->x[4] = keep;
}

/* What the first class has for a bias: its probability is 0 in every format. The loss is large, or beyond the largest number. */
static void check_impossible_class(training *t)
{
    q_tensor bias = param_of(t, q_model_find_param(t->model, "second.b"));
    q_real *b = (q_real *)bias.data;
    q_error_code e;
    uint64_t before;
    b[0] = (q_real)-3e38;
    b[1] = (q_real)3e38;
    refused(t, training_hash(t), backward(t), Q_ERR_NON_FINITE, "N03_a_loss_beyond_the_largest_number");
    b[0] = (q_real)-1e30;
    b[1] = 0;
    before = training_hash(t);
    e = backward(t);
    e = e == Q_OK ? update(t) : e;
    stepped(t, before, e, "N08_a_class_of_probability_0");
}

/* After backward, one gradient is this, or all are. */
static void check_gradients(rig *r)
{
    static const char *const ids[] = {"N01_a_gradient_that_is_NaN", "N02_a_gradient_that_is_Inf",
                                      "N06_gradients_of_1e30", "N05_a_norm_of_0_clipped"};
    const q_real values[] = {(q_real)__builtin_nan(""), (q_real)__builtin_inf(), (q_real)1e30, 0};
    for (uint32_t i = 0; i < 4; i++) {
        q_train_config c = training_config(&q_optimizer_sgd);
        training t;
        uint64_t before;
        q_error_code e;
        c.clip_norm = 1;
        e = training_open(&t, r, &c);
        before = e == Q_OK ? training_hash(&t) : 0;
        e = e == Q_OK ? backward(&t) : e;
        for (q_param p = 0; e == Q_OK && p < q_model_n_params(t.model); p++) {
            q_tensor g;
            e = q_session_param_grad(t.session, p, &g, &r->diag);
            for (size_t k = 0; e == Q_OK && i >= 2 && k < (size_t)g.ne[2] * g.ne[3]; k++) {
                ((q_real *)g.data)[k] = values[i];
            }
        }
        if (e == Q_OK) {
            gradient_of(&t)[1] = values[i];
            e = update(&t);
        }
        if (i < 3) {
            refused(&t, before, e, Q_ERR_NON_FINITE, ids[i]);
        } else {
            rig_report(r, e == Q_OK && training_hash(&t) == before, ids[i], e, &r->diag);
        }
    }
}

/* Rows of one number: LayerNorm divides by the square root of eps alone. */
static void check_no_variance(training *t)
{
    static const char *const ids[] = {"N09_a_row_without_variance", "N09_a_row_of_zeros", "D06_all_samples_alike"};
    for (uint32_t i = 0; i < 3; i++) {
        const uint64_t before = training_hash(t);
        q_error_code e;
        for (uint32_t k = 0; k < ROWS * FEATURES; k++) {
            t->x[k] = i == 2 ? (q_real)(k % FEATURES) : (q_real)(1 - i) / 3;
        }
        e = backward(t);
        e = e == Q_OK ? update(t) : e;
        stepped(t, before, e, ids[i]);
    }
}

/* ---- D03, D05: labels --------------------------------------------------------------------------------------- */

static void check_labels(training *t)
{
    static const char *const ids[] = {"D03_a_label_above_the_classes_first", "D03_a_label_above_the_classes_in_the_middle",
                                      "D03_a_label_above_the_classes_last", "D05_a_label_of_-1"};
    static const uint32_t where[] = {0, 1, ROWS - 1, 2};
    const uint64_t before = training_hash(t);
    for (uint32_t i = 0; i < 4; i++) {
        const int32_t keep = t->labels[where[i]];
        t->labels[where[i]] = i < 3 ? CLASSES + 1 : -1;
        refused(t, before, backward(t), Q_ERR_INVALID_TOKEN, ids[i]);
        t->labels[where[i]] = keep;
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        t->labels[i] = CLASSES;
    }
    (void)backward(t);
    refused(t, before, update(t), Q_ERR_INVALID_STATE, "D05_all_labels_ignored");
}

/* ---- P20, P23, P26: a port that does not do what it is asked ------------------------------------------------- */

/* One step on three workers, with a deadline that has passed. */
static uint64_t step_on(rig *r, uint32_t op, q_fault_kind kind, q_error_code *e)
{
    const q_train_config c = training_config(&q_optimizer_adam);
    q_fault_port faults;
    training t;
    q_fault_init(&faults, r->host->port);
    *e = op == Q_FAULT_OPS || q_fault_add(&faults, Q_FAULT_AT(op), kind, 1, true) ? open_on(&t, r, &c, &faults.port) : Q_ERR_INVALID_ARG;
    t.step.deadline = op == Q_FAULT_TICKS || op == Q_FAULT_OPS ? 1 : 0;
    *e = *e == Q_OK ? backward(&t) : *e;
    *e = *e == Q_OK ? update(&t) : *e;
    return training_hash(&t);
}

static void check_ports(rig *r)
{
    static const struct {
        const char *id;
        q_fault_op op;
        q_fault_kind kind;
    } cases[] = {{"P20_a_clock_that_goes_back_to_0", Q_FAULT_TICKS, Q_FAULT_FAIL}, {"P20_a_clock_that_stands", Q_FAULT_TICKS, Q_FAULT_SILENT},
                 {"P23_fewer_workers_than_asked_for", Q_FAULT_PARALLEL, Q_FAULT_SHORT}, {"P23_one_worker_alone", Q_FAULT_PARALLEL, Q_FAULT_FAIL},
                 {"P23_no_worker_at_all", Q_FAULT_PARALLEL, Q_FAULT_DENY}, {"P23_waits_that_end_at_once", Q_FAULT_WAIT, Q_FAULT_FAIL},
                 {"P26_a_log_that_takes_no_line", Q_FAULT_LOG, Q_FAULT_FAIL}};
    q_error_code e;
    uint64_t want = step_on(r, Q_FAULT_LOG, Q_FAULT_SILENT, &e);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t hash = step_on(r, cases[i].op, cases[i].kind, &e);
        rig_report(r, e == Q_OK && hash == want, cases[i].id, e, &r->diag);
    }
    want = step_on(r, Q_FAULT_OPS, Q_FAULT_FAIL, &e);
    rig_report(r, e == Q_ERR_DEADLINE && want != 0, "P20_a_clock_that_goes_on", e, &r->diag);
}

void rig_training(rig *r)
{
    static void (*const checks[])(training *) = {check_settings, check_steps, check_observer,
                                                 check_inputs, check_labels, check_impossible_class,
                                                 check_no_variance};
    const q_train_config c = training_config(&q_optimizer_adam);
    for (uint32_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        training t;
        q_error_code e = training_open(&t, r, &c);
        if (e != Q_OK) {
            rig_report(r, false, "rig_of_a_training_is_built", e, &r->diag);
            return;
        }
        checks[i](&t);
    }
    check_gradients(r);
    check_ports(r);
}
