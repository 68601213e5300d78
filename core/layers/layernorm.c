/* SPDX-License-Identifier: MIT */
/*
 * LayerNorm: y = (x - mean) / sqrt(var + eps) * w + b, mean and variance along the row.   x [rows, dim], w, b [dim]
 *
 *   dx: see q_layernorm_grad_args
 *   dw += column sums of dy * (x - mean)/sqrt(var + eps), db += column sums of dy, rows ascending
 *
 * Saved: mean and 1/sqrt(var + eps) of every row.
 */
#include "layers.h"

static q_error_code layernorm_shape(const q_node_info *info, q_diag *diag)
{
    const q_layernorm_config *c = (const q_layernorm_config *)info->config;
    uint32_t columns = info->in[0].dim[3].n;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!(c->eps > 0) || !(c->eps - c->eps == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.eps", 0, 0);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    q_shape_like(info, &info->in[0], columns);
    for (uint32_t i = 0; i < info->n_param && e == Q_OK; i++) {
        e = q_expect_vector(info, i, columns, diag);
    }
    return e;
}

static void layernorm_sizes(const q_node_info *info, q_layer_sizes *out)
{
    if (info->trains != 0) {
        out->saved = q_bytes_at_most(q_rows_at_most(&info->in[0], &info->max), 2 * sizeof(q_real));
    }
}

static uint32_t layernorm_can(const q_node_info *info)
{
    (void)info;
    return Q_PROLOGUE_SUM;
}

static q_error_code layernorm_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_layernorm_config *c = (const q_layernorm_config *)layer->config;
    q_layernorm_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.dim = layer->in[0]->ne[3];
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.sum = q_sum_of_addends(layer);
    a.weight = q_reals(layer->param[0]);
    a.bias = layer->n_param > 1 ? q_reals(layer->param[1]) : NULL;
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    a.stats = (q_real *)layer->saved;
    a.eps = (q_real)c->eps;
    layer->kernels->layernorm(work, &a);
    return Q_OK;
}

static void layernorm_to_input(const q_layer *layer, const q_work *work)
{
    q_layernorm_grad_args a;
    a.rows = layer->out_rows[0];
    a.dim = layer->in[0]->ne[3];
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.weight = q_reals(layer->param[0]);
    a.stats = (const q_real *)layer->saved;
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    a.pass = q_pass_to_addends(layer);
    a.accumulate = layer->accumulate & 1u;
    a.reserved = 0;
    layer->kernels->layernorm_grad(work, &a);
}

static q_error_code layernorm_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_layernorm_grad_param_args a;
    (void)stage;
    if (layer->grad_in[0] != NULL) {
        layernorm_to_input(layer, work);
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->in[0]->ne[3];
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.stats = (const q_real *)layer->saved;
    a.grad_weight = layer->grad_param[0] != NULL ? q_reals(layer->grad_param[0]) : NULL;
    a.grad_bias = layer->n_param > 1 && layer->grad_param[1] != NULL ? q_reals(layer->grad_param[1]) : NULL;
    if (a.grad_weight != NULL || a.grad_bias != NULL) {
        layer->kernels->layernorm_grad_param(work, &a);
    }
    return Q_OK;
}

const q_layer_class q_layer_layernorm = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_LAYERNORM,
    .name = "layernorm",
    .config_size = sizeof(q_layernorm_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 2,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1u << 0,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 0,
    .shape = layernorm_shape,
    .sizes = layernorm_sizes,
    .epilogue = layernorm_can,
    .forward = layernorm_forward,
    .backward = Q_TRAINING(layernorm_backward),
};
