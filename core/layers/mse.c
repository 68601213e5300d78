/* SPDX-License-Identifier: MIT */
/*
 * Mean squared error: loss = mean((x - target)^2), one real.   x, target [rows, dim]
 *
 * Backward hands down sums: d x = 2*(x - target), without the 1/(rows*dim), which the optimizer applies once.
 */
#include "layers.h"

static q_error_code mse_shape(const q_node_info *info, q_diag *diag)
{
    if (q_expect_real(info, 0, diag) != Q_OK || q_expect_real(info, 1, diag) != Q_OK) {
        return Q_ERR_INVALID_DTYPE;
    }
    if (!q_dims_equal(&info->in[0], &info->in[1])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "target", info->in[0].dim[3].n, info->in[1].dim[3].n);
    }
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        info->out[0].dim[d].n = 1;
        info->out[0].dim[d].sym = Q_SYM_ONE;
    }
    info->out[0].dtype = Q_REAL;
    return Q_OK;
}

static void mse_run(const q_layer *layer, const q_work *work, q_real *grad, size_t grad_stride)
{
    q_mse_args a;
    a.rows = layer->in_rows[0];
    a.dim = layer->in[0]->ne[3];
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.target = q_reals(layer->in[1]);
    a.target_stride = layer->in[1]->nb[2];
    a.loss = q_reals(layer->out[0]);
    a.grad = grad;
    a.grad_stride = grad_stride;
    layer->kernels->mse(work, &a);
}

static q_error_code mse_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    mse_run(layer, work, NULL, 0);
    return Q_OK;
}

static q_error_code mse_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    /* nothing but the loss itself: the kernel takes its gradient to be 1 */
    if (layer->grad_in[0] == NULL || layer->grad_in[1] != NULL || (layer->accumulate & 1u) != 0 ||
        *q_reals(layer->grad_out[0]) != 1) {
        return Q_ERR_UNSUPPORTED;
    }
    mse_run(layer, work, q_reals(layer->grad_in[0]), layer->grad_in[0]->nb[2]);
    return Q_OK;
}

const q_layer_class q_layer_mse = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_MSE,
    .name = "mse",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .saves = 3u | 1u << 8, /* its kernel writes the loss again */
    .shape = mse_shape,
    .forward = mse_forward,
    .backward = Q_TRAINING(mse_backward),
};
