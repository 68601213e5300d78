/* SPDX-License-Identifier: MIT */
/* bench.h: a small model in training, opened in any way a test wants. */
#ifndef QORUS_TEST_TRAIN_BENCH_H
#define QORUS_TEST_TRAIN_BENCH_H

#include "qorus/train.h"

enum { BENCH_IN = 7, BENCH_HIDDEN = 21, BENCH_OUT = 3, BENCH_BATCH = 8 };

typedef struct bench_options {
    const char *backend; /* NULL: scalar */
    uint32_t workers;    /* 0: 1 */
    uint32_t plan_flags;
    uint32_t moments;    /* more than the config needs; 0: just those */
    bool infer;          /* a plan that is not for training */
} bench_options;

typedef struct bench {
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_trainer *trainer;
    void *memory[8];
    uint32_t n_memory;
    q_real x[BENCH_BATCH * BENCH_IN];
    q_real target[BENCH_BATCH * BENCH_OUT];
} bench;

void check(bool ok, const char *what);
void must(q_error_code e, const q_diag *d);

/* A config that works: SGD at 0.01, constant. */
q_train_config plain_config(const q_optimizer_class *cls);

/* Two linear layers and a mean of squares, all parameters trained; the same numbers every time. */
void bench_open(bench *b, const bench_options *o, const q_train_config *config);
void bench_close(bench *b);

/* Samples first .. first + n - 1 through forward and backward. */
q_error_code bench_backward(bench *b, uint32_t first, uint32_t n, q_train_part *part, q_diag *d);
/* One step over the whole batch, in micro-batches of `each`. */
q_train_report bench_step(bench *b, uint32_t each);

/* Parameter by name, and a sum over its bits that tells any two apart. */
q_tensor bench_param(const bench *b, const char *name);
uint64_t bench_hash(const bench *b);

#endif /* QORUS_TEST_TRAIN_BENCH_H */
