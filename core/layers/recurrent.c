/* SPDX-License-Identifier: MIT */
/* The classes RNN, LSTM and GRU: shape rule, sizes, state; recurrent_forward.c and recurrent_backward.c do the work. */
#include "recurrent.h"

static const recurrent_kind rnn_kind = {1, 1, 1, 0};
static const recurrent_kind lstm_kind = {4, 4, 2, 0};
static const recurrent_kind gru_kind = {3, 4, 1, 0};

/* ---- Shapes ----------------------------------------------------------------------------------------------- */

static bool is_one(q_count c)
{
    return c.n == 1 && c.sym == Q_SYM_ONE;
}

/* [batch, 1, T, columns]. */
static bool rows_are_samples(const q_value_type *t)
{
    return (t->dim[0].sym == Q_SYM_BATCH || t->dim[0].sym == Q_SYM_ONE) && is_one(t->dim[1]) &&
           t->dim[2].sym == Q_SYM_ONE;
}

static q_error_code check_matrix(const q_node_info *info, uint32_t i, uint32_t rows, uint32_t columns, q_diag *diag)
{
    const q_param_type *p = &info->param[i];
    const char *name = i == 0 ? "W_ih" : "W_hh";
    if (p->dtype != Q_REAL || p->layout != Q_PLAIN) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", name, Q_REAL, p->dtype);
    }
    if (p->ne[0] != 1 || p->ne[1] != 1 || p->ne[2] != rows || p->ne[3] != columns) {
        bool wide = p->ne[3] != columns;
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", name, wide ? columns : rows, wide ? p->ne[3] : p->ne[2]);
    }
    return Q_OK;
}

q_error_code q_recurrent_check(const q_node_info *info, const recurrent_kind *kind, q_diag *diag)
{
    const q_value_type *in = &info->in[0];
    uint32_t dim = info->param[1].ne[3];
    uint32_t columns;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!q_rows_are_tokens(in) && !rows_are_samples(in)) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input: tokens, or [batch, 1, T, n]", 1, in->dim[1].n);
    }
    if (dim == 0 || dim > UINT32_MAX / kind->kept) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "W_hh", 1, dim);
    }
    columns = kind->blocks * dim;
    e = check_matrix(info, 0, columns, in->dim[3].n, diag);
    if (e == Q_OK) {
        e = check_matrix(info, 1, columns, dim, diag);
    }
    if (e == Q_OK && info->n_param == 3) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, "", "parameters: b_hh is missing", 4, 3);
    }
    for (uint32_t i = 2; i < info->n_param && e == Q_OK; i++) {
        e = q_expect_vector(info, i, columns, diag);
    }
    if (e == Q_OK && in->dim[2].sym == Q_SYM_TOKENS && info->max.kv == 0) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, "", "max.kv: positions of a sequence", 1, 0);
    }
    q_shape_like(info, in, dim);
    return e;
}

/* ---- Sizes ------------------------------------------------------------------------------------------------ */

recurrent_use q_recurrent_use(const recurrent_kind *kind, const q_value_type *in, const q_maxima *max, uint32_t dim)
{
    recurrent_use u;
    u.kind = kind;
    u.dim = dim;
    u.columns = in->dim[3].n;
    u.steps = in->dim[2].sym == Q_SYM_TOKENS ? 0 : in->dim[2].n;
    u.sequences = in->dim[0].n * (in->dim[0].sym == Q_SYM_BATCH ? max->batch : 1u);
    u.rows = u.sequences * u.steps;
    if (u.steps == 0) {
        u.sequences = max->sequences < 1 ? 1 : max->sequences < max->tokens ? max->sequences : max->tokens;
        u.rows = max->tokens;
    }
    u.trains = false;
    return u;
}

/* Bytes of `rows` rows of n reals. Counts have caps: dim^2 * blocks and rows * dim fit 32 bits. */
static uint64_t recurrent_piece(uint64_t rows, uint32_t n)
{
    uint64_t bytes = rows * recurrent_stride(n);
    return (bytes + (Q_ALIGN - 1)) / Q_ALIGN * Q_ALIGN;
}

