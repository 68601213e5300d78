/* SPDX-License-Identifier: MIT */
/*
 * The networks of test/trajectory, trained with every optimizer, stopped at ten points, and gone on from their checkpoints by
 * other backends, workers and micro-batches: they end with the bits of the training that never stopped: parameters, moments,
 * averages and steps, all that a checkpoint holds.
 *
 *   test_resume FOLDER
 */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qorus/checkpoint.h"
#include "test/trajectory/trajectory.h"
#include "tools/common/backends.h"

enum { STEPS = 22, CUTS = 10, EVERY = 2, PLACES = CUTS + 2, BACKENDS = 8 };

/* Places 0 .. CUTS - 1: what the training that never stopped leaves on its way; and two more. */
enum { AT_END = CUTS, OF_OTHERS = CUTS + 1 };

typedef struct way {
    const char *name;
    const char *optimizer;
    double rate;
    double momentum;
    uint32_t flags;
    double average;
} way;

static const way ways[] = {
    {"sgd", "sgd", 0.05, 0, 0, 0},         {"momentum", "sgd", 0.02, 0.9, 0, 0},
    {"nesterov", "sgd", 0.02, 0.9, Q_OPTIMIZER_NESTEROV, 0.9}, {"adam", "adam", 0.005, 0, 0, 0},
    {"adamw", "adamw", 0.005, 0, 0, 0.75}, {"lion", "lion", 0.001, 0, 0, 0},
};

Q_ALIGNED(64) static uint8_t work_bytes[1 << 16];
static const q_block work = {work_bytes, sizeof(work_bytes)};
static char path[] = "/tmp/qorus-resume-XXXXXX";
static const char *backends[BACKENDS];
static uint32_t n_backends;
static unsigned passed;
static unsigned failed;

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        (void)unlink(path);
        host_fail(d->what, d->field, d->need, d->have);
    }
}

/* Where no power goes away: test/checkpoint cuts it. */
static q_error_code need_no_sync(void *user, q_port_file file)
{
    (void)user;
    (void)file;
    return Q_OK;
}

static const q_port *quick_port(void)
{
    static q_port port;
    port = *host_port();
    port.file_sync = need_no_sync;
    return &port;
}

/* ---- One training and its places ---------------------------------------------------------------------------- */

typedef struct training {
    const network *net;
    const trajectory *t;
    q_train_config config;
    bench b;
    q_port_file file;
    uint64_t slot;
} training;

/* Recipes have rates and schedules of their own; what differs here is the optimizer alone. */
static q_train_config config_of(const network *net, const trajectory *t, const way *w)
{
    q_train_config c = bench_config(t, net->hashed);
    c.optimizer.cls = q_optimizer_find(w->optimizer);
    c.optimizer.learning_rate = w->rate;
    c.optimizer.momentum = w->momentum;
    c.optimizer.flags = w->flags;
    c.average = w->average;
    return c;
}

/* Begins anew, in the n-th of the ways that all have the same bits. */
static void begin(training *r, uint32_t n)
{
    bench_options o = {backends[n_backends - 1 - n % n_backends], 1 + n % 3, 0, 0};
    o.each = r->net->splits && n % 2 != 0 ? 3 : 0;
    bench_open_as(&r->b, r->net, r->t, &r->config, &o);
}

static q_checkpoint checkpoint_of(const training *r)
{
    q_checkpoint c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.trainer = r->b.trainer;
    return c;
}

static q_checkpoint_place place_at(const training *r, uint32_t i)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.port = quick_port();
    p.file = r->file;
    p.slot_bytes = r->slot;
    p.offset = 2 * r->slot * i;
    return p;
}

static void open_file(training *r)
{
    const q_checkpoint c = checkpoint_of(r);
    const q_port *port = host_port();
    q_diag d = {Q_OK, "checkpoint", "file", 0, 0, 0};
    must(q_checkpoint_size(&c, NULL, &r->slot, &d), &d);
    if (truncate(path, 0) != 0 || truncate(path, (off_t)(2 * r->slot * PLACES)) != 0) {
        must(Q_ERR_IO, &d);
    }
    must(port->file_open(port->user, path, Q_OPEN_READ_WRITE, &r->file), &d);
}

