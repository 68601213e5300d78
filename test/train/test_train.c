/* SPDX-License-Identifier: MIT */
/*
 * The trainer: its steps against formulas written here again, the same bits however a batch is cut and whoever computes,
 * schedules, clipping, weight scaling, averages, groups; what is refused, and that a refusal leaves everything as it was.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "fit.h"
#include "port/x86/cpu_detect.h"
#include "tools/common/backends.h"

static int passed;
static int failed;

void check(bool ok, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s\n", what);
    }
}

static bool near(double a, double b, double relative)
{
    return fabs(a - b) <= relative * fabs(b);
}

/* ---- Schedules -------------------------------------------------------------------------------------------- */

static double share(uint32_t kind, uint64_t step)
{
    q_schedule s = {sizeof(s), kind, 10, 110, 25, 40, 0.5, 0.1};
    return q_schedule_share(&s, step);
}

static void test_schedules(void)
{
    const double half = 0.1 + 0.9 * 0.5;
    check(near(share(Q_SCHEDULE_CONSTANT, 0), 0.1, 1e-15) && share(Q_SCHEDULE_CONSTANT, 9) == 1 &&
              share(Q_SCHEDULE_CONSTANT, 500) == 1, "constant: warm-up, then 1");
    check(share(Q_SCHEDULE_STEP, 10) == 1 && share(Q_SCHEDULE_STEP, 34) == 1 && share(Q_SCHEDULE_STEP, 35) == 0.5 &&
              share(Q_SCHEDULE_STEP, 85) == 0.125, "step: halved every 25 steps after the warm-up");
    check(share(Q_SCHEDULE_COSINE, 10) == 1 && near(share(Q_SCHEDULE_COSINE, 60), half, 1e-12) &&
              near(share(Q_SCHEDULE_COSINE, 110), 0.1, 1e-12) && near(share(Q_SCHEDULE_COSINE, 999), 0.1, 1e-12) &&
              near(share(Q_SCHEDULE_COSINE, 35), 0.1 + 0.45 * (1 + cos(0.25 * 3.14159265358979)), 1e-12),
          "cosine from 1 to 0.1");
    check(share(Q_SCHEDULE_LINEAR, 10) == 1 && near(share(Q_SCHEDULE_LINEAR, 60), half, 1e-12) &&
              near(share(Q_SCHEDULE_LINEAR, 110), 0.1, 1e-12), "linear from 1 to 0.1");
    check(share(Q_SCHEDULE_WSD, 10) == 1 && share(Q_SCHEDULE_WSD, 70) == 1 && near(share(Q_SCHEDULE_WSD, 90), half, 1e-12) &&
              near(share(Q_SCHEDULE_WSD, 110), 0.1, 1e-12), "warm-up, stable, decay over the last 40 steps");
}

static void refused_schedule(q_schedule s, const char *field)
{
    q_diag d;
    char what[64];
    (void)snprintf(what, sizeof(what), "schedule: %s refused", field);
    check(q_schedule_check(&s, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, field) == 0, what);
}

static void test_bad_schedules(void)
{
    const q_schedule good = {sizeof(q_schedule), Q_SCHEDULE_WSD, 10, 110, 25, 40, 0.5, 0.1};
    q_schedule s = good;
    q_diag d;
    check(q_schedule_check(&good, &d) == Q_OK, "a schedule");
    s.struct_size = 1;
    refused_schedule(s, "struct_size");
    s = good;
    s.kind = 5;
    refused_schedule(s, "kind");
    s = good;
    s.total = 10;
    refused_schedule(s, "total");
    s = good;
    s.decay = 101;
    refused_schedule(s, "decay");
    s = good;
    s.last = (double)NAN;
    refused_schedule(s, "last");
    s = good;
    s.kind = Q_SCHEDULE_STEP;
    s.every = 0;
    refused_schedule(s, "every");
    s.every = 1;
    s.factor = 1.5;
    refused_schedule(s, "factor");
}

/* ---- Steps ------------------------------------------------------------------------------------------------ */

