/* SPDX-License-Identifier: MIT */
/* Layers that move rows: select_rows (which logits are wanted) and quantize (activations of fast products). */
#include "layers.h"

static q_error_code select_rows_shape(const q_node_info *info, q_diag *diag)
{
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!q_rows_are_tokens(&info->in[0])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input rows", Q_SYM_TOKENS, info->in[0].dim[2].sym);
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    info->out[0].dim[2].sym = Q_SYM_SELECTED;
    return Q_OK;
}

static q_error_code select_rows_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_select_rows_args a;
    (void)stage;
    a.dim = layer->out[0]->ne[3];
    a.reserved = 0;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    layer->kernels->select_rows(work, &a);
    return Q_OK;
}

static q_error_code select_rows_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_select_rows_grad_args a;
    (void)stage;
    if (layer->grad_in[0] == NULL) {
        return Q_OK;
    }
    a.rows = layer->in_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.accumulate = q_accumulates(layer, 0);
    a.reserved = 0;
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    layer->kernels->select_rows_grad(work, &a);
    return Q_OK;
}

static q_error_code quantize_shape(const q_node_info *info, q_diag *diag)
{
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (info->in[0].dim[3].n % Q_BLOCK != 0) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input columns", Q_BLOCK, info->in[0].dim[3].n);
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    info->out[0].dtype = Q_A8;
    return Q_OK;
}

static q_error_code quantize_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_quantize_a8_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.k = layer->out[0]->ne[3];
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.out = layer->out[0]->data;
    a.out_stride = layer->out[0]->nb[2];
    a.planes = layer->out[0]->dtype == Q_A8X2 ? 2 : 1;
    a.reserved = 0;
    layer->kernels->quantize_a8(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_select_rows = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_SELECT_ROWS,
    .name = "select_rows",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = select_rows_shape,
    .forward = select_rows_forward,
    .backward = Q_TRAINING(select_rows_backward),
};

const q_layer_class q_layer_quantize = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_QUANTIZE,
    .name = "quantize",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = quantize_shape,
    .forward = quantize_forward,
};
