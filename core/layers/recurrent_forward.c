/* SPDX-License-Identifier: MIT */
/*
 * Forward of RNN, LSTM and GRU.
 *
 * Stage 0: the x part of every row's pre-activations in one product, W_hh laid out for stage 1, the order of the
 * sequences. Stage 1: every worker takes its sequences from their first row to their last; at each time step the h part
 * of those that have not ended, in one product, then the cell.
 */
#include "recurrent_product.h"

/* Layout of W_hh pays from the second time step on. */
static bool is_packed(const q_layer *layer, const recurrent_use *use, const q_run *run)
{
    uint32_t n = q_recurrent_count(layer, use, run);
    return n < q_count_value(run, layer->in_rows[0]);
}

/* ---- Stage 0 ---------------------------------------------------------------------------------------------- */

static void input_part(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m, const q_work *work)
{
    const q_tensor *w = layer->param[0];
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m = layer->in_rows[0];
    a.n.n = use->kind->blocks * use->dim;
    a.k.n = use->columns;
    a.a = q_reals(layer->in[0]);
    a.a_stride = layer->in[0]->nb[2];
    a.b = q_reals(w);
    a.b_stride = w->nb[2];
    a.transpose_b = 1;
    a.c = m->gates;
    a.c_stride = recurrent_stride(use->kind->kept * use->dim);
    a.epilogue.bias = layer->n_param > 2 ? q_reals(layer->param[2]) : NULL;
    layer->kernels->matmul(work, &a);
}

/* ---- Stage 1 ---------------------------------------------------------------------------------------------- */

static q_real *at_slot(q_real *dense, uint32_t dim, uint32_t slot)
{
    return dense + (size_t)recurrent_pitch(dim) * slot;
}

static q_real *state_of(const q_layer *layer, uint32_t sequence)
{
    return (q_real *)(void *)((uint8_t *)layer->state + sequence * layer->state_stride);
}

static void load_state(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m, uint32_t sequence,
                       uint32_t slot)
{
    size_t bytes = use->dim * sizeof(q_real);
    q_real *h = at_slot(m->h, use->dim, slot);
    q_real *c = m->c != NULL ? at_slot(m->c, use->dim, slot) : NULL;
    const q_real *from;
    if (use->steps != 0) {
        memset(h, 0, bytes);
        if (c != NULL) {
            memset(c, 0, bytes);
        }
        return;
    }
    from = state_of(layer, sequence);
    memcpy(h, from, bytes);
    if (c != NULL) {
        memcpy(c, from + use->dim, bytes);
    }
}

static void store_state(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m, uint32_t sequence,
                        uint32_t slot)
{
    size_t bytes = use->dim * sizeof(q_real);
    q_real *to = state_of(layer, sequence);
    memcpy(to, at_slot(m->h, use->dim, slot), bytes);
    if (m->c != NULL) {
        memcpy(to + use->dim, at_slot(m->c, use->dim, slot), bytes);
    }
}

/* Sequence i of this worker. */
static recurrent_rows rows_of_own(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                                  const q_work *work, uint32_t i)
{
    return q_recurrent_rows(layer, use, work->run, m->order[work->worker + i * work->n_workers]);
}

/* The cell of this worker's sequences, but for their number. */
static q_cell_args cell_args(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m, uint32_t slot)
{
    q_cell_args a;
    memset(&a, 0, sizeof(a));
    a.dim = use->dim;
    a.activation = layer->type == Q_LAYER_RNN ? ((const q_rnn_config *)layer->config)->activation : Q_ACT_NONE;
    a.row = m->row + slot;
    a.gates = m->gates;
    a.gates_stride = recurrent_stride(use->kind->kept * use->dim);
    a.recurrent = at_slot(m->recurrent, use->kind->blocks * use->dim, slot);
    a.recurrent_stride = recurrent_stride(use->kind->blocks * use->dim);
    a.h = at_slot(m->h, use->dim, slot);
    a.c = m->c != NULL ? at_slot(m->c, use->dim, slot) : NULL;
    a.state_stride = recurrent_stride(use->dim);
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    a.h_prev = m->h_prev;
    a.c_prev = m->c_prev;
    a.prev_stride = recurrent_stride(use->dim);
    return a;
}

static void sequences_forward(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                              const q_work *work, recurrent_cell cell)
{
    recurrent_share mine = q_recurrent_share(layer, use, work, m);
    q_cell_args a = cell_args(layer, use, m, mine.slot);
    q_work alone = *work;
    recurrent_product product = {layer, m->panels, use->kind->blocks * use->dim, use->dim,
                                 is_packed(layer, use, work->run) ? RECURRENT_PANELS : RECURRENT_COLUMNS};
    alone.worker = 0;
    alone.n_workers = 1;
    for (uint32_t i = 0; i < mine.n; i++) {
        recurrent_rows r = rows_of_own(layer, use, m, work, i);
        load_state(layer, use, m, r.sequence, mine.slot + i);
        m->row[mine.slot + i] = r.first;
    }
    a.n = mine.n;
    for (uint32_t t = 0; t < mine.longest; t++) {
        while (rows_of_own(layer, use, m, work, a.n - 1).n <= t) {
            a.n--;
        }
        q_recurrent_multiply(&product, &alone, a.n, a.h, a.state_stride, at_slot(m->recurrent, product.n, mine.slot),
                             layer->n_param > 3 ? q_reals(layer->param[3]) : NULL, false);
        cell(&alone, &a);
        for (uint32_t i = 0; i < a.n; i++) {
            m->row[mine.slot + i]++;
        }
    }
    for (uint32_t i = 0; i < mine.n && use->steps == 0; i++) {
        recurrent_rows r = rows_of_own(layer, use, m, work, i);
        store_state(layer, use, m, r.sequence, mine.slot + i);
    }
}

void q_recurrent_forward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                         recurrent_cell cell)
{
    recurrent_use use = q_recurrent_use(layer, kind);
    recurrent_memory m = q_recurrent_memory(layer, &use);
    if (stage != 0) {
        sequences_forward(layer, &use, &m, work, cell);
        return;
    }
    if (work->worker == 0) {
        q_recurrent_order(layer, &use, work->run, m.order);
    }
    if (is_packed(layer, &use, work->run)) {
        q_recurrent_pack_columns(work, q_reals(layer->param[1]), kind->blocks * use.dim, use.dim, m.panels);
    }
    input_part(layer, &use, &m, work);
}
