/* SPDX-License-Identifier: MIT */
/*
 * Losses: mse, huber and bce of pairs (x, target: one shape), cross_entropy of logits and class numbers.
 *
 *   output 0 [1]: the sum of the losses     output 1 [1, 2]: how many terms it has (cross_entropy with weights: the sum of
 *   their weights), as two reals whose sum it is
 *
 * Stage 0: every row by itself (q_pair_loss_args, q_cross_entropy_args). Stage 1, one worker: rows summed in double,
 * ascending. The mean and its gradient are the optimizer's: count divides once.
 */
#include "layers.h"

static void loss_outputs(const q_node_info *info)
{
    for (uint32_t o = 0; o < 2; o++) {
        info->out[o].dtype = Q_REAL;
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            info->out[o].dim[d].n = 1;
            info->out[o].dim[d].sym = Q_SYM_ONE;
        }
    }
    info->out[1].dim[3].n = 2;
}

static void store_count(const q_layer *layer, double n)
{
    q_real *out = q_reals(layer->out[1]);
    out[0] = (q_real)n;
    out[1] = (q_real)(n - (double)out[0]);
}

static double sum_of_rows(const q_real *x, uint32_t rows)
{
    double sum = 0;
    for (uint32_t r = 0; r < rows; r++) {
        sum = sum + (double)x[r];
    }
    return sum;
}

/* ---- Pairs -------------------------------------------------------------------------------------------------- */

static q_error_code pair_shape(const q_node_info *info, q_diag *diag)
{
    q_error_code e = q_expect_real(info, 0, diag);
    if (e == Q_OK) {
        e = q_expect_real(info, 1, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    if (!q_dims_equal(&info->in[0], &info->in[1])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "target", info->in[0].dim[3].n, info->in[1].dim[3].n);
    }
    loss_outputs(info);
    return Q_OK;
}

static q_error_code huber_shape(const q_node_info *info, q_diag *diag)
{
    const q_huber_config *c = (const q_huber_config *)info->config;
    if (!(c->delta > 0) || !(c->delta - c->delta == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.delta", 1, 0);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    return pair_shape(info, diag);
}

static q_error_code bce_shape(const q_node_info *info, q_diag *diag)
{
    q_error_code e = pair_shape(info, diag);
    return e == Q_OK && info->n_param != 0 ? q_expect_vector(info, 0, info->in[0].dim[3].n, diag) : e;
}

static void pair_sizes(const q_node_info *info, q_layer_sizes *out)
{
    out->scratch = q_bytes_at_most(q_rows_at_most(&info->in[0], &info->max), sizeof(q_real));
}

static q_pair_loss_args pair_args(const q_layer *layer)
{
    q_pair_loss_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->in_rows[0];
    a.dim = layer->in[0]->ne[3];
    a.kind = layer->type == Q_LAYER_HUBER ? Q_LOSS_HUBER : layer->type == Q_LAYER_BCE ? Q_LOSS_BCE : Q_LOSS_MSE;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.t = q_reals(layer->in[1]);
    a.t_stride = layer->in[1]->nb[2];
    a.weight = layer->n_param != 0 ? q_reals(layer->param[0]) : NULL;
    a.delta = a.kind == Q_LOSS_HUBER ? (q_real)((const q_huber_config *)layer->config)->delta : 1;
    return a;
}

static q_error_code pair_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->in_rows[0]);
    q_pair_loss_args a = pair_args(layer);
    a.loss = (q_real *)layer->scratch;
    if (stage == 0) {
        layer->kernels->pair_loss(work, &a);
    } else if (work->worker == 0) {
        *q_reals(layer->out[0]) = (q_real)sum_of_rows(a.loss, rows);
        store_count(layer, (double)rows * a.dim);
    }
    return Q_OK;
}

/* The weights of bce are no parameters to train. */
static q_error_code pair_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_pair_loss_args a = pair_args(layer);
    (void)stage;
    if (layer->n_param != 0 && layer->grad_param[0] != NULL) {
        return Q_ERR_UNSUPPORTED;
    }
    a.scale = *q_reals(layer->grad_out[0]);
    a.accumulate = layer->accumulate & 3u;
    if (layer->grad_in[0] != NULL) {
        a.dx = q_reals(layer->grad_in[0]);
        a.dx_stride = layer->grad_in[0]->nb[2];
    }
    if (layer->grad_in[1] != NULL) {
        a.dt = q_reals(layer->grad_in[1]);
        a.dt_stride = layer->grad_in[1]->nb[2];
    }
    layer->kernels->pair_loss(work, &a);
    return Q_OK;
}

/* ---- Cross-entropy ------------------------------------------------------------------------------------------ */

