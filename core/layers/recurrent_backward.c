/* SPDX-License-Identifier: MIT */
/*
 * Backward of RNN, LSTM and GRU, through the rows of the step; the state before it is a constant.
 *
 * Stage 0: W_hh laid out for stage 1, the order of the sequences. Stage 1: every worker takes its sequences from the
 * last row to the first: gradient of the pre-activations, which takes the place of the gates, then
 *   dh of the row before = (GRU: g*z +) d(h part) W_hh, one chain
 * Stage 2, products over all rows, ascending:
 *   dW_ih += d(x part)^T x, dW_hh += d(h part)^T h_prev, the biases their column sums, dx = d(x part) W_ih
 */
#include "recurrent_product.h"

/* ---- Stage 1 ---------------------------------------------------------------------------------------------- */

static q_cell_grad_args cell_grad_args(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                                       uint32_t slot)
{
    size_t state = (size_t)recurrent_pitch(use->dim) * slot;
    q_cell_grad_args a;
    memset(&a, 0, sizeof(a));
    a.dim = use->dim;
    a.activation = layer->type == Q_LAYER_RNN ? ((const q_rnn_config *)layer->config)->activation : Q_ACT_NONE;
    a.row = m->row + slot;
    a.gates = m->gates;
    a.gates_stride = recurrent_stride(use->kind->kept * use->dim);
    a.h_prev = m->h_prev;
    a.c_prev = m->c_prev;
    a.prev_stride = recurrent_stride(use->dim);
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dh = m->h + state;
    a.dc = m->c != NULL ? m->c + state : NULL;
    a.state_stride = recurrent_stride(use->dim);
    a.recurrent = m->recurrent + (size_t)recurrent_pitch(use->kind->blocks * use->dim) * slot;
    a.recurrent_stride = recurrent_stride(use->kind->blocks * use->dim);
    return a;
}

/* Sequence i of this worker. */
static recurrent_rows rows_of_mine(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                                   const q_work *work, uint32_t i)
{
    return q_recurrent_rows(layer, use, work->run, m->order[work->worker + i * work->n_workers]);
}

static void sequences_backward(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                               const q_work *work, recurrent_cell_grad cell)
{
    recurrent_share mine = q_recurrent_share(layer, use, work, m);
    q_cell_grad_args a = cell_grad_args(layer, use, m, mine.slot);
    recurrent_product product = {layer, m->panels, use->dim, use->kind->blocks * use->dim, RECURRENT_PANELS};
    q_work alone = *work;
    alone.worker = 0;
    alone.n_workers = 1;
    memset(a.dh, 0, mine.n * a.state_stride);
    if (a.dc != NULL) {
        memset(a.dc, 0, mine.n * a.state_stride);
    }
    for (uint32_t t = mine.longest; t-- > 0;) {
        while (a.n < mine.n && rows_of_mine(layer, use, m, work, a.n).n > t) {
            recurrent_rows r = rows_of_mine(layer, use, m, work, a.n);
            m->row[mine.slot + a.n++] = r.first + r.n;
        }
        for (uint32_t i = 0; i < a.n; i++) {
            m->row[mine.slot + i]--;
        }
        cell(&alone, &a);
        if (t != 0) {
            q_recurrent_multiply(&product, &alone, a.n, a.recurrent, a.recurrent_stride, a.dh, NULL,
                                 layer->type == Q_LAYER_GRU);
        }
    }
}

/* ---- Stage 2 ---------------------------------------------------------------------------------------------- */

/* Rows first .. first + n - 1 of a weight's gradient, and of its bias: those of blocks of gates, from column `from` on. */
typedef struct recurrent_block {
    uint32_t first;
    uint32_t n;
    uint32_t from;
    uint32_t reserved;
} recurrent_block;

static void weight_gradient(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                            const q_work *work, const q_tensor *grad, recurrent_block block, const q_real *x,
                            size_t x_stride)
{
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m.n = block.n;
    a.n.n = grad->ne[3];
    a.k = layer->in_rows[0];
    a.a = m->gates + block.from;
    a.a_stride = recurrent_stride(use->kind->kept * use->dim);
    a.transpose_a = 1;
    a.b = x;
    a.b_stride = x_stride;
    a.c = q_reals(grad) + (size_t)block.first * grad->ne[3];
    a.c_stride = grad->nb[2];
    a.accumulate = 1;
    layer->kernels->matmul(work, &a);
}

