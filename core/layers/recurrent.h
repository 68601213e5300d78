/* SPDX-License-Identifier: MIT */
/*
 * recurrent.h: what RNN, LSTM and GRU share; private to core/layers.
 *
 *   input   x [1, 1, tokens, F], whose rows belong to the sequences of the step's spans, or x [batch, 1, T, F], every
 *           sample a sequence of T rows that begins at zero
 *   params  W_ih [G*H, F], W_hh [G*H, H]; b_ih, b_hh [G*H], both or neither
 *   output  h of every row, [.., H]
 *   state   of a sequence of tokens: h, then c of LSTM
 *
 * A sequence is worked on by one worker from its first row to its last, so no worker waits for another within a step.
 */
#ifndef QORUS_CORE_LAYERS_RECURRENT_H
#define QORUS_CORE_LAYERS_RECURRENT_H

#include "layers.h"

/* What tells the three apart. */
typedef struct recurrent_kind {
    uint32_t blocks; /* G: gates of the weights */
    uint32_t kept;   /* blocks of a row that forward leaves to backward */
    uint32_t states; /* 1: h; 2: h and c */
    uint32_t reserved;
} recurrent_kind;

/* Sizes of one use, at the plan's maxima. */
typedef struct recurrent_use {
    const recurrent_kind *kind;
    uint32_t dim;       /* H */
    uint32_t columns;   /* F */
    uint32_t rows;
    uint32_t sequences; /* of one step */
    uint32_t steps;     /* rows of a sample, or 0: sequences are spans */
    bool trains;
} recurrent_use;

/* What lies between a forward and its backward, and what lives for one of them. */
typedef struct recurrent_memory {
    q_real *gates;     /* [rows], as q_cell_args */
    q_real *h_prev;    /* [rows]; NULL in inference */
    q_real *c_prev;    /* LSTM alone */
    q_real *panels;    /* W_hh as a second factor */
    q_real *recurrent; /* [sequences] h part of the pre-activations, or its gradient */
    q_real *h;         /* [sequences] running state, or its gradient */
    q_real *c;
    uint32_t *order;   /* [sequences] sequences of the step, the longest first */
    uint32_t *row;     /* [sequences] of the current time step */
} recurrent_memory;

/* Consecutive rows of the step: one sequence. */
typedef struct recurrent_rows {
    uint32_t first;
    uint32_t n;
    uint32_t sequence; /* whose state */
} recurrent_rows;

/* The sequences of one worker: places slot .. slot + n - 1 of the dense matrices; sequence i of them is
   order[worker + i*n_workers]. */
typedef struct recurrent_share {
    uint32_t slot;
    uint32_t n;
    uint32_t longest;
} recurrent_share;

/* Floats from one row of n to the next: rows a power of two apart would fall into the same sets of the cache. */
static inline uint32_t recurrent_pitch(uint32_t n)
{
    return n < 128u ? n : (n + 15u) / 16u * 16u + 16u;
}

static inline size_t recurrent_stride(uint32_t n)
{
    return (size_t)recurrent_pitch(n) * sizeof(q_real);
}

recurrent_use q_recurrent_use(const q_layer *layer, const recurrent_kind *kind);
recurrent_memory q_recurrent_memory(const q_layer *layer, const recurrent_use *use);

/* Sequences of this step, and where sequence i lies. */
uint32_t q_recurrent_count(const q_layer *layer, const recurrent_use *use, const q_run *run);
recurrent_rows q_recurrent_rows(const q_layer *layer, const recurrent_use *use, const q_run *run, uint32_t i);

/* Orders the sequences; by one worker. The shares hold afterwards. */
void q_recurrent_order(const q_layer *layer, const recurrent_use *use, const q_run *run, uint32_t *order);
recurrent_share q_recurrent_share(const q_layer *layer, const recurrent_use *use, const q_work *work,
                                  const recurrent_memory *m);

/* Shape rule, sizes, forward and backward of each class. */
q_error_code q_recurrent_check(const q_node_info *info, const recurrent_kind *kind, q_diag *diag);
void q_recurrent_need(const q_node_info *info, const recurrent_kind *kind, q_layer_sizes *out);

typedef void (*recurrent_cell)(const q_work *work, const q_cell_args *a);
typedef void (*recurrent_cell_grad)(const q_work *work, const q_cell_grad_args *a);

enum { RECURRENT_FORWARD_STAGES = 2, RECURRENT_BACKWARD_STAGES = 3 };
void q_recurrent_forward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                         recurrent_cell cell);
void q_recurrent_backward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                          recurrent_cell_grad cell);

#endif /* QORUS_CORE_LAYERS_RECURRENT_H */
