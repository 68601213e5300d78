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
 * Many sequences are shared by sequences: each has one worker from its first row to its last, and no worker waits for
 * another. Few are shared by units: at every time step a worker has its units of all of them, and then the workers meet.
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
    q_real *other;     /* what a time step leaves where it reads what the one before left: forward: h, backward: recurrent */
    uint32_t *order;   /* [sequences] sequences of the step, the longest first */
    uint32_t *row;     /* [sequences] their first rows */
} recurrent_memory;

/* Consecutive rows of the step: one sequence. */
typedef struct recurrent_rows {
    uint32_t first;
    uint32_t n;
    uint32_t sequence; /* whose state */
} recurrent_rows;

/* What one worker has of every time step: the units begin .. end - 1 of n sequences, which have the places slot ..
   slot + n - 1 of the dense matrices; sequence i of them is order[first + i*every]. */
typedef struct recurrent_share {
    uint32_t slot;
    uint32_t n;
    uint32_t first;
    uint32_t every;
    uint32_t begin;
    uint32_t end;
} recurrent_share;

/* One use by one worker. */
typedef struct recurrent_pass {
    const q_layer *layer;
    const q_work *work;
    q_work alone; /* this worker, sharing nothing */
    recurrent_use use;
    recurrent_memory m;
    recurrent_share mine;
    bool by_units; /* and so every time step is a stage */
} recurrent_pass;

enum { RECURRENT_PANEL = 16 }; /* columns of a panel of W_hh */

/* Floats from one row of n to the next: rows a power of two apart would fall into the same sets of the cache. */
static inline uint32_t recurrent_pitch(uint32_t n)
{
    return n < 128u ? n : (n + 15u) / 16u * 16u + 16u;
}

static inline size_t recurrent_stride(uint32_t n)
{
    return (size_t)recurrent_pitch(n) * sizeof(q_real);
}

/* Columns n in panels. */
static inline uint32_t recurrent_panels(uint32_t n)
{
    return (n + RECURRENT_PANEL - 1) / RECURRENT_PANEL;
}

recurrent_use q_recurrent_use(const recurrent_kind *kind, const q_value_type *in, const q_maxima *max, uint32_t dim);
recurrent_memory q_recurrent_memory(const q_layer *layer, const recurrent_use *use);

void q_recurrent_begin(recurrent_pass *pass, const q_layer *layer, const q_work *work, const recurrent_kind *kind);

/* Sequences of this step. */
uint32_t q_recurrent_count(const recurrent_pass *pass);

/* Orders the sequences; by one worker. */
void q_recurrent_order(const recurrent_pass *pass);
/* Then: where sequence i of this worker's lies; rows of the longest, 0 where it has none; how many of them have a row t. */
recurrent_rows q_recurrent_rows(const recurrent_pass *pass, uint32_t i);
uint32_t q_recurrent_longest(const recurrent_pass *pass);
uint32_t q_recurrent_at(const recurrent_pass *pass, uint32_t t);

/* Of forward: one, and the time steps; of backward: one more. All time steps are one where sequences are shared. */
uint32_t q_recurrent_stages(const q_layer *layer, const q_work *work, const recurrent_kind *kind, bool backward);

/* Shape rule, sizes, forward and backward of each class. */
q_error_code q_recurrent_check(const q_node_info *info, const recurrent_kind *kind, q_diag *diag);
void q_recurrent_need(const q_node_info *info, const recurrent_kind *kind, q_layer_sizes *out);

typedef void (*recurrent_cell)(const q_work *work, const q_cell_args *a);
typedef void (*recurrent_cell_grad)(const q_work *work, const q_cell_grad_args *a);

void q_recurrent_forward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                         recurrent_cell cell);
void q_recurrent_backward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                          recurrent_cell_grad cell);

#endif /* QORUS_CORE_LAYERS_RECURRENT_H */
