/* SPDX-License-Identifier: MIT */
/* rig_inner.h: what the parts of the gradient rig share. */
#ifndef QORUS_TEST_GRADIENT_RIG_INNER_H
#define QORUS_TEST_GRADIENT_RIG_INNER_H

#include "rig.h"

#include "port/posix/posix.h"

enum { RIG_TENSORS = 64, RIG_WORKERS = 3 /* most of a bench */ };

/* Where the micro-batch that runs begins. */
typedef struct rig_window {
    uint32_t sample;
    uint32_t token;
} rig_window;

extern rig_window rig_at;

/* The type of what the source hands out; its parameter has the rows of the whole case. */
typedef struct rig_source_config {
    uint32_t n[Q_MAX_DIMS];
    uint32_t sym[Q_MAX_DIMS];
} rig_source_config;

extern const q_layer_class rig_source_class;
extern const q_layer_class rig_probe_class;

/* What is known of a source, parameter or constant by its name. */
typedef struct rig_named {
    char name[64];
    double low;
    double high;
    uint32_t limit;
    q_value_type type; /* of constants */
    bool constant;
    void *data;        /* of constants: rows of the whole case */
} rig_named;

typedef struct rig_run {
    const rig_graph *graph;
    bool feeding; /* sources feed the probe too */
    rig_named named[RIG_TENSORS];
    uint32_t n_named;
    q_value sources[Q_MAX_INPUTS];
    uint32_t n_sources;
    q_maxima max;
} rig_run;

extern rig_run rig_now; /* builders are called back without a place for it */

/* Ends the program. */
void rig_must(q_error_code e, const q_diag *d);
/* Aligned, full of NaN; free() gives it back. */
void *rig_memory(size_t bytes);

/* ---- rig_build.c ---- */

rig_named *rig_find(const char *name);
uint32_t rig_rows_of_case(const q_value_type *t);
/* Elements that a sample, or a token, of a value has. */
size_t rig_unit_of(const q_value_type *t);
/* q_build_fn of the case that runs. */
void rig_build(q_graph *g, const void *unused);

/* ---- rig_bench.c ---- */

typedef struct rig_bench {
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    void *memory[8];
    uint32_t n_memory;
    q_real *grads; /* of all trainable parameters, one behind the other */
    size_t n_grads;
} rig_bench;

/* A step with what it points to. */
typedef struct rig_step_parts {
    q_step step;
    q_step_span spans[RIG_SPANS];
    const void *inputs[RIG_TENSORS];
} rig_step_parts;

/* slow: workers pass each other (rig_take_turns). */
void rig_open(rig_bench *b, const char *backend, uint32_t workers, uint32_t flags, bool slow);
void rig_close(rig_bench *b);
/* Samples (or spans) first .. first + n - 1. */
void rig_make_step(rig_bench *b, uint32_t first, uint32_t n, rig_step_parts *p);
void rig_forward(rig_bench *b, uint32_t first, uint32_t n);
/* Copies all gradients to b->grads. */
void rig_keep_grads(rig_bench *b);
uint32_t rig_samples(void);
/* Forward and backward of the whole case. */
void rig_whole_batch(rig_bench *b);

/* ---- rig_turns.c ---- */

/* Makes recurrent cells slow; of one table at a time. */
void rig_take_turns(q_kernels *k);

#endif /* QORUS_TEST_GRADIENT_RIG_INNER_H */
