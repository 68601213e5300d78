/* SPDX-License-Identifier: MIT */
/*
 * Conv2d: y = x * W + b over images.   x [batch, height, width, in_c], W [out_c, kernel_h*kernel_w*in_c/groups], b [out_c]
 *
 *   dx: every input pixel collects from the outputs that see it   (conv2d_grad_input)
 *   dW += dy^T (x unfolded), output pixels ascending              (conv2d_grad_weight)
 *   db += column sums of dy
 */
#include "layers.h"

static void conv2d_axes(const q_conv2d_config *c, const q_count *dim, q_conv2d_shape *s)
{
    memset(s, 0, sizeof(*s));
    s->in_h = dim[1].n;
    s->in_w = dim[2].n;
    s->in_c = dim[3].n;
    s->kernel_h = c->kernel_h;
    s->kernel_w = c->kernel_w;
    s->stride_h = c->stride_h;
    s->stride_w = c->stride_w;
    s->pad_h = c->pad_h;
    s->pad_w = c->pad_w;
    s->dilation_h = c->dilation_h;
    s->dilation_w = c->dilation_w;
    s->groups = c->groups;
}

static q_error_code conv2d_weight_shape(const q_node_info *info, const q_conv2d_shape *s, q_diag *diag)
{
    const q_param_type *w = &info->param[0];
    uint64_t k = (uint64_t)s->kernel_h * s->kernel_w;
    if (w->dtype != Q_REAL || w->layout != Q_PLAIN) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "weight", Q_REAL, w->dtype);
    }
    if (s->in_c % s->groups != 0 || w->ne[2] % s->groups != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.groups", s->in_c, s->groups);
    }
    k = k > UINT32_MAX ? UINT64_MAX : k * (s->in_c / s->groups);
    if (w->ne[0] != 1 || w->ne[1] != 1 || w->ne[3] != k) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "weight columns", k, w->ne[3]);
    }
    return info->n_param > 1 ? q_expect_vector(info, 1, w->ne[2], diag) : Q_OK;
}

static q_error_code conv2d_check(const q_conv2d_config *c, q_diag *diag)
{
    const struct {
        uint32_t value;
        uint32_t low;
        uint32_t high;
        const char *field;
    } bounds[] = {{c->kernel_h, 1, UINT32_MAX, "config.kernel_h"},     {c->kernel_w, 1, UINT32_MAX, "config.kernel_w"},
                  {c->stride_h, 1, UINT32_MAX, "config.stride_h"},     {c->stride_w, 1, UINT32_MAX, "config.stride_w"},
                  {c->pad_h, 0, Q_MAX_IMAGE_SIDE, "config.pad_h"},     {c->pad_w, 0, Q_MAX_IMAGE_SIDE, "config.pad_w"},
                  {c->dilation_h, 1, UINT32_MAX, "config.dilation_h"}, {c->dilation_w, 1, UINT32_MAX, "config.dilation_w"},
                  {c->groups, 1, UINT32_MAX, "config.groups"},         {c->activation, 0, Q_ACT_COUNT - 1, "config.activation"}};
    for (uint32_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (bounds[i].value < bounds[i].low || bounds[i].value > bounds[i].high) {
            return q_fail(diag, Q_ERR_INVALID_ARG, "", bounds[i].field, bounds[i].value == 0 ? bounds[i].low : bounds[i].high,
                          bounds[i].value);
        }
    }
    return Q_OK;
}

static q_error_code conv2d_shape(const q_node_info *info, q_diag *diag)
{
    const q_conv2d_config *c = (const q_conv2d_config *)info->config;
    q_conv2d_shape s;
    q_error_code code = q_expect_image(info, 0, diag);
    if (code == Q_OK) {
        code = conv2d_check(c, diag);
    }
    if (code != Q_OK) {
        return code;
    }
    conv2d_axes(c, info->in[0].dim, &s);
    code = q_window_count(s.in_h, s.pad_h, s.kernel_h, s.dilation_h, s.stride_h, "config.kernel_h", &s.out_h, diag);
    if (code == Q_OK) {
        code = q_window_count(s.in_w, s.pad_w, s.kernel_w, s.dilation_w, s.stride_w, "config.kernel_w", &s.out_w, diag);
    }
    if (code == Q_OK) {
        code = conv2d_weight_shape(info, &s, diag);
    }
    if (code == Q_OK) {
        q_shape_like(info, &info->in[0], info->param[0].ne[2]);
        info->out[0].dim[1].n = s.out_h;
        info->out[0].dim[2].n = s.out_w;
    }
    return code;
}

