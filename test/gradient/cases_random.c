/* SPDX-License-Identifier: MIT */
/*
 * Gradients of random graphs: up to ten layers of any class between random earlier values, over rows, images, sequences or
 * tokens of random sizes. Parameters are shared or frozen by chance, values read several times or never, nodes in blocks
 * that are computed again. Graph i is the same everywhere.
 */
#include "cases.h"

#include <stdio.h>
#include <string.h>

enum { MAKER_VALUES = 16, MAKER_PARAMS = 48, MAKER_NODES = 10 };

typedef enum family { FAMILY_ROWS, FAMILY_IMAGES, FAMILY_SEQUENCES, FAMILY_TOKENS, N_FAMILIES } family;

/* A value and its sizes per sample or token. */
typedef struct made {
    q_value value;
    uint32_t h;
    uint32_t w;
    uint32_t c;
    bool live; /* something trainable lies upstream */
} made;

typedef struct made_param {
    q_param param;
    uint32_t rows;
    uint32_t columns;
    bool live;
} made_param;

typedef struct maker {
    q_graph *g;
    uint64_t state;
    family family;
    bool batchnorm;
    made values[MAKER_VALUES];
    uint32_t n_values;
    made_param params[MAKER_PARAMS];
    uint32_t n_params;
    uint32_t n_nodes;
    char name[32];
} maker;

typedef struct random_case {
    uint64_t seed;
    family family;
    bool batchnorm; /* may occur: then micro-batches give other bits */
} random_case;

/* ---- Chance --------------------------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood 2014), [0, n). */
static uint32_t draw(uint64_t *state, uint32_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32) % n;
}

static made *any_value(maker *m)
{
    return &m->values[draw(&m->state, m->n_values)];
}

/* A value of the same sizes: perhaps the same one. */
static made *any_like(maker *m, const made *like, bool same_columns)
{
    uint32_t first = draw(&m->state, m->n_values);
    for (uint32_t i = 0; i < m->n_values; i++) {
        made *v = &m->values[(first + i) % m->n_values];
        if (v->h == like->h && v->w == like->w && (v->c == like->c || !same_columns)) {
            return v;
        }
    }
    return NULL;
}

/* ---- Parts ---------------------------------------------------------------------------------------------------- */

static const char *name_of(maker *m, const char *what, uint32_t n)
{
    (void)snprintf(m->name, sizeof(m->name), "%s %u", what, n);
    return m->name;
}

/* A new parameter, or one of the same shape that another node has: `live` is set where it trains. */
static q_param weight(maker *m, uint32_t rows, uint32_t columns, bool *live)
{
    rig_param p = {rows, columns, -0.7, 0.7, draw(&m->state, 6) == 0};
    uint32_t first = m->n_params != 0 ? draw(&m->state, m->n_params) : 0;
    bool shared = draw(&m->state, 3) == 0;
    for (uint32_t i = 0; i < m->n_params && shared; i++) {
        const made_param *old = &m->params[(first + i) % m->n_params];
        if (old->rows == rows && old->columns == columns) {
            *live = *live || old->live;
            return old->param;
        }
    }
    m->params[m->n_params] = (made_param){rig_slot(m->g, name_of(m, "p", m->n_params), &p), rows, columns, !p.frozen};
    *live = *live || !p.frozen;
    return m->params[m->n_params++].param;
}

/* The node, its first output with the sizes of `like` and c columns. */
static void add_node(maker *m, q_node_desc *d, made like, uint32_t c, bool live)
{
    made *out = &m->values[m->n_values++];
    if (draw(&m->state, 3) == 0) {
        q_graph_block(m->g, draw(&m->state, 5) == 0 ? 0 : m->n_nodes + 1);
    }
    d->name = name_of(m, d->cls->name, m->n_nodes++);
    *out = like;
    out->c = c;
    out->live = live;
    out->value = q_graph_node(m->g, d);
}

static void add_linear(maker *m, const made *in, uint32_t columns)
{
    static const uint32_t acts[] = {Q_ACT_NONE, Q_ACT_NONE, Q_ACT_RELU, Q_ACT_SIGMOID, Q_ACT_TANH};
    const q_linear_config config = {acts[draw(&m->state, 5)], 0};
    q_node_desc d = {.cls = &q_layer_linear, .config = &config, .n_in = 1, .n_param = 1 + draw(&m->state, 2)};
    bool live = in->live;
    d.in[0] = in->value;
    d.param[0] = weight(m, columns, in->c, &live);
    if (d.n_param == 2) {
        d.param[1] = weight(m, 1, columns, &live);
    }
    add_node(m, &d, *in, columns, live);
}