/* Adam with decoupled decay on one weight, by hand: three steps. */
static void test_adamw_by_hand(void)
{
    q_train_config c = plain_config(&q_optimizer_adamw);
    const bench_options o = {0};
    bench b;
    double w;
    double m = 0;
    double v = 0;
    bool good = true;
    c.optimizer.weight_decay = 0.1;
    bench_open(&b, &o, &c);
    w = (double)((q_real *)bench_param(&b, "first.w").data)[5];
    for (int t = 1; t <= 3; t++) {
        q_diag d;
        q_tensor grad;
        double g;
        must(bench_backward(&b, 0, BENCH_BATCH, NULL, &d), &d);
        must(q_session_param_grad(b.session, q_model_find_param(b.model, "first.w"), &grad, &d), &d);
        g = (double)((q_real *)grad.data)[5] / BENCH_BATCH;
        must(q_trainer_update(b.trainer, NULL, &d), &d);
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        w = w * (1 - 0.01 * 0.1) - 0.01 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
        good = good && near((double)((q_real *)bench_param(&b, "first.w").data)[5], w, 1e-5);
    }
    check(good, "AdamW: three steps as by hand");
    bench_close(&b);
}

static uint64_t hash_after(const bench_options *o, const q_train_config *c, uint32_t each, uint32_t steps)
{
    bench b;
    uint64_t hash;
    bench_open(&b, o, c);
    for (uint32_t i = 0; i < steps; i++) {
        (void)bench_step(&b, each);
    }
    hash = bench_hash(&b);
    bench_close(&b);
    return hash;
}

static q_train_config everything(const q_optimizer_class *cls)
{
    q_train_config c = plain_config(cls);
    c.optimizer.weight_decay = 0.05;
    c.optimizer.momentum = 0.9;
    c.optimizer.flags = Q_OPTIMIZER_NESTEROV;
    c.schedule.kind = Q_SCHEDULE_COSINE;
    c.schedule.warmup = 3;
    c.schedule.total = 20;
    c.clip_norm = 0.5;
    c.clip_value = 0.2;
    c.weight_norm = 1.5;
    c.average = 0.9;
    return c;
}

static void test_same_bits(void)
{
    static const q_optimizer_class *const classes[] = {&q_optimizer_sgd, &q_optimizer_adam, &q_optimizer_adamw,
                                                       &q_optimizer_lion};
    for (size_t k = 0; k < sizeof(classes) / sizeof(classes[0]); k++) {
        const q_train_config c = everything(classes[k]);
        const bench_options plain = {0};
        uint64_t want = hash_after(&plain, &c, BENCH_BATCH, 20);
        char what[96];
        (void)snprintf(what, sizeof(what), "%s: micro-batches of 3 and of 1", classes[k]->name);
        check(hash_after(&plain, &c, 3, 20) == want && hash_after(&plain, &c, 1, 20) == want, what);
        for (uint32_t i = 0; backend_name(i) != NULL; i++) {
            static const uint32_t workers[] = {1, 2, 3, 7};
            q_backend probe;
            for (size_t w = 0; w < 4 && backend_make(&probe, backend_name(i), q_cpu_detect()); w++) {
                const bench_options o = {.backend = backend_name(i), .workers = workers[w]};
                (void)snprintf(what, sizeof(what), "%s: %s, %u workers", classes[k]->name, backend_name(i), workers[w]);
                check(hash_after(&o, &c, BENCH_BATCH, 20) == want, what);
            }
        }
    }
}

static void test_loss_falls(void)
{
    static const q_optimizer_class *const classes[] = {&q_optimizer_sgd, &q_optimizer_adam, &q_optimizer_adamw,
                                                       &q_optimizer_lion};
    for (size_t k = 0; k < sizeof(classes) / sizeof(classes[0]); k++) {
        q_train_config c = plain_config(classes[k]);
        const bench_options o = {0};
        bench b;
        double first;
        double last = 0;
        c.optimizer.momentum = 0.5;
        c.optimizer.learning_rate = classes[k] == &q_optimizer_sgd ? 0.05 : 0.01;
        bench_open(&b, &o, &c);
        first = bench_step(&b, BENCH_BATCH).loss;
        for (int i = 0; i < 200; i++) {
            last = bench_step(&b, BENCH_BATCH).loss;
        }
        check(last < first / 10, classes[k]->name);
        bench_close(&b);
    }
}

