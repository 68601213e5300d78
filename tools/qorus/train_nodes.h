/* SPDX-License-Identifier: MIT */
/* train_nodes.h: a graph being built from the lines of a network, between the parts that build it. */
#ifndef QORUS_TOOLS_TRAIN_NODES_H
#define QORUS_TOOLS_TRAIN_NODES_H

#include "train.h"

enum { TRAIN_NAME_BYTES = 64 };

/* What flows from layer to layer: [BATCH, h, w, c], or rows [TOKENS or SELECTED, c]. */
typedef struct flow {
    q_value value;
    uint32_t h;
    uint32_t w;
    uint32_t c;
    uint32_t sym; /* q_sym: BATCH, TOKENS or SELECTED */
} flow;

typedef struct building {
    q_graph *g;
    train_network *n;
    const train_layer *layer;
    uint32_t index;  /* of the layer */
    char name[TRAIN_NAME_BYTES];
    const char *kind; /* of the layer, for names */
} building;

/* A layer that does not fit: ends the build with its line. Q_NONE. */
q_value layer_misfit(building *b, const char *text);
/* A node named after the layer: "3.conv2d", "3.conv2d.part". */
q_value layer_node(building *b, const q_layer_class *cls, const char *part, const void *config, const q_value *in, uint32_t n_in,
                   const q_param *params, uint32_t n_params);
/* The nodes of b->layer behind *x. */
void layer_add(building *b, flow *x);
/* Which rows are wanted. While training all of them are there, and targets that are to be ignored leave rows out. */
void layer_select(building *b, flow *x);

#endif /* QORUS_TOOLS_TRAIN_NODES_H */
