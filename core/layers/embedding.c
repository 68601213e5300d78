/* SPDX-License-Identifier: MIT */
/* Embedding: y[r] = scale * W[ids[r]].   ids [tokens] (I32), W [vocab, dim] of any weight dtype, y [tokens, dim] */
#include "layers.h"

static q_error_code embedding_shape(const q_node_info *info, q_diag *diag)
{
    const q_embedding_config *c = (const q_embedding_config *)info->config;
    const q_param_type *w = &info->param[0];
    if (info->in[0].dtype != Q_I32) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "input", Q_I32, info->in[0].dtype);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.reserved", 0, c->reserved);
    }
    if (w->ne[0] != 1 || w->ne[1] != 1) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "parameter", 1, w->ne[1]);
    }
    if (w->layout == Q_PLAIN && w->dtype != Q_REAL && !q_dtype_is_quantised(w->dtype) && w->dtype != Q_F16 &&
        w->dtype != Q_BF16) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "parameter", Q_REAL, w->dtype);
    }
    if (q_expect_finite((double)c->scale, -3.4028234663852886e38, "config.scale", diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    /* the ids' own axis becomes the rows */
    info->out[0].dtype = Q_REAL;
    for (uint32_t d = 0; d < 3; d++) {
        info->out[0].dim[d] = info->in[0].dim[d + 1];
    }
    info->out[0].dim[3].n = w->ne[3];
    info->out[0].dim[3].sym = Q_SYM_ONE;
    if (info->in[0].dim[0].n != 1 || info->in[0].dim[0].sym != Q_SYM_ONE) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input rank", 3, 4);
    }
    return Q_OK;
}

static void (*pick_gather(const q_kernels *k, uint32_t dtype))(const q_work *work, const q_gather_args *a)
{
    switch (dtype) {
    case Q_F16:
        return k->gather_f16;
    case Q_BF16:
        return k->gather_bf16;
    case Q_Q8_0:
        return k->gather_q8_0;
    case Q_Q4_0:
        return k->gather_q4_0;
    case Q_Q4_1:
        return k->gather_q4_1;
    default:
        return k->gather_f32;
    }
}

/* The matrix has no more rows than it has, whatever the graph's input promises. */
static bool ids_have_rows(const int32_t *ids, uint32_t n, uint32_t rows)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= rows) {
            return false;
        }
    }
    return true;
}

static q_error_code embedding_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_embedding_config *c = (const q_embedding_config *)layer->config;
    const q_tensor *w = layer->param[0];
    const q_tensor *ids;
    q_gather_args a;
    (void)stage;
    a.rows = layer->out_rows[0];
    a.k = w->ne[3];
    a.layout = w->layout;
    a.weights = w->data;
    a.weights_stride = w->nb[2];
    a.ids = (const int32_t *)layer->in[0]->data;
    ids = layer->in[0]->device == Q_DEVICE_CPU ? layer->in[0] : layer->host_in[0];
    if (ids == NULL) {
        return Q_ERR_UNSUPPORTED; /* made on a device: nobody could check them */
    }
    if (!ids_have_rows((const int32_t *)ids->data, q_count_value(work->run, a.rows), w->ne[2])) {
        return Q_ERR_INVALID_TOKEN;
    }
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    a.scale = (q_real)c->scale;
    pick_gather(layer->kernels, w->dtype)(work, &a);
    return Q_OK;
}

static q_error_code embedding_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_embedding_config *c = (const q_embedding_config *)layer->config;
    q_embedding_grad_args a;
    (void)stage;
    if (layer->grad_param[0] == NULL) {
        return Q_OK;
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->param[0]->ne[3];
    a.ids = (const int32_t *)layer->in[0]->data;
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.grad = q_reals(layer->grad_param[0]);
    a.grad_stride = layer->grad_param[0]->nb[2];
    a.scale = (q_real)c->scale;
    layer->kernels->embedding_grad(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_embedding = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_EMBEDDING,
    .name = "embedding",
    .config_size = sizeof(q_embedding_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 0,
    .shape = embedding_shape,
    .forward = embedding_forward,
    .backward = Q_TRAINING(embedding_backward),
};
