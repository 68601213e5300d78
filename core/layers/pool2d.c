/* SPDX-License-Identifier: MIT */
/*
 * Pool2d: maximum or average of windows of an image, channel by channel.   x [batch, height, width, c]
 *
 *   dx: maximum: dy to the first of the largest values, found again in x; average: a share of dy to every pixel
 */
#include "layers.h"

static q_conv2d_shape pool2d_axes(const q_pool2d_config *c, uint32_t height, uint32_t width, uint32_t channels)
{
    q_conv2d_shape s;
    bool whole = c->kernel_h == 0 && c->kernel_w == 0;
    memset(&s, 0, sizeof(s));
    s.in_h = height;
    s.in_w = width;
    s.in_c = s.out_c = channels;
    s.kernel_h = whole ? height : c->kernel_h;
    s.kernel_w = whole ? width : c->kernel_w;
    s.stride_h = c->stride_h != 0 ? c->stride_h : s.kernel_h;
    s.stride_w = c->stride_w != 0 ? c->stride_w : s.kernel_w;
    s.pad_h = c->pad_h;
    s.pad_w = c->pad_w;
    s.dilation_h = s.dilation_w = s.groups = 1;
    return s;
}

static q_error_code pool2d_check(const q_pool2d_config *c, const q_conv2d_shape *s, q_diag *diag)
{
    if (c->kind >= Q_POOL_KINDS) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.kind", Q_POOL_KINDS, c->kind);
    }
    if (c->include_pad > 1 || (c->include_pad == 1 && c->kind != Q_POOL_AVERAGE)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.include_pad", 0, c->include_pad);
    }
    if (s->pad_h > s->kernel_h / 2u || (c->kernel_h == 0 && s->pad_h != 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.pad_h", s->kernel_h / 2u, s->pad_h);
    }
    if (s->pad_w > s->kernel_w / 2u || (c->kernel_w == 0 && s->pad_w != 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.pad_w", s->kernel_w / 2u, s->pad_w);
    }
    return Q_OK;
}

static q_error_code pool2d_shape(const q_node_info *info, q_diag *diag)
{
    const q_pool2d_config *c = (const q_pool2d_config *)info->config;
    const q_count *dim = info->in[0].dim;
    q_conv2d_shape s;
    q_error_code code = q_expect_image(info, 0, diag);
    if (code != Q_OK) {
        return code;
    }
    s = pool2d_axes(c, dim[1].n, dim[2].n, dim[3].n);
    code = pool2d_check(c, &s, diag);
    if (code == Q_OK) {
        code = q_window_count(s.in_h, s.pad_h, s.kernel_h, 1, s.stride_h, "config.kernel_h", &s.out_h, diag);
    }
    if (code == Q_OK) {
        code = q_window_count(s.in_w, s.pad_w, s.kernel_w, 1, s.stride_w, "config.kernel_w", &s.out_w, diag);
    }
    if (code == Q_OK) {
        q_shape_like(info, &info->in[0], s.in_c);
        info->out[0].dim[1].n = s.out_h;
        info->out[0].dim[2].n = s.out_w;
    }
    return code;
}

static q_conv2d_shape pool2d_sizes_of(const q_layer *layer, q_count *samples)
{
    const q_tensor *x = layer->in[0];
    q_conv2d_shape s = pool2d_axes((const q_pool2d_config *)layer->config, x->ne[1], x->ne[2], x->ne[3]);
    s.out_h = layer->out[0]->ne[1];
    s.out_w = layer->out[0]->ne[2];
    *samples = layer->in_rows[0];
    samples->n /= s.in_h * s.in_w;
    return s;
}

static q_error_code pool2d_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_pool2d_config *c = (const q_pool2d_config *)layer->config;
    q_pool2d_args a;
    (void)stage;
    a.shape = pool2d_sizes_of(layer, &a.samples);
    a.kind = c->kind;
    a.include_pad = c->include_pad;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.y = q_reals(layer->out[0]);
    a.y_stride = layer->out[0]->nb[2];
    layer->kernels->pool2d(work, &a);
    return Q_OK;
}

static q_error_code pool2d_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_pool2d_config *c = (const q_pool2d_config *)layer->config;
    q_pool2d_grad_args a;
    (void)stage;
    if (layer->grad_in[0] == NULL) {
        return Q_OK;
    }
    a.shape = pool2d_sizes_of(layer, &a.samples);
    a.kind = c->kind;
    a.include_pad = c->include_pad;
    a.x = q_reals(layer->in[0]);
    a.x_stride = layer->in[0]->nb[2];
    a.dy = q_reals(layer->grad_out[0]);
    a.dy_stride = layer->grad_out[0]->nb[2];
    a.dx = q_reals(layer->grad_in[0]);
    a.dx_stride = layer->grad_in[0]->nb[2];
    a.accumulate = layer->accumulate & 1u;
    a.reserved = 0;
    layer->kernels->pool2d_grad(work, &a);
    return Q_OK;
}

const q_layer_class q_layer_pool2d = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_POOL2D,
    .name = "pool2d",
    .config_size = sizeof(q_pool2d_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 1u << 0,
    .shape = pool2d_shape,
    .forward = pool2d_forward,
    .backward = Q_TRAINING(pool2d_backward),
};
