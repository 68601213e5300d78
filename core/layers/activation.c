/* SPDX-License-Identifier: MIT */
/*
 * Activation: y = f(x), of every element. Works in place where nobody else reads x; a plan may hand it to the epilogue of
 * the layer before (plan_fuse.c).
 *
 *   relu, sigmoid, tanh: dx = dy * f' from y     silu, gelu_tanh, gelu_erf: from x
 */
#include "layers.h"

static uint32_t activation_of(const q_layer *layer)
{
    return layer->type == Q_LAYER_SILU ? (uint32_t)Q_ACT_SILU
                                       : ((const q_activation_config *)layer->config)->activation;
}

static q_error_code silu_shape(const q_node_info *info, q_diag *diag)
{
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return q_expect_real(info, 0, diag);
}

static q_error_code activation_shape(const q_node_info *info, q_diag *diag)
{
    const q_activation_config *c = (const q_activation_config *)info->config;
    if (c->activation >= Q_ACT_COUNT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.activation", Q_ACT_COUNT, c->activation);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    return silu_shape(info, diag);
}

static uint32_t activation_reads(const q_node_info *info)
{
    const q_activation_config *c = (const q_activation_config *)info->config;
    return c->activation == Q_ACT_NONE ? 0 : q_activation_from_output(c->activation) ? 1u << 8 : 1u;
}

static q_error_code activation_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_activate_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.activation = activation_of(layer);
    a.reserved = 0;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    layer->kernels->activate(work, &a);
    return Q_OK;
}

static q_error_code activation_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t activation = activation_of(layer);
    const q_tensor *v = activation == Q_ACT_NONE ? layer->grad_out[0] /* x and y are gone */
                        : q_activation_from_output(activation) ? layer->out[0]
                                                               : layer->in[0];
    q_activate_grad_args a;
    (void)stage;
    if (layer->grad_in[0] == NULL) {
        return Q_OK;
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.activation = activation;
    a.accumulate = q_accumulates(layer, 0);
    a.v = q_reals(v);
    a.v_stride = v->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    layer->kernels->activate_grad(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_activation = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_ACTIVATION,
    .name = "activation",
    .config_size = sizeof(q_activation_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = activation_shape,
    .reads = activation_reads,
    .forward = activation_forward,
    .backward = Q_TRAINING(activation_backward),
};

const q_layer_class q_layer_silu = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_SILU,
    .name = "silu",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 0,
    .shape = silu_shape,
    .forward = activation_forward,
    .backward = Q_TRAINING(activation_backward),
};
