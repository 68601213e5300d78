/* SPDX-License-Identifier: MIT */
/*
 * optim.h: optimizers: what turns the gradients of a training session into its next parameters, and schedules of the
 * learning rate. A trainer (train.h) puts them to work.
 */
#ifndef QORUS_OPTIM_H
#define QORUS_OPTIM_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_optimizer_class q_optimizer_class;

enum { Q_OPTIMIZER_NESTEROV = 1u << 0 };

/* Hyper-parameters; those that a class does not use are not looked at. 0 in a field means its default. */
typedef struct q_optimizer_config {
    uint32_t struct_size; /* sizeof(q_optimizer_config) */
    uint32_t flags;       /* Q_OPTIMIZER_* */
    const q_optimizer_class *cls;
    double learning_rate; /* >= 0, finite */
    double weight_decay;  /* sgd, adam: added to the gradient; adamw, lion: taken from the weight, times the rate */
    double momentum;      /* sgd: 0 (none) <= momentum < 1 */
    double beta1;         /* adam, adamw: 0.9; lion: 0.9 */
    double beta2;         /* adam, adamw: 0.999; lion: 0.99 */
    double eps;           /* adam, adamw: 1e-8 */
} q_optimizer_config;

/* One parameter's step. Memory is the session's; moments are zero before the first step. */
typedef struct q_update {
    size_t n;
    q_real *w;
    const q_real *grad;
    q_real *moment[Q_MAX_MOMENTS];
    double learning_rate; /* of this step and parameter */
    double weight_decay;
    double grad_scale;    /* the gradient is grad times this: 1/N and what clipping by norm leaves */
    double limit;         /* clipping by value: each element of the scaled gradient; 0: none */
    uint64_t step;        /* from 0 */
    const q_optimizer_config *config;
} q_update;

/* A caller may make one of his own. */
struct q_optimizer_class {
    uint32_t struct_size; /* sizeof(q_optimizer_class) */
    uint32_t reserved;
    const char *name;
    /* Moments each parameter needs, at most Q_MAX_MOMENTS - 1 (one is for the average of weights). */
    uint32_t (*moments)(const q_optimizer_config *config);
    /* Called by every worker with the same update: share the elements (q_share_elements). */
    void (*update)(const q_kernels *kernels, const q_work *work, const q_update *u);
};

/* The formulas are those of the kernels (q_optimizer_args in kernels_train.h). */
extern const q_optimizer_class q_optimizer_sgd;
extern const q_optimizer_class q_optimizer_adam;
extern const q_optimizer_class q_optimizer_adamw;
extern const q_optimizer_class q_optimizer_lion;

/* The library's class of that name ("sgd", "adam", "adamw", "lion"), or NULL. */
const q_optimizer_class *q_optimizer_find(const char *name);

/* Checks a config. Q_ERR_INVALID_ARG names the field. */
Q_NODISCARD q_error_code q_optimizer_check(const q_optimizer_config *config, q_diag *diag);

/* ---- Schedules ------------------------------------------------------------------------------------------- */

typedef enum q_schedule_kind {
    Q_SCHEDULE_CONSTANT = 0,
    Q_SCHEDULE_STEP = 1,   /* times factor every `every` steps */
    Q_SCHEDULE_COSINE = 2, /* half a cosine from 1 to `last` over the steps after the warm-up (Loshchilov and Hutter 2016,
                              arXiv:1608.03983) */
    Q_SCHEDULE_LINEAR = 3, /* a straight line from 1 to `last` */
    Q_SCHEDULE_WSD = 4     /* warm-up, stable at 1, then a straight line to `last` over the final `decay` steps (Hu et al.
                              2024, arXiv:2404.06395) */
} q_schedule_kind;

/* Any kind begins with `warmup` steps of rising rate: step s < warmup has the share (s + 1)/warmup. */
typedef struct q_schedule {
    uint32_t struct_size; /* sizeof(q_schedule) */
    uint32_t kind;        /* q_schedule_kind */
    uint64_t warmup;
    uint64_t total;       /* steps in all, the warm-up included; after them the rate stays */
    uint64_t every;       /* STEP: >= 1 */
    uint64_t decay;       /* WSD: <= total - warmup */
    double factor;        /* STEP: > 0, <= 1 */
    double last;          /* share of the rate at the end: 0 .. 1 */
} q_schedule;

Q_NODISCARD q_error_code q_schedule_check(const q_schedule *schedule, q_diag *diag);
/* The share of the learning rate in a step, 0 .. 1; the same bits on every machine. Steps count from 0. */
double q_schedule_share(const q_schedule *schedule, uint64_t step);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_OPTIM_H */
