/* SPDX-License-Identifier: MIT */
/*
 * Dropout, of single elements, and drop path, of whole samples. Backward draws the same random numbers again and treats the
 * gradient as forward treated x.
 */
#include "layers.h"

/* True where every row belongs to a sample of the batch, whose rows follow each other, or is a token. */
static bool rows_have_samples(const q_value_type *t)
{
    uint32_t d = 0;
    while (d < 3 && t->dim[d].n == 1 && t->dim[d].sym == Q_SYM_ONE) {
        d++;
    }
    return q_rows_are_tokens(t) || (d < 3 && t->dim[d].sym == Q_SYM_BATCH);
}

static q_error_code dropout_shape(const q_node_info *info, q_diag *diag)
{
    const q_dropout_config *c = (const q_dropout_config *)info->config;
    if (!(c->rate >= 0) || !(c->rate < 1)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.rate", 0, 0);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    if (!rows_have_samples(&info->in[0])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input rows: of samples or tokens", 0, 0);
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return q_expect_real(info, 0, diag);
}

static uint32_t dropout_can(const q_node_info *info)
{
    (void)info;
    return Q_EPILOGUE_RESIDUAL;
}

static bool dropout_is_identity(const q_node_info *info)
{
    return info->trains == 0 || ((const q_dropout_config *)info->config)->rate == 0;
}

/* to = from, its dropped elements as 0, plus `residual`, which may be NULL. */
static void drop(const q_layer *layer, const q_work *work, const q_tensor *from, const q_tensor *residual, const q_tensor *to)
{
    float rate = ((const q_dropout_config *)layer->config)->rate;
    q_dropout_args a;
    a.rows = layer->out_rows[0];
    a.dim = to->ne[3];
    a.per_sample = a.rows.sym == Q_SYM_BATCH ? a.rows.n : 0;
    a.whole = layer->type == Q_LAYER_DROP_PATH ? 1u : 0u;
    a.node = layer->key;
    a.threshold = q_dropout_threshold(rate);
    a.reserved = 0;
    a.x = q_reals(from);
    a.x_stride = from->nb[2];
    a.residual = residual != NULL ? q_reals(residual) : NULL;
    a.residual_stride = residual != NULL ? residual->nb[2] : 0;
    a.out = q_reals(to);
    a.out_stride = to->nb[2];
    a.factor = (q_real)(1.0 / (1.0 - (double)rate));
    layer->kernels->dropout(work, &a);
}

/* Where nothing is dropped. */
static void pass_and_add(const q_layer *layer, const q_work *work)
{
    q_binary_args a;
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.a = q_reals(layer->residual);
    a.a_stride = layer->residual->nb[2];
    a.b = q_reals(layer->in[0]);
    a.b_stride = layer->in[0]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    layer->kernels->add(work, &a);
}

static q_error_code dropout_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (work->run->training != 0) {
        drop(layer, work, layer->in[0], layer->residual, layer->out[0]);
    } else if (layer->residual != NULL) {
        pass_and_add(layer, work);
    } else {
        q_pass_input(layer, work);
    }
    return Q_OK;
}

static q_error_code dropout_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (layer->grad_residual != NULL) {
        q_pass_gradient(layer, work, layer->grad_residual, layer->accumulate_residual != 0);
    }
    if (layer->grad_in[0] != NULL) {
        drop(layer, work, layer->grad_out[0], q_accumulates(layer, 0) != 0 ? layer->grad_in[0] : NULL, layer->grad_in[0]);
    }
    return Q_OK;
}

const q_layer_class q_layer_dropout = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_DROPOUT,
    .name = "dropout",
    .config_size = sizeof(q_dropout_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = dropout_shape,
    .epilogue = dropout_can,
    .identity = dropout_is_identity,
    .forward = dropout_forward,
    .backward = Q_TRAINING(dropout_backward),
};

const q_layer_class q_layer_drop_path = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_DROP_PATH,
    .name = "drop_path",
    .config_size = sizeof(q_dropout_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .in_place = 1,
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .shape = dropout_shape,
    .epilogue = dropout_can,
    .identity = dropout_is_identity,
    .forward = dropout_forward,
    .backward = Q_TRAINING(dropout_backward),
};
