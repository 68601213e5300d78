/* SPDX-License-Identifier: MIT */
/* Fake quantisation: activations become what fast mode makes of them, and reals again. */
#include "layers.h"

static q_error_code fake_quantize_shape(const q_node_info *info, q_diag *diag)
{
    const q_fake_quantize_config *c = (const q_fake_quantize_config *)info->config;
    if (c->planes != 1 && c->planes != 2) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.planes", 2, c->planes);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    if (info->in[0].dim[3].n % Q_BLOCK != 0) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input columns", Q_BLOCK, info->in[0].dim[3].n);
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return q_expect_real(info, 0, diag);
}

static bool fake_quantize_identity(const q_node_info *info)
{
    return info->trains == 0;
}

static q_error_code fake_quantize_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_round_args a;
    (void)stage;
    if (layer->trains == 0) {
        q_pass_input(layer, work);
        return Q_OK;
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.dtype = ((const q_fake_quantize_config *)layer->config)->planes == 2 ? Q_A8X2 : Q_A8;
    a.reserved = 0;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    layer->kernels->round(work, &a);
    return Q_OK;
}

static q_error_code fake_quantize_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (layer->grad_in[0] != NULL) {
        q_pass_gradient(layer, work, layer->grad_in[0], q_accumulates(layer, 0) != 0);
    }
    return Q_OK;
}

const q_layer_class q_layer_fake_quantize = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_FAKE_QUANTIZE,
    .name = "fake_quantize",
    .config_size = sizeof(q_fake_quantize_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = fake_quantize_shape,
    .identity = fake_quantize_identity,
    .forward = fake_quantize_forward,
    .backward = Q_TRAINING(fake_quantize_backward),
};
