/* SPDX-License-Identifier: MIT */
/* fuzz_sketch.h: what a builder of random graphs knows of the values so far, so that most nodes fit; private to fuzz_graphs. */
#ifndef QORUS_TEST_MODEL_FUZZ_SKETCH_H
#define QORUS_TEST_MODEL_FUZZ_SKETCH_H

#include "fuzz.h"

typedef struct sketch {
    q_graph *g;
    source s;
    recipe *r;
    q_value_type types[MAX_VALUES];
    uint32_t n_values;
    uint32_t n_names;
    uint32_t views;
    uint32_t ids; /* first value of ids, or Q_NONE */
    char name[16];
} sketch;

extern const uint32_t sketch_columns[8];

q_value_type sketch_type(uint32_t dtype, uint32_t d1, uint32_t d2, uint32_t sym2, uint32_t d3, uint32_t sym3);
void sketch_input(sketch *k);
/* A slot, or a view of memory of the recipe. */
q_param sketch_param(sketch *k, uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t cols);
/* One of the values so far, the newest most often. */
uint32_t sketch_real_value(sketch *k);
/* A value like v, other than it if there is one. */
uint32_t sketch_like(sketch *k, uint32_t v);
/* Adds the node, whose output 0 is of that type if all fits. */
void sketch_node(sketch *k, q_node_desc *d, const q_value_type *out);

#endif /* QORUS_TEST_MODEL_FUZZ_SKETCH_H */
