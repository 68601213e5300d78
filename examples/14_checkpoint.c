/* SPDX-License-Identifier: MIT */
/*
 * 14: a training that the power leaves half way: every 20 steps it saves a checkpoint, which stands whole or not at all whenever
 * the power goes. A second one, which has nothing but that file, goes on to the bits of a training that was never stopped.
 *
 *   14_checkpoint FILE
 */
#include "port/posix/posix.h"
#include "qorus/checkpoint.h"
#include "training.h"

enum { SAMPLES = 256, BATCH = 32, EPOCHS = 20, EVERY = 20, POWER_CUT = 90 };

static float x[SAMPLES][2];
static float wanted[SAMPLES];

/* What a run saves to, and when it ends before its time. */
typedef struct run {
    training t;
    q_checkpoint_place place;
    uint64_t cut;   /* after which step; 0: never */
    uint32_t made;  /* steps */
    q_diag d;
} run;

static _Alignas(Q_ALIGN) unsigned char work[64 << 10];
static _Alignas(Q_ALIGN) unsigned char gathered[BATCH * 4 * sizeof(float) + 2 * Q_ALIGN];

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge a;
    q_edge b;
    (void)unused;
    q_net_begin(&n, graph);
    a = q_net_features(&n, "x", 2);
    b = q_net_features(&n, "wanted", 1);
    a = q_net_dropout(&n, q_net_linear(&n, "hidden", a, 64, Q_ACT_TANH), 0.1f); /* random, and the same again */
    q_net_mse(&n, q_net_linear(&n, "out", a, 1, Q_ACT_NONE), b);
}

static bool after_step(void *user, const q_fit_progress *p)
{
    run *r = (run *)user;
    q_checkpoint c = {.struct_size = sizeof(c), .trainer = r->t.trainer};
    bool saved = r->place.path == NULL || p->steps % EVERY != 0 ||
                 q_checkpoint_save(&r->place, &c, (q_block){work, sizeof(work)}, &r->d) == Q_OK;
    r->made++;
    return saved && p->steps != r->cut;
}

/* Trains from where the trainer stands to the end, or to the power cut. */
static q_error_code train(run *r, bool loads, q_fit_result *result)
{
    q_table table = {.n = SAMPLES, .n_inputs = 2, .data = {x, wanted}, .bytes = {sizeof(x[0]), sizeof(wanted[0])},
                     .buffer = gathered, .size = sizeof(gathered)};
    q_train_config config = training_config(&q_optimizer_adamw, 0.01);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = BATCH, .epochs = EPOCHS, .progress = after_step, .user = r};
    q_checkpoint c = {.struct_size = sizeof(c)};
    q_dataset data = q_table_dataset(&table);
    q_error_code e;
    r->d.code = Q_OK;
    e = training_open(&r->t, build, NULL, &config, training_samples(BATCH), &r->d);
    c.trainer = r->t.trainer;
    e = e == Q_OK && loads ? q_checkpoint_load(&r->place, &c, NULL, (q_block){work, sizeof(work)}, &r->d) : e;
    e = e == Q_OK ? training_fit(&r->t, &fit, &data, NULL, result, &r->d) : e;
    return e == Q_OK ? r->d.code : e;
}

int main(int argc, char **argv)
{
    static q_posix posix;
    q_fit_result result;
    run whole = {.cut = 0};
    run half = {.cut = POWER_CUT};
    run again = {.cut = 0};

    if (argc != 2) {
        printf("usage: 14_checkpoint FILE\n");
        return 2;
    }
    if (q_posix_init(&posix, 1, &half.d) != Q_OK) {
        return training_failed(&half.d);
    }
    training_port = q_posix_port(&posix);
    half.place = (q_checkpoint_place){.struct_size = sizeof(half.place), .port = training_port, .path = argv[1]};
    again.place = half.place;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        x[i][0] = (float)(i % 16) / 8 - 1;
        x[i][1] = (float)(i / 16) / 8 - 1;
        wanted[i] = x[i][0] * x[i][1];
    }
    if (train(&whole, false, &result) != Q_OK) {
        return training_failed(&whole.d);
    }
    printf("never stopped: loss %.6f after %llu steps\n", result.loss, (unsigned long long)result.steps);
    if (train(&half, false, &result) != Q_OK) {
        return training_failed(&half.d);
    }
    printf("the power goes after step %llu\n", (unsigned long long)result.steps);
    if (train(&again, true, &result) != Q_OK) {
        return training_failed(&again.d);
    }
    printf("gone on: loss %.6f after %u steps more: %s\n", result.loss, again.made,
           training_same(&whole.t, &again.t) ? "the same bits" : "other bits");
    return 0;
}
