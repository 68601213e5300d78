/* SPDX-License-Identifier: MIT */
/* Conv2d and Pool2d: shapes they make, and what they refuse, by the name of the field. */
#include <stdio.h>
#include <string.h>

#include "flow.h"

typedef struct conv_shape_case {
    const char *name;
    q_conv2d_config config;
    uint32_t image[3]; /* height, width, channels */
    uint32_t weight[2];
    uint32_t bias; /* 0: none */
    q_error_code code;
    const char *field;
    uint32_t out[2];
} conv_shape_case;

typedef struct pool_shape_case {
    const char *name;
    q_pool2d_config config;
    uint32_t image[3];
    q_error_code code;
    const char *field;
    uint32_t out[2];
} pool_shape_case;

static const conv_shape_case conv_shapes[] = {
    {"sound", {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {8, 9, 4}, {6, 36}, 6, Q_OK, "", {8, 9}},
    {"stride and dilation", {3, 2, 2, 3, 0, 1, 2, 1, 1, 0}, {9, 9, 4}, {6, 24}, 0, Q_OK, "", {3, 4}},
    {"depthwise", {3, 3, 1, 1, 1, 1, 1, 1, 4, 0}, {8, 9, 4}, {4, 9}, 4, Q_OK, "", {8, 9}},
    {"kernel 0", {0, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG, "config.kernel_h", {0, 0}},
    {"stride 0", {3, 3, 1, 0, 1, 1, 1, 1, 1, 0}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG, "config.stride_w", {0, 0}},
    {"dilation 0", {3, 3, 1, 1, 1, 1, 0, 1, 1, 0}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG, "config.dilation_h", {0, 0}},
    {"kernel beyond the image", {9, 3, 1, 1, 0, 1, 1, 1, 1, 0}, {8, 9, 4}, {6, 108}, 0, Q_ERR_INVALID_ARG,
     "config.kernel_h", {0, 0}},
    {"dilation beyond 32 bits", {65537, 1, 1, 1, 1, 1, 65537, 1, 1, 0}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG,
     "config.kernel_h", {0, 0}},
    {"padding beyond all sizes", {3, 3, 1, 1, 1, 0x80000000u, 1, 1, 1, 0}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG,
     "config.pad_w", {0, 0}},
    {"no groups", {3, 3, 1, 1, 1, 1, 1, 1, 0, 0}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG, "config.groups", {0, 0}},
    {"groups that do not divide the input", {3, 3, 1, 1, 1, 1, 1, 1, 3, 0}, {8, 9, 4}, {6, 12}, 0, Q_ERR_INVALID_ARG,
     "config.groups", {0, 0}},
    {"groups that do not divide the output", {3, 3, 1, 1, 1, 1, 1, 1, 4, 0}, {8, 9, 4}, {6, 9}, 0, Q_ERR_INVALID_ARG,
     "config.groups", {0, 0}},
    {"an activation that is none", {3, 3, 1, 1, 1, 1, 1, 1, 1, Q_ACT_COUNT}, {8, 9, 4}, {6, 36}, 0, Q_ERR_INVALID_ARG,
     "config.activation", {0, 0}},
    {"weights of another width", {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {8, 9, 4}, {6, 35}, 0, Q_ERR_INVALID_SHAPE,
     "weight columns", {0, 0}},
    {"bias of another width", {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {8, 9, 4}, {6, 36}, 5, Q_ERR_INVALID_SHAPE, "parameter",
     {0, 0}},
    {"an image beyond all sizes", {3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {8, 0x80000000u, 4}, {6, 36}, 0, Q_ERR_INVALID_SHAPE,
     "input height or width", {0, 0}},
};

static const pool_shape_case pool_shapes[] = {
    {"sound", {Q_POOL_MAX, 2, 2, 0, 0, 0, 0, 0}, {8, 9, 4}, Q_OK, "", {4, 4}},
    {"overlapping", {Q_POOL_AVERAGE, 3, 3, 2, 1, 1, 1, 1}, {8, 9, 4}, Q_OK, "", {4, 9}},
    {"global", {Q_POOL_AVERAGE, 0, 0, 0, 0, 0, 0, 0}, {8, 9, 4}, Q_OK, "", {1, 1}},
    {"no kind", {Q_POOL_KINDS, 2, 2, 0, 0, 0, 0, 0}, {8, 9, 4}, Q_ERR_INVALID_ARG, "config.kind", {0, 0}},
    {"half a kernel", {Q_POOL_MAX, 0, 2, 1, 0, 0, 0, 0}, {8, 9, 4}, Q_ERR_INVALID_ARG, "config.kernel_h", {0, 0}},
    {"kernel beyond the image", {Q_POOL_MAX, 2, 10, 0, 0, 0, 0, 0}, {8, 9, 4}, Q_ERR_INVALID_ARG, "config.kernel_w", {0, 0}},
    {"padding beyond half the kernel", {Q_POOL_MAX, 3, 3, 0, 0, 2, 0, 0}, {8, 9, 4}, Q_ERR_INVALID_ARG, "config.pad_h", {0, 0}},
    {"padding of the whole image", {Q_POOL_MAX, 0, 0, 0, 0, 0, 1, 0}, {8, 9, 4}, Q_ERR_INVALID_ARG, "config.pad_w", {0, 0}},
    {"padding counted in a maximum", {Q_POOL_MAX, 2, 2, 0, 0, 1, 1, 1}, {8, 9, 4}, Q_ERR_INVALID_ARG, "config.include_pad",
     {0, 0}},
};

static q_value_type image_type(const uint32_t image[3])
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = Q_REAL;
    t.dim[0] = (q_count){1, Q_SYM_BATCH};
    for (uint32_t i = 0; i < 3; i++) {
        t.dim[i + 1] = (q_count){image[i], Q_SYM_ONE};
    }
    return t;
}

static void check_shape(const q_layer_class *cls, q_node_info *info, const char *name, q_error_code code, const char *field,
                        const uint32_t out[2])
{
    q_diag d;
    q_value_type made;
    memset(&d, 0, sizeof(d));
    memset(&made, 0, sizeof(made));
    info->out = &made;
    q_error_code e = cls->shape(info, &d);
    check(e == code && strncmp(d.field, field, sizeof(d.field) - 1) == 0 &&
              (code != Q_OK || (made.dim[1].n == out[0] && made.dim[2].n == out[1] && made.dim[0].sym == Q_SYM_BATCH)),
          "%s: %s: %d, %s, %u x %u", cls->name, name, (int)e, d.field, made.dim[1].n, made.dim[2].n);
}

void test_image(void)
{
    for (size_t i = 0; i < sizeof(conv_shapes) / sizeof(conv_shapes[0]); i++) {
        const conv_shape_case *c = &conv_shapes[i];
        const q_value_type in = image_type(c->image);
        const q_param_type params[2] = {{Q_REAL, Q_PLAIN, {1, 1, c->weight[0], c->weight[1]}},
                                        {Q_REAL, Q_PLAIN, {1, 1, 1, c->bias}}};
        q_node_info info;
        memset(&info, 0, sizeof(info));
        info.config = &c->config;
        info.n_in = info.n_out = 1;
        info.n_param = c->bias != 0 ? 2 : 1;
        info.in = &in;
        info.param = params;
        check_shape(&q_layer_conv2d, &info, c->name, c->code, c->field, c->out);
    }
    for (size_t i = 0; i < sizeof(pool_shapes) / sizeof(pool_shapes[0]); i++) {
        const pool_shape_case *c = &pool_shapes[i];
        const q_value_type in = image_type(c->image);
        q_node_info info;
        memset(&info, 0, sizeof(info));
        info.config = &c->config;
        info.n_in = info.n_out = 1;
        info.in = &in;
        check_shape(&q_layer_pool2d, &info, c->name, c->code, c->field, c->out);
    }
}
