/* SPDX-License-Identifier: MIT */
/*
 * Forward of RNN, LSTM and GRU.
 *
 * Stage 0: the x part of every row's pre-activations in one product, W_hh laid out, the order of the sequences. Then the
 * time steps: the h part of the sequences that have not ended, then the cell.
 */
#include "recurrent_product.h"

/* Layout of W_hh pays from the second time step on. */
static bool is_packed(const recurrent_pass *pass)
{
    return q_recurrent_count(pass) < q_count_value(pass->work->run, pass->layer->in_rows[0]);
}

/* ---- Stage 0 ---------------------------------------------------------------------------------------------- */

static void input_part(const recurrent_pass *pass)
{
    const q_layer *layer = pass->layer;
    const q_tensor *w = layer->param[0];
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m = layer->in_rows[0];
    a.n.n = pass->use.kind->blocks * pass->use.dim;
    a.k.n = pass->use.columns;
    a.a = q_reals(layer->in[0]);
    a.a_stride = layer->in[0]->nb[2];
    a.b = q_reals(w);
    a.b_stride = w->nb[2];
    a.transpose_b = 1;
    a.c = pass->m.gates;
    a.c_stride = recurrent_stride(pass->use.kind->kept * pass->use.dim);
    a.epilogue.bias = layer->n_param > 2 ? q_reals(layer->param[2]) : NULL;
    layer->kernels->matmul(pass->work, &a);
}

/* ---- State ------------------------------------------------------------------------------------------------ */

static q_real *at_slot(q_real *dense, uint32_t dim, uint32_t slot)
{
    return dense + (size_t)recurrent_pitch(dim) * slot;
}

/* h before time step t; where units are shared, a step leaves it elsewhere than it reads it. */
static q_real *state_before(const recurrent_pass *pass, uint32_t t)
{
    return at_slot(pass->by_units && t % 2u != 0 ? pass->m.other : pass->m.h, pass->use.dim, pass->mine.slot);
}

static q_real *state_of(const q_layer *layer, uint32_t sequence)
{
    return (q_real *)(void *)((uint8_t *)layer->state + sequence * layer->state_stride);
}

static void load_state(const recurrent_pass *pass, uint32_t sequence, uint32_t slot)
{
    const uint32_t dim = pass->use.dim;
    size_t bytes = dim * sizeof(q_real);
    q_real *h = at_slot(pass->m.h, dim, slot);
    q_real *c = pass->m.c != NULL ? at_slot(pass->m.c, dim, slot) : NULL;
    const q_real *from;
    if (pass->use.steps != 0) {
        memset(h, 0, bytes);
        if (c != NULL) {
            memset(c, 0, bytes);
        }
        return;
    }
    from = state_of(pass->layer, sequence);
    memcpy(h, from, bytes);
    if (c != NULL) {
        memcpy(c, from + dim, bytes);
    }
}

/* This worker's units of sequence i of its own, which ends with time step t. */
static void store_state(const recurrent_pass *pass, uint32_t i, uint32_t t)
{
    const recurrent_share *mine = &pass->mine;
    const uint32_t dim = pass->use.dim;
    size_t bytes = (mine->end - mine->begin) * sizeof(q_real);
    q_real *to = state_of(pass->layer, q_recurrent_rows(pass, i).sequence) + mine->begin;
    memcpy(to, at_slot(state_before(pass, t + 1), dim, i) + mine->begin, bytes);
    if (pass->m.c != NULL) {
        memcpy(to + dim, at_slot(pass->m.c, dim, mine->slot + i) + mine->begin, bytes);
    }
}

static void start_sequences(const recurrent_pass *pass)
{
    for (uint32_t i = 0; i < pass->mine.n; i++) {
        recurrent_rows r = q_recurrent_rows(pass, i);
        load_state(pass, r.sequence, pass->mine.slot + i);
        pass->m.row[pass->mine.slot + i] = r.first;
    }
}

/* ---- Time steps ------------------------------------------------------------------------------------------- */