/* ---- A caller's optimizer --------------------------------------------------------------------------------- */

static uint32_t own_moments(const q_optimizer_config *config)
{
    (void)config;
    return 1;
}

/* Adagrad (Duchi et al. 2011): the moment is the sum of squares. */
static void own_update(const q_kernels *kernels, const q_work *work, const q_update *u)
{
    size_t begin;
    size_t end;
    (void)kernels;
    q_share_elements(work, u->n, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        double g = (double)u->grad[i] * u->grad_scale;
        u->moment[0][i] += (q_real)(g * g);
        u->w[i] -= (q_real)(u->learning_rate * g / (sqrt((double)u->moment[0][i]) + 1e-8));
    }
}

static void test_own_optimizer(void)
{
    static const q_optimizer_class adagrad = {sizeof(q_optimizer_class), 0, "adagrad", own_moments, own_update};
    q_train_config c = plain_config(&adagrad);
    const bench_options one = {0};
    const bench_options three = {.workers = 3};
    double first;
    double last = 0;
    bench b;
    c.optimizer.learning_rate = 0.1;
    c.average = 0.5;
    bench_open(&b, &one, &c);
    first = bench_step(&b, BENCH_BATCH).loss;
    for (int i = 0; i < 200; i++) {
        last = bench_step(&b, BENCH_BATCH).loss;
    }
    check(last < first / 10, "a caller's optimizer, its moment beside the average, lowers the loss");
    bench_close(&b);
    check(hash_after(&one, &c, BENCH_BATCH, 20) == hash_after(&three, &c, 3, 20), "a caller's optimizer: the same bits with 3 workers");
}

/* ---- Clipping, scaling, averages, groups ------------------------------------------------------------------ */

static double norm_of(const bench *b, const char *name)
{
    q_tensor t = bench_param(b, name);
    double sum = 0;
    for (size_t i = 0; i < (size_t)t.ne[2] * t.ne[3]; i++) {
        double x = (double)((q_real *)t.data)[i];
        sum += x * x;
    }
    return sqrt(sum);
}

/* How far a step moved all parameters together. */
static double moved_by_step(bench *b, q_train_report *r)
{
    static const char *const names[] = {"first.w", "first.b", "second.w"};
    static q_real kept[3][BENCH_HIDDEN * BENCH_IN];
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        q_tensor t = bench_param(b, names[i]);
        memcpy(kept[i], t.data, (size_t)t.ne[2] * t.ne[3] * sizeof(q_real));
    }
    *r = bench_step(b, BENCH_BATCH);
    for (int i = 0; i < 3; i++) {
        q_tensor t = bench_param(b, names[i]);
        for (size_t j = 0; j < (size_t)t.ne[2] * t.ne[3]; j++) {
            double by = (double)kept[i][j] - (double)((q_real *)t.data)[j];
            sum += by * by;
        }
    }
    return sqrt(sum);
}

static void test_clipping(void)
{
    q_train_config c = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    q_train_report r;
    bench b;
    double moved;
    c.optimizer.learning_rate = 1;
    bench_open(&b, &o, &c);
    moved = moved_by_step(&b, &r);
    check(r.clipped == 0 && near(moved, r.gradient_norm, 1e-4) && r.count == BENCH_BATCH && r.step == 0,
          "no clipping unless asked: the step is the gradient");
    bench_close(&b);
    c.clip_norm = r.gradient_norm / 4;
    bench_open(&b, &o, &c);
    moved = moved_by_step(&b, &r);
    check(r.clipped == 1 && near(moved, c.clip_norm, 1e-4), "clipped by norm, the step has that norm");
    bench_close(&b);
    c.clip_norm = 0;
    c.clip_value = 1e-3;
    bench_open(&b, &o, &c);
    moved = moved_by_step(&b, &r);
    check(moved <= 1e-3 * sqrt(BENCH_HIDDEN * (BENCH_IN + 1 + BENCH_OUT)) * 1.001 && moved > 1e-3,
          "clipped by value, no element moves further");
    bench_close(&b);
}

