/* SPDX-License-Identifier: MIT */
/* The shapes that layers make that move values, and what the configs of all layers may not say, by the name of the field.
   (Conv2d and Pool2d: test_image.c; recurrent layers: test_recurrent.c.) */
#include <math.h>
#include <string.h>

#include "flow.h"

typedef struct shape_case {
    const char *name;
    const q_layer_class *cls;
    const void *config;
    q_count in[Q_MAX_DIMS];
    q_error_code code;
    const char *field;
    q_count out[Q_MAX_DIMS];
} shape_case;

#define ONE(n) {(n), Q_SYM_ONE}
#define BATCH {1, Q_SYM_BATCH}
#define TOKENS {1, Q_SYM_TOKENS}
#define RESHAPE(...) &(const q_reshape_config){__VA_ARGS__}
#define DROPOUT(...) &(const q_dropout_config){__VA_ARGS__}
#define SCALE(...) &(const q_scale_config){__VA_ARGS__}

static const shape_case shape_cases[] = {
    {"flatten", &q_layer_reshape, RESHAPE({1, 1, 1, 0}, 0, 0), {BATCH, ONE(3), ONE(4), ONE(5)}, Q_OK, "",
     {BATCH, ONE(1), ONE(1), ONE(60)}},
    {"images", &q_layer_reshape, RESHAPE({1, 3, 4, 5}, 0, 0), {BATCH, ONE(1), ONE(1), ONE(60)}, Q_OK, "",
     {BATCH, ONE(3), ONE(4), ONE(5)}},
    {"heads of tokens", &q_layer_reshape, RESHAPE({1, 1, 4, 0}, 2, 0), {ONE(1), ONE(1), TOKENS, ONE(12)}, Q_OK, "",
     {ONE(1), ONE(1), {4, Q_SYM_TOKENS}, ONE(3)}},
    {"two left open", &q_layer_reshape, RESHAPE({1, 0, 1, 0}, 0, 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_SHAPE,
     "config.dim", {ONE(0)}},
    {"no divisor", &q_layer_reshape, RESHAPE({1, 1, 4, 0}, 0, 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_SHAPE,
     "config.dim", {ONE(0)}},
    {"fewer than there are", &q_layer_reshape, RESHAPE({1, 1, 1, 5}, 0, 0), {BATCH, ONE(1), ONE(1), ONE(6)},
     Q_ERR_INVALID_SHAPE, "config.dim", {ONE(0)}},
    {"beyond 64 bits", &q_layer_reshape, RESHAPE({0x80000000u, 0x80000000u, 4, 6}, 0, 0), {BATCH, ONE(1), ONE(1), ONE(6)},
     Q_ERR_INVALID_SHAPE, "config.dim", {ONE(0)}},
    {"beyond 32 bits", &q_layer_reshape, RESHAPE({1, 1, 1, 0}, 0, 0), {BATCH, ONE(0x80000000u), ONE(2), ONE(6)},
     Q_ERR_INVALID_SHAPE, "config.dim", {ONE(0)}},
    {"a symbol of columns", &q_layer_reshape, RESHAPE({1, 1, 1, 6}, 3, 0), {BATCH, ONE(1), ONE(1), ONE(6)},
     Q_ERR_INVALID_ARG, "config.symbol", {ONE(0)}},
    {"reserved", &q_layer_reshape, RESHAPE({1, 1, 1, 6}, 0, 7), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG,
     "config.reserved", {ONE(0)}},
    {"factor", &q_layer_scale, SCALE(0.5f, 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_OK, "", {BATCH, ONE(1), ONE(1), ONE(6)}},
    {"infinite factor", &q_layer_scale, SCALE((float)(1e38 * 1e38), 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG,
     "config.factor", {ONE(0)}},
    {"reserved", &q_layer_scale, SCALE(0.5f, 1), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG, "config.reserved",
     {ONE(0)}},
    {"two inputs", &q_layer_concat, NULL, {BATCH, ONE(3), ONE(2), ONE(6)}, Q_OK, "", {BATCH, ONE(3), ONE(2), ONE(12)}},
    {"columns beyond 32 bits", &q_layer_concat, NULL, {BATCH, ONE(1), ONE(1), ONE(0x80000000u)}, Q_ERR_OVERFLOW, "columns",
     {ONE(0)}},
    {"images", &q_layer_dropout, DROPOUT(0.5f, 0), {BATCH, ONE(3), ONE(2), ONE(6)}, Q_OK, "", {BATCH, ONE(3), ONE(2), ONE(6)}},
    {"rows", &q_layer_drop_path, DROPOUT(0, 0), {ONE(1), ONE(1), BATCH, ONE(6)}, Q_OK, "", {ONE(1), ONE(1), BATCH, ONE(6)}},
    {"tokens", &q_layer_dropout, DROPOUT(0.999f, 0), {ONE(1), ONE(1), TOKENS, ONE(6)}, Q_OK, "",
     {ONE(1), ONE(1), TOKENS, ONE(6)}},
    {"rate 1", &q_layer_dropout, DROPOUT(1, 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG, "config.rate", {ONE(0)}},
    {"rate below 0", &q_layer_drop_path, DROPOUT(-0.1f, 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG,
     "config.rate", {ONE(0)}},
    {"rate NaN", &q_layer_dropout, DROPOUT(NAN, 0), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG, "config.rate",
     {ONE(0)}},
    {"reserved", &q_layer_dropout, DROPOUT(0.5f, 2), {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG, "config.reserved",
     {ONE(0)}},
    {"rows that are parts of samples", &q_layer_dropout, DROPOUT(0.5f, 0), {ONE(1), ONE(2), BATCH, ONE(6)},
     Q_ERR_INVALID_SHAPE, "input rows: of samples or tokens", {ONE(0)}},
    {"rows that are chosen", &q_layer_dropout, DROPOUT(0.5f, 0), {ONE(1), ONE(1), {1, Q_SYM_SELECTED}, ONE(6)},
     Q_ERR_INVALID_SHAPE, "input rows: of samples or tokens", {ONE(0)}},
    {"parts of tokens", &q_layer_drop_path, DROPOUT(0.5f, 0), {ONE(1), ONE(1), {2, Q_SYM_TOKENS}, ONE(6)},
     Q_ERR_INVALID_SHAPE, "input rows: of samples or tokens", {ONE(0)}},
    {"neither a second input nor a row", &q_layer_add, NULL, {BATCH, ONE(1), ONE(1), ONE(6)}, Q_ERR_INVALID_ARG,
     "n_in + n_param", {ONE(0)}},
};

typedef struct config_case {
    const q_layer_class *cls;
    const void *config;
    q_error_code code;
    const char *field;
} config_case;

#define CONFIG(type, ...) &(const q_##type##_config){__VA_ARGS__}
#define BAD(cls, type, field, ...) {&q_layer_##cls, CONFIG(type, __VA_ARGS__), Q_ERR_INVALID_ARG, "config." #field}

/* Over rows of six columns. */
static const config_case config_cases[] = {
    BAD(linear, linear, activation, Q_ACT_COUNT, 0),
    BAD(linear, linear, planes, 0, 3),
    BAD(activation, activation, activation, Q_ACT_COUNT, 0),
    BAD(activation, activation, reserved, Q_ACT_RELU, 1),
    BAD(embedding, embedding, scale, NAN, 0),
    BAD(embedding, embedding, reserved, 1, 1),
    BAD(rmsnorm, rmsnorm, eps, 0, 0, 0, 0),
    BAD(rmsnorm, rmsnorm, eps, NAN, 0, 0, 0),
    BAD(rmsnorm, rmsnorm, offset, 1e-5f, INFINITY, 0, 0),
    BAD(rmsnorm, rmsnorm, reserved, 1e-5f, 0, 0, 1),
    {&q_layer_rmsnorm, CONFIG(rmsnorm, 1e-5f, 0, 4, 0), Q_ERR_INVALID_SHAPE, "config.group"},
    BAD(layernorm, layernorm, eps, -1, 0),
    BAD(layernorm, layernorm, reserved, 1e-5f, 1),
    BAD(batchnorm, batchnorm, eps, INFINITY, 0, 0, 0),
    BAD(batchnorm, batchnorm, momentum, 1e-5f, 1.5f, 0, 0),
    BAD(batchnorm, batchnorm, activation, 1e-5f, 0.1f, Q_ACT_COUNT, 0),
    BAD(batchnorm, batchnorm, reserved, 1e-5f, 0.1f, 0, 1),
    BAD(softmax, softmax, scale, NAN, 0),
    BAD(softmax, softmax, reserved, 1, 1),
    BAD(rope_table, rope_table, n_pairs, 0, Q_ROPE_NONE, 0, 0, 1e4, 1, 1, 1, 1),
    BAD(rope_table, rope_table, base, 3, Q_ROPE_NONE, 0, 0, 1, 1, 1, 1, 1),
    BAD(rope_table, rope_table, base, 3, Q_ROPE_NONE, 0, 0, (double)INFINITY, 1, 1, 1, 1),
    BAD(rope_table, rope_table, factor, 3, Q_ROPE_LINEAR, 0, 0, 1e4, 0, 1, 1, 1),
    BAD(rope_table, rope_table, low, 3, Q_ROPE_LLAMA3, 8192, 0, 1e4, 8, 0, 1, 1),
    BAD(rope_table, rope_table, high, 3, Q_ROPE_LLAMA3, 8192, 0, 1e4, 8, 4, 1, 1),
    BAD(rope_table, rope_table, original_context, 3, Q_ROPE_LLAMA3, 0, 0, 1e4, 8, 1, 4, 1),
    BAD(rope_table, rope_table, magnitude, 3, Q_ROPE_NONE, 0, 0, 1e4, 1, 1, 1, (double)NAN),
    {&q_layer_rope_table, CONFIG(rope_table, 3, 77, 0, 0, 1e4, 1, 1, 1, 1), Q_ERR_UNSUPPORTED, "config.scaling"},
    BAD(attention, attention, heads, 0, 1, 8, 0, 1, 0),
    BAD(attention, attention, kv_heads, 4, 3, 8, 0, 1, 0),
    BAD(attention, attention, head_dim, 4, 2, 6, 0, 1, 0),
    BAD(attention, attention, scale, 4, 2, 8, 0, 0, 0),
    BAD(attention, attention, softcap, 4, 2, 8, 0, 1, -1),
    BAD(attention_full, attention, window, 4, 2, 8, 3, 1, 0),
    BAD(fake_quantize, fake_quantize, planes, 3, 0),
    BAD(fake_quantize, fake_quantize, reserved, 1, 1),
    BAD(huber, huber, delta, 0, 0),
    BAD(huber, huber, delta, INFINITY, 0),
    BAD(huber, huber, reserved, 1, 1),
    BAD(cross_entropy, cross_entropy, label_smoothing, -1, 1.5f),
    BAD(cross_entropy, cross_entropy, label_smoothing, -1, NAN),
};

static void test_configs(void)
{
    static const q_count rows[Q_MAX_DIMS] = {BATCH, ONE(1), ONE(1), ONE(6)};
    for (size_t i = 0; i < sizeof(config_cases) / sizeof(config_cases[0]); i++) {
        const config_case *c = &config_cases[i];
        q_value_type in[Q_MAX_INPUTS];
        q_value_type out[Q_MAX_OUTPUTS];
        q_param_type param[Q_MAX_PARAMS];
        q_diag d;
        q_error_code e;
        memset(in, 0, sizeof(in));
        memset(param, 0, sizeof(param));
        memset(&d, 0, sizeof(d));
        for (uint32_t k = 0; k < Q_MAX_INPUTS; k++) {
            in[k].dtype = c->cls == &q_layer_embedding ? (uint32_t)Q_I32 : (uint32_t)Q_REAL;
            memcpy(in[k].dim, rows, sizeof(rows));
        }
        for (uint32_t k = 0; k < Q_MAX_PARAMS; k++) {
            param[k] = (q_param_type){Q_REAL, Q_PLAIN, {1, 1, 1, 6}};
        }
        const q_node_info info = {.config = c->config, .n_in = c->cls->min_in, .n_out = c->cls->n_out,
                                  .n_param = c->cls->min_param, .in = in, .out = out, .param = param,
                                  .max = {1, 1, 1, 1, 1}, .kv_dtype = Q_REAL};
        e = c->cls->shape(&info, &d);
        check(e == c->code && strcmp(d.field, c->field) == 0, "%s: expected %s, got %d, %s", c->cls->name, c->field, (int)e, d.field);
    }
}

void test_shape(void)
{
    test_configs();
    for (size_t i = 0; i < sizeof(shape_cases) / sizeof(shape_cases[0]); i++) {
        const shape_case *c = &shape_cases[i];
        q_value_type in[Q_MAX_INPUTS];
        q_value_type out;
        q_node_info info;
        q_diag d;
        memset(in, 0, sizeof(in));
        memset(&out, 0, sizeof(out));
        memset(&info, 0, sizeof(info));
        memset(&d, 0, sizeof(d));
        for (uint32_t k = 0; k < Q_MAX_INPUTS; k++) {
            in[k].dtype = Q_REAL;
            memcpy(in[k].dim, c->in, sizeof(c->in));
        }
        info.config = c->config;
        info.n_in = c->cls->min_in;
        info.n_out = 1;
        info.in = in;
        info.out = &out;
        q_error_code e = c->cls->shape(&info, &d);
        check(e == c->code && strncmp(d.field, c->field, sizeof(d.field) - 1) == 0 &&
                  (e != Q_OK || memcmp(out.dim, c->out, sizeof(out.dim)) == 0),
              "%s: %s: %d, %s, %u x %u x %u x %u", c->cls->name, c->name, (int)e, d.field, out.dim[0].n, out.dim[1].n,
              out.dim[2].n, out.dim[3].n);
    }
}
