/* SPDX-License-Identifier: MIT */
/* Scale: y = factor * x. */
#include "layers.h"

static q_error_code scale_shape(const q_node_info *info, q_diag *diag)
{
    const q_scale_config *c = (const q_scale_config *)info->config;
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    if (q_expect_finite((double)c->factor, -3.4028234663852886e38, "config.factor", diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return q_expect_real(info, 0, diag);
}

/* to (+)= factor * from, both of the shape of output 0. */
static void scale_tensor(const q_layer *layer, const q_work *work, const q_tensor *from, const q_tensor *to,
                         uint32_t accumulate)
{
    q_scale_args a;
    a.rows = layer->out_rows[0];
    a.dim = to->ne[3];
    a.accumulate = accumulate;
    a.x = q_reals(from);
    a.x_stride = from->nb[2];
    a.out = q_reals(to);
    a.out_stride = to->nb[2];
    a.factor = (q_real)((const q_scale_config *)layer->config)->factor;
    layer->kernels->scale(work, &a);
}

static q_error_code scale_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    scale_tensor(layer, work, layer->in[0], layer->out[0], 0);
    return Q_OK;
}

static q_error_code scale_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (layer->grad_in[0] != NULL) {
        scale_tensor(layer, work, layer->grad_out[0], layer->grad_in[0], q_accumulates(layer, 0));
    }
    return Q_OK;
}

const q_layer_class q_layer_scale = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_SCALE,
    .name = "scale",
    .config_size = sizeof(q_scale_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = scale_shape,
    .forward = scale_forward,
    .backward = Q_TRAINING(scale_backward),
};