static uint32_t conv2d_can(const q_node_info *info)
{
    return Q_EPILOGUE_RESIDUAL | Q_EPILOGUE_ACTIVATION | (info->trains == 0 ? Q_EPILOGUE_SCALE_SHIFT : 0);
}

static uint32_t conv2d_activation(const void *config)
{
    return ((const q_conv2d_config *)config)->activation;
}

/* Sizes of a layer at work; samples is its batch. */
static q_conv2d_shape conv2d_sizes_of(const q_layer *layer, q_count *samples)
{
    q_conv2d_shape s;
    q_count dim[Q_MAX_DIMS];
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        dim[i].n = layer->in[0]->ne[i];
        dim[i].sym = Q_SYM_ONE;
    }
    conv2d_axes((const q_conv2d_config *)layer->config, dim, &s);
    s.out_h = layer->out[0]->ne[1];
    s.out_w = layer->out[0]->ne[2];
    s.out_c = layer->out[0]->ne[3];
    *samples = layer->in_rows[0];
    samples->n /= s.in_h * s.in_w;
    return s;
}

static q_error_code conv2d_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_conv2d_args a;
    (void)stage;
    memset(&a, 0, sizeof(a));
    a.shape = conv2d_sizes_of(layer, &a.samples);
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.weights = q_reals(layer->param[0]);
    a.weights_stride = layer->param[0]->nb[2];
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    a.epilogue.bias = layer->n_param > 1 ? q_reals(layer->param[1]) : NULL;
    a.epilogue.activation = layer->activation;
    if (layer->fold != NULL) {
        a.epilogue.scale = q_reals(layer->fold);
        a.epilogue.shift = a.epilogue.scale + layer->fold->ne[3];
    }
    if (layer->residual != NULL) {
        a.epilogue.residual = q_reals(layer->residual);
        a.epilogue.residual_stride = layer->residual->nb[2];
    }
    layer->kernels->conv2d(work, &a);
    return Q_OK;
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

static void conv2d_to_input(const q_layer *layer, const q_work *work)
{
    q_conv2d_grad_input_args a;
    memset(&a, 0, sizeof(a));
    a.shape = conv2d_sizes_of(layer, &a.samples);
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.weights = q_reals(layer->param[0]);
    a.weights_stride = layer->param[0]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    a.accumulate = layer->accumulate & 1u;
    layer->kernels->conv2d_grad_input(work, &a);
}

static void conv2d_to_weight(const q_layer *layer, const q_work *work)
{
    q_conv2d_grad_weight_args a;
    memset(&a, 0, sizeof(a));
    a.shape = conv2d_sizes_of(layer, &a.samples);
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.grad = q_reals(layer->grad_param[0]);
    a.grad_stride = layer->grad_param[0]->nb[2];
    layer->kernels->conv2d_grad_weight(work, &a);
}

static q_error_code conv2d_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)stage;
    if (layer->grad_residual != NULL) {
        q_pass_gradient(layer, work, layer->grad_residual, layer->accumulate_residual != 0);
    }
    if (layer->grad_in[0] != NULL) {
        conv2d_to_input(layer, work);
    }
    if (layer->grad_param[0] != NULL) {
        conv2d_to_weight(layer, work);
    }
    q_bias_gradient(layer, work, 1);
    return Q_OK;
}

const q_layer_class q_layer_conv2d = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_CONV2D,
    .name = "conv2d",
    .config_size = sizeof(q_conv2d_config),
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
    .shape = conv2d_shape,
    .epilogue = conv2d_can,
    .activation = conv2d_activation,
    .forward = conv2d_forward,
    .backward = Q_TRAINING(conv2d_backward),
};
