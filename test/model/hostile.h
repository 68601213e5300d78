/* SPDX-License-Identifier: MIT */
/* hostile.h: small graphs by hand, and one of them at work, for the tests of what nobody should make. */
#ifndef QORUS_TEST_MODEL_HOSTILE_H
#define QORUS_TEST_MODEL_HOSTILE_H

#include "flow.h"

enum { COLUMNS = 32, TOKENS = 4 };

/* One graph at work. */
typedef struct bench {
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_backend backend;
    q_region regions[Q_REGION_KINDS];
    size_t n_regions;
    q_diag diag;
    q_plan_config config;
} bench;

/* ---- Graphs -------------------------------------------------------------------------------------------------- */

q_value_type type_of(uint32_t dtype, uint32_t d0, uint32_t d2, uint32_t sym2, uint32_t d3, uint32_t sym3);
q_value add_input(q_graph *g, const char *name, q_value_type t, uint32_t limit);
q_value token_rows(q_graph *g, const char *name);
q_param slot(q_graph *g, const char *name, uint32_t layout, uint32_t rows, uint32_t columns, bool trainable);
q_value add_node(q_graph *g, const char *name, const q_layer_class *cls, const void *config, q_value a, q_value b,
                 q_param p);
q_value product(q_graph *g, const char *name, q_value x, q_param w);
/* user: the layout (uint32_t) of the weights. */
void hostile_residual(q_graph *g, const void *user);

/* ---- At work ------------------------------------------------------------------------------------------------- */

void bench_init(bench *b);
void *fresh(size_t n);
q_error_code plan_of(bench *b, q_build_fn build, const void *user);
void fill(float *to, size_t n, uint32_t seed);
void open_bench(bench *b, q_build_fn build, const void *user, const char *what);
q_error_code step_of(bench *b, const void *const *inputs, uint32_t tokens, uint32_t select, q_rows_fn rows, void *user);
void refused(q_build_fn build, const void *user, q_error_code expected, const char *what);

/* ---- Tests --------------------------------------------------------------------------------------------------- */

void test_hostile_calls(const char *file);

#endif /* QORUS_TEST_MODEL_HOSTILE_H */
