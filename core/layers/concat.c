/* SPDX-License-Identifier: MIT */
/*
 * Concat: the columns of all inputs side by side; of images, their channels.
 *
 *   out[r][c_i + j] = in_i[r][j], c_i the columns of the inputs before     d in_i[r][j] (+)= d out[r][c_i + j]
 */
#include "layers.h"

static q_error_code concat_shape(const q_node_info *info, q_diag *diag)
{
    uint64_t columns = 0;
    for (uint32_t i = 0; i < info->n_in; i++) {
        q_value_type like = info->in[i];
        q_error_code e = q_expect_real(info, i, diag);
        if (e != Q_OK) {
            return e;
        }
        like.dim[3] = info->in[0].dim[3];
        if (!q_dims_equal(&like, &info->in[0])) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "inputs differ", 0, i);
        }
        columns += info->in[i].dim[3].n;
    }
    if (columns > UINT32_MAX) {
        return q_fail(diag, Q_ERR_OVERFLOW, "", "columns", UINT32_MAX, columns);
    }
    q_shape_like(info, &info->in[0], (uint32_t)columns);
    return Q_OK;
}

static q_error_code concat_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_real *out = q_reals(layer->out[0]);
    (void)stage;
    for (uint32_t i = 0; i < layer->n_in; i++) {
        q_activate_args a;
        a.rows = layer->out_rows[0];
        a.dim = layer->in[i]->ne[3];
        a.activation = Q_ACT_NONE;
        a.reserved = 0;
        a.x = q_reals(layer->in[i]);
        a.x_stride = layer->in[i]->nb[2];
        a.out = out;
        a.out_stride = layer->out[0]->nb[2];
        layer->kernels->activate(work, &a);
        out += a.dim;
    }
    return Q_OK;
}

static q_error_code concat_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_real *dy = q_reals(layer->grad_out[0]);
    (void)stage;
    for (uint32_t i = 0; i < layer->n_in; i++) {
        const q_tensor *dx = layer->grad_in[i];
        if (dx != NULL) {
            q_activate_grad_args a;
            a.rows = layer->out_rows[0];
            a.dim = dx->ne[3];
            a.activation = Q_ACT_NONE;
            a.accumulate = q_accumulates(layer, i);
            a.v = a.dy = dy;
            a.v_stride = a.dy_stride = layer->grad_out[0]->nb[2];
            a.dx = q_reals(dx);
            a.dx_stride = dx->nb[2];
            layer->kernels->activate_grad(work, &a);
        }
        dy += layer->in[i]->ne[3];
    }
    return Q_OK;
}

const q_layer_class q_layer_concat = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_CONCAT,
    .name = "concat",
    .min_in = 2,
    .max_in = Q_MAX_INPUTS,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = concat_shape,
    .forward = concat_forward,
    .backward = Q_TRAINING(concat_backward),
};
