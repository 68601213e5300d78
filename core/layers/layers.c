/* SPDX-License-Identifier: MIT */
/* Checks that several layer classes share, and the library's list of classes. */
#include "layers.h"

bool q_dims_equal(const q_value_type *a, const q_value_type *b)
{
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        if (a->dim[d].n != b->dim[d].n || a->dim[d].sym != b->dim[d].sym) {
            return false;
        }
    }
    return true;
}

bool q_rows_are_tokens(const q_value_type *t)
{
    return t->dim[0].n == 1 && t->dim[0].sym == Q_SYM_ONE && t->dim[1].n == 1 && t->dim[1].sym == Q_SYM_ONE &&
           t->dim[2].n == 1 && t->dim[2].sym == Q_SYM_TOKENS;
}

bool q_rows_are_samples(const q_value_type *t)
{
    return t->dim[0].n == 1 && t->dim[0].sym == Q_SYM_BATCH && t->dim[1].n == 1 && t->dim[1].sym == Q_SYM_ONE &&
           t->dim[2].sym == Q_SYM_ONE;
}

size_t q_bytes_at_most(size_t a, size_t b)
{
    size_t n;
    return q_mul_size(a, b, &n) ? n : SIZE_MAX;
}

size_t q_rows_at_most(const q_value_type *t, const q_maxima *max)
{
    q_run run;
    size_t n = 1;
    memset(&run, 0, sizeof(run));
    run.n_batch = max->batch;
    run.n_tokens = max->tokens;
    run.n_selected = max->selected;
    for (uint32_t d = 0; d < 3; d++) {
        n = q_bytes_at_most(n, t->dim[d].n);
        if (t->dim[d].sym == Q_SYM_ROWS) {
            n = q_bytes_at_most(q_bytes_at_most(n, max->batch), max->tokens);
        } else {
            n = q_bytes_at_most(n, q_sym_value(&run, t->dim[d].sym));
        }
    }
    return n;
}

void q_shape_like(const q_node_info *info, const q_value_type *like, uint32_t columns)
{
    info->out[0] = *like;
    info->out[0].dtype = Q_REAL;
    info->out[0].dim[3].n = columns;
    info->out[0].dim[3].sym = Q_SYM_ONE;
}

q_error_code q_expect_real(const q_node_info *info, uint32_t i, q_diag *diag)
{
    if (info->in[i].dtype != Q_REAL) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "input", Q_REAL, info->in[i].dtype);
    }
    if (info->in[i].dim[3].sym != Q_SYM_ONE) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input columns", 0, info->in[i].dim[3].sym);
    }
    return Q_OK;
}

q_error_code q_expect_vector(const q_node_info *info, uint32_t i, uint32_t n, q_diag *diag)
{
    const q_param_type *p = &info->param[i];
    if (p->dtype != Q_REAL || p->layout != Q_PLAIN) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "parameter", Q_REAL, p->dtype);
    }
    if (p->ne[0] != 1 || p->ne[1] != 1 || p->ne[2] != 1 || p->ne[3] != n) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "parameter", n, p->ne[3]);
    }
    return Q_OK;
}

q_error_code q_expect_image(const q_node_info *info, uint32_t i, q_diag *diag)
{
    const q_count *dim = info->in[i].dim;
    if (dim[1].sym != Q_SYM_ONE || dim[2].sym != Q_SYM_ONE || dim[1].n > Q_MAX_IMAGE_SIDE || dim[2].n > Q_MAX_IMAGE_SIDE) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input height or width", Q_MAX_IMAGE_SIDE, dim[1].n);
    }
    return q_expect_real(info, i, diag);
}

q_error_code q_window_count(uint32_t size, uint32_t pad, uint32_t kernel, uint32_t dilation, uint32_t stride,
                            const char *field, uint32_t *count, q_diag *diag)
{
    uint64_t padded = (uint64_t)size + 2u * (uint64_t)pad;
    uint64_t extent = kernel == 0 ? 0 : (uint64_t)dilation * (kernel - 1u) + 1u;
    if (kernel == 0 || dilation == 0 || stride == 0 || pad > Q_MAX_IMAGE_SIDE || extent > padded) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", field, padded, extent);
    }
    *count = (uint32_t)((padded - extent) / stride) + 1u;
    return Q_OK;
}