static void add_pair(maker *m, const made *in)
{
    static const q_layer_class *const classes[] = {&q_layer_add, &q_layer_mul, &q_layer_silu_mul, &q_layer_concat};
    q_node_desc d = {.cls = classes[draw(&m->state, 4)], .n_in = 2};
    bool concat = d.cls == &q_layer_concat;
    const made *other = any_like(m, in, !concat);
    d.in[0] = in->value;
    d.in[1] = other->value;
    add_node(m, &d, *in, concat ? in->c + other->c : in->c, in->live || other->live);
}

static void add_elementwise(maker *m, const made *in)
{
    const q_activation_config act = {draw(&m->state, Q_ACT_COUNT), 0};
    const q_softmax_config soft = {1.5f, 0};
    const q_scale_config scale = {-0.8f, 0};
    const q_dropout_config drop = {0.3f, 0};
    const struct {
        const q_layer_class *cls;
        const void *config;
    } kinds[] = {{&q_layer_activation, &act}, {&q_layer_activation, &act}, {&q_layer_softmax, &soft},
                 {&q_layer_scale, &scale},    {&q_layer_dropout, &drop},   {&q_layer_drop_path, &drop}};
    uint32_t k = draw(&m->state, 6);
    q_node_desc d = {.cls = kinds[k].cls, .config = kinds[k].config, .n_in = 1};
    d.in[0] = in->value;
    add_node(m, &d, *in, in->c, in->live);
}

static void add_norm(maker *m, const made *in)
{
    static const q_rmsnorm_config rms = {0.1f, 0, 0, 0};
    static const q_layernorm_config layer = {0.1f, 0};
    static const uint32_t acts[] = {Q_ACT_NONE, Q_ACT_RELU, Q_ACT_SIGMOID, Q_ACT_TANH};
    const q_batchnorm_config batch = {0.1f, 0.1f, acts[draw(&m->state, 4)], 0};
    uint32_t kind = draw(&m->state, m->batchnorm ? 3 : 2);
    q_node_desc d = {.cls = kind == 0 ? &q_layer_rmsnorm : kind == 1 ? &q_layer_layernorm : &q_layer_batchnorm,
                     .config = kind == 0 ? (const void *)&rms : kind == 1 ? (const void *)&layer : (const void *)&batch,
                     .n_in = 1, .n_param = kind == 0 ? 1 : kind == 1 ? 1 + draw(&m->state, 2) : 4};
    bool live = in->live;
    d.in[0] = in->value;
    for (uint32_t i = 0; i < d.n_param && i < 2; i++) {
        d.param[i] = weight(m, 1, in->c, &live);
    }
    for (uint32_t i = 2; i < d.n_param; i++) {
        const rig_param statistics = {1, in->c, 0.5, 1.5, true};
        d.param[i] = rig_slot(m->g, name_of(m, "statistics", 10 * m->n_nodes + i), &statistics);
    }
    add_node(m, &d, *in, in->c, live);
}

/* ---- Images --------------------------------------------------------------------------------------------------- */

static void add_conv(maker *m, const made *in)
{
    uint32_t groups = in->c % 2 == 0 && draw(&m->state, 3) == 0 ? 2 : 1;
    uint32_t out = groups * (1 + draw(&m->state, 3));
    q_conv2d_config c = {1 + draw(&m->state, 3), 1 + draw(&m->state, 3), 1 + draw(&m->state, 2), 1 + draw(&m->state, 2), 0, 0, 1, 1, groups, 0};
    q_node_desc d = {.cls = &q_layer_conv2d, .config = &c, .n_in = 1, .n_param = 1 + draw(&m->state, 2)};
    made like = *in;
    bool live = in->live;
    c.pad_h = draw(&m->state, 2) + (c.kernel_h > in->h ? c.kernel_h : 0);
    c.pad_w = draw(&m->state, 2) + (c.kernel_w > in->w ? c.kernel_w : 0);
    c.dilation_h = in->h + 2 * c.pad_h > 2 * (c.kernel_h - 1) ? 1 + draw(&m->state, 2) : 1;
    like.h = (in->h + 2 * c.pad_h - c.dilation_h * (c.kernel_h - 1) - 1) / c.stride_h + 1;
    like.w = (in->w + 2 * c.pad_w - (c.kernel_w - 1) - 1) / c.stride_w + 1;
    d.in[0] = in->value;
    d.param[0] = weight(m, out, c.kernel_h * c.kernel_w * in->c / groups, &live);
    if (d.n_param == 2) {
        d.param[1] = weight(m, 1, out, &live);
    }
    add_node(m, &d, like, out, live);
}

