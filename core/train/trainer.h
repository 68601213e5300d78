/* SPDX-License-Identifier: MIT */
/* trainer.h: what a trainer consists of; private to core/train. */
#ifndef QORUS_CORE_TRAIN_TRAINER_H
#define QORUS_CORE_TRAIN_TRAINER_H

#include "../model/session.h"
#include "qorus/train.h"

/* One trainable parameter. */
typedef struct trained {
    q_param param;
    uint32_t group;
    size_t n;        /* elements */
    size_t partial;  /* index of its first partial sum */
    uint32_t chunks; /* how many it has */
    uint32_t reserved;
    double factor;   /* of weight scaling, in this step */
    const char *name;
    q_real *w;
    q_real *grad;
    q_real *moment[Q_MAX_MOMENTS];
} trained;

struct q_trainer {
    q_session *session;
    q_train_config config;
    q_param_group groups[Q_MAX_GROUPS];
    uint32_t n_trained;
    uint32_t count_output; /* index of the output "count", or Q_NONE */
    uint64_t steps;
    uint32_t samples;      /* of the micro-batches since the last update */
    q_step step;           /* the one that runs, or ran last */
    bool exchanged;        /* parameters and averages have changed places */
    double loss;
    double count;
    void (*audit)(void *user, const q_audit *audit); /* NULL: nobody asks */
    void *audit_user;
    trained *list;         /* [n_trained] */
    q_real *partial;       /* sums of squares of all of them */

    /* of the update that runs now */
    q_train_report report;
    double grad_scale;
    const char *bad;       /* a parameter whose gradient is not finite */
};

/* Does backward reach it? */
bool q_train_has_gradient(const q_session *s, q_param p);

/* The sequences that a step names start anew. */
q_error_code q_train_reset_sequences(q_session *s, const q_step *step, q_diag *diag);

/* The micro-batches since the last update are as if they had not been. */
void q_trainer_forget(q_trainer *t);

/* One parameter's part of an update: elements [first, first + n) of it. */
q_update q_trainer_part(const q_trainer *t, const trained *x, size_t first, size_t n);

/* Worker 0: the updates of all parameters, none where one is bad, told to the auditor. */
void q_trainer_audited(const q_trainer *t, const q_work *work);

/* The update itself, on all workers. Returns false, and bad is set, if a gradient is not finite. */
bool q_trainer_apply(q_trainer *t);

#endif /* QORUS_CORE_TRAIN_TRAINER_H */
