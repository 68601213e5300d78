/* SPDX-License-Identifier: MIT */
/* fuzz.h: graphs made of bytes, and what the parts of fuzz_graphs share. */
#ifndef QORUS_TEST_MODEL_FUZZ_H
#define QORUS_TEST_MODEL_FUZZ_H

#include "qorus/model.h"

enum { MAX_VALUES = 32, MAX_NODES = 14, MAX_STEPS = 4, MAX_BYTES = 1 << 20, MAX_VIEWS = 64, N_REGIONS = 24 };

/* Numbers from the bytes, zeros behind their end. */
typedef struct source {
    const uint8_t *data;
    size_t size;
    size_t at;
} source;

uint32_t fuzz_pick(source *s, uint32_t n);

/* True once in n. */
bool fuzz_rarely(source *s, uint32_t n);

extern const uint32_t fuzz_extremes[8];
extern uint32_t fuzz_seed;

/* Says what is wrong, and ends the program. */
void fuzz_broken(const char *what, const q_diag *d);

/* Memory of exactly so many bytes, filled with a pattern. */
void *fuzz_take(size_t size, int fill);

typedef struct recipe {
    source bytes;
    void *views[MAX_VIEWS];
    uint32_t n_views;
    bool trains;
    uint32_t precision;
} recipe;

/* The q_build_fn of a recipe. */
void fuzz_build(q_graph *g, const void *recipe);

/* The inputs that graph has. */
uint32_t fuzz_inputs(const recipe *r, q_input_desc *inputs, uint32_t cap);

#endif /* QORUS_TEST_MODEL_FUZZ_H */
