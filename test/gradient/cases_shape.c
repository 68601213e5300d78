/* SPDX-License-Identifier: MIT */
/* Gradients of layers that move or drop values: reshape, concat, scale, dropout, drop path; and of a row added to all. */
#include "cases.h"

typedef struct reshape_case {
    const char *name;
    q_value_type in;
    q_reshape_config config;
    rig_step step;
} reshape_case;

static void check_reshapes(void)
{
    const reshape_case cases[] = {
        {"reshape flatten", rig_image(3, 2, 5), {{1, 1, 1, 0}, 0, 0}, {.n_batch = 4}},
        {"reshape to images", rig_rows(24), {{1, 3, 0, 4}, 0, 0}, {.n_batch = 3}},
        {"reshape pixels to rows", rig_image(3, 2, 4), {{1, 1, 6, 4}, 0, 0}, {.n_batch = 5}},
        {"reshape heads of tokens", rig_tokens(12), {{1, 1, 3, 0}, 2, 0}, {.n_spans = 3, .span_rows = {2, 4, 1}}},
        {"reshape to itself", rig_image(2, 2, 3), {{1, 2, 2, 3}, 0, 0}, {.n_batch = 2}},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig_layer c = {.name = cases[i].name, .cls = &q_layer_reshape, .config = &cases[i].config, .n_in = 1};
        c.in[0] = (rig_input){.type = cases[i].in};
        c.step = cases[i].step;
        rig_check_layer(&c);
    }
}

static void check_scales(void)
{
    const float factors[] = {0.25f, -3.5f, 1.0f, 0.0f};
    for (uint32_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++) {
        const q_scale_config config = {factors[i], 0};
        rig_layer c = {.name = "scale", .cls = &q_layer_scale, .config = &config, .n_in = 1, .step = {.n_batch = 3}};
        c.flags = factors[i] != 0 ? 0 : RIG_FLAT;
        c.in[0] = (rig_input){.type = rig_rows(19)};
        rig_check_layer(&c);
        c.in[0].type = rig_tokens(7);
        c.step = (rig_step){.n_spans = 2, .span_rows = {3, 2}};
        rig_check_layer(&c);
    }
}

static void check_concats(void)
{
    const uint32_t columns[Q_MAX_INPUTS] = {5, 1, 16, 3, 7, 2, 9, 4};
    for (uint32_t n = 2; n <= Q_MAX_INPUTS; n += n == 2 ? 1 : 5) {
        rig_layer c = {.name = "concat", .cls = &q_layer_concat, .n_in = n, .step = {.n_batch = 3}};
        for (uint32_t i = 0; i < n; i++) {
            c.in[i] = (rig_input){.type = rig_rows(columns[i]), .constant = i == 3};
        }
        rig_check_layer(&c);
        for (uint32_t i = 0; i < n; i++) {
            c.in[i].type = rig_image(2, 3, columns[i]);
        }
        rig_check_layer(&c);
        for (uint32_t i = 0; i < n; i++) {
            c.in[i].type = rig_tokens(columns[i]);
        }
        c.step = (rig_step){.n_spans = 2, .span_rows = {1, 3}};
        rig_check_layer(&c);
    }
}

static void check_drops(void)
{
    const float rates[] = {0.0f, 0.3f, 0.6f};
    for (uint32_t i = 0; i < 6; i++) {
        const q_dropout_config config = {rates[i / 2], 0};
        rig_layer c = {.name = "dropout", .cls = &q_layer_dropout, .config = &config, .n_in = 1};
        c.in[0] = (rig_input){.type = rig_rows(19)};
        if (i % 2 != 0) {
            c.name = "drop_path";
            c.cls = &q_layer_drop_path;
        }
        c.step.n_batch = 13;
        rig_check_layer(&c);
        c.in[0].type = rig_image(3, 2, 5);
        rig_check_layer(&c);
        c.in[0].type = rig_tokens(6);
        c.step = (rig_step){.n_spans = 8, .span_rows = {2, 4, 1, 3, 2, 1, 5, 2}};
        rig_check_layer(&c);
    }
}

static void check_row_added(void)
{
    rig_layer c = {.name = "add a row", .cls = &q_layer_add, .n_in = 1, .n_param = 1, .step = {.n_batch = 4}};
    c.in[0] = (rig_input){.type = rig_rows(18)};
    c.param[0] = (rig_param){1, 18, 0, 0, false};
    rig_check_layer(&c);
    c.in[0].type = rig_image(2, 3, 18);
    rig_check_layer(&c);
    c.in[0].type = rig_tokens(18);
    c.step = (rig_step){.n_spans = 3, .span_rows = {1, 4, 2}};
    rig_check_layer(&c);
    c.param[0].frozen = true;
    rig_check_layer(&c);
}

void cases_shape(void)
{
    check_reshapes();
    check_scales();
    check_concats();
    check_drops();
    check_row_added();
}
