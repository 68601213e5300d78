/* SPDX-License-Identifier: MIT */
/*
 * Rotary positions (Su et al. 2021, arXiv:2104.09864) in two layers: rope_table makes the cosines and sines of a
 * step's positions once, rope turns queries and keys by them in every layer.
 *
 *   inv_freq[i] = base^(-i/n_pairs); LINEAR divides it by factor; LLAMA3 leaves wavelengths below
 *   original/high alone, divides those above original/low by factor, and blends linearly between.
 */
#include "layers.h"

static q_error_code rope_table_config_check(const q_rope_table_config *c, q_diag *diag)
{
    if (c->n_pairs == 0 || c->n_pairs > Q_CAP_HEAD_DIM / 2) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.n_pairs", Q_CAP_HEAD_DIM / 2, c->n_pairs);
    }
    if (c->scaling > Q_ROPE_LLAMA3 || c->reserved != 0) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, "", "config.scaling", Q_ROPE_LLAMA3, c->scaling);
    }
    if (!(c->base > 1)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.base", 1, 0);
    }
    if (q_expect_finite(c->base, 1, "config.base", diag) != Q_OK ||
        q_expect_finite(c->magnitude, 0, "config.magnitude", diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    if (c->scaling != Q_ROPE_NONE && !(c->factor > 0 && c->factor - c->factor == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.factor", 1, 0);
    }
    if (c->scaling == Q_ROPE_LLAMA3 && (!(c->low > 0) || !(c->high > c->low) || c->original_context == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "",
                      !(c->low > 0)          ? "config.low"
                      : !(c->high > c->low) ? "config.high"
                                            : "config.original_context",
                      1, 0);
    }
    return Q_OK;
}

static q_error_code rope_table_shape(const q_node_info *info, q_diag *diag)
{
    const q_rope_table_config *c = (const q_rope_table_config *)info->config;
    const q_count *dim = info->in[0].dim;
    q_error_code e = rope_table_config_check(c, diag);
    if (e != Q_OK) {
        return e;
    }
    if (info->in[0].dtype != Q_I32) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "input", Q_I32, info->in[0].dtype);
    }
    if (dim[3].sym != Q_SYM_TOKENS || dim[0].n != 1 || dim[1].n != 1 || dim[2].n != 1 || dim[3].n != 1) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input: one id per token", Q_SYM_TOKENS, dim[3].sym);
    }
    q_shape_like(info, &info->in[0], 2 * c->n_pairs);
    info->out[0].dim[2] = info->in[0].dim[3];
    return Q_OK;
}

static void rope_table_sizes(const q_node_info *info, q_layer_sizes *out)
{
    out->constants = ((const q_rope_table_config *)info->config)->n_pairs * sizeof(double);
}

static double scaled_frequency(const q_rope_table_config *c, uint32_t i)
{
    double f = q_pow_f64(c->base, -(double)i / (double)c->n_pairs);
    double turns;
    double blend;
    if (c->scaling == Q_ROPE_LINEAR) {
        return f / c->factor;
    }
    if (c->scaling != Q_ROPE_LLAMA3) {
        return f;
    }
    turns = (double)c->original_context * f / 6.283185307179586; /* rotations over the original context */
    blend = (turns - c->low) / (c->high - c->low);
    blend = blend < 0 ? 0 : blend > 1 ? 1 : blend;
    return (1 - blend) * f / c->factor + blend * f;
}

static void rope_table_constants(const q_layer *layer, void *out)
{
    const q_rope_table_config *c = (const q_rope_table_config *)layer->config;
    double *inv_freq = (double *)out;
    for (uint32_t i = 0; i < c->n_pairs; i++) {
        inv_freq[i] = scaled_frequency(c, i);
    }
}

static q_error_code rope_table_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_rope_table_config *c = (const q_rope_table_config *)layer->config;
    q_rope_table_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.n_pairs = c->n_pairs;
    a.inv_freq = (const double *)layer->constants;
    a.magnitude = c->magnitude;
    a.table = q_reals(layer->out[0]);
    a.table_stride = layer->out[0]->nb[2];
    layer->kernels->rope_table(work, &a);
    return Q_OK;
}

/* ---- rope -------------------------------------------------------------------------------------------------- */

static q_error_code rope_shape(const q_node_info *info, q_diag *diag)
{
    const q_rope_config *c = (const q_rope_config *)info->config;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e == Q_OK) {
        e = q_expect_real(info, 1, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    if (c->heads == 0 || c->head_dim == 0 || (uint64_t)c->heads * c->head_dim != info->in[0].dim[3].n) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "config.heads", info->in[0].dim[3].n,
                      (uint64_t)c->heads * c->head_dim);
    }
    if (info->in[1].dim[3].n > c->head_dim || info->in[1].dim[3].n % 2 != 0) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "table columns", c->head_dim, info->in[1].dim[3].n);
    }
    for (uint32_t d = 0; d < 3; d++) {
        q_count x = info->in[0].dim[d];
        q_count table = info->in[1].dim[d];
        if (x.n != table.n || x.sym != table.sym) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "table rows", x.n, table.n);
        }
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return Q_OK;
}

static q_error_code rope_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_rope_config *c = (const q_rope_config *)layer->config;
    q_rope_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.heads = c->heads;
    a.head_dim = c->head_dim;
    a.n_pairs = layer->in[1]->ne[3] / 2;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.table = q_reals(layer->in[1]);
    a.table_stride = layer->in[1]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    layer->kernels->rope(work, &a);
    return Q_OK;
}

/* The table is made of positions: no gradient goes there. */
static q_error_code rope_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_rope_config *c = (const q_rope_config *)layer->config;
    q_rope_grad_args a;
    (void)stage;
    if (layer->grad_in[1] != NULL) {
        return Q_ERR_UNSUPPORTED;
    }
    if (layer->grad_in[0] == NULL) {
        return Q_OK;
    }
    a.rows = layer->out_rows[0];
    a.heads = c->heads;
    a.head_dim = c->head_dim;
    a.n_pairs = layer->in[1]->ne[3] / 2;
    a.accumulate = q_accumulates(layer, 0);
    a.reserved = 0;
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.table = q_reals(layer->in[1]);
    a.table_stride = layer->in[1]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    layer->kernels->rope_grad(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_rope_table = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_ROPE_TABLE,
    .name = "rope_table",
    .config_size = sizeof(q_rope_table_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = rope_table_shape,
    .sizes = rope_table_sizes,
    .forward = rope_table_forward,
    .make_constants = rope_table_constants,
};

const q_layer_class q_layer_rope = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_ROPE,
    .name = "rope",
    .config_size = sizeof(q_rope_config),
    .config_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1u << 0,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 1,
    .shape = rope_shape,
    .forward = rope_forward,
    .backward = Q_TRAINING(rope_backward),
};