/* Both biases by so many rows at a time: the second finds them in the cache. */
enum { BIAS_ROWS = 128 };

static void bias_gradient(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                          const q_work *work, const q_tensor *grad, recurrent_block block, uint32_t row, uint32_t rows)
{
    q_bias_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.dim = block.n;
    a.dy = m->gates + block.from + (size_t)recurrent_pitch(use->kind->kept * use->dim) * row;
    a.dy_stride = recurrent_stride(use->kind->kept * use->dim);
    a.grad = q_reals(grad) + block.first;
    a.accumulate = 1;
    layer->kernels->bias_grad(work, &a);
}

static void input_gradient(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                           const q_work *work)
{
    const q_tensor *w = layer->param[0];
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m = layer->in_rows[0];
    a.n.n = use->columns;
    a.k.n = use->kind->blocks * use->dim;
    a.a = m->gates;
    a.a_stride = recurrent_stride(use->kind->kept * use->dim);
    a.b = q_reals(w);
    a.b_stride = w->nb[2];
    a.c = q_reals(layer->grad_in[0]);
    a.c_stride = layer->grad_in[0]->nb[2];
    a.accumulate = (uint8_t)(layer->accumulate & 1u);
    layer->kernels->matmul(work, &a);
}

/* The blocks of the weights' rows in the h part's gradient: all, or those of r and z, and of n, which lies apart. */
static uint32_t blocks_of_h(const recurrent_use *use, recurrent_block blocks[2])
{
    bool apart = use->kind->kept != use->kind->blocks;
    blocks[0] = (recurrent_block){0, (use->kind->blocks - (apart ? 1u : 0u)) * use->dim, 0, 0};
    blocks[1] = (recurrent_block){2 * use->dim, use->dim, 3 * use->dim, 0};
    return apart ? 2 : 1;
}

static void weight_gradients(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m,
                             const q_work *work)
{
    recurrent_block all = {0, use->kind->blocks * use->dim, 0, 0};
    recurrent_block blocks[2];
    uint32_t n = blocks_of_h(use, blocks);
    for (uint32_t i = 0; i < n && layer->grad_param[1] != NULL; i++) {
        weight_gradient(layer, use, m, work, layer->grad_param[1], blocks[i], m->h_prev, recurrent_stride(use->dim));
    }
    if (layer->grad_param[0] != NULL) {
        weight_gradient(layer, use, m, work, layer->grad_param[0], all, q_reals(layer->in[0]), layer->in[0]->nb[2]);
    }
}

static void bias_gradients(const q_layer *layer, const recurrent_use *use, const recurrent_memory *m, const q_work *work)
{
    recurrent_block all = {0, use->kind->blocks * use->dim, 0, 0};
    recurrent_block blocks[2];
    uint32_t n = blocks_of_h(use, blocks);
    uint32_t rows = q_count_value(work->run, layer->in_rows[0]);
    for (uint32_t row = 0; row < rows && layer->n_param > 2; row += BIAS_ROWS) {
        uint32_t some = rows - row < BIAS_ROWS ? rows - row : (uint32_t)BIAS_ROWS;
        if (layer->grad_param[2] != NULL) {
            bias_gradient(layer, use, m, work, layer->grad_param[2], all, row, some);
        }
        for (uint32_t i = 0; i < n && layer->grad_param[3] != NULL; i++) {
            bias_gradient(layer, use, m, work, layer->grad_param[3], blocks[i], row, some);
        }
    }
}

void q_recurrent_backward(const q_layer *layer, const q_work *work, uint32_t stage, const recurrent_kind *kind,
                          recurrent_cell_grad cell)
{
    recurrent_use use = q_recurrent_use(layer, kind);
    recurrent_memory m = q_recurrent_memory(layer, &use);
    if (stage == 0) {
        if (work->worker == 0) {
            q_recurrent_order(layer, &use, work->run, m.order);
        }
        q_recurrent_pack_rows(work, q_reals(layer->param[1]), use.dim, kind->blocks * use.dim, m.panels);
    } else if (stage == 1) {
        sequences_backward(layer, &use, &m, work, cell);
    } else {
        weight_gradients(layer, &use, &m, work);
        bias_gradients(layer, &use, &m, work);
        if (layer->grad_in[0] != NULL) {
            input_gradient(layer, &use, &m, work);
        }
    }
}
