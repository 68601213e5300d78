/* SPDX-License-Identifier: MIT */
/* Elementwise layers: add (of two values, or of a value and a row for all of its rows), mul, silu_mul (SwiGLU's silu(a)*b),
   softmax. All may work in place. */
#include "layers.h"

/* Two inputs, or one and a vector. */
static q_error_code binary_shape(const q_node_info *info, q_diag *diag)
{
    q_error_code e = Q_OK;
    for (uint32_t i = 0; i < info->n_in && e == Q_OK; i++) {
        e = q_expect_real(info, i, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    if (info->n_in + info->n_param != 2) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "n_in + n_param", 2, info->n_in);
    }
    if (info->n_param != 0) {
        return q_expect_vector(info, 0, info->in[0].dim[3].n, diag);
    }
    if (!q_dims_equal(&info->in[0], &info->in[1])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "inputs differ", info->in[0].dim[3].n, info->in[1].dim[3].n);
    }
    return Q_OK;
}

static q_binary_args binary_args(const q_layer *layer)
{
    bool row = layer->n_param != 0; /* add of one row to all */
    q_binary_args a;
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.a = q_reals(layer->in[0]);
    a.a_stride = layer->in[0]->nb[2];
    a.b = q_reals(row ? layer->param[0] : layer->in[1]);
    a.b_stride = row ? 0 : layer->in[1]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    return a;
}

static q_error_code add_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_binary_args a = binary_args(layer);
    (void)stage;
    layer->kernels->add(work, &a);
    return Q_OK;
}

static q_error_code mul_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_binary_args a = binary_args(layer);
    (void)stage;
    layer->kernels->mul(work, &a);
    return Q_OK;
}

static q_error_code silu_mul_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_binary_args a = binary_args(layer);
    (void)stage;
    layer->kernels->silu_mul(work, &a);
    return Q_OK;
}

static q_error_code softmax_shape(const q_node_info *info, q_diag *diag)
{
    const q_softmax_config *c = (const q_softmax_config *)info->config;
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    if (q_expect_finite((double)c->scale, -3.4028234663852886e38, "config.scale", diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return q_expect_real(info, 0, diag);
}

static q_error_code softmax_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_softmax_config *c = (const q_softmax_config *)layer->config;
    q_softmax_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    a.scale = (q_real)c->scale;
    layer->kernels->softmax(work, &a);
    return Q_OK;
}

/* ---- Backward ----------------------------------------------------------------------------------------------- */

static q_error_code add_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    for (uint32_t i = 0; i < layer->n_in; i++) {
        if (layer->grad_in[i] != NULL) {
            q_pass_gradient(layer, work, layer->grad_in[i], q_accumulates(layer, i) != 0);
        }
    }
    q_bias_gradient(layer, work, 0);
    return Q_OK;
}

static q_binary_grad_args binary_grad_args(const q_layer *layer)
{
    q_binary_grad_args a;
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.accumulate = layer->accumulate & 3u;
    a.reserved = 0;
    a.a = q_reals(layer->in[0]);
    a.a_stride = layer->in[0]->nb[2];
    a.b = q_reals(layer->in[1]);
    a.b_stride = layer->in[1]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.da = layer->grad_in[0] != NULL ? q_reals(layer->grad_in[0]) : NULL;
    a.da_stride = layer->grad_in[0] != NULL ? layer->grad_in[0]->nb[2] : 0;
    a.db = layer->grad_in[1] != NULL ? q_reals(layer->grad_in[1]) : NULL;
    a.db_stride = layer->grad_in[1] != NULL ? layer->grad_in[1]->nb[2] : 0;
    return a;
}

static q_error_code mul_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_binary_grad_args a = binary_grad_args(layer);
    (void)stage;
    layer->kernels->mul_grad(work, &a);
    return Q_OK;
}

static q_error_code silu_mul_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_binary_grad_args a = binary_grad_args(layer);
    (void)stage;
    layer->kernels->silu_mul_grad(work, &a);
    return Q_OK;
}

static q_error_code softmax_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_softmax_config *c = (const q_softmax_config *)layer->config;
    q_softmax_grad_args a;
    (void)stage;
    if (layer->grad_in[0] == NULL) {
        return Q_OK;
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    a.scale = (q_real)c->scale;
    a.accumulate = q_accumulates(layer, 0);
    layer->kernels->softmax_grad(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_add = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_ADD,
    .name = "add",
    .min_in = 1,
    .max_in = 2,
    .n_out = 1,
    .max_param = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 3,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = binary_shape,
    .forward = add_forward,
    .backward = Q_TRAINING(add_backward),
};

const q_layer_class q_layer_mul = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_MUL,
    .name = "mul",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 3,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 3u,
    .shape = binary_shape,
    .forward = mul_forward,
    .backward = Q_TRAINING(mul_backward),
};

const q_layer_class q_layer_silu_mul = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_SILU_MUL,
    .name = "silu_mul",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 3,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 3u,
    .shape = binary_shape,
    .forward = silu_mul_forward,
    .backward = Q_TRAINING(silu_mul_backward),
};

const q_layer_class q_layer_softmax = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_SOFTMAX,
    .name = "softmax",
    .config_size = sizeof(q_softmax_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 8,
    .shape = softmax_shape,
    .forward = softmax_forward,
    .backward = Q_TRAINING(softmax_backward),
};