static void test_weight_scaling(void)
{
    q_train_config c = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    q_train_report r;
    bench b;
    c.optimizer.learning_rate = 0;
    c.weight_norm = 1;
    bench_open(&b, &o, &c);
    check(norm_of(&b, "first.w") > 2, "a large weight");
    r = bench_step(&b, BENCH_BATCH);
    check(r.rescaled >= 1 && near(norm_of(&b, "first.w"), 1, 1e-5), "weights past the threshold are scaled back to it");
    r = bench_step(&b, BENCH_BATCH);
    check(r.rescaled <= 1 && near(norm_of(&b, "first.w"), 1, 1e-5), "and then stay");
    bench_close(&b);
}

static void test_average(void)
{
    q_train_config c = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    q_diag d;
    bench b;
    double average;
    bool good = true;
    c.average = 0.75;
    bench_open(&b, &o, &c);
    average = (double)((q_real *)bench_param(&b, "second.w").data)[4];
    for (int i = 0; i < 5; i++) {
        (void)bench_step(&b, BENCH_BATCH);
        average = 0.75 * average + 0.25 * (double)((q_real *)bench_param(&b, "second.w").data)[4];
    }
    {
        uint64_t hash = bench_hash(&b);
        must(q_trainer_exchange_average(b.trainer, &d), &d);
        good = near((double)((q_real *)bench_param(&b, "second.w").data)[4], average, 1e-6);
        check(bench_backward(&b, 0, 1, NULL, &d) == Q_ERR_INVALID_STATE, "no backward on averages");
        good = good && q_trainer_update(b.trainer, NULL, &d) != Q_OK && strcmp(d.field, "averages are in place") == 0;
        must(q_trainer_exchange_average(b.trainer, &d), &d);
        check(good && bench_hash(&b) == hash, "the average of the weights, no update of it, and back");
    }
    bench_close(&b);
}

static uint32_t only_bias(void *user, const char *name, const q_param_type *type)
{
    (void)user;
    (void)type;
    return strcmp(name, "first.b") == 0 ? 1 : 0;
}

static void test_groups(void)
{
    static const q_param_group groups[2] = {{0, 1}, {2, 0}};
    q_train_config c = plain_config(&q_optimizer_sgd);
    const bench_options o = {0};
    bench b;
    double w;
    double bias;
    c.group = only_bias;
    c.groups = groups;
    c.n_groups = 2;
    bench_open(&b, &o, &c);
    w = norm_of(&b, "first.w");
    bias = norm_of(&b, "first.b");
    (void)bench_step(&b, BENCH_BATCH);
    check(norm_of(&b, "first.w") == w && norm_of(&b, "first.b") != bias, "a group with rate 0 stays");
    bench_close(&b);
}

/* ---- What is refused -------------------------------------------------------------------------------------- */

static void refused(q_train_config c, const char *field)
{
    const bench_options o = {.moments = 4};
    const q_train_config good = plain_config(&q_optimizer_sgd);
    char what[64];
    q_diag d;
    size_t n;
    bench b;
    bench_open(&b, &o, &good);
    (void)snprintf(what, sizeof(what), "A26 %s refused", field);
    check(q_trainer_size(b.session, &c, &n, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, field) == 0, what);
    bench_close(&b);
}

static void test_bad_configs(void)
{
    const q_train_config good = plain_config(&q_optimizer_adamw);
    q_train_config c = good;
#define REFUSE(member, value, field) \
    c = good;                        \
    c.member = (value);              \
    refused(c, field)
    REFUSE(struct_size, 3, "struct_size");
    REFUSE(optimizer.struct_size, 3, "struct_size");
    REFUSE(optimizer.cls, NULL, "cls");
    REFUSE(optimizer.flags, 8, "flags");
    REFUSE(optimizer.learning_rate, -1.0, "learning_rate");
    REFUSE(optimizer.learning_rate, (double)NAN, "learning_rate");
    REFUSE(optimizer.learning_rate, (double)INFINITY, "learning_rate");
    REFUSE(optimizer.weight_decay, -0.1, "weight_decay");
    REFUSE(optimizer.momentum, 1.0, "momentum");
    REFUSE(optimizer.beta1, 1.0, "beta1");
    REFUSE(optimizer.beta2, -0.5, "beta2");
    REFUSE(optimizer.eps, (double)NAN, "eps");
    REFUSE(flags, 2, "flags");
    REFUSE(reserved, 1, "reserved");
    REFUSE(clip_norm, -1.0, "clip_norm");
    REFUSE(clip_value, (double)NAN, "clip_value");
    REFUSE(weight_norm, (double)INFINITY, "weight_norm");
    REFUSE(average, 1.0, "average");
#undef REFUSE
}