static void save(const training *r, uint32_t i)
{
    q_checkpoint_place p = place_at(r, i);
    const q_checkpoint c = checkpoint_of(r);
    q_diag d;
    must(q_checkpoint_save(&p, &c, work, &d), &d);
}

static void load(training *r, uint32_t i)
{
    q_checkpoint_place p = place_at(r, i);
    q_checkpoint c = checkpoint_of(r);
    q_diag d;
    must(q_checkpoint_load(&p, &c, NULL, work, &d), &d);
}

/* Steps until `end`; saves at every cut where `saves`. */
static void train(training *r, uint32_t end, bool saves)
{
    for (uint32_t step = (uint32_t)q_trainer_steps(r->b.trainer); step < end; step++) {
        (void)bench_step(&r->b, step);
        if (saves && (step + 1) % EVERY == 0 && step + 1 < STEPS) {
            save(r, (step + 1) / EVERY - 1);
        }
    }
}

/* ---- The comparison ----------------------------------------------------------------------------------------- */

/* The hash of all that is saved. */
static void hash_at(const training *r, uint32_t i, uint8_t hash[Q_CHECKPOINT_HASH])
{
    q_checkpoint_place p = place_at(r, i);
    q_checkpoint_info info;
    q_diag d;
    must(q_checkpoint_look(&p, &info, NULL, 0, work, &d), &d);
    memcpy(hash, info.hash, Q_CHECKPOINT_HASH);
}

/* Ends a training that was stopped. */
static void compare(training *r, const way *w, uint32_t cut)
{
    uint8_t want[Q_CHECKPOINT_HASH];
    uint8_t got[Q_CHECKPOINT_HASH];
    save(r, OF_OTHERS);
    hash_at(r, AT_END, want);
    hash_at(r, OF_OTHERS, got);
    bench_close(&r->b);
    if (memcmp(want, got, sizeof(want)) == 0) {
        passed++;
    } else {
        failed++;
        printf("FAIL %s, %s, stopped after %s%u steps: other bits at the end\n", r->net->name, w->name,
               cut == CUTS ? "every " : "", cut == CUTS ? EVERY : (cut + 1) * EVERY);
    }
}

/* Stopped at each point, and at all of them. */
static void stop_and_go_on(const network *net, const trajectory *t, const way *w)
{
    training r = {.net = net, .t = t, .config = config_of(net, t, w)};
    const q_port *port = host_port();
    begin(&r, 0);
    open_file(&r);
    train(&r, STEPS, true);
    save(&r, AT_END);
    bench_close(&r.b);
    for (uint32_t cut = 0; cut < CUTS; cut++) {
        begin(&r, cut);
        load(&r, cut);
        train(&r, STEPS, false);
        compare(&r, w, cut);
    }
    begin(&r, 0);
    for (uint32_t cut = 0; cut < CUTS; cut++) {
        train(&r, (cut + 1) * EVERY, false);
        save(&r, OF_OTHERS);
        bench_close(&r.b);
        begin(&r, cut);
        load(&r, OF_OTHERS);
    }
    train(&r, STEPS, false);
    compare(&r, w, CUTS);
    if (port->file_close(port->user, r.file) != Q_OK) {
        failed++;
    }
}

int main(int argc, char **argv)
{
    int fd = argc == 2 ? mkstemp(path) : -1;
    if (fd < 0 || close(fd) != 0) {
        (void)fprintf(stderr, "usage: test_resume FOLDER\n");
        return 2;
    }
    for (uint32_t i = 0; backend_name(i) != NULL && n_backends < BACKENDS; i++) {
        if (bench_has(backend_name(i))) {
            backends[n_backends++] = backend_name(i);
        }
    }
    for (uint32_t i = 0; network_at(i) != NULL; i++) {
        trajectory t;
        trajectory_open(&t, argv[1], network_at(i)->name);
        for (uint32_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
            stop_and_go_on(network_at(i), &t, &ways[k]);
        }
        trajectory_close(&t);
    }
    (void)unlink(path);
    printf("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed != 0 ? 1 : 0;
}
