/* SPDX-License-Identifier: MIT */
/* Gradients of Conv2d and Pool2d: every option, sizes that divide and sizes that do not. */
#include "cases.h"

typedef struct conv_case {
    const char *name;
    uint32_t height;
    uint32_t width;
    uint32_t in_c;
    uint32_t out_c;
    uint32_t n_batch;
    bool bias;
    q_conv2d_config config;
} conv_case;

/* kernel h w, stride h w, pad h w, dilation h w, groups, activation */
static const conv_case conv_cases[] = {
    {"conv2d", 5, 6, 3, 4, 3, true, {3, 3, 1, 1, 0, 0, 1, 1, 1, 0}},
    {"conv2d without bias", 5, 6, 3, 4, 3, false, {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}},
    {"conv2d of one channel", 6, 5, 1, 3, 4, true, {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}},
    {"conv2d, stride 2", 7, 6, 2, 3, 3, true, {3, 3, 2, 2, 1, 1, 1, 1, 1, 0}},
    {"conv2d, strides 2 and 3", 8, 9, 2, 3, 2, true, {3, 2, 2, 3, 1, 0, 1, 1, 1, 0}},
    {"conv2d, stride beyond the kernel", 8, 8, 2, 2, 2, true, {1, 2, 3, 4, 0, 1, 1, 1, 1, 0}},
    {"conv2d, padding 2 and 0", 4, 5, 2, 3, 2, true, {3, 2, 1, 1, 2, 0, 1, 1, 1, 0}},
    {"conv2d, windows of padding alone", 2, 2, 2, 2, 2, true, {2, 2, 1, 1, 3, 2, 1, 1, 1, 0}},
    {"conv2d, dilation 2", 7, 8, 2, 3, 2, true, {3, 3, 1, 1, 2, 2, 2, 2, 1, 0}},
    {"conv2d, stride 2, dilation 3 and 2", 9, 9, 2, 2, 2, true, {3, 2, 2, 2, 3, 1, 3, 2, 1, 0}},
    {"conv2d, stride 4, dilation 2", 9, 11, 2, 2, 2, true, {3, 3, 4, 4, 2, 1, 2, 2, 1, 0}},
    {"conv2d, 2 groups", 5, 5, 4, 6, 2, true, {3, 3, 1, 1, 1, 1, 1, 1, 2, 0}},
    {"conv2d, 3 groups, stride 2", 5, 6, 6, 3, 2, true, {2, 3, 2, 2, 0, 1, 1, 1, 3, 0}},
    {"conv2d depthwise", 6, 5, 5, 5, 3, true, {3, 3, 1, 1, 1, 1, 1, 1, 5, 0}},
    {"conv2d depthwise, stride 2, dilation 2", 8, 7, 3, 3, 2, false, {3, 3, 2, 2, 2, 2, 2, 2, 3, 0}},
    {"conv2d depthwise with multiplier", 5, 5, 3, 6, 2, true, {3, 2, 1, 1, 1, 1, 1, 1, 3, 0}},
    {"conv2d 1x1", 4, 3, 5, 4, 4, true, {1, 1, 1, 1, 0, 0, 1, 1, 1, 0}},
    {"conv2d 1x1, stride 2", 5, 5, 3, 4, 2, true, {1, 1, 2, 2, 0, 0, 1, 1, 1, 0}},
    {"conv2d of the whole image", 4, 3, 2, 5, 3, true, {4, 3, 1, 1, 0, 0, 1, 1, 1, 0}},
    {"conv2d over a row", 1, 9, 2, 3, 2, true, {1, 5, 1, 2, 0, 2, 1, 1, 1, 0}},
    {"conv2d, many channels", 3, 4, 18, 35, 2, true, {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}},
};

typedef struct pool_case {
    const char *name;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t n_batch;
    q_pool2d_config config;
} pool_case;