/* One number per row of the logits: ids along a dimension, or rows of one column. */
static bool one_target_per_row(const q_value_type *x, const q_value_type *ids)
{
    uint64_t n = 1;
    uint64_t m = 1;
    uint32_t x_sym = Q_SYM_ONE;
    uint32_t sym = Q_SYM_ONE;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        n *= d < 3 ? x->dim[d].n : 1u;
        m *= ids->dim[d].n;
        x_sym = d < 3 && x->dim[d].sym != Q_SYM_ONE ? x->dim[d].sym : x_sym;
        sym = ids->dim[d].sym != Q_SYM_ONE ? ids->dim[d].sym : sym;
    }
    return n == m && x_sym == sym;
}

static q_error_code cross_entropy_shape(const q_node_info *info, q_diag *diag)
{
    const q_cross_entropy_config *c = (const q_cross_entropy_config *)info->config;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!(c->label_smoothing >= 0) || !(c->label_smoothing <= 1)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.label_smoothing", 1, 0);
    }
    if (info->in[1].dtype != Q_I32) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "target", Q_I32, info->in[1].dtype);
    }
    if (!one_target_per_row(&info->in[0], &info->in[1])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "target", 1, info->in[1].dim[3].n);
    }
    loss_outputs(info);
    return info->n_param != 0 ? q_expect_vector(info, 0, info->in[0].dim[3].n, diag) : Q_OK;
}

static void cross_entropy_sizes(const q_node_info *info, q_layer_sizes *out)
{
    out->saved = q_bytes_at_most(q_rows_at_most(&info->in[0], &info->max), 2 * sizeof(q_real));
    out->scratch = q_bytes_at_most(out->saved, 2);
}

/* Scratch: losses, counts and, where nothing is saved, lse. */
static q_cross_entropy_args cross_entropy_args(const q_layer *layer, uint32_t rows)
{
    const q_cross_entropy_config *c = (const q_cross_entropy_config *)layer->config;
    q_cross_entropy_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->in_rows[0];
    a.classes = layer->in[0]->ne[3];
    a.ignore = c->ignore_index;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.target = (const int32_t *)layer->in[1]->data;
    a.weight = layer->n_param != 0 ? q_reals(layer->param[0]) : NULL;
    a.smoothing = (q_real)c->label_smoothing;
    a.loss = (q_real *)layer->scratch;
    a.count = a.loss + rows;
    a.lse = layer->trains != 0 ? (q_real *)layer->saved : a.count + rows;
    return a;
}

static bool targets_fit(const q_cross_entropy_args *a, uint32_t rows)
{
    for (uint32_t r = 0; r < rows; r++) {
        if (a->target[r] != a->ignore && (a->target[r] < 0 || (uint32_t)a->target[r] >= a->classes)) {
            return false;
        }
    }
    return true;
}

static q_error_code cross_entropy_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->in_rows[0]);
    q_cross_entropy_args a = cross_entropy_args(layer, rows);
    if (!targets_fit(&a, rows)) {
        return Q_ERR_INVALID_TOKEN;
    }
    if (stage == 0) {
        layer->kernels->cross_entropy(work, &a);
    } else if (work->worker == 0) {
        *q_reals(layer->out[0]) = (q_real)sum_of_rows(a.loss, rows);
        store_count(layer, sum_of_rows(a.count, rows));
    }
    return Q_OK;
}

static q_error_code cross_entropy_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_cross_entropy_args a = cross_entropy_args(layer, 0);
    (void)stage;
    if (layer->n_param != 0 && layer->grad_param[0] != NULL) {
        return Q_ERR_UNSUPPORTED;
    }
    if (layer->grad_in[0] == NULL) {
        return Q_OK;
    }
    a.scale = *q_reals(layer->grad_out[0]);
    a.accumulate = q_accumulates(layer, 0);
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    layer->kernels->cross_entropy_grad(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_mse = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_MSE,
    .name = "mse",
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .forward_stages = 2,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED,
    .saves = 3u,
    .shape = pair_shape,
    .sizes = pair_sizes,
    .forward = pair_forward,
    .backward = Q_TRAINING(pair_backward),
};

const q_layer_class q_layer_huber = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_HUBER,
    .name = "huber",
    .config_size = sizeof(q_huber_config),
    .config_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .forward_stages = 2,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED,
    .saves = 3u,
    .shape = huber_shape,
    .sizes = pair_sizes,
    .forward = pair_forward,
    .backward = Q_TRAINING(pair_backward),
};

const q_layer_class q_layer_bce = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_BCE,
    .name = "bce",
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .max_param = 1,
    .forward_stages = 2,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED,
    .saves = 3u,
    .shape = bce_shape,
    .sizes = pair_sizes,
    .forward = pair_forward,
    .backward = Q_TRAINING(pair_backward),
};

const q_layer_class q_layer_cross_entropy = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_CROSS_ENTROPY,
    .name = "cross_entropy",
    .config_size = sizeof(q_cross_entropy_config),
    .config_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .max_param = 1,
    .forward_stages = 2,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED,
    .saves = 3u,
    .shape = cross_entropy_shape,
    .sizes = cross_entropy_sizes,
    .forward = cross_entropy_forward,
    .backward = Q_TRAINING(cross_entropy_backward),
};
