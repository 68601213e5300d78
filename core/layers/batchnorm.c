/* SPDX-License-Identifier: MIT */
/*
 * BatchNorm: y = activation((x - mean) / sqrt(var + eps) * w + b), mean and variance down the columns.
 * x [rows, dim] (images: rows are pixels, columns channels); param: w, b, running mean, running variance [dim]
 *
 * Training uses the mean and variance of the step's rows and moves the running ones towards them; evaluation and inference
 * use the running ones, as x*scale + shift. The activation is applied in the same pass, and backward finds its slope from
 * the output. Orders of operations: qorus/kernels_norm.h.
 *
 * Saved: mean, 1/sqrt(var + eps) and w/sqrt(var + eps) of every column.
 */
#include "layers.h"

static q_error_code batchnorm_config_check(const q_node_info *info, q_diag *diag)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)info->config;
    if (!(c->eps > 0) || !(c->eps - c->eps == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.eps", 0, 0);
    }
    if (!(c->momentum >= 0 && c->momentum <= 1)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.momentum", 0, 1);
    }
    if (c->activation >= Q_ACT_COUNT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.activation", Q_ACT_COUNT, c->activation);
    }
    if (info->trains != 0 && c->activation != Q_ACT_NONE && !q_activation_from_output(c->activation)) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, "", "config.activation in training", Q_ACT_RELU, c->activation);
    }
    return c->reserved != 0 ? q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved) : Q_OK;
}

static q_error_code batchnorm_shape(const q_node_info *info, q_diag *diag)
{
    uint32_t columns = info->in[0].dim[3].n;
    q_error_code e = q_expect_real(info, 0, diag);
    if (e == Q_OK) {
        e = batchnorm_config_check(info, diag);
    }
    for (uint32_t i = 0; i < 4 && e == Q_OK; i++) {
        e = q_expect_vector(info, i, columns, diag);
    }
    q_shape_like(info, &info->in[0], columns);
    return e;
}

/* Scratch: scale and shift, or sums; in training the partial sums of all blocks before them. */
static void batchnorm_sizes(const q_node_info *info, q_layer_sizes *out)
{
    size_t row = q_bytes_at_most(info->in[0].dim[3].n, sizeof(q_real));
    size_t blocks = info->trains != 0 ? q_rows_at_most(&info->in[0], &info->max) / Q_NORM_BLOCK + 1u : 0;
    out->scratch = q_bytes_at_most(2u * blocks + 2u, row);
    out->saved = info->trains != 0 ? q_bytes_at_most(3, row) : 0;
}

/* The slope of an activation of the config is found from the output. */
static uint32_t batchnorm_reads(const q_node_info *info)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)info->config;
    return c->activation == Q_ACT_NONE ? 1u << 0 : 1u << 0 | 1u << 8;
}

static uint32_t batchnorm_can(const q_node_info *info)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)info->config;
    return c->activation == Q_ACT_NONE ? Q_EPILOGUE_ACTIVATION : 0;
}

static uint32_t batchnorm_dim(const q_layer *layer)
{
    return layer->in[0]->ne[3];
}

/* Piece i of what is saved: 0 mean, 1 one over the deviation, 2 scale. */
static q_real *batchnorm_saved(const q_layer *layer, uint32_t i)
{
    return (q_real *)layer->saved + (size_t)i * batchnorm_dim(layer);
}

/* Scratch behind the partial sums: [2][dim]. */
static q_real *batchnorm_ends(const q_layer *layer, uint32_t rows)
{
    return (q_real *)layer->scratch + (layer->trains != 0 ? (size_t)q_norm_blocks(rows) * 2u * batchnorm_dim(layer) : 0);
}

static void batchnorm_measure(const q_layer *layer, const q_work *work)
{
    q_batchnorm_blocks_args a;
    a.rows = layer->in_rows[0];
    a.dim = batchnorm_dim(layer);
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.partial = (q_real *)layer->scratch;
    layer->kernels->batchnorm_blocks(work, &a);
}

static void batchnorm_join(const q_layer *layer, const q_work *work)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)layer->config;
    q_batchnorm_join_args a;
    a.rows = layer->in_rows[0];
    a.dim = batchnorm_dim(layer);
    a.partial = (const q_real *)layer->scratch;
    a.weight = q_reals(layer->param[0]);
    a.mean = batchnorm_saved(layer, 0);
    a.s = batchnorm_saved(layer, 1);
    a.scale = batchnorm_saved(layer, 2);
    a.running_mean = q_reals(layer->param[2]);
    a.running_var = q_reals(layer->param[3]);
    a.eps = (q_real)c->eps;
    a.momentum = (q_real)c->momentum;
    layer->kernels->batchnorm_join(work, &a);
}

static void batchnorm_fold(const q_layer *layer, const q_work *work, q_real *ends)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)layer->config;
    q_batchnorm_fold_args a;
    a.dim = layer->param[0]->ne[3];
    a.reserved = 0;
    a.weight = q_reals(layer->param[0]);
    a.bias = q_reals(layer->param[1]);
    a.mean = q_reals(layer->param[2]);
    a.var = q_reals(layer->param[3]);
    a.scale = ends;
    a.shift = ends + a.dim;
    a.eps = (q_real)c->eps;
    layer->kernels->batchnorm_fold(work, &a);
}

