/* SPDX-License-Identifier: MIT */
/* rig.h: a small network and a small decoder, trained as if in narrower types, written and run from their files. */
#ifndef QORUS_TEST_NARROW_RIG_H
#define QORUS_TEST_NARROW_RIG_H

#include "qorus/train.h"
#include "qorus/write.h"

enum { RIG_BATCH = 6, RIG_IN = 64, RIG_HIDDEN = 32, RIG_OUT = 8, RIG_TOKENS = 12, RIG_VOCAB = 40 };

typedef struct rig_options {
    uint32_t precision;
    uint32_t workers;     /* 0: 1 */
    const char *backend;  /* NULL: scalar */
    uint32_t weights;     /* q_dtype of matrices; Q_F32: none */
    uint32_t vectors;     /* q_dtype of biases and norms */
    uint32_t values;      /* q_dtype of outputs */
    uint32_t gradients;
    uint32_t plan_flags;
    bool decoder;         /* instead of the network of two products */
    uint32_t fake;        /* planes of a fake_quantize of the graph's own in the network's middle; 0: there is none */
    bool infer;
    const q_file *file;   /* the model is the file's */
    const struct rig *share; /* whose PARAM region it uses */
} rig_options;

typedef struct rig rig;
struct rig {
    rig_options o;
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_trainer *trainer;
    q_plan_config plan_config;
    void *memory[8];
    uint32_t n_memory;
    void *params; /* PARAM region */
    q_real x[RIG_BATCH * RIG_IN];
    q_real target[RIG_BATCH * RIG_OUT];
    int32_t tokens[RIG_TOKENS + 1];
};

extern uint32_t passed;
extern uint32_t failed;
void check(bool ok, const char *what);
void must(q_error_code e, const q_diag *d);

/* True if this CPU has what the backend needs. */
bool rig_has_backend(const char *name);

/* Slots hold the same numbers every time. */
void rig_open(rig *r, const rig_options *o);
/* The same without `must`: an error of the plan. */
q_error_code rig_plan(rig *r, const rig_options *o, q_diag *d);
void rig_close(rig *r);

/* The one batch there is. */
q_step rig_step(const rig *r, const void *inputs[2]);
q_error_code rig_backward(rig *r, q_diag *d);
/* So many steps; the loss of the last. */
double rig_train(rig *r, uint32_t steps);
/* Loss of the batch as evaluation, or from an inference plan. */
double rig_loss(rig *r);
q_tensor rig_param(const rig *r, const char *name);
q_tensor rig_grad(rig *r, const char *name);
uint64_t rig_hash(const rig *r);

/* Writes the model in that type and gives the loss of the file's model. */
double rig_file_loss(const rig *r, uint32_t dtype, uint32_t precision);

void test_weights(void);
void test_values(void);
void test_audit(void);

#endif /* QORUS_TEST_NARROW_RIG_H */
