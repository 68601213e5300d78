/* SPDX-License-Identifier: MIT */
/* Gradients of LayerNorm and BatchNorm: every option, rows of a batch, of images, of sequences and of tokens. */
#include <string.h>

#include "cases.h"

static void check_layernorms(void)
{
    static const q_layernorm_config config = {1e-5f, 0};
    static const q_layernorm_config wide = {0.5f, 0};
    rig_layer layer = {.name = "layernorm", .cls = &q_layer_layernorm, .config = &config, .n_in = 1, .n_param = 2,
                       .step = {.n_batch = 5}};
    layer.in[0].type = rig_rows(7);
    layer.param[0] = (rig_param){1, 7, 0, 0, false};
    layer.param[1] = (rig_param){1, 7, 0, 0, false};
    rig_check_layer(&layer);
    layer.name = "layernorm, weight frozen";
    layer.param[0].frozen = true;
    rig_check_layer(&layer);
    layer.name = "layernorm, bias frozen, large eps";
    layer.config = &wide;
    layer.param[0].frozen = false;
    layer.param[1].frozen = true;
    rig_check_layer(&layer);
    layer.name = "layernorm without bias, of sequences";
    layer.n_param = 1;
    layer.param[0].columns = 35;
    layer.in[0].type = rig_image(1, 3, 35);
    rig_check_layer(&layer);
    layer.name = "layernorm of tokens";
    layer.n_param = 2;
    layer.param[1] = (rig_param){1, 35, 0, 0, false};
    layer.in[0].type = rig_tokens(35);
    layer.step = (rig_step){.n_spans = 3, .span_rows = {4, 1, 6}};
    rig_check_layer(&layer);
}

typedef struct batchnorm_case {
    const char *name;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t n_batch;
    int frozen; /* parameter, or -1 */
    q_batchnorm_config config;
} batchnorm_case;

static const batchnorm_case batchnorm_cases[] = {
    {"batchnorm", 1, 1, 5, 6, -1, {1e-5f, 0.1f, Q_ACT_NONE, 0}},
    {"batchnorm of images", 3, 4, 3, 2, -1, {1e-3f, 0.1f, Q_ACT_NONE, 0}},
    {"batchnorm of 17 channels", 2, 2, 17, 3, -1, {1e-5f, 0.1f, Q_ACT_NONE, 0}},
    {"batchnorm over two blocks", 5, 5, 2, 4, -1, {1e-5f, 0.1f, Q_ACT_NONE, 0}},
    {"batchnorm and relu", 2, 3, 4, 3, -1, {1e-5f, 0.1f, Q_ACT_RELU, 0}},
    {"batchnorm and sigmoid", 1, 1, 6, 5, -1, {1e-5f, 0.1f, Q_ACT_SIGMOID, 0}},
    {"batchnorm and tanh over three blocks", 6, 6, 3, 5, -1, {1e-5f, 0.1f, Q_ACT_TANH, 0}},
    {"batchnorm, weight frozen", 1, 1, 5, 6, 0, {0.5f, 0.1f, Q_ACT_NONE, 0}},
    {"batchnorm, bias frozen", 1, 1, 5, 6, 1, {1e-5f, 1.0f, Q_ACT_RELU, 0}},
};

static void check_batchnorms(void)
{
    for (size_t i = 0; i < sizeof(batchnorm_cases) / sizeof(batchnorm_cases[0]); i++) {
        const batchnorm_case *c = &batchnorm_cases[i];
        rig_layer layer = {.name = c->name, .cls = &q_layer_batchnorm, .config = &c->config, .n_in = 1, .n_param = 4,
                           .flags = RIG_NO_SPLIT};
        layer.in[0].type = rig_image(c->height, c->width, c->channels);
        layer.step.n_batch = c->n_batch;
        for (uint32_t p = 0; p < 4; p++) {
            layer.param[p] = (rig_param){1, c->channels, 0, 0, p > 1 || (int)p == c->frozen};
        }
        layer.param[3].low = 0.5;
        layer.param[3].high = 2;
        rig_check_layer(&layer);
    }
}

void cases_norm(void)
{
    check_layernorms();
    check_batchnorms();
}