/* The h part of a block of n sequences. */
static void hidden_part(const recurrent_pass *pass, uint32_t n, uint32_t t, uint32_t block)
{
    const q_layer *layer = pass->layer;
    const uint32_t dim = pass->use.dim;
    const uint32_t wide = pass->use.kind->blocks * dim;
    const uint32_t column = block * dim + pass->mine.begin;
    q_matmul_args x = q_recurrent_product(pass, block * recurrent_panels(dim) + pass->mine.begin / RECURRENT_PANEL,
                                          pass->mine.end - pass->mine.begin, dim);
    if (!is_packed(pass)) {
        x.b = q_reals(layer->param[1]) + (size_t)column * dim;
        x.b_stride = layer->param[1]->nb[2];
        x.transpose_b = 1;
    }
    x.m.n = n;
    x.a = state_before(pass, t);
    x.a_stride = recurrent_stride(dim);
    x.c = at_slot(pass->m.recurrent, wide, pass->mine.slot) + column;
    x.c_stride = recurrent_stride(wide);
    x.epilogue.bias = layer->n_param > 3 ? q_reals(layer->param[3]) + column : NULL;
    layer->kernels->matmul(&pass->alone, &x);
}

static void run_cell(const recurrent_pass *pass, uint32_t n, uint32_t t, recurrent_cell cell)
{
    const q_layer *layer = pass->layer;
    const recurrent_use *use = &pass->use;
    const recurrent_memory *m = &pass->m;
    const uint32_t slot = pass->mine.slot;
    q_cell_args a;
    memset(&a, 0, sizeof(a));
    a.n = n;
    a.dim = use->dim;
    a.begin = pass->mine.begin;
    a.end = pass->mine.end;
    a.t = t;
    a.activation = layer->type == Q_LAYER_RNN ? ((const q_rnn_config *)layer->config)->activation : Q_ACT_NONE;
    a.row = m->row + slot;
    a.gates = m->gates;
    a.gates_stride = recurrent_stride(use->kind->kept * use->dim);
    a.recurrent = at_slot(m->recurrent, use->kind->blocks * use->dim, slot);
    a.recurrent_stride = recurrent_stride(use->kind->blocks * use->dim);
    a.h = state_before(pass, t);
    a.h_next = state_before(pass, t + 1);
    a.c = m->c != NULL ? at_slot(m->c, use->dim, slot) : NULL;
    a.state_stride = recurrent_stride(use->dim);
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    a.h_prev = m->h_prev;
    a.c_prev = m->c_prev;
    a.prev_stride = recurrent_stride(use->dim);
    cell(&pass->alone, &a);
}

/* Every second step takes the blocks from the last to the first: it begins with those that are still in the cache. */
static void step_forward(const recurrent_pass *pass, uint32_t t, recurrent_cell cell)
{
    const uint32_t blocks = pass->use.kind->blocks;
    uint32_t n = q_recurrent_at(pass, t);
    for (uint32_t b = 0; b < blocks; b++) {
        hidden_part(pass, n, t, t % 2u != 0 ? blocks - 1 - b : b);
    }
    run_cell(pass, n, t, cell);
    for (uint32_t i = q_recurrent_at(pass, t + 1); i < n && pass->use.steps == 0; i++) {
        store_state(pass, i, t);
    }
}

void q_recurrent_forward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                         recurrent_cell cell)
{
    recurrent_pass pass;
    q_recurrent_begin(&pass, layer, work, kind);
    if (stage == 0) {
        if (work->worker == 0) {
            q_recurrent_order(&pass);
            if (pass.by_units) {
                start_sequences(&pass);
            }
        }
        if (is_packed(&pass)) {
            q_recurrent_pack_columns(&pass);
        }
        input_part(&pass);
    } else if (pass.by_units) {
        step_forward(&pass, stage - 1, cell);
    } else {
        start_sequences(&pass);
        for (uint32_t t = 0; t < q_recurrent_longest(&pass); t++) {
            step_forward(&pass, t, cell);
        }
    }
}
