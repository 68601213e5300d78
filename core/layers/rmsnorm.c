/* SPDX-License-Identifier: MIT */
/* RMSNorm: y = x / sqrt(mean(x^2) + eps) * (w + offset), per row or per group of columns. */
#include "layers.h"

static q_error_code rmsnorm_shape(const q_node_info *info, q_diag *diag)
{
    const q_rmsnorm_config *c = (const q_rmsnorm_config *)info->config;
    uint32_t columns = info->in[0].dim[3].n;
    uint32_t width = c->group != 0 ? c->group : columns;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!(c->eps > 0) || !(c->eps - c->eps == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.eps", 0, 0);
    }
    if (q_expect_finite((double)c->offset, -3.4028234663852886e38, "config.offset", diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    if (columns % width != 0) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "config.group", columns, width);
    }
    q_shape_like(info, &info->in[0], columns);
    return q_expect_vector(info, 0, width, diag);
}

static uint32_t rmsnorm_can(const q_node_info *info)
{
    (void)info;
    return Q_PROLOGUE_SUM;
}

static q_error_code rmsnorm_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_rmsnorm_config *c = (const q_rmsnorm_config *)layer->config;
    uint32_t columns = layer->in[0]->ne[3];
    uint32_t width = c->group != 0 ? c->group : columns;
    q_rmsnorm_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.rows.n *= columns / width; /* rows are contiguous, so groups are rows of their own */
    a.dim = width;
    a.x = q_reals(layer->in[0]);
    a.x_stride = width * sizeof(q_real);
    a.sum = q_sum_of_addends(layer);
    a.sum.a_stride = a.sum.b_stride = a.x_stride;
    a.weight = q_reals(layer->param[0]);
    a.y = q_reals(layer->out[0]);
    a.y_stride = width * sizeof(q_real);
    a.eps = (q_real)c->eps;
    a.offset = (q_real)c->offset;
    layer->kernels->rmsnorm(work, &a);
    return Q_OK;
}

static void rmsnorm_sizes(const q_node_info *info, q_layer_sizes *out)
{
    const q_rmsnorm_config *c = (const q_rmsnorm_config *)info->config;
    uint32_t columns = info->in[0].dim[3].n;
    size_t groups = c->group != 0 ? columns / c->group : 1;
    out->scratch = q_bytes_at_most(q_bytes_at_most(q_rows_at_most(&info->in[0], &info->max), groups), sizeof(q_real));
}

/* Stage 0: the gradient of x, and 1/root of every row; stage 1: that of the weight. */
static q_error_code rmsnorm_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_rmsnorm_config *c = (const q_rmsnorm_config *)layer->config;
    uint32_t columns = layer->in[0]->ne[3];
    uint32_t width = c->group != 0 ? c->group : columns;
    q_rmsnorm_grad_args a;
    a.rows = layer->out_rows[0];
    a.rows.n *= columns / width;
    a.dim = width;
    a.x = q_reals(layer->in[0]);
    a.weight = q_reals(layer->param[0]);
    a.dy = q_reals(layer->grad_out[0]);
    a.dx = layer->grad_in[0] != NULL ? q_reals(layer->grad_in[0]) : NULL;
    a.x_stride = a.dy_stride = a.dx_stride = width * sizeof(q_real);
    a.pass = q_pass_to_addends(layer);
    a.pass.stride[0] = a.pass.stride[1] = a.dx_stride;
    a.s = (q_real *)layer->scratch;
    a.grad = layer->grad_param[0] != NULL ? q_reals(layer->grad_param[0]) : NULL;
    a.eps = (q_real)c->eps;
    a.offset = (q_real)c->offset;
    a.accumulate = q_accumulates(layer, 0);
    a.reserved = 0;
    if (stage == 0) {
        layer->kernels->rmsnorm_grad(work, &a);
    } else if (a.grad != NULL) {
        layer->kernels->rmsnorm_weight_grad(work, &a);
    }
    return Q_OK;
}

const q_layer_class q_layer_rmsnorm = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_RMSNORM,
    .name = "rmsnorm",
    .config_size = sizeof(q_rmsnorm_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(2),
    .in_place = 1u << 0,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 0,
    .shape = rmsnorm_shape,
    .sizes = rmsnorm_sizes,
    .epilogue = rmsnorm_can,
    .forward = rmsnorm_forward,
    .backward = Q_TRAINING(rmsnorm_backward),
};