static void test_states(void)
{
    const q_train_config c = plain_config(&q_optimizer_adam);
    const q_train_config sgd = plain_config(&q_optimizer_sgd);
    const bench_options o = {0}, infer = {.infer = true};
    uint8_t memory[8];
    q_trainer *t = NULL;
    q_diag d;
    size_t n;
    bench b;
    bench_open(&b, &o, &sgd);
    check(q_trainer_size(b.session, &c, &n, &d) == Q_ERR_INVALID_STATE && strcmp(d.field, "moments") == 0 && d.need == 2,
          "a plan with too few moments");
    check(q_trainer_update(b.trainer, NULL, &d) == Q_ERR_INVALID_STATE, "an update without a micro-batch");
    check(q_trainer_exchange_average(b.trainer, &d) == Q_ERR_INVALID_STATE, "no average is kept");
    check(q_trainer_init(&t, (q_block){memory, sizeof(memory)}, b.session, &sgd, &d) != Q_OK && t == NULL, "too little memory");
    bench_close(&b);
    bench_open(&b, &infer, &sgd);
    check(q_trainer_size(b.session, &sgd, &n, &d) == Q_ERR_INVALID_STATE, "a plan that is not for training");
    check(q_model_backward(b.session, false, &d) == Q_ERR_INVALID_STATE && strcmp(d.field, "the plan is not one for training") == 0,
          "no backward in a plan that is not for training");
    bench_close(&b);
}

static void test_not_finite(void)
{
    const q_train_config c = everything(&q_optimizer_adamw);
    const bench_options o = {0};
    q_diag d;
    uint64_t hash;
    bench b;
    bench_open(&b, &o, &c);
    (void)bench_step(&b, BENCH_BATCH);
    hash = bench_hash(&b);
    {
        q_real keep = b.x[3];
        b.x[3] = (q_real)NAN;
        check(bench_backward(&b, 0, BENCH_BATCH, NULL, &d) == Q_ERR_NON_FINITE && strcmp(d.what, "loss") == 0,
              "a loss that is no number stops before backward");
        b.x[3] = keep;
    }
    must(bench_backward(&b, 0, BENCH_BATCH, NULL, &d), &d);
    {
        q_tensor g;
        must(q_session_param_grad(b.session, q_model_find_param(b.model, "second.w"), &g, &d), &d);
        ((q_real *)g.data)[7] = (q_real)INFINITY;
    }
    check(q_trainer_update(b.trainer, NULL, &d) == Q_ERR_NON_FINITE && strcmp(d.what, "second.w") == 0,
          "an infinite gradient is named");
    check(bench_hash(&b) == hash && q_trainer_steps(b.trainer) == 1, "and no parameter has changed");
    {
        const bench_options again = {0};
        bench w;
        bench_open(&w, &again, &c);
        (void)bench_step(&w, BENCH_BATCH);
        (void)bench_step(&w, BENCH_BATCH);
        (void)bench_step(&b, BENCH_BATCH);
        check(bench_hash(&b) == bench_hash(&w), "the next step is that of a training without the accident");
        bench_close(&w);
    }
    bench_close(&b);
}

int main(void)
{
    test_schedules();
    test_bad_schedules();
    test_adamw_by_hand();
    test_same_bits();
    test_loss_falls();
    test_own_optimizer();
    test_clipping();
    test_weight_scaling();
    test_average();
    test_groups();
    test_bad_configs();
    test_states();
    test_not_finite();
    test_fit();
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
