/* SPDX-License-Identifier: MIT */
/*
 * Gradients of additions and the norms behind them, which plans make one step, and of additions behind dropout; the sum read by
 * the norm alone or by others too, its addends with a gradient or without, twice the same, or computed again.
 */
#include "cases.h"

typedef struct sum_case {
    const char *name;
    const q_layer_class *norm;
    uint32_t n_param;
    bool read_after;   /* the sum, by what comes behind the norm */
    bool unread_norm;  /* nothing reads the norm on the way to the loss */
    bool twice;        /* x + x */
    bool fixed;        /* one addend is an input without gradient */
    bool frozen;       /* the norm's weight */
    bool again;        /* both in a block */
    bool read_before;  /* an addend is read by another layer too, after the sum */
    const q_layer_class *drop; /* y goes through it, or NULL */
} sum_case;

static const sum_case sum_cases[] = {
    {.name = "sum and rmsnorm", .norm = &q_layer_rmsnorm, .n_param = 1},
    {.name = "sum and rmsnorm, both read", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true},
    {.name = "sum and layernorm", .norm = &q_layer_layernorm, .n_param = 2},
    {.name = "sum and layernorm, both read", .norm = &q_layer_layernorm, .n_param = 1, .read_after = true},
    {.name = "sum and a norm nobody reads", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true, .unread_norm = true},
    {.name = "x + x and rmsnorm", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true, .twice = true},
    {.name = "x + x and layernorm", .norm = &q_layer_layernorm, .n_param = 1, .twice = true},
    {.name = "sum with an input", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true, .fixed = true},
    {.name = "sum, frozen norm", .norm = &q_layer_layernorm, .n_param = 1, .read_after = true, .frozen = true},
    {.name = "sum and rmsnorm, again", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true, .again = true},
    {.name = "sum and layernorm, again", .norm = &q_layer_layernorm, .n_param = 2, .again = true},
    {.name = "sum and rmsnorm, addend read", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true, .read_before = true},
    {.name = "dropout, sum, norm", .norm = &q_layer_rmsnorm, .n_param = 1, .read_after = true, .drop = &q_layer_dropout},
    {.name = "drop path, sum, norm", .norm = &q_layer_layernorm, .n_param = 1, .drop = &q_layer_drop_path, .again = true},
};

static q_value one_of(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value a)
{
    const q_node_desc d = {.cls = cls, .name = name, .config = config, .n_in = 1, .in = {a}};
    return q_graph_node(g, &d);
}

static q_value pair_of(q_graph *g, const q_layer_class *cls, const char *name, q_value a, q_value b)
{
    const q_node_desc d = {.cls = cls, .name = name, .n_in = 2, .in = {a, b}};
    return q_graph_node(g, &d);
}

static q_value norm_of(q_graph *g, const sum_case *c, q_value sum)
{
    static const q_rmsnorm_config rms = {0.01f, 0, 0, 0};
    static const q_layernorm_config layer = {0.01f, 0};
    const rig_param vector = {1, 21, 0.5, 1.5, c->frozen};
    q_node_desc d = {.cls = c->norm, .name = "norm", .n_in = 1, .in = {sum}, .n_param = c->n_param};
    d.config = c->norm == &q_layer_rmsnorm ? (const void *)&rms : (const void *)&layer;
    d.param[0] = rig_slot(g, "norm.w", &vector);
    if (c->n_param > 1) {
        d.param[1] = rig_slot(g, "norm.b", &vector);
    }
    return q_graph_node(g, &d);
}

static void build_sum(q_graph *g, const void *user)
{
    static const q_scale_config scale = {0.7f, 0};
    static const q_dropout_config drop = {0.3f, 0};
    const sum_case *c = (const sum_case *)user;
    const rig_input in = {.type = rig_rows(21)};
    rig_input fixed = in;
    q_value x;
    q_value y;
    q_value s;
    q_value ends[3];
    uint32_t n = 0;
    fixed.constant = c->fixed;
    y = rig_source(g, "y", &fixed); /* inputs come first */
    x = rig_source(g, "x", &in);
    q_graph_block(g, c->again ? 1 : 0);
    x = one_of(g, &q_layer_scale, "x scaled", &scale, x);
    y = c->drop != NULL ? one_of(g, c->drop, "drop", &drop, y) : y;
    s = pair_of(g, &q_layer_add, "sum", x, c->twice ? x : y);
    ends[n++] = norm_of(g, c, s);
    if (c->read_before) {
        ends[n++] = one_of(g, &q_layer_silu, "x read", NULL, x);
    }
    if (c->read_after) {
        ends[n] = pair_of(g, &q_layer_mul, "sum read", s, c->unread_norm ? s : ends[0]);
        n++;
    }
    q_graph_block(g, 0);
    rig_probe(g, c->unread_norm ? ends + 1 : ends, c->unread_norm ? n - 1 : n);
    if (c->unread_norm) {
        q_graph_output(g, "norm", ends[0]);
    }
}

void cases_residual(void)
{
    for (size_t i = 0; i < sizeof(sum_cases) / sizeof(sum_cases[0]); i++) {
        const rig_graph graph = {.name = sum_cases[i].name, .build = build_sum, .user = &sum_cases[i], .step = {.n_batch = 7},
                                 .flags = sum_cases[i].unread_norm ? RIG_FLAT : 0};
        rig_check_graph(&graph);
    }
}
