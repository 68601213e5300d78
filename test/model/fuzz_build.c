/* SPDX-License-Identifier: MIT */
/* A graph from a byte string: which nodes, with which configs. */
#include "fuzz_sketch.h"

#include <string.h>

static uint32_t product(sketch *k, uint32_t x, uint32_t out_columns)
{
    static const uint32_t dtypes[] = {Q_F32, Q_F32, Q_Q8_0, Q_Q4_0, Q_Q4_1, Q_F16, Q_BF16};
    uint32_t kind = k->r->trains && !fuzz_rarely(&k->s, 8) ? 0 : fuzz_pick(&k->s, 7);
    uint32_t cols = k->types[x].dim[3].n;
    uint32_t dtype = kind > 1 && kind < 5 && cols % 32 != 0 ? (uint32_t)Q_F32 : dtypes[kind];
    q_value_type t = k->types[x];
    q_linear_config c = {fuzz_rarely(&k->s, 4) && !k->r->trains ? fuzz_pick(&k->s, Q_ACT_COUNT + 1) : 0, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_linear;
    d.config = &c;
    d.n_in = 1;
    d.in[0] = x;
    d.param[0] = sketch_param(k, dtype, kind == 0 ? Q_PLAIN : Q_PANEL16, out_columns, cols);
    d.n_param = 1;
    if (fuzz_rarely(&k->s, 4)) {
        d.param[1] = sketch_param(k, Q_F32, Q_PLAIN, 1, out_columns);
        d.n_param = 2;
    }
    t.dim[3].n = out_columns;
    sketch_node(k, &d, &t);
    return k->n_values - 1;
}

static void elementwise(sketch *k, const q_layer_class *cls, uint32_t a, uint32_t b)
{
    q_softmax_config c = {0.5f, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.config = cls == &q_layer_softmax ? &c : NULL;
    d.n_in = cls->max_in;
    d.in[0] = a;
    d.in[1] = b;
    sketch_node(k, &d, &k->types[a]);
}

/* A layer over x that leaves its shape, with so many vectors as long as `width`. */
static void over(sketch *k, const q_layer_class *cls, const void *config, uint32_t x, uint32_t vectors, uint32_t width)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.config = config;
    d.n_in = 1;
    d.in[0] = x;
    d.n_param = vectors;
    for (uint32_t i = 0; i < vectors; i++) {
        d.param[i] = sketch_param(k, Q_F32, Q_PLAIN, 1, width);
    }
    sketch_node(k, &d, &k->types[x]);
}

static void norm(sketch *k, uint32_t x)
{
    uint32_t cols = k->types[x].dim[3].n;
    q_rmsnorm_config c = {1e-5f, 0, 0, 0};
    c.group = fuzz_rarely(&k->s, 3) && cols % 8 == 0 ? 8 : 0;
    c.eps = fuzz_rarely(&k->s, 40) ? 0 : c.eps;
    over(k, &q_layer_rmsnorm, &c, x, 1, c.group != 0 ? c.group : cols);
}

static void layernorm(sketch *k, uint32_t x)
{
    static const q_layernorm_config c = {1e-5f, 0};
    over(k, &q_layer_layernorm, &c, x, 1 + fuzz_pick(&k->s, 2), k->types[x].dim[3].n);
}

/* One of those that work on any reals and have a config. */
static void configured(sketch *k, uint32_t x)
{
    const q_activation_config activation = {fuzz_pick(&k->s, Q_ACT_COUNT), 0};
    const q_dropout_config dropout = {0.5f, 0};
    const q_scale_config scale = {-1.5f, 0};
    const struct {
        const q_layer_class *cls;
        const void *config;
    } all[] = {{&q_layer_activation, &activation}, {&q_layer_dropout, &dropout}, {&q_layer_drop_path, &dropout}, {&q_layer_scale, &scale}};
    uint32_t which = fuzz_pick(&k->s, 4);
    over(k, all[which].cls, all[which].config, x, 0, 0);
}

/* Of a product, which may make it in its epilogue, or of its result. */
static void batchnorm(sketch *k, uint32_t x)
{
    const q_batchnorm_config c = {1e-5f, 0.1f, fuzz_pick(&k->s, 3) == 0 ? Q_ACT_RELU : Q_ACT_NONE, 0};
    over(k, &q_layer_batchnorm, &c, x, 4, k->types[x].dim[3].n);
}

static void embed(sketch *k)
{
    static const uint32_t dtypes[] = {Q_F32, Q_Q8_0, Q_Q4_1, Q_F16, Q_F32};
    uint32_t kind = fuzz_pick(&k->s, 5);
    q_embedding_config c = {1, 0};
    q_value_type t;
    q_node_desc d;
    if (k->ids == Q_NONE) {
        return;
    }
    t = k->types[k->ids];
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_embedding;
    d.config = &c;
    d.n_in = 1;
    d.in[0] = k->ids;
    d.n_param = 1;
    d.param[0] = sketch_param(k, dtypes[kind], kind == 4 ? Q_PLAIN : fuzz_pick(&k->s, 2), 8, 32);
    t.dtype = Q_REAL;
    memmove(&t.dim[0], &t.dim[1], 3 * sizeof(t.dim[0]));
    t.dim[3].n = 32;
    t.dim[3].sym = Q_SYM_ONE;
    sketch_node(k, &d, &t);
}

static void rotate(sketch *k, uint32_t x)
{
    uint32_t cols = k->types[x].dim[3].n;
    q_rope_table_config c;
    q_rope_config r = {cols / 8, 8};
    q_value_type t = sketch_type(Q_REAL, 1, 1, Q_SYM_TOKENS, 8, Q_SYM_ONE);
    q_node_desc d;
    if (k->ids == Q_NONE) {
        return;
    }
    memset(&c, 0, sizeof(c));
    memset(&d, 0, sizeof(d));
    c.n_pairs = 1 + fuzz_pick(&k->s, 5);
    c.base = 10000;
    c.magnitude = 1;
    c.scaling = fuzz_pick(&k->s, 3);
    c.factor = fuzz_rarely(&k->s, 20) ? 1e-300 : 4;
    c.low = 1;
    c.high = 4;
    c.original_context = 64;
    d.cls = &q_layer_rope_table;
    d.config = &c;
    d.n_in = 1;
    d.in[0] = k->ids;
    t.dim[3].n = 2 * c.n_pairs;
    sketch_node(k, &d, &t);
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_rope;
    d.config = &r;
    d.n_in = 2;
    d.in[0] = x;
    d.in[1] = k->n_values - 1;
    sketch_node(k, &d, &k->types[x]);
}

static void attend(sketch *k, uint32_t x)
{
    uint32_t kv_heads = 1 + fuzz_pick(&k->s, 2);
    uint32_t heads = kv_heads * (1 + fuzz_pick(&k->s, 2));
    uint32_t dim = 8 * (1 + fuzz_pick(&k->s, 2));
    q_attention_config c = {heads, kv_heads, dim, fuzz_rarely(&k->s, 3) ? 1 + fuzz_pick(&k->s, 8) : 0, 0.25f, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    c.heads = fuzz_rarely(&k->s, 40) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : c.heads;
    c.head_dim = fuzz_rarely(&k->s, 40) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : c.head_dim;
    d.cls = &q_layer_attention;
    d.config = &c;
    d.n_in = 3;
    d.in[0] = product(k, x, heads * dim);
    d.in[1] = product(k, x, kv_heads * dim);
    d.in[2] = fuzz_rarely(&k->s, 4) ? d.in[1] : product(k, x, kv_heads * dim);
    sketch_node(k, &d, d.in[0] < MAX_VALUES ? &k->types[d.in[0]] : &k->types[0]);
}

static void select_rows(sketch *k, uint32_t x)
{
    q_value_type t = k->types[x];
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_select_rows;
    d.n_in = 1;
    d.in[0] = x;
    t.dim[2].sym = Q_SYM_SELECTED;
    sketch_node(k, &d, &t);
}

static void loss(sketch *k)
{
    uint32_t x = sketch_real_value(k);
    q_value_type t = sketch_type(Q_REAL, 1, 1, Q_SYM_ONE, 1, Q_SYM_ONE);
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_mse;
    d.n_in = 2;
    d.in[0] = x;
    d.in[1] = sketch_like(k, x);
    if (k->r->trains && memcmp(k->types[0].dim, k->types[x].dim, 3 * sizeof(q_count)) == 0 && !fuzz_rarely(&k->s, 8)) {
        d.in[0] = product(k, x, k->types[0].dim[3].n); /* towards the first input */
        d.in[1] = 0;
    }
    sketch_node(k, &d, &t);
}

/* And what others make of either. */
static void sum_and_norm(sketch *k, uint32_t x)
{
    elementwise(k, &q_layer_add, x, sketch_like(k, x));
    x = k->n_values - 1;
    if (fuzz_pick(&k->s, 2) != 0) {
        layernorm(k, x);
    } else {
        norm(k, x);
    }
}

static void add_something(sketch *k)
{
    static const q_layer_class *const two[] = {&q_layer_add, &q_layer_mul, &q_layer_silu_mul};
    uint32_t x = sketch_real_value(k);
    switch (k->r->trains ? fuzz_pick(&k->s, 4) : fuzz_pick(&k->s, 18)) {
    case 0:
    case 1:
        (void)product(k, x, sketch_columns[fuzz_pick(&k->s, 8)]);
        break;
    case 2: /* a product and what it is added to */
        elementwise(k, &q_layer_add, product(k, x, k->types[x].dim[3].n), x);
        break;
    case 3:
        if (k->r->trains) {
            loss(k);
        } else {
            uint32_t y = product(k, x, k->types[x].dim[3].n);
            elementwise(k, &q_layer_add, sketch_like(k, y), y);
        }
        break;
    case 4:
    case 5:
        elementwise(k, two[fuzz_pick(&k->s, 3)], x, sketch_like(k, x));
        break;
    case 6:
        elementwise(k, fuzz_pick(&k->s, 2) ? &q_layer_silu : &q_layer_softmax, x, 0);
        break;
    case 7:
        norm(k, x);
        break;
    case 8:
        embed(k);
        break;
    case 9:
        rotate(k, x);
        break;
    case 10:
        attend(k, x);
        break;
    case 11:
        select_rows(k, x);
        break;
    case 12:
        loss(k);
        break;
    case 13:
        for (uint32_t n = 1 + fuzz_pick(&k->s, 2); n != 0; n--) {
            batchnorm(k, n == 2 ? product(k, x, k->types[x].dim[3].n) : k->n_values - 1);
        }
        break;
    case 14:
        configured(k, x);
        break;
    case 15:
    case 16:
        sum_and_norm(k, x);
        break;
    default:
        elementwise(k, &q_layer_add, x, x);
        break;
    }
}

void fuzz_build(q_graph *g, const void *user)
{
    recipe *r = (recipe *)(uintptr_t)user;
    sketch k;
    uint32_t n;
    memset(&k, 0, sizeof(k));
    k.g = g;
    k.r = r;
    k.s = r->bytes;
    k.ids = Q_NONE;
    n = 1 + fuzz_pick(&k.s, 3);
    for (uint32_t i = 0; i < n; i++) {
        sketch_input(&k);
    }
    n = fuzz_pick(&k.s, MAX_NODES);
    if (fuzz_pick(&k.s, 3) == 0 && !r->trains) {
        embed(&k);
    }
    for (uint32_t i = 0; i < n && k.n_values != 0 && k.n_values + 6 < MAX_VALUES; i++) {
        add_something(&k);
    }
    if (r->trains && k.n_values != 0 && !fuzz_rarely(&k.s, 6)) {
        loss(&k);
    }
    n = 1 + fuzz_pick(&k.s, 3);
    for (uint32_t i = 0; i < n && k.n_values != 0; i++) {
        q_graph_output(g, "out", i == 0 && !fuzz_rarely(&k.s, 6) ? k.n_values - 1 : fuzz_pick(&k.s, k.n_values));
    }
}
