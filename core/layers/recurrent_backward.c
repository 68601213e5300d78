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
    a.h_prev = m->h_prev;
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

/* Rows first .. first + n - 1 of a weight's gradient, and of its bias: those of blocks of gates, from column `from` on. */
typedef struct recurrent_block {
    uint32_t first;
    uint32_t n;
    uint32_t from;
    uint32_t reserved;
} recurrent_block;

static void weight_gradient(const recurrent_pass *pass, const q_tensor *grad, recurrent_block block, const q_real *x,
                            size_t x_stride)
{
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m.n = block.n;
    a.n.n = grad->ne[3];
    a.k = pass->layer->in_rows[0];
    a.a = pass->m.gates + block.from;
    a.a_stride = recurrent_stride(pass->use.kind->kept * pass->use.dim);
    a.transpose_a = 1;
    a.b = x;
    a.b_stride = x_stride;
    a.c = q_reals(grad) + (size_t)block.first * grad->ne[3];
    a.c_stride = grad->nb[2];
    a.accumulate = 1;
    pass->layer->kernels->matmul(pass->work, &a);
}

/* Both biases by so many rows at a time: the second finds them in the cache. */
enum { BIAS_ROWS = 128 };

static void bias_gradient(const recurrent_pass *pass, const q_tensor *grad, recurrent_block block, uint32_t row, uint32_t rows)
{
    q_bias_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.dim = block.n;
    a.dy = pass->m.gates + block.from + (size_t)recurrent_pitch(pass->use.kind->kept * pass->use.dim) * row;
    a.dy_stride = recurrent_stride(pass->use.kind->kept * pass->use.dim);
    a.grad = q_reals(grad) + block.first;
    a.accumulate = 1;
    pass->layer->kernels->bias_grad(pass->work, &a);
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

/* The blocks of the weights' rows in the h part's gradient: all, or those of r and z, and of n, which lies apart. */
static uint32_t blocks_of_h(const recurrent_use *use, recurrent_block blocks[2])
{
    bool apart = use->kind->kept != use->kind->blocks;
    blocks[0] = (recurrent_block){0, (use->kind->blocks - (apart ? 1u : 0u)) * use->dim, 0, 0};
    blocks[1] = (recurrent_block){2 * use->dim, use->dim, 3 * use->dim, 0};
    return apart ? 2 : 1;
}

static void weight_gradients(const recurrent_pass *pass)
{
    recurrent_block all = {0, pass->use.kind->blocks * pass->use.dim, 0, 0};
    recurrent_block blocks[2];
    uint32_t n = blocks_of_h(&pass->use, blocks);
    for (uint32_t i = 0; i < n && pass->layer->grad_param[1] != NULL; i++) {
        weight_gradient(pass, pass->layer->grad_param[1], blocks[i], pass->m.h_prev, recurrent_stride(pass->use.dim));
    }
    if (pass->layer->grad_param[0] != NULL) {
        weight_gradient(pass, pass->layer->grad_param[0], all, q_reals(pass->layer->in[0]), pass->layer->in[0]->nb[2]);
    }
}

static void bias_gradients(const recurrent_pass *pass)
{
    recurrent_block all = {0, pass->use.kind->blocks * pass->use.dim, 0, 0};
    recurrent_block blocks[2];
    uint32_t n = blocks_of_h(&pass->use, blocks);
    uint32_t rows = q_count_value(pass->work->run, pass->layer->in_rows[0]);
    for (uint32_t row = 0; row < rows && pass->layer->n_param > 2; row += BIAS_ROWS) {
        uint32_t some = rows - row < BIAS_ROWS ? rows - row : (uint32_t)BIAS_ROWS;
        if (pass->layer->grad_param[2] != NULL) {
            bias_gradient(pass, pass->layer->grad_param[2], all, row, some);
        }
        for (uint32_t i = 0; i < n && pass->layer->grad_param[3] != NULL; i++) {
            bias_gradient(pass, pass->layer->grad_param[3], blocks[i], row, some);
        }
    }
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
        weight_gradients(&pass);
        bias_gradients(&pass);
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