/* W_hh in either form: the columns of every block, or all of W_hh's, in panels. */
static uint64_t panel_bytes(const recurrent_use *u)
{
    return (uint64_t)recurrent_panels(u->dim) * u->kind->blocks * u->dim * RECURRENT_PANEL * sizeof(q_real);
}

static uint64_t gates_bytes(const recurrent_use *u)
{
    return recurrent_piece(u->rows, u->kind->kept * u->dim);
}

static uint64_t list_bytes(const recurrent_use *u)
{
    return ((uint64_t)u->sequences * sizeof(uint32_t) + (Q_ALIGN - 1)) / Q_ALIGN * Q_ALIGN;
}

static uint64_t other_bytes(const recurrent_use *u)
{
    return recurrent_piece(u->sequences, u->trains ? u->kind->blocks * u->dim : u->dim);
}

static size_t to_size(uint64_t bytes)
{
    return bytes > SIZE_MAX - Q_ALIGN ? SIZE_MAX : (size_t)bytes;
}

static size_t state_bytes(const recurrent_use *u)
{
    return (size_t)u->kind->states * u->dim * sizeof(q_real);
}

void q_recurrent_need(const q_node_info *info, const recurrent_kind *kind, q_layer_sizes *out)
{
    recurrent_use u = q_recurrent_use(kind, &info->in[0], &info->max, info->param[1].ne[3]);
    uint64_t scratch = panel_bytes(&u) + recurrent_piece(u.sequences, kind->blocks * u.dim) +
                       kind->states * recurrent_piece(u.sequences, u.dim) + 2 * list_bytes(&u);
    u.trains = info->trains != 0;
    scratch += other_bytes(&u);
    out->state = u.steps == 0 ? state_bytes(&u) : 0;
    out->scratch = to_size(scratch + (u.trains ? 0 : gates_bytes(&u)));
    out->saved = to_size(gates_bytes(&u) + kind->states * recurrent_piece(u.rows, u.dim));
}

static q_real *recurrent_cut(uint8_t **at, uint64_t bytes)
{
    q_real *p = (q_real *)(void *)*at;
    *at += (size_t)bytes;
    return p;
}

recurrent_memory q_recurrent_memory(const q_layer *layer, const recurrent_use *use)
{
    uint8_t *scratch = (uint8_t *)layer->scratch;
    uint8_t *saved = (uint8_t *)layer->saved;
    recurrent_memory m;
    memset(&m, 0, sizeof(m));
    m.gates = recurrent_cut(use->trains ? &saved : &scratch, gates_bytes(use));
    if (use->trains) {
        m.h_prev = recurrent_cut(&saved, recurrent_piece(use->rows, use->dim));
        m.c_prev =
            use->kind->states == 2 ? recurrent_cut(&saved, recurrent_piece(use->rows, use->dim)) : NULL;
    }
    m.panels = recurrent_cut(&scratch, panel_bytes(use));
    m.recurrent = recurrent_cut(&scratch, recurrent_piece(use->sequences, use->kind->blocks * use->dim));
    m.h = recurrent_cut(&scratch, recurrent_piece(use->sequences, use->dim));
    m.c = use->kind->states == 2 ? recurrent_cut(&scratch, recurrent_piece(use->sequences, use->dim)) : NULL;
    m.other = recurrent_cut(&scratch, other_bytes(use));
    m.order = (uint32_t *)(void *)recurrent_cut(&scratch, list_bytes(use));
    m.row = (uint32_t *)(void *)recurrent_cut(&scratch, list_bytes(use));
    return m;
}

/* ---- RNN -------------------------------------------------------------------------------------------------- */

static q_error_code rnn_shape(const q_node_info *info, q_diag *diag)
{
    const q_rnn_config *c = (const q_rnn_config *)info->config;
    if (c->activation != Q_ACT_TANH && c->activation != Q_ACT_RELU) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.activation", Q_ACT_TANH, c->activation);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    return q_recurrent_check(info, &rnn_kind, diag);
}

