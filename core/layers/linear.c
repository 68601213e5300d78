/* SPDX-License-Identifier: MIT */
/*
 * Linear: y = x W^T + b.   x [rows, in], W [out, in], b [out], y [rows, out]
 *
 *   dx = dy W                [rows, in]
 *   dW += dy^T x             [out, in], rows ascending
 *   db += column sums of dy  [out]
 */
#include "layers.h"

static q_error_code linear_shape(const q_node_info *info, q_diag *diag)
{
    const q_linear_config *c = (const q_linear_config *)info->config;
    const q_param_type *w = &info->param[0];
    if (c->activation >= Q_ACT_COUNT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.activation", Q_ACT_COUNT, c->activation);
    }
    if (c->planes > 2) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.planes", 2, c->planes);
    }
    if (info->in[0].dtype != Q_REAL && (!q_dtype_is_a8(info->in[0].dtype) || !q_dtype_is_quantised(w->dtype))) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "input", Q_REAL, info->in[0].dtype);
    }
    if (w->ne[0] != 1 || w->ne[1] != 1 || info->in[0].dim[3].n != w->ne[3] || info->in[0].dim[3].sym != Q_SYM_ONE) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "input columns", w->ne[3], info->in[0].dim[3].n);
    }
    if (w->layout == Q_PLAIN && w->dtype != Q_REAL) {
        return q_fail(diag, Q_ERR_INVALID_LAYOUT, "", "weight", Q_PANEL16, w->layout);
    }
    q_shape_like(info, &info->in[0], w->ne[2]);
    return info->n_param > 1 ? q_expect_vector(info, 1, w->ne[2], diag) : Q_OK;
}

/* Fast mode: products with quantised weights take 8-bit activations, in one plane or two. */
static uint32_t linear_input_dtype(const q_node_info *info, uint32_t i)
{
    const q_linear_config *c = (const q_linear_config *)info->config;
    bool fast = info->precision == Q_PRECISION_FAST && q_dtype_is_quantised(info->param[0].dtype);
    if (!fast || i != 0) {
        return Q_REAL;
    }
    return c->planes == 2 ? Q_A8X2 : Q_A8;
}

static uint32_t linear_can(const q_node_info *info)
{
    return Q_EPILOGUE_RESIDUAL | Q_EPILOGUE_ACTIVATION | (info->trains == 0 ? Q_EPILOGUE_SCALE_SHIFT : 0);
}

static uint32_t linear_activation(const void *config)
{
    return ((const q_linear_config *)config)->activation;
}

typedef void (*gemm_kernel)(const q_work *work, const q_gemm_args *a);

static gemm_kernel pick_gemm(const q_kernels *k, uint32_t weights, uint32_t activations)
{
    bool fast = q_dtype_is_a8(activations);
    switch (weights) {
    case Q_F16:
        return k->gemm_f16;
    case Q_BF16:
        return k->gemm_bf16;
    case Q_Q8_0:
        return fast ? k->gemm_a8_q8_0 : k->gemm_q8_0;
    case Q_Q4_0:
        return fast ? k->gemm_a8_q4_0 : k->gemm_q4_0;
    case Q_Q4_1:
        return fast ? k->gemm_a8_q4_1 : k->gemm_q4_1;
    default:
        return k->gemm_f32;
    }
}

static q_epilogue linear_epilogue(const q_layer *layer)
{
    q_epilogue e;
    memset(&e, 0, sizeof(e));
    e.bias = layer->n_param > 1 ? q_reals(layer->param[1]) : NULL;
    e.activation = layer->activation;
    if (layer->fold != NULL) {
        e.scale = q_reals(layer->fold);
        e.shift = e.scale + layer->fold->ne[3];
    }
    if (layer->residual != NULL) {
        e.residual = q_reals(layer->residual);
        e.residual_stride = layer->residual->nb[2];
    }
    return e;
}

