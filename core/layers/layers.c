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
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input height or width", Q_MAX_IMAGE_SIDE,
                      dim[1].n > Q_MAX_IMAGE_SIDE ? dim[1].n : dim[2].n);
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

q_norm_sum q_sum_of_addends(const q_layer *layer)
{
    q_norm_sum sum = {NULL, 0, NULL, 0, NULL};
    if (layer->addend[0] != NULL) {
        sum.a = q_reals(layer->addend[0]);
        sum.a_stride = layer->addend[0]->nb[2];
        sum.b = q_reals(layer->addend[1]);
        sum.b_stride = layer->addend[1]->nb[2];
        sum.x = q_reals(layer->in[0]);
    }
    return sum;
}

q_norm_pass q_pass_to_addends(const q_layer *layer)
{
    q_norm_pass pass = {{NULL, NULL}, {0, 0}, layer->accumulate_addend, 0};
    for (uint32_t i = 0; i < 2; i++) {
        if (layer->grad_addend[i] != NULL) {
            pass.to[i] = q_reals(layer->grad_addend[i]);
            pass.stride[i] = layer->grad_addend[i]->nb[2];
        }
    }
    return pass;
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

/* By id. Those that plans insert are in no file. */
static const q_layer_class *const layer_builtin[] = {
    [Q_LAYER_LINEAR] = &q_layer_linear,
    [Q_LAYER_EMBEDDING] = &q_layer_embedding,
    [Q_LAYER_RMSNORM] = &q_layer_rmsnorm,
    [Q_LAYER_ADD] = &q_layer_add,
    [Q_LAYER_MUL] = &q_layer_mul,
    [Q_LAYER_SILU_MUL] = &q_layer_silu_mul,
    [Q_LAYER_ACTIVATION] = &q_layer_activation,
    [Q_LAYER_SILU] = &q_layer_silu,
    [Q_LAYER_SOFTMAX] = &q_layer_softmax,
    [Q_LAYER_ROPE_TABLE] = &q_layer_rope_table,
    [Q_LAYER_ROPE] = &q_layer_rope,
    [Q_LAYER_ATTENTION] = &q_layer_attention,
    [Q_LAYER_ATTENTION_FULL] = &q_layer_attention_full,
    [Q_LAYER_SELECT_ROWS] = &q_layer_select_rows,
    [Q_LAYER_MSE] = &q_layer_mse,
    [Q_LAYER_HUBER] = &q_layer_huber,
    [Q_LAYER_BCE] = &q_layer_bce,
    [Q_LAYER_CROSS_ENTROPY] = &q_layer_cross_entropy,
    [Q_LAYER_RNN] = &q_layer_rnn,
    [Q_LAYER_LSTM] = &q_layer_lstm,
    [Q_LAYER_GRU] = &q_layer_gru,
    [Q_LAYER_LAYERNORM] = &q_layer_layernorm,
    [Q_LAYER_BATCHNORM] = &q_layer_batchnorm,
    [Q_LAYER_CONV2D] = &q_layer_conv2d,
    [Q_LAYER_CONCAT] = &q_layer_concat,
    [Q_LAYER_DROPOUT] = &q_layer_dropout,
    [Q_LAYER_DROP_PATH] = &q_layer_drop_path,
    [Q_LAYER_FAKE_QUANTIZE] = &q_layer_fake_quantize,
    [Q_LAYER_RESHAPE] = &q_layer_reshape,
    [Q_LAYER_SCALE] = &q_layer_scale,
    [Q_LAYER_POOL2D] = &q_layer_pool2d,
};

const q_layer_class *q_layer_builtin(uint32_t id)
{
    return id < sizeof(layer_builtin) / sizeof(layer_builtin[0]) ? layer_builtin[id] : NULL;
}