static void add_pool(maker *m, const made *in)
{
    bool whole = draw(&m->state, 4) == 0;
    q_pool2d_config c = {draw(&m->state, 2) == 0 ? Q_POOL_MAX : Q_POOL_AVERAGE, 0, 0, 0, 0, 0, 0, 0};
    q_node_desc d = {.cls = &q_layer_pool2d, .config = &c, .n_in = 1};
    made like = *in;
    like.h = like.w = 1;
    if (!whole) {
        c.kernel_h = 1 + draw(&m->state, in->h < 3 ? in->h : 3);
        c.kernel_w = 1 + draw(&m->state, in->w < 3 ? in->w : 3);
        c.stride_h = 1 + draw(&m->state, 2);
        c.stride_w = 1 + draw(&m->state, 2);
        c.pad_h = draw(&m->state, c.kernel_h / 2 + 1);
        c.pad_w = draw(&m->state, c.kernel_w / 2 + 1);
        c.include_pad = c.kind == Q_POOL_AVERAGE ? draw(&m->state, 2) : 0;
        like.h = (in->h + 2 * c.pad_h - c.kernel_h) / c.stride_h + 1;
        like.w = (in->w + 2 * c.pad_w - c.kernel_w) / c.stride_w + 1;
    }
    d.in[0] = in->value;
    add_node(m, &d, like, in->c, in->live);
}

static void add_flatten(maker *m, const made *in)
{
    const q_reshape_config c = {{1, 1, 1, 0}, 0, 0};
    q_node_desc d = {.cls = &q_layer_reshape, .config = &c, .n_in = 1};
    made like = *in;
    like.h = like.w = 1;
    d.in[0] = in->value;
    add_node(m, &d, like, in->h * in->w * in->c, in->live);
}

/* ---- Sequences ------------------------------------------------------------------------------------------------ */

static void add_recurrent(maker *m, const made *in)
{
    static const q_rnn_config tanh_config = {Q_ACT_TANH, 0};
    static const struct {
        const q_layer_class *cls;
        const void *config;
        uint32_t blocks;
    } kinds[] = {{&q_layer_rnn, &tanh_config, 1}, {&q_layer_lstm, NULL, 4}, {&q_layer_gru, NULL, 3}};
    uint32_t k = draw(&m->state, 3);
    uint32_t dim = 1 + draw(&m->state, 4);
    q_node_desc d = {.cls = kinds[k].cls, .config = kinds[k].config, .n_in = 1, .n_param = draw(&m->state, 2) == 0 ? 2 : 4};
    bool live = in->live;
    d.in[0] = in->value;
    for (uint32_t i = 0; i < d.n_param; i++) {
        d.param[i] = weight(m, i < 2 ? kinds[k].blocks * dim : 1, i == 0 ? in->c : i == 1 ? dim : kinds[k].blocks * dim, &live);
    }
    add_node(m, &d, *in, dim, live);
}

static void add_attention(maker *m, const made *in)
{
    uint32_t kv_heads = 1;
    uint32_t heads = 1 + draw(&m->state, 2);
    bool full = draw(&m->state, 2) == 0;
    const q_attention_config c = {heads, kv_heads, 8, full ? 0 : draw(&m->state, 2) * 2, 0.4f, draw(&m->state, 2) == 0 ? 0 : 3.0f};
    q_node_desc d = {.cls = full ? &q_layer_attention_full : &q_layer_attention, .config = &c, .n_in = 3};
    const made from = *in;
    bool live = false;
    for (uint32_t i = 0; i < 3; i++) {
        add_linear(m, &from, 8 * (i == 0 ? heads : kv_heads));
        d.in[i] = m->values[m->n_values - 1].value;
        live = live || m->values[m->n_values - 1].live;
    }
    add_node(m, &d, from, 8 * heads, live);
}

