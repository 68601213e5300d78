/* SPDX-License-Identifier: MIT */
/*
 * Trainings stopped and gone on, entry C19 of the catalogue of bad inputs: the networks of vectors/train under every
 * optimizer, saved after ten different steps, loaded into another session with another backend and number of workers: at the
 * end all parameters, moments and averages have the bits of the training that never stopped.
 *
 *   test_resume FOLDER
 */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qorus/checkpoint.h"
#include "tools/common/backends.h"
#include "test/trajectory/trajectory.h"

enum { STEPS = 20, CUTS = 10 };

static char folder[] = "/tmp/qorus-resume-XXXXXX";
static char path[64];
static int passed;
static int failed;

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        host_fail(d->what, d->field, d->need, d->have);
    }
}

typedef struct way {
    const char *name;
    const q_optimizer_class *cls;
    uint32_t flags;
    double momentum;
    double average;
} way;

/* With their averages no more than the two moments that the plan of the file's recipe has. */
static const way ways[] = {
    {"sgd", &q_optimizer_sgd, 0, 0, 0},
    {"sgd with momentum and an average", &q_optimizer_sgd, 0, 0.9, 0.75},
    {"nesterov", &q_optimizer_sgd, Q_OPTIMIZER_NESTEROV, 0.9, 0},
    {"adam", &q_optimizer_adam, 0, 0, 0},
    {"adamw", &q_optimizer_adamw, 0, 0, 0},
    {"lion with an average", &q_optimizer_lion, 0, 0, 0.75},
};

static q_train_config config_of(const way *w)
{
    q_train_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.optimizer.struct_size = sizeof(c.optimizer);
    c.optimizer.cls = w->cls;
    c.optimizer.flags = w->flags;
    c.optimizer.momentum = w->momentum;
    c.optimizer.learning_rate = 0.002;
    c.optimizer.weight_decay = 0.1;
    c.average = w->average;
    c.clip_norm = 1;
    c.schedule.struct_size = sizeof(c.schedule);
    c.schedule.kind = Q_SCHEDULE_COSINE;
    c.schedule.warmup = 3;
    c.schedule.total = STEPS;
    return c;
}

/* A training ready for its first step. */
static void begin(bench *b, const network *net, const trajectory *t, const way *w, const bench_options *o)
{
    const q_train_config c = config_of(w);
    q_diag d;
    size_t n;
    bench_open(b, net, t, "adamw", o);
    must(q_trainer_size(b->session, &c, &n, &d), &d);
    b->memory[b->n_memory++] = host_take(n);
    must(q_trainer_init(&b->trainer, (q_block){b->memory[b->n_memory - 1], n}, b->session, &c, &d), &d);
}

static q_checkpoint_place place_of(uint32_t step)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    (void)snprintf(path, sizeof(path), "%s/%u", folder, step);
    p.struct_size = sizeof(p);
    p.port = host_port();
    p.path = path;
    return p;
}

static const q_block *work(void)
{
    static uint8_t bytes[Q_CHECKPOINT_WORK];
    static const q_block block = {bytes, sizeof(bytes)};
    return &block;
}

static q_checkpoint checkpoint_of(const bench *b)
{
    q_checkpoint c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.trainer = b->trainer;
    return c;
}

static void save(const bench *b)
{
    q_checkpoint c = checkpoint_of(b);
    q_checkpoint_place p = place_of((uint32_t)q_trainer_steps(b->trainer));
    q_diag d;
    must(q_checkpoint_save(&p, &c, *work(), &d), &d);
}

/* Of parameters and moments. */
static void hash(const bench *b, uint8_t sum[Q_SHA256_BYTES])
{
    q_sha256 sha;
    q_sha256_init(&sha);
    for (q_param p = 0; p < q_model_n_params(b->model); p++) {
        q_tensor t;
        q_diag d;
        q_error_code e = q_session_param(b->session, p, &t, &d);
        for (uint32_t i = 0; e == Q_OK; i++) {
            q_sha256_update(&sha, t.data, (size_t)t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3] * sizeof(q_real));
            e = q_session_param_moment(b->session, p, i, &t, &d);
        }
    }
    q_sha256_final(&sha, sum);
}

static const char *fastest(void)
{
    const char *name = backend_name(0);
    for (uint32_t i = 1; backend_name(i) != NULL; i++) {
        name = bench_has(backend_name(i)) ? backend_name(i) : name;
    }
    return name;
}

static uint32_t cut(uint32_t i)
{
    return i < 3 ? i + 1 : 2 * i; /* 1 2 3 6 8 .. 18 */
}

/* From the checkpoint of that step to the end. */
static void resume(const network *net, const trajectory *t, const way *w, uint32_t step, const uint8_t *want)
{
    const bench_options o = {step % 2 != 0 ? NULL : fastest(), 1 + step % 3, 0, 0};
    q_checkpoint_place p = place_of(step);
    uint8_t got[Q_SHA256_BYTES];
    q_checkpoint_info info;
    q_checkpoint c;
    q_diag d;
    bench b;
    begin(&b, net, t, w, &o);
    for (uint32_t i = 0; i < step % 4; i++) {
        (void)bench_step(&b, 3 + i); /* elsewhere */
    }
    c = checkpoint_of(&b);
    must(q_checkpoint_load(&p, &c, &info, *work(), &d), &d);
    for (uint32_t i = (uint32_t)q_trainer_steps(b.trainer); i < STEPS; i++) {
        (void)bench_step(&b, i);
    }
    hash(&b, got);
    passed += memcmp(got, want, sizeof(got)) == 0 ? 1 : 0;
    if (memcmp(got, want, sizeof(got)) != 0) {
        failed++;
        (void)printf("FAIL %s, %s: gone on from step %u: other bits\n", net->name, w->name, step);
    }
    bench_close(&b);
    (void)unlink(path);
}

static void stop_and_go_on(const network *net, const trajectory *t, const way *w)
{
    const bench_options o = {fastest(), 1, 0, 0};
    uint8_t want[Q_SHA256_BYTES];
    uint32_t next = 0;
    bench b;
    begin(&b, net, t, w, &o);
    for (uint32_t step = 0; step < STEPS; step++) {
        if (next < CUTS && step == cut(next)) {
            save(&b);
            next++;
        }
        (void)bench_step(&b, step);
    }
    hash(&b, want);
    bench_close(&b);
    for (uint32_t i = 0; i < CUTS; i++) {
        resume(net, t, w, cut(i), want);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 || mkdtemp(folder) == NULL) {
        (void)fprintf(stderr, "usage: test_resume FOLDER\n");
        return 2;
    }
    for (uint32_t i = 0; network_at(i) != NULL; i++) {
        trajectory t;
        trajectory_open(&t, argv[1], network_at(i)->name);
        for (uint32_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
            stop_and_go_on(network_at(i), &t, &ways[k]);
        }
        trajectory_close(&t);
    }
    (void)rmdir(folder);
    (void)printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
