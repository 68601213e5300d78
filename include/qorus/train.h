/* SPDX-License-Identifier: MIT */
/*
 * train.h: a trainer: steps of an optimizer over a training session.
 *
 *     q_plan_config pc = {... .mode = Q_PLAN_TRAIN, .moments = q_train_moments(&config)};
 *     ...
 *     q_trainer_backward(trainer, &micro_batch, NULL, &diag);     once or several times
 *     q_trainer_update(trainer, &report, &diag);                  one step of the optimizer
 *
 * The graph's output 0 is the loss, a sum over samples; an output named "count", where there is one, tells how many terms
 * that sum has as two reals whose sum it is, otherwise every sample of the batch (every span) counts as one. Gradients are
 * divided by the count of all micro-batches together, once, before clipping: any cut of a batch into micro-batches gives
 * the same bits.
 */
#ifndef QORUS_TRAIN_H
#define QORUS_TRAIN_H

#include "optim.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_trainer q_trainer;

/* Parameters that are treated alike. */
typedef struct q_param_group {
    double rate_scale;  /* times the learning rate */
    double decay_scale; /* times the weight decay */
} q_param_group;

enum {
    Q_TRAIN_KEEP_STATE = 1u << 0 /* states of sequences are not reset before a micro-batch: it continues them */
};

typedef struct q_train_config {
    uint32_t struct_size; /* sizeof(q_train_config) */
    uint32_t flags;       /* Q_TRAIN_* */
    q_optimizer_config optimizer;
    q_schedule schedule;
    double clip_norm;     /* of all gradients together, Pascanu et al. 2012, arXiv:1211.5063; 0: none */
    double clip_value;    /* of each element of the mean gradient, after clipping by norm; 0: none */
    double weight_norm;   /* a parameter whose norm is above is scaled back to it, before clipping; 0: none */
    double average;       /* share of the old average of the weights kept in each step (EMA), 0 .. 1; 0: no average */
    uint64_t seed;        /* of everything random in a step */
    /* (optional; default: matrices are group 0, vectors (biases, norms) group 1) Which group a parameter is of. */
    uint32_t (*group)(void *user, const char *name, const q_param_type *type);
    void *user;
    const q_param_group *groups; /* copied; NULL: {1, 1} for group 0 and {1, 0}, no decay, for group 1 */
    uint32_t n_groups;           /* 1 .. Q_MAX_GROUPS, or 0 with NULL */
    uint32_t reserved;           /* 0 */
} q_train_config;

enum { Q_MAX_GROUPS = 8 };

/* What came of a step. */
typedef struct q_train_report {
    uint64_t step;        /* number of the step just made, from 0 */
    double loss;          /* mean over the counted terms */
    double count;
    double gradient_norm; /* of the mean gradient, before clipping */
    double learning_rate;
    uint32_t clipped;     /* 1: the norm was above clip_norm */
    uint32_t rescaled;    /* parameters brought back to weight_norm */
} q_train_report;

/* What a forward pass told. */
typedef struct q_train_part {
    double loss; /* sum */
    double count;
} q_train_part;

/* q_plan_config.moments for this training. */
uint32_t q_train_moments(const q_train_config *config);

/* Bytes of a trainer. Errors: those of the config, naming the field; Q_ERR_INVALID_STATE: not a training session, or its
   plan has too few moments; Q_ERR_NOT_FOUND: nothing is trainable. */
Q_NODISCARD q_error_code q_trainer_size(const q_session *session, const q_train_config *config, size_t *bytes,
                                        q_diag *diag);
/* memory.base: a multiple of Q_ALIGN. Keeps pointers to the session, which only the trainer steps from now on. */
Q_NODISCARD q_error_code q_trainer_init(q_trainer **trainer, q_block memory, q_session *session,
                                        const q_train_config *config, q_diag *diag);

/*
 * Forward and backward of one micro-batch; its gradients are added to those since the last update. seed, index and
 * first_sample of the step are set here; sequences named by spans start anew. Q_ERR_NON_FINITE, before backward: the loss
 * is infinite or no number; the micro-batches since the last update are forgotten. part may be NULL.
 */
Q_NODISCARD q_error_code q_trainer_backward(q_trainer *trainer, const q_step *step, q_train_part *part, q_diag *diag);

/*
 * One step of the optimizer: norm, weight scaling, clipping, update, average. report may be NULL. Q_ERR_INVALID_STATE: no
 * micro-batch; Q_ERR_NON_FINITE: a gradient is infinite or no number. On any error parameters and moments are untouched,
 * and the micro-batches forgotten. Cost: one pass over parameters, gradients and moments, shared by all workers.
 */
Q_NODISCARD q_error_code q_trainer_update(q_trainer *trainer, q_train_report *report, q_diag *diag);

/* The loss of a batch with the parameters as they are; nothing is dropped, nothing changes. */
Q_NODISCARD q_error_code q_trainer_evaluate(q_trainer *trainer, const q_step *step, q_train_part *part, q_diag *diag);

/* Exchanges parameters and their averages, for evaluation or export; called again it puts them back. Update and backward
   are refused in between. Q_ERR_INVALID_STATE: no average is kept. */
Q_NODISCARD q_error_code q_trainer_exchange_average(q_trainer *trainer, q_diag *diag);

/* Steps made; and how to go on where an earlier training ended (its parameters and moments in place). */
uint64_t q_trainer_steps(const q_trainer *trainer);
void q_trainer_set_steps(q_trainer *trainer, uint64_t steps);
q_session *q_trainer_session(const q_trainer *trainer);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_TRAIN_H */
