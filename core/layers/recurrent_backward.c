/* SPDX-License-Identifier: MIT */
/*
 * Backward of RNN, LSTM and GRU, through the rows of the step; the state before it is a constant.
 *
 * Stage 0: W_hh laid out, the order of the sequences. Then the time steps from the last to the first: gradient of the
 * pre-activations, which takes the place of the gates, after
 *   dh of the row before = (GRU: g*z +) d(h part) W_hh, one chain
 * Last stage, products over all rows, ascending:
 *   dW_ih += d(x part)^T x, dW_hh += d(h part)^T h_prev, the biases their column sums, dx = d(x part) W_ih
 */
#include "recurrent_product.h"

/* ---- Time steps ------------------------------------------------------------------------------------------- */

static q_real *at_place(const recurrent_pass *pass, q_real *dense, uint32_t columns)
{
    return dense + (size_t)recurrent_pitch(columns) * pass->mine.slot;
}

static void start_gradients(const recurrent_pass *pass)
{
    size_t bytes = pass->mine.n * recurrent_stride(pass->use.dim);
    memset(at_place(pass, pass->m.h, pass->use.dim), 0, bytes);
    if (pass->m.c != NULL) {
        memset(at_place(pass, pass->m.c, pass->use.dim), 0, bytes);
    }
    for (uint32_t i = 0; i < pass->mine.n; i++) {
        pass->m.row[pass->mine.slot + i] = q_recurrent_rows(pass, i).first;
    }
}

/* d(h part) of time step t; where units are shared, the step before leaves its own elsewhere. */
static q_real *hidden_gradient(const recurrent_pass *pass, uint32_t t)
{
    return at_place(pass, pass->by_units && t % 2u != 0 ? pass->m.other : pass->m.recurrent,
                    pass->use.kind->blocks * pass->use.dim);
}

static void run_cell_grad(const recurrent_pass *pass, uint32_t t, recurrent_cell_grad cell)
{
    const q_layer *layer = pass->layer;
    const recurrent_use *use = &pass->use;
    const recurrent_memory *m = &pass->m;
    q_cell_grad_args a;
    memset(&a, 0, sizeof(a));
    a.n = q_recurrent_at(pass, t);
    a.dim = use->dim;
    a.begin = pass->mine.begin;
    a.end = pass->mine.end;
    a.t = t;
    a.activation = layer->type == Q_LAYER_RNN ? ((const q_rnn_config *)layer->config)->activation : Q_ACT_NONE;
    a.row = m->row + pass->mine.slot;
    a.gates = m->gates;
    a.gates_stride = recurrent_stride(use->kind->kept * use->dim);
    a.h_prev = layer->type == Q_LAYER_GRU ? m->h_prev : NULL;
    a.c_prev = m->c_prev;
    a.prev_stride = recurrent_stride(use->dim);
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dh = at_place(pass, m->h, use->dim);
    a.dc = m->c != NULL ? at_place(pass, m->c, use->dim) : NULL;
    a.state_stride = recurrent_stride(use->dim);
    a.recurrent = hidden_gradient(pass, t);
    a.recurrent_stride = recurrent_stride(use->kind->blocks * use->dim);
    cell(&pass->alone, &a);
}

/* What the h part of time step t gives to dh. */
static void give_back(const recurrent_pass *pass, uint32_t t)
{
    const uint32_t wide = pass->use.kind->blocks * pass->use.dim;
    q_matmul_args x = q_recurrent_product(pass, pass->mine.begin / RECURRENT_PANEL, pass->mine.end - pass->mine.begin, wide);
    x.m.n = q_recurrent_at(pass, t);
    x.a = hidden_gradient(pass, t);
    x.a_stride = recurrent_stride(wide);
    x.c = at_place(pass, pass->m.h, pass->use.dim) + pass->mine.begin;
    x.c_stride = recurrent_stride(pass->use.dim);
    x.accumulate = pass->layer->type == Q_LAYER_GRU;
    pass->layer->kernels->matmul(&pass->alone, &x);
}

static void step_backward(const recurrent_pass *pass, uint32_t t, recurrent_cell_grad cell)
{
    if (t + 1 < q_recurrent_longest(pass)) {
        give_back(pass, t + 1);
    }
    run_cell_grad(pass, t, cell);
}

/* ---- Last stage ------------------------------------------------------------------------------------------- */

/* Consecutive columns of the gates: the gradients of so many rows of W_ih and W_hh, Q_NONE: not of that one. */
typedef struct recurrent_block {
    uint32_t column;
    uint32_t n;
    uint32_t row[2]; /* the first, of W_ih and of W_hh */
    uint32_t begin;  /* rows of the step */
    uint32_t rows;
} recurrent_block;

static const q_real *gates_of(const recurrent_pass *pass, const recurrent_block *block)
{
    const size_t pitch = recurrent_pitch(pass->use.kind->kept * pass->use.dim);
    return pass->m.gates + pitch * block->begin + block->column;
}

static void weight_gradient(const recurrent_pass *pass, const q_tensor *grad, const recurrent_block *block, uint32_t row,
                            const q_real *x, size_t x_stride)
{
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m.n = block->n;
    a.n.n = grad->ne[3];
    a.k.n = block->rows;
    a.a = gates_of(pass, block);
    a.a_stride = recurrent_stride(pass->use.kind->kept * pass->use.dim);
    a.transpose_a = 1;
    a.b = (const q_real *)(const void *)((const uint8_t *)(const void *)x + x_stride * block->begin);
    a.b_stride = x_stride;
    a.c = q_reals(grad) + (size_t)row * grad->ne[3];
    a.c_stride = grad->nb[2];
    a.accumulate = 1;
    pass->layer->kernels->matmul(&pass->alone, &a);
}

