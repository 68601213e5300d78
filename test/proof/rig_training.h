/* SPDX-License-Identifier: MIT */
/* rig_training.h: a small perceptron in training, in memory of the rig's. */
#ifndef QORUS_TEST_PROOF_RIG_TRAINING_H
#define QORUS_TEST_PROOF_RIG_TRAINING_H

#include "rig.h"

#include "qorus/train.h"

enum { ROWS = 4, FEATURES = 3, HIDDEN = 5, CLASSES = 3, REGIONS = 4, WORKERS = 3 };

typedef struct training {
    rig *r;
    q_model *model;
    q_session *session;
    q_trainer *trainer;
    q_train_config config;
    q_real x[ROWS * FEATURES];
    int32_t labels[ROWS]; /* CLASSES: ignored */
    const void *inputs[2];
    q_step step;
    /* what the observer does while a step runs */
    q_error_code answer;
    bool reenters;
    q_error_code entered;
} training;

q_train_config training_config(const q_optimizer_class *cls);
/* A trainer with two moments, its parameters and data from -1/2 to 1/2. */
q_error_code training_open(training *t, rig *r, const q_train_config *config);
/* FNV-1a of all parameters. */
uint64_t training_hash(const training *t);

#endif /* QORUS_TEST_PROOF_RIG_TRAINING_H */