q_error_code q_expect_finite(double value, double low, const char *field, q_diag *diag)
{
    if (!(value >= low) || !(value - value == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", field, 0, 0);
    }
    return Q_OK;
}

void q_bias_gradient(const q_layer *layer, const q_work *work, uint32_t i)
{
    q_bias_grad_args a;
    if (i >= layer->n_param || layer->grad_param[i] == NULL) {
        return;
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->grad_out[0]->ne[3];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.grad = q_reals(layer->grad_param[i]);
    a.accumulate = 1;
    a.reserved = 0;
    layer->kernels->bias_grad(work, &a);
}

void q_pass_input(const q_layer *layer, const q_work *work)
{
    q_activate_args a;
    if (layer->in[0]->data == layer->out[0]->data) {
        return;
    }
    a.rows = layer->out_rows[0];
    a.dim = layer->out[0]->ne[3];
    a.activation = Q_ACT_NONE;
    a.reserved = 0;
    a.x = q_reals(layer->in[0]);
    a.out = q_reals(layer->out[0]);
    a.x_stride = a.out_stride = layer->out[0]->nb[2];
    layer->kernels->activate(work, &a);
}

void q_pass_gradient(const q_layer *layer, const q_work *work, const q_tensor *to, bool accumulate)
{
    const q_tensor *from = layer->grad_out[0];
    q_activate_grad_args a;
    a.rows = layer->out_rows[0];
    a.dim = from->ne[3];
    a.activation = Q_ACT_NONE;
    a.accumulate = accumulate ? 1 : 0;
    a.v = a.dy = q_reals(from);
    a.dx = q_reals(to);
    a.v_stride = a.dy_stride = a.dx_stride = from->nb[2];
    layer->kernels->activate_grad(work, &a);
}

const q_layer_class *q_layer_builtin(uint32_t id)
{
    switch (id) {
    case Q_LAYER_LINEAR:
        return &q_layer_linear;
    case Q_LAYER_EMBEDDING:
        return &q_layer_embedding;
    case Q_LAYER_RMSNORM:
        return &q_layer_rmsnorm;
    case Q_LAYER_ADD:
        return &q_layer_add;
    case Q_LAYER_MUL:
        return &q_layer_mul;
    case Q_LAYER_SILU_MUL:
        return &q_layer_silu_mul;
    case Q_LAYER_ACTIVATION:
        return &q_layer_activation;
    case Q_LAYER_SILU:
        return &q_layer_silu;
    case Q_LAYER_SOFTMAX:
        return &q_layer_softmax;
    case Q_LAYER_ROPE_TABLE:
        return &q_layer_rope_table;
    case Q_LAYER_ROPE:
        return &q_layer_rope;
    case Q_LAYER_ATTENTION:
        return &q_layer_attention;
    case Q_LAYER_ATTENTION_FULL:
        return &q_layer_attention_full;
    case Q_LAYER_SELECT_ROWS:
        return &q_layer_select_rows;
    case Q_LAYER_MSE:
        return &q_layer_mse;
    case Q_LAYER_HUBER:
        return &q_layer_huber;
    case Q_LAYER_BCE:
        return &q_layer_bce;
    case Q_LAYER_CROSS_ENTROPY:
        return &q_layer_cross_entropy;
    case Q_LAYER_RNN:
        return &q_layer_rnn;
    case Q_LAYER_LSTM:
        return &q_layer_lstm;
    case Q_LAYER_GRU:
        return &q_layer_gru;
    case Q_LAYER_LAYERNORM:
        return &q_layer_layernorm;
    case Q_LAYER_BATCHNORM:
        return &q_layer_batchnorm;
    case Q_LAYER_CONV2D:
        return &q_layer_conv2d;
    case Q_LAYER_CONCAT:
        return &q_layer_concat;
    case Q_LAYER_DROPOUT:
        return &q_layer_dropout;
    case Q_LAYER_DROP_PATH:
        return &q_layer_drop_path;
    case Q_LAYER_FAKE_QUANTIZE:
        return &q_layer_fake_quantize;
    case Q_LAYER_RESHAPE:
        return &q_layer_reshape;
    case Q_LAYER_SCALE:
        return &q_layer_scale;
    case Q_LAYER_POOL2D:
        return &q_layer_pool2d;
    default:
        return NULL;
    }
}