static void linear_plain(const q_layer *layer, const q_work *work)
{
    const q_tensor *w = layer->param[0];
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m = layer->out_rows[0];
    a.n.n = w->ne[2];
    a.k.n = w->ne[3];
    a.a = q_reals(layer->in[0]);
    a.a_stride = layer->in[0]->nb[2];
    a.b = q_reals(w);
    a.b_stride = w->nb[2];
    a.transpose_b = 1;
    a.c = q_reals(layer->out[0]);
    a.c_stride = layer->out[0]->nb[2];
    a.epilogue = linear_epilogue(layer);
    layer->kernels->matmul(work, &a);
}

static q_error_code linear_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_tensor *w = layer->param[0];
    q_gemm_args a;
    (void)stage;
    if (w->layout == Q_PLAIN) {
        linear_plain(layer, work);
        return Q_OK;
    }
    a.rows = layer->out_rows[0];
    a.m = w->ne[2];
    a.k = w->ne[3];
    a.weights = w->data;
    a.x = layer->in[0]->data;
    a.x_stride = layer->in[0]->nb[2];
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    a.epilogue = linear_epilogue(layer);
    a.planes = ((const q_linear_config *)layer->config)->planes;
    a.reserved = 0;
    pick_gemm(layer->kernels, w->dtype, layer->in[0]->dtype)(work, &a);
    return Q_OK;
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* Through weights in panels, which stay as they are: a panel at a time becomes real. */
static void linear_grad_through_panels(const q_layer *layer, const q_work *work)
{
    const q_tensor *w = layer->param[0];
    q_gemm_grad_args a;
    a.rows = layer->out_rows[0];
    a.m = w->ne[2];
    a.k = w->ne[3];
    a.dtype = w->dtype;
    a.accumulate = q_accumulates(layer, 0);
    a.weights = w->data;
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    layer->kernels->gemm_grad(work, &a);
}

static void linear_grad_input(const q_layer *layer, const q_work *work)
{
    const q_tensor *w = layer->param[0];
    q_matmul_args a;
    if (w->layout != Q_PLAIN) {
        linear_grad_through_panels(layer, work);
        return;
    }
    memset(&a, 0, sizeof(a));
    a.m = layer->out_rows[0];
    a.n.n = w->ne[3];
    a.k.n = w->ne[2];
    a.a = q_reals(layer->grad_out[0]);
    a.a_stride = layer->grad_out[0]->nb[2];
    a.b = q_reals(w);
    a.b_stride = w->nb[2];
    a.c = q_reals(layer->grad_in[0]);
    a.c_stride = layer->grad_in[0]->nb[2];
    a.accumulate = (uint8_t)(layer->accumulate & 1u);
    layer->kernels->matmul(work, &a);
}

static void linear_grad_weight(const q_layer *layer, const q_work *work)
{
    const q_tensor *g = layer->grad_param[0];
    q_matmul_args a;
    memset(&a, 0, sizeof(a));
    a.m.n = g->ne[2];
    a.n.n = g->ne[3];
    a.k = layer->out_rows[0];
    a.a = q_reals(layer->grad_out[0]);
    a.a_stride = layer->grad_out[0]->nb[2];
    a.transpose_a = 1;
    a.b = q_reals(layer->in[0]);
    a.b_stride = layer->in[0]->nb[2];
    a.c = q_reals(g);
    a.c_stride = g->nb[2];
    a.accumulate = 1;
    layer->kernels->matmul(work, &a);
}

static q_error_code linear_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (layer->grad_residual != NULL) {
        q_pass_gradient(layer, work, layer->grad_residual, layer->accumulate_residual != 0);
    }
    if (layer->grad_in[0] != NULL) {
        linear_grad_input(layer, work);
    }
    if (layer->grad_param[0] != NULL) {
        linear_grad_weight(layer, work);
    }
    q_bias_gradient(layer, work, 1);
    return Q_OK;
}

const q_layer_class q_layer_linear = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_LINEAR,
    .name = "linear",
    .config_size = sizeof(q_linear_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 2,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 0,
    .shape = linear_shape,
    .input_dtype = linear_input_dtype,
    .epilogue = linear_can,
    .activation = linear_activation,
    .forward = linear_forward,
    .backward = Q_TRAINING(linear_backward),
};
