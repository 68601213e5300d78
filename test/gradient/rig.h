/* SPDX-License-Identifier: MIT */
/*
 * rig.h: gradients of layers and of whole graphs against finite differences.
 *
 * A case is a graph whose real inputs are parameters in disguise (rig_source), so that the gradient of every input can
 * be asked for, and whose outputs meet in one number (rig_probe): a sum with fixed irregular weights. Then
 *
 *   - every gradient passes q_gradcheck: in the double build (f(w+e) - f(w-e)) / 2e, e = 1e-6, to
 *     1e-5 + 1e-3*|difference|, PyTorch's defaults; of large tensors RIG_SAMPLES elements are looked at;
 *   - in both builds, the same bits come out on every backend, with 1 and with 3 workers, with and without fusion, with
 *     everything computed again for backward (builders may set blocks of their own), and for the batch cut into two
 *     micro-batches (with batch statistics: the batch twice has twice its gradients).
 *
 * Every case is run twice: as it is, and with every source feeding the probe too, so that gradients of inputs are
 * stored in one run and added in the other.
 */
#ifndef QORUS_TEST_GRADIENT_RIG_H
#define QORUS_TEST_GRADIENT_RIG_H

#include "qorus/model.h"

enum { RIG_SAMPLES = 300, RIG_SPANS = 8 };

enum {
    RIG_NO_SPLIT = 1u << 0,     /* micro-batches give other bits (batch statistics) */
    RIG_FIRST_OUTPUT = 1u << 1, /* the probe reads output 0 alone (the others have no gradient) */
    RIG_FLAT = 1u << 2,         /* gradients may be zero */
    RIG_STEEP = 1u << 3,        /* differences in the double build only: in 24 bits they would say nothing */
    RIG_TURNS = 1u << 4         /* recurrent: with workers that pass each other too */
};

/* Sizes of the step. Micro-batches: the first `split` samples (spans, where there are spans), then the rest. */
typedef struct rig_step {
    uint32_t n_batch; /* 0: 1 */
    uint32_t n_spans; /* 0: none */
    uint32_t span_rows[RIG_SPANS];
    uint32_t split; /* 0: n/2 */
} rig_step;

typedef struct rig_graph {
    const char *name;
    q_build_fn build; /* ends with rig_probe(); gets `user` */
    const void *user;
    rig_step step;
    uint32_t flags; /* RIG_* */
    uint32_t backward_steps; /* nodes that backward visits, the probe's too, where nothing is fused; 0: any number */
} rig_graph;

/* A tensor that goes into a layer: filled with random numbers of [low, high), or for Q_I32 ids from low, if that is above 0, below
   limit. */
typedef struct rig_input {
    q_value_type type;
    double low;
    double high; /* 0, 0: -1 .. 1 */
    uint32_t limit;
    bool constant; /* no gradient is asked for */
} rig_input;

typedef struct rig_param {
    uint32_t rows;
    uint32_t columns;
    double low;
    double high; /* 0, 0: -1 .. 1 */
    bool frozen;
} rig_param;

typedef struct rig_layer {
    const char *name;
    const q_layer_class *cls;
    const void *config;
    uint32_t n_in;
    rig_input in[Q_MAX_INPUTS];
    uint32_t n_param;
    rig_param param[Q_MAX_PARAMS];
    rig_step step;
    uint32_t flags; /* RIG_* */
} rig_layer;

/* Value types: rows of a batch, an image per sample, a sequence of fixed length per sample, rows of tokens. */
q_value_type rig_rows(uint32_t columns);
q_value_type rig_image(uint32_t height, uint32_t width, uint32_t channels);
q_value_type rig_tokens(uint32_t columns);
q_value_type rig_ids(void); /* one id per token */

/* For builders of graphs: an input whose gradient is checked; one that has none; a parameter; the end. */
q_value rig_source(q_graph *g, const char *name, const rig_input *in);
q_param rig_slot(q_graph *g, const char *name, const rig_param *param);
void rig_probe(q_graph *g, const q_value *values, uint32_t n);

/* Checks; every assertion is counted, failures are printed. */
void rig_check_graph(const rig_graph *graph);
void rig_check_layer(const rig_layer *layer);

/* Only cases whose name has this text, or one of several between bars, are run from now on. */
void rig_only(const char *text);
/* The first failure ends the program. */
void rig_end_at_failure(void);
/* One assertion. */
void rig_expect(bool ok, const char *name, const char *what);
/* Prints the total; the exit status. */
int rig_end(void);

#endif /* QORUS_TEST_GRADIENT_RIG_H */
