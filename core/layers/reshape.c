/* SPDX-License-Identifier: MIT */
/*
 * Reshape: the same reals in the same order under other dimensions. Values have no gaps between rows, so nothing moves
 * where a plan gives output and input one memory; else one copy.
 */
#include "layers.h"

/* The dimensions asked for, with what is left in the place of a 0; false if they do not hold `total`. */
static bool fill_left(const q_reshape_config *c, uint64_t total, uint64_t dim[Q_MAX_DIMS])
{
    uint64_t product = 1;
    uint32_t left = Q_MAX_DIMS;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        dim[d] = c->dim[d];
        if (dim[d] == 0 && left != Q_MAX_DIMS) {
            return false;
        }
        left = dim[d] == 0 ? d : left;
        if (dim[d] != 0 && !q_mul_u64(product, dim[d], &product)) {
            return false;
        }
    }
    if (left != Q_MAX_DIMS) {
        dim[left] = total / product;
        return dim[left] != 0 && dim[left] <= UINT32_MAX && dim[left] * product == total;
    }
    return product == total;
}

static q_error_code reshape_shape(const q_node_info *info, q_diag *diag)
{
    const q_reshape_config *c = (const q_reshape_config *)info->config;
    const q_count *in = info->in[0].dim;
    uint64_t total = 1;
    uint64_t dim[Q_MAX_DIMS];
    uint32_t symbol = Q_SYM_ONE;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (c->symbol > 2) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.symbol", 2, c->symbol);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        if (!q_mul_u64(total, in[d].n, &total)) {
            return q_fail(diag, Q_ERR_OVERFLOW, "", "input", 0, in[d].n);
        }
        symbol = in[d].sym != Q_SYM_ONE ? in[d].sym : symbol;
    }
    if (!fill_left(c, total, dim)) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "config.dim", total, 0);
    }
    q_shape_like(info, &info->in[0], 1);
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        info->out[0].dim[d].n = (uint32_t)dim[d];
        info->out[0].dim[d].sym = d == c->symbol ? symbol : (uint32_t)Q_SYM_ONE;
    }
    return Q_OK;
}

static bool reshape_is_identity(const q_node_info *info)
{
    return q_dims_equal(&info->in[0], &info->out[0]);
}

static q_error_code reshape_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    q_pass_input(layer, work);
    return Q_OK;
}

static q_error_code reshape_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (layer->grad_in[0] != NULL) {
        q_pass_gradient(layer, work, layer->grad_in[0], q_accumulates(layer, 0) != 0);
    }
    return Q_OK;
}

const q_layer_class q_layer_reshape = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_RESHAPE,
    .name = "reshape",
    .config_size = sizeof(q_reshape_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = reshape_shape,
    .identity = reshape_is_identity,
    .forward = reshape_forward,
    .backward = Q_TRAINING(reshape_backward),
};