/* kind, kernel h w, stride h w, pad h w, include_pad */
static const pool_case pool_cases[] = {
    {"pool2d max", 6, 8, 3, 3, {Q_POOL_MAX, 2, 2, 0, 0, 0, 0, 0}},
    {"pool2d max, pixels left over", 7, 5, 2, 2, {Q_POOL_MAX, 2, 3, 0, 0, 0, 0, 0}},
    {"pool2d max, overlapping, padded", 7, 6, 3, 2, {Q_POOL_MAX, 3, 3, 2, 2, 1, 1, 0}},
    {"pool2d max, stride 1", 5, 5, 2, 2, {Q_POOL_MAX, 3, 2, 1, 1, 1, 1, 0}},
    {"pool2d max, stride beyond the kernel", 8, 8, 2, 2, {Q_POOL_MAX, 2, 2, 3, 4, 0, 0, 0}},
    {"pool2d max, global", 4, 3, 5, 3, {Q_POOL_MAX, 0, 0, 0, 0, 0, 0, 0}},
    {"pool2d average", 6, 4, 3, 3, {Q_POOL_AVERAGE, 2, 2, 0, 0, 0, 0, 0}},
    {"pool2d average, overlapping, padded", 6, 7, 3, 2, {Q_POOL_AVERAGE, 3, 3, 2, 1, 1, 1, 0}},
    {"pool2d average, padding counted", 6, 7, 3, 2, {Q_POOL_AVERAGE, 3, 2, 2, 2, 1, 1, 1}},
    {"pool2d average, global", 5, 4, 19, 3, {Q_POOL_AVERAGE, 0, 0, 0, 0, 0, 0, 0}},
};

static void check_convs(void)
{
    for (size_t i = 0; i < sizeof(conv_cases) / sizeof(conv_cases[0]); i++) {
        const conv_case *c = &conv_cases[i];
        const q_conv2d_config *g = &c->config;
        rig_layer layer = {.name = c->name, .cls = &q_layer_conv2d, .config = g, .n_in = 1};
        layer.in[0].type = rig_image(c->height, c->width, c->in_c);
        layer.n_param = c->bias ? 2 : 1;
        layer.param[0] = (rig_param){c->out_c, g->kernel_h * g->kernel_w * c->in_c / g->groups, 0, 0, false};
        layer.param[1] = (rig_param){1, c->out_c, 0, 0, false};
        layer.step.n_batch = c->n_batch;
        rig_check_layer(&layer);
    }
}

/* x + conv(y): the product adds x itself where steps are fused. */
static void build_residual(q_graph *g, const void *config)
{
    const rig_input in = {.type = rig_image(4, 5, 3)};
    const rig_param weight = {3, 27, 0, 0, false};
    q_value x = rig_source(g, "x", &in);
    q_node_desc conv = {.cls = &q_layer_conv2d, .name = "conv", .config = config, .n_in = 1, .n_param = 1};
    q_node_desc sum = {.cls = &q_layer_add, .name = "sum", .n_in = 2, .in = {x}};
    conv.in[0] = rig_source(g, "y", &in);
    conv.param[0] = rig_slot(g, "w", &weight);
    sum.in[1] = q_graph_node(g, &conv);
    x = q_graph_node(g, &sum);
    rig_probe(g, &x, 1);
}

static void check_residual(void)
{
    static const q_conv2d_config config = {3, 3, 1, 1, 1, 1, 1, 1, 1, 0};
    const rig_graph graph = {.name = "conv2d beside a residual", .build = build_residual, .user = &config, .step = {.n_batch = 3}};
    rig_check_graph(&graph);
}

/* Every activation of its own, on a convolution with what it has most of, and on one without bias. */
static void check_activations(void)
{
    for (uint32_t act = Q_ACT_RELU; act < Q_ACT_COUNT; act++) {
        const q_conv2d_config config = {3, 3, 2, 1, 1, 1, 1, 1, 2, act};
        rig_layer layer = {.name = "conv2d with an activation of its own", .cls = &q_layer_conv2d, .config = &config, .n_in = 1};
        layer.in[0].type = rig_image(5, 4, 4);
        layer.n_param = 2;
        layer.param[0] = (rig_param){6, 18, -0.5, 0.5, false};
        layer.param[1] = (rig_param){1, 6, 0, 0, false};
        layer.step.n_batch = 3;
        rig_check_layer(&layer);
        layer.name = "conv2d with an activation, without bias, frozen";
        layer.n_param = 1;
        layer.param[0].frozen = true;
        rig_check_layer(&layer);
    }
}

static void check_pools(void)
{
    for (size_t i = 0; i < sizeof(pool_cases) / sizeof(pool_cases[0]); i++) {
        const pool_case *c = &pool_cases[i];
        rig_layer layer = {.name = c->name, .cls = &q_layer_pool2d, .config = &c->config, .n_in = 1};
        layer.in[0].type = rig_image(c->height, c->width, c->channels);
        layer.step.n_batch = c->n_batch;
        rig_check_layer(&layer);
    }
}

void cases_image(void)
{
    check_convs();
    check_residual();
    check_activations();
    check_pools();
}