static void rnn_sizes(const q_node_info *info, q_layer_sizes *out)
{
    q_recurrent_need(info, &rnn_kind, out);
}

static uint32_t rnn_stages(const q_layer *layer, const q_work *work, bool backward)
{
    return q_recurrent_stages(layer, work, &rnn_kind, backward);
}

static q_error_code rnn_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_recurrent_forward(layer, work, stage, &rnn_kind, layer->kernels->rnn_cell);
    return Q_OK;
}

static q_error_code rnn_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_recurrent_backward(layer, work, stage, &rnn_kind, layer->kernels->rnn_cell_grad);
    return Q_OK;
}

/* ---- LSTM ------------------------------------------------------------------------------------------------- */

static q_error_code lstm_shape(const q_node_info *info, q_diag *diag)
{
    return q_recurrent_check(info, &lstm_kind, diag);
}

static void lstm_sizes(const q_node_info *info, q_layer_sizes *out)
{
    q_recurrent_need(info, &lstm_kind, out);
}

static uint32_t lstm_stages(const q_layer *layer, const q_work *work, bool backward)
{
    return q_recurrent_stages(layer, work, &lstm_kind, backward);
}

static q_error_code lstm_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_recurrent_forward(layer, work, stage, &lstm_kind, layer->kernels->lstm_cell);
    return Q_OK;
}

static q_error_code lstm_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_recurrent_backward(layer, work, stage, &lstm_kind, layer->kernels->lstm_cell_grad);
    return Q_OK;
}

/* ---- GRU -------------------------------------------------------------------------------------------------- */

static q_error_code gru_shape(const q_node_info *info, q_diag *diag)
{
    return q_recurrent_check(info, &gru_kind, diag);
}

static void gru_sizes(const q_node_info *info, q_layer_sizes *out)
{
    q_recurrent_need(info, &gru_kind, out);
}

static uint32_t gru_stages(const q_layer *layer, const q_work *work, bool backward)
{
    return q_recurrent_stages(layer, work, &gru_kind, backward);
}

static q_error_code gru_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_recurrent_forward(layer, work, stage, &gru_kind, layer->kernels->gru_cell);
    return Q_OK;
}

static q_error_code gru_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_recurrent_backward(layer, work, stage, &gru_kind, layer->kernels->gru_cell_grad);
    return Q_OK;
}

/* ---- Classes ---------------------------------------------------------------------------------------------- */

#define RECURRENT_CLASS                                                                                                \
    .struct_size = sizeof(q_layer_class), .config_version = 1, .min_in = 1, .max_in = 1, .n_out = 1, .min_param = 2,   \
    .max_param = 4, .forward_stages = 2, .backward_stages = Q_TRAINING(3),                                        \
    .flags = Q_LAYER_SHARED | Q_LAYER_STATEFUL | Q_LAYER_SEQUENCES, .saves = 1u << 0

const q_layer_class q_layer_rnn = {
    RECURRENT_CLASS,
    .id = Q_LAYER_RNN,
    .name = "rnn",
    .config_size = sizeof(q_rnn_config),
    .shape = rnn_shape,
    .sizes = rnn_sizes,
    .stages = rnn_stages,
    .forward = rnn_forward,
    .backward = Q_TRAINING(rnn_backward),
};

const q_layer_class q_layer_lstm = {
    RECURRENT_CLASS,
    .id = Q_LAYER_LSTM,
    .name = "lstm",
    .shape = lstm_shape,
    .sizes = lstm_sizes,
    .stages = lstm_stages,
    .forward = lstm_forward,
    .backward = Q_TRAINING(lstm_backward),
};

const q_layer_class q_layer_gru = {
    RECURRENT_CLASS,
    .id = Q_LAYER_GRU,
    .name = "gru",
    .shape = gru_shape,
    .sizes = gru_sizes,
    .stages = gru_stages,
    .forward = gru_forward,
    .backward = Q_TRAINING(gru_backward),
};