static void batchnorm_apply(const q_layer *layer, const q_work *work, const q_real *ends)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)layer->config;
    bool of_batch = work->run->training != 0 && layer->trains != 0;
    q_batchnorm_args a;
    a.rows = layer->in_rows[0];
    a.dim = batchnorm_dim(layer);
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.mean = of_batch ? batchnorm_saved(layer, 0) : NULL;
    a.scale = of_batch ? batchnorm_saved(layer, 2) : ends;
    a.shift = of_batch ? q_reals(layer->param[1]) : ends + a.dim;
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    a.activation = c->activation != Q_ACT_NONE ? c->activation : layer->activation;
    a.reserved = 0;
    layer->kernels->batchnorm(work, &a);
}

/* What is saved outlives a block that is computed again, so that its second run need not measure. */
static q_error_code batchnorm_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    bool of_batch = work->run->training != 0 && layer->trains != 0;
    q_real *ends = batchnorm_ends(layer, q_count_value(work->run, layer->in_rows[0]));
    if (stage == 0 && of_batch && layer->again == 0) {
        batchnorm_measure(layer, work);
    } else if (stage == 1 && of_batch && layer->again == 0) {
        batchnorm_join(layer, work);
    } else if (stage == 1 && !of_batch) {
        batchnorm_fold(layer, work, ends);
    } else if (stage == 2) {
        batchnorm_apply(layer, work, ends);
    }
    return Q_OK;
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

static q_batchnorm_grad_args batchnorm_grad_args(const q_layer *layer, const q_real *sums)
{
    const q_batchnorm_config *c = (const q_batchnorm_config *)layer->config;
    q_batchnorm_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->in_rows[0];
    a.dim = batchnorm_dim(layer);
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.mean = batchnorm_saved(layer, 0);
    a.s = batchnorm_saved(layer, 1);
    a.scale = batchnorm_saved(layer, 2);
    a.sums = sums;
    a.partial = (q_real *)layer->scratch;
    a.activation = c->activation;
    a.accumulate = layer->accumulate & 1u;
    if (layer->grad_in[0] != NULL) {
        a.dx = q_reals(layer->grad_in[0]);
        a.dx_stride = layer->grad_in[0]->nb[2];
    }
    return a;
}

/* to = (accumulate ? to : 0) + the partial sums of `columns` columns from `first`, blocks ascending. */
static void batchnorm_collect(const q_layer *layer, const q_work *work, uint32_t first, uint32_t columns, q_real *to,
                              bool accumulate)
{
    q_bias_grad_args a;
    a.rows.n = q_norm_blocks(q_count_value(work->run, layer->in_rows[0]));
    a.rows.sym = Q_SYM_ONE;
    a.dim = columns;
    a.dy = (const q_real *)layer->scratch + first;
    a.dy_stride = 2u * (size_t)batchnorm_dim(layer) * sizeof(q_real);
    a.grad = to;
    a.accumulate = accumulate ? 1u : 0u;
    a.reserved = 0;
    layer->kernels->bias_grad(work, &a);
}

static q_error_code batchnorm_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t dim = batchnorm_dim(layer);
    q_real *sums = batchnorm_ends(layer, q_count_value(work->run, layer->in_rows[0]));
    q_batchnorm_grad_args a = batchnorm_grad_args(layer, sums);
    if (stage == 0) {
        layer->kernels->batchnorm_grad_blocks(work, &a);
    } else if (stage == 1) {
        if (layer->grad_in[0] != NULL) {
            batchnorm_collect(layer, work, 0, 2u * dim, sums, false);
        }
        if (layer->grad_param[0] != NULL) {
            batchnorm_collect(layer, work, dim, dim, q_reals(layer->grad_param[0]), true);
        }
        if (layer->grad_param[1] != NULL) {
            batchnorm_collect(layer, work, 0, dim, q_reals(layer->grad_param[1]), true);
        }
    } else if (layer->grad_in[0] != NULL) {
        layer->kernels->batchnorm_grad(work, &a);
    }
    return Q_OK;
}

/* ---- As a step of its own, where a product does the rest -------------------------------------------------------- */

static q_error_code fold_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    batchnorm_fold(layer, work, q_reals(layer->out[0]));
    return Q_OK;
}

const q_layer_class q_layer_fold = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_FOLD,
    .name = "fold",
    .config_size = sizeof(q_batchnorm_config),
    .config_version = 1,
    .n_out = 1,
    .min_param = 4,
    .max_param = 4,
    .forward_stages = 1,
    .flags = Q_LAYER_SHARED,
    .forward = fold_forward,
};

const q_layer_class q_layer_batchnorm = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_BATCHNORM,
    .name = "batchnorm",
    .config_size = sizeof(q_batchnorm_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 4,
    .max_param = 4,
    .forward_stages = 3,
    .backward_stages = Q_TRAINING(3),
    .in_place = 1u << 0,
    .flags = Q_LAYER_SHARED,
    .saves = 1u << 0 | 1u << 8,
    .buffers = 1u << 2 | 1u << 3,
    .shape = batchnorm_shape,
    .sizes = batchnorm_sizes,
    .reads = batchnorm_reads,
    .epilogue = batchnorm_can,
    .forward = batchnorm_forward,
    .backward = Q_TRAINING(batchnorm_backward),
};