static void bias_gradient(const recurrent_pass *pass, const q_tensor *grad, const recurrent_block *block, uint32_t row)
{
    q_bias_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = block->rows;
    a.dim = block->n;
    a.dy = gates_of(pass, block);
    a.dy_stride = recurrent_stride(pass->use.kind->kept * pass->use.dim);
    a.grad = q_reals(grad) + row;
    a.accumulate = 1;
    pass->layer->kernels->bias_grad(&pass->alone, &a);
}

/* All gradients of a block: its gates come to the cache once. */
static void block_gradients(const recurrent_pass *pass, const recurrent_block *block)
{
    const q_layer *layer = pass->layer;
    const q_real *const x[2] = {q_reals(layer->in[0]), pass->m.h_prev};
    const size_t stride[2] = {layer->in[0]->nb[2], recurrent_stride(pass->use.dim)};
    for (uint32_t i = 0; i < 2; i++) {
        if (block->row[i] != Q_NONE && layer->grad_param[i] != NULL) {
            weight_gradient(pass, layer->grad_param[i], block, block->row[i], x[i], stride[i]);
        }
        if (block->row[i] != Q_NONE && layer->n_param > 2 && layer->grad_param[2 + i] != NULL) {
            bias_gradient(pass, layer->grad_param[2 + i], block, block->row[i]);
        }
    }
}

enum {
    BLOCK_COLUMNS = 96, /* of a part */
    BLOCK_ROWS = 512,   /* of a part: they and as many rows of h stay in the second cache */
    BLOCK_SHARE = 8     /* columns that one worker takes at least */
};

/* This worker's columns of a block, part by part. */
static void shared_gradients(const recurrent_pass *pass, recurrent_block block)
{
    uint32_t begin;
    uint32_t end;
    q_share(pass->work, q_ceil_div_u32(block.n, BLOCK_SHARE), &begin, &end);
    begin *= BLOCK_SHARE;
    end = end * BLOCK_SHARE < block.n ? end * BLOCK_SHARE : block.n;
    for (uint32_t at = begin; at < end; at += BLOCK_COLUMNS) {
        recurrent_block part = block;
        part.column += at;
        part.n = end - at < BLOCK_COLUMNS ? end - at : (uint32_t)BLOCK_COLUMNS;
        for (uint32_t i = 0; i < 2; i++) {
            part.row[i] = block.row[i] == Q_NONE ? Q_NONE : block.row[i] + at;
        }
        block_gradients(pass, &part);
    }
}

/* Rows begin .. begin + rows - 1. The h part of GRU's n lies apart. */
static void gradients_of_rows(const recurrent_pass *pass, uint32_t begin, uint32_t rows)
{
    const uint32_t dim = pass->use.dim;
    const uint32_t blocks = pass->use.kind->blocks;
    const uint32_t together = pass->use.kind->kept == blocks ? blocks : blocks - 1;
    shared_gradients(pass, (recurrent_block){0, together * dim, {0, 0}, begin, rows});
    if (together != blocks) {
        shared_gradients(pass, (recurrent_block){together * dim, dim, {together * dim, Q_NONE}, begin, rows});
        shared_gradients(pass, (recurrent_block){(together + 1) * dim, dim, {Q_NONE, together * dim}, begin, rows});
    }
}

/* A chain goes on where the rows before left it. */
static void parameter_gradients(const recurrent_pass *pass)
{
    const uint32_t rows = q_count_value(pass->work->run, pass->layer->in_rows[0]);
    for (uint32_t begin = 0; begin < rows; begin += BLOCK_ROWS) {
        gradients_of_rows(pass, begin, rows - begin < BLOCK_ROWS ? rows - begin : (uint32_t)BLOCK_ROWS);
    }
}

static void input_gradient(const recurrent_pass *pass)
{
    const q_tensor *w = pass->layer->param[0];
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m = pass->layer->in_rows[0];
    a.n.n = pass->use.columns;
    a.k.n = pass->use.kind->blocks * pass->use.dim;
    a.a = pass->m.gates;
    a.a_stride = recurrent_stride(pass->use.kind->kept * pass->use.dim);
    a.b = q_reals(w);
    a.b_stride = w->nb[2];
    a.c = q_reals(pass->layer->grad_in[0]);
    a.c_stride = pass->layer->grad_in[0]->nb[2];
    a.accumulate = (uint8_t)(pass->layer->accumulate & 1u);
    pass->layer->kernels->matmul(pass->work, &a);
}

void q_recurrent_backward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                          recurrent_cell_grad cell)
{
    recurrent_pass pass;
    q_recurrent_begin(&pass, layer, work, kind);
    if (stage == 0) {
        if (work->worker == 0) {
            q_recurrent_order(&pass);
            if (pass.by_units) {
                start_gradients(&pass);
            }
        }
        q_recurrent_pack_rows(&pass);
        return;
    }
    uint32_t longest = q_recurrent_longest(&pass);
    if (stage > (pass.by_units ? longest : 1u)) {
        parameter_gradients(&pass);
        if (layer->grad_in[0] != NULL) {
            input_gradient(&pass);
        }
    } else if (pass.by_units) {
        step_backward(&pass, longest - stage, cell);
    } else {
        start_gradients(&pass);
        for (uint32_t t = longest; t-- > 0;) {
            step_backward(&pass, t, cell);
        }
    }
}