/* ---- Graphs --------------------------------------------------------------------------------------------------- */

static bool is_sequence(const maker *m, const made *v)
{
    return m->family == FAMILY_TOKENS || (m->family == FAMILY_SEQUENCES && v->w > 1);
}

static void add_any(maker *m)
{
    const made in = draw(&m->state, 2) == 0 ? m->values[m->n_values - 1] : *any_value(m);
    bool image = m->family == FAMILY_IMAGES && in.h * in.w > 1;
    uint32_t kind = draw(&m->state, 10);
    if (kind < 3 && image) {
        (kind == 0 ? add_pool : add_conv)(m, &in);
    } else if (kind < 2 && is_sequence(m, &in)) {
        (kind == 0 && m->n_values + 4 <= MAKER_VALUES ? add_attention : add_recurrent)(m, &in);
    } else if (kind < 3 && in.h * in.w * in.c <= 24 && m->family != FAMILY_TOKENS) {
        add_flatten(m, &in);
    } else if (kind < 5) {
        add_linear(m, &in, 1 + draw(&m->state, 7));
    } else if (kind < 7 && in.c <= 12) {
        add_pair(m, &in);
    } else if (kind < 8) {
        add_norm(m, &in);
    } else {
        add_elementwise(m, &in);
    }
}

static q_value_type type_of(const maker *m, const made *v)
{
    return m->family == FAMILY_TOKENS ? rig_tokens(v->c) : rig_image(v->h, v->w, v->c);
}

/* One or two inputs; of two, the first may have no gradient. */
static void add_inputs(maker *m)
{
    uint32_t n = 1 + draw(&m->state, 2);
    bool constant = n == 2 && draw(&m->state, 3) == 0;
    uint32_t h = m->family == FAMILY_IMAGES ? 1 + draw(&m->state, 5) : 1;
    uint32_t w = m->family == FAMILY_IMAGES || m->family == FAMILY_SEQUENCES ? 2 + draw(&m->state, 4) : 1;
    uint32_t c = 1 + draw(&m->state, 6);
    for (uint32_t i = 0; i < n; i++) {
        made *v = &m->values[m->n_values++];
        rig_input in;
        *v = (made){0, h, w, c, !(constant && i == 0)};
        memset(&in, 0, sizeof(in));
        in.type = type_of(m, v);
        in.constant = !v->live;
        v->value = rig_source(m->g, name_of(m, "x", i), &in);
    }
}

static void build_random(q_graph *g, const void *user)
{
    const random_case *c = (const random_case *)user;
    maker m;
    q_value ends[4];
    uint32_t n_ends = 0;
    uint32_t nodes;
    bool live = false;
    memset(&m, 0, sizeof(m));
    m.g = g;
    m.state = c->seed;
    m.family = c->family;
    m.batchnorm = c->batchnorm;
    add_inputs(&m);
    nodes = 2 + draw(&m.state, MAKER_NODES - 1);
    while (m.n_nodes < nodes) {
        add_any(&m);
    }
    for (uint32_t i = m.n_values; i-- > 0 && n_ends < 4;) {
        if (i + 1 == m.n_values || draw(&m.state, 4) == 0 || (i == 0 && !live)) {
            const made *v = live || i != 0 ? &m.values[i] : &m.values[m.values[0].live ? 0 : 1];
            ends[n_ends++] = v->value;
            live = live || v->live;
        }
    }
    if (!live) {
        ends[0] = m.values[m.values[0].live ? 0 : 1].value;
    }
    rig_probe(g, ends, n_ends);
}

void cases_random(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t state = i * 1000003u;
        random_case c = {i * 1000003u + 17, (family)(i % N_FAMILIES), i % 3 == 0};
        char name[32];
        rig_graph graph = {.name = name, .build = build_random, .user = &c, .flags = RIG_FLAT | RIG_STEEP | (c.batchnorm ? RIG_NO_SPLIT : 0)};
        (void)snprintf(name, sizeof(name), "random graph %u", i);
        if (c.family == FAMILY_TOKENS) {
            graph.step.n_spans = 1 + draw(&state, 3);
            for (uint32_t k = 0; k < graph.step.n_spans; k++) {
                graph.step.span_rows[k] = 1 + draw(&state, 4);
            }
        } else {
            graph.step.n_batch = 2 + draw(&state, 3);
        }
        rig_check_graph(&graph);
    }
}
