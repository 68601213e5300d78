/* SPDX-License-Identifier: MIT */
/* graph.h: what a built model consists of; private to core/model. */
#ifndef QORUS_CORE_MODEL_GRAPH_H
#define QORUS_CORE_MODEL_GRAPH_H

#include "../core.h"

typedef struct model_input {
    const char *name;
    q_value_type type;
    uint32_t limit;
} model_input;

typedef struct model_param {
    const char *name;
    q_param_type type;
    q_tensor view; /* data NULL: a slot of the PARAM region */
    q_init init;
    bool trainable;
} model_param;

typedef struct model_node {
    const q_layer_class *cls;
    const char *name;
    const void *config;
    uint32_t first_edge;
    uint32_t n_in;
    uint32_t first_param;
    uint32_t n_param;
    uint32_t first_value; /* its output 0 */
    uint32_t block;
} model_node;

typedef struct model_output {
    const char *name;
    q_value value;
} model_output;

/* Counts of everything; the first run of a builder yields them, the second may not exceed them. */
typedef struct graph_counts {
    uint32_t inputs;
    uint32_t outputs;
    uint32_t nodes;
    uint32_t values;
    uint32_t params;
    uint32_t edges;
    uint32_t param_refs;
    size_t config_bytes;
    size_t string_bytes;
} graph_counts;

struct Q_ALIGNED(128) q_model {
    graph_counts n;
    model_input *inputs;   /* [inputs]; value i < inputs is input i */
    model_output *outputs; /* [outputs] */
    model_node *nodes;     /* [nodes], topological */
    model_param *params;   /* [params] */
    uint32_t *edges;       /* [edges] values read */
    uint32_t *param_refs;  /* [param_refs] parameters read */
    uint32_t *name_hash;   /* [nodes + params + inputs] */
    uint8_t *configs;
    char *strings;
};

Q_STATIC_ASSERT(sizeof(struct q_model) % 128 == 0, "q_model keeps its alignment in arrays");

struct q_graph {
    q_model *model; /* NULL: counting */
    graph_counts n; /* so far */
    uint32_t block; /* of the nodes to come */
    q_diag diag;    /* code != Q_OK: the build has ended */
};

/* Bytes of a parameter's view from the first to the last; q_graph_param has seen that this fits a size. */
size_t q_view_bytes(const model_param *param);

/* True if the node reads its parameter i as a matrix that files hold in panels of any weight type. */
static inline bool q_reads_matrix(const model_node *n, uint32_t i)
{
    return i == 0 && (n->cls->id == Q_LAYER_LINEAR || n->cls->id == Q_LAYER_EMBEDDING);
}

/* A number made from a name, the same in every graph. */
uint32_t q_graph_name_key(const char *name);

/* True if every dimension counts something, along at most one symbol. */
bool q_graph_dims_ok(const q_value_type *type);

/* An arena over memory that has been checked, or a counting one for base NULL. */
static inline q_arena layout_arena(void *base, size_t size)
{
    q_arena arena = {(uint8_t *)base, base != NULL ? size : SIZE_MAX, 0, 0, 0};
    return arena;
}

#endif /* QORUS_CORE_MODEL_GRAPH_H */
