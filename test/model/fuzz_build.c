/* SPDX-License-Identifier: MIT */
/* A graph from a byte string: mostly one that fits together, now and then one that does not. */
#define _POSIX_C_SOURCE 200809L
#include "fuzz.h"

#include "qorus/base/panel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t fuzz_pick(source *s, uint32_t n)
{
    uint32_t byte = s->at < s->size ? s->data[s->at] : 0;
    s->at++;
    return n == 0 ? byte : byte % n;
}

/* True once in n. */
bool fuzz_rarely(source *s, uint32_t n)
{
    return fuzz_pick(s, n) == n - 1;
}

uint32_t fuzz_seed;

void fuzz_broken(const char *what, const q_diag *d)
{
    (void)printf("FAIL seed %u: %s (%d, %s: %s)\n", fuzz_seed, what, (int)d->code, d->what, d->field);
    (void)fflush(stdout);
    abort();
}

/* Memory of exactly so many bytes, filled with a pattern. */
void *fuzz_take(size_t size, int fill)
{
    void *p = NULL;
    if (posix_memalign(&p, 128, size != 0 ? size : 1) != 0) {
        exit(3);
    }
    memset(p, fill, size);
    return p;
}

/* The builder's own idea of the values so far, so that most nodes fit. */
typedef struct sketch {
    q_graph *g;
    source s;
    recipe *r;
    q_value_type types[MAX_VALUES];
    uint32_t n_values;
    uint32_t n_names;
    uint32_t views;
    uint32_t ids; /* first value of ids, or Q_NONE */
    char name[16];
} sketch;

static const uint32_t columns[] = {32, 64, 8, 16, 32, 24, 1, 3};
const uint32_t fuzz_extremes[8] = {0, 1, 2, 31, 65536, 1u << 20, 0x7fffffffu, UINT32_MAX};

static const char *next_name(sketch *k, char kind)
{
    (void)snprintf(k->name, sizeof(k->name), "%c%u", kind, k->n_names++);
    return k->name;
}

static q_value_type type_of(uint32_t dtype, uint32_t d1, uint32_t d2, uint32_t sym2, uint32_t d3, uint32_t sym3)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = dtype;
    t.dim[0].n = 1;
    t.dim[1].n = d1;
    t.dim[2].n = d2;
    t.dim[2].sym = sym2;
    t.dim[3].n = d3;
    t.dim[3].sym = sym3;
    return t;
}

static q_value_type input_type(sketch *k, uint32_t kind)
{
    uint32_t c = columns[fuzz_pick(&k->s, 8)];
    switch (kind) {
    case 0:
        return type_of(Q_I32, 1, 1, Q_SYM_ONE, 1, Q_SYM_TOKENS);
    case 1:
    case 2:
        return type_of(Q_REAL, 1, 1, Q_SYM_TOKENS, c, Q_SYM_ONE);
    case 3:
        return type_of(Q_REAL, 1, 1, Q_SYM_BATCH, c, Q_SYM_ONE);
    case 4:
        return type_of(Q_REAL, 1 + fuzz_pick(&k->s, 3), 1, Q_SYM_TOKENS, c, Q_SYM_ONE);
    case 5:
        return type_of(Q_REAL, 1, 1 + fuzz_pick(&k->s, 3), fuzz_pick(&k->s, Q_SYM_COUNT), c, Q_SYM_ONE);
    case 6:
        return type_of(Q_I32, 1, 1 + fuzz_pick(&k->s, 3), Q_SYM_ONE, 1 + fuzz_pick(&k->s, 2), fuzz_pick(&k->s, Q_SYM_COUNT));
    default:
        break;
    }
    {
        q_value_type t;
        memset(&t, 0, sizeof(t));
        t.dtype = fuzz_pick(&k->s, 2) == 0 ? (uint32_t)Q_REAL : fuzz_pick(&k->s, Q_DTYPE_COUNT);
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            t.dim[d].n = fuzz_rarely(&k->s, 4) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : 1 + fuzz_pick(&k->s, 3);
            t.dim[d].sym = fuzz_rarely(&k->s, 4) ? fuzz_pick(&k->s, Q_SYM_COUNT + 1) : 0;
        }
        return t;
    }
}

static void keep(sketch *k, q_value v, const q_value_type *t)
{
    if (v != Q_NONE && k->n_values < MAX_VALUES) {
        k->types[k->n_values++] = *t;
    }
}

static void add_input(sketch *k)
{
    static const uint32_t limits[] = {8, 8, 8, 5, 0, 9, 1u << 30, UINT32_MAX};
    uint32_t kind = fuzz_rarely(&k->s, 12) ? 7 : k->n_values == 0 ? fuzz_pick(&k->s, 3) + (k->r->trains ? 1u : 0u) : fuzz_pick(&k->s, 7);
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.type = input_type(k, kind);
    d.limit = limits[fuzz_pick(&k->s, 8)];
    d.name = next_name(k, 'i');
    if (d.type.dtype == Q_I32 && k->ids == Q_NONE) {
        k->ids = k->n_values;
    }
    keep(k, q_graph_input(k->g, &d), &d.type);
}

/* A view's memory: made once, found again whenever the builder runs. */
static void *view_memory(sketch *k, const q_param_type *t)
{
    uint64_t bytes;
    uint32_t i = k->views++;
    if (i >= MAX_VIEWS || !q_matrix_bytes(t->dtype, t->layout, (uint64_t)t->ne[0] * t->ne[1] * t->ne[2], t->ne[3], &bytes) ||
        bytes > MAX_BYTES || bytes == 0) {
        return NULL;
    }
    if (i >= k->r->n_views) {
        k->r->views[i] = fuzz_take((size_t)bytes, 0x3a);
        k->r->n_views = i + 1;
    }
    return k->r->views[i];
}

static q_param add_param(sketch *k, uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t cols)
{
    q_param_desc d;
    q_tensor view;
    memset(&d, 0, sizeof(d));
    memset(&view, 0, sizeof(view));
    d.name = next_name(k, 'p');
    d.type.dtype = fuzz_rarely(&k->s, 60) ? fuzz_pick(&k->s, Q_DTYPE_COUNT + 1) : dtype;
    d.type.layout = fuzz_rarely(&k->s, 60) ? fuzz_pick(&k->s, 3) : layout;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = fuzz_rarely(&k->s, 60) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : rows;
    d.type.ne[3] = fuzz_rarely(&k->s, 60) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : cols;
    if (fuzz_rarely(&k->s, 80)) {
        d.type.ne[1] = 2;
    }
    d.trainable = k->r->trains && !fuzz_rarely(&k->s, 5);
    if (fuzz_rarely(&k->s, 4)) {
        uint64_t row = 0;
        view.data = view_memory(k, &d.type);
        view.dtype = (uint8_t)d.type.dtype;
        view.layout = (uint8_t)d.type.layout;
        memcpy(view.ne, d.type.ne, sizeof(view.ne));
        if (d.type.layout == Q_PANEL16) {
            row = q_panel_bytes(d.type.dtype, d.type.ne[3]);
        } else {
            (void)q_plain_row_bytes(d.type.dtype, d.type.ne[3], &row);
        }
        view.nb[2] = (size_t)row;
        view.ne[2] += fuzz_rarely(&k->s, 40) ? 1u : 0u;
        d.view = &view;
        d.trainable = false;
    }
    return q_graph_param(k->g, &d);
}

/* ---- Nodes -------------------------------------------------------------------------------------------------- */

/* The newest value, or one of the others. */
static uint32_t some_value(sketch *k)
{
    uint32_t back = fuzz_pick(&k->s, 3) != 0 ? 0 : fuzz_pick(&k->s, k->n_values);
    return k->n_values - 1 - back;
}

static uint32_t real_value(sketch *k)
{
    uint32_t v = some_value(k);
    for (uint32_t i = 0; i < k->n_values && k->types[v].dtype != Q_REAL; i++) {
        v = (v + 1) % k->n_values;
    }
    return v;
}

/* A value like v, other than it if there is one. */
static uint32_t like(sketch *k, uint32_t v)
{
    uint32_t start = fuzz_pick(&k->s, k->n_values);
    if (fuzz_rarely(&k->s, 16)) {
        return fuzz_rarely(&k->s, 2) ? v : start;
    }
    for (uint32_t i = 0; i < k->n_values; i++) {
        uint32_t o = (start + i) % k->n_values;
        if (o != v && memcmp(&k->types[o], &k->types[v], sizeof(q_value_type)) == 0) {
            return o;
        }
    }
    return v;
}

static void add_node(sketch *k, q_node_desc *d, const q_value_type *out)
{
    d->name = next_name(k, 'n');
    if (fuzz_rarely(&k->s, 60)) {
        d->in[fuzz_pick(&k->s, 2)] = fuzz_pick(&k->s, 40);
    }
    keep(k, q_graph_node(k->g, d), out);
}

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
    d.param[0] = add_param(k, dtype, kind == 0 ? Q_PLAIN : Q_PANEL16, out_columns, cols);
    d.n_param = 1;
    if (fuzz_rarely(&k->s, 4)) {
        d.param[1] = add_param(k, Q_F32, Q_PLAIN, 1, out_columns);
        d.n_param = 2;
    }
    t.dim[3].n = out_columns;
    add_node(k, &d, &t);
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
    add_node(k, &d, &k->types[a]);
}

static void norm(sketch *k, uint32_t x)
{
    uint32_t cols = k->types[x].dim[3].n;
    q_rmsnorm_config c = {1e-5f, 0, 0, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    c.group = fuzz_rarely(&k->s, 3) && cols % 8 == 0 ? 8 : 0;
    c.eps = fuzz_rarely(&k->s, 40) ? 0 : c.eps;
    d.cls = &q_layer_rmsnorm;
    d.config = &c;
    d.n_in = 1;
    d.in[0] = x;
    d.n_param = 1;
    d.param[0] = add_param(k, Q_F32, Q_PLAIN, 1, c.group != 0 ? c.group : cols);
    add_node(k, &d, &k->types[x]);
}

/* Of a product, which may make it in its epilogue, or of its result. */
static void batchnorm(sketch *k, uint32_t x)
{
    uint32_t cols = k->types[x].dim[3].n;
    const q_batchnorm_config c = {1e-5f, 0.1f, fuzz_pick(&k->s, 3) == 0 ? Q_ACT_RELU : Q_ACT_NONE, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_batchnorm;
    d.config = &c;
    d.n_in = 1;
    d.in[0] = x;
    d.n_param = 4;
    for (uint32_t i = 0; i < 4; i++) {
        d.param[i] = add_param(k, Q_F32, Q_PLAIN, 1, cols);
    }
    add_node(k, &d, &k->types[x]);
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
    d.param[0] = add_param(k, dtypes[kind], kind == 4 ? Q_PLAIN : fuzz_pick(&k->s, 2), 8, 32);
    t.dtype = Q_REAL;
    memmove(&t.dim[0], &t.dim[1], 3 * sizeof(t.dim[0]));
    t.dim[3].n = 32;
    t.dim[3].sym = Q_SYM_ONE;
    add_node(k, &d, &t);
}

static void rotate(sketch *k, uint32_t x)
{
    uint32_t cols = k->types[x].dim[3].n;
    q_rope_table_config c;
    q_rope_config r = {cols / 8, 8};
    q_value_type t = type_of(Q_REAL, 1, 1, Q_SYM_TOKENS, 8, Q_SYM_ONE);
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
    add_node(k, &d, &t);
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_rope;
    d.config = &r;
    d.n_in = 2;
    d.in[0] = x;
    d.in[1] = k->n_values - 1;
    add_node(k, &d, &k->types[x]);
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
    add_node(k, &d, d.in[0] < MAX_VALUES ? &k->types[d.in[0]] : &k->types[0]);
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
    add_node(k, &d, &t);
}

static void loss(sketch *k)
{
    uint32_t x = real_value(k);
    q_value_type t = type_of(Q_REAL, 1, 1, Q_SYM_ONE, 1, Q_SYM_ONE);
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_mse;
    d.n_in = 2;
    d.in[0] = x;
    d.in[1] = like(k, x);
    if (k->r->trains && memcmp(k->types[0].dim, k->types[x].dim, 3 * sizeof(q_count)) == 0 && !fuzz_rarely(&k->s, 8)) {
        d.in[0] = product(k, x, k->types[0].dim[3].n); /* towards the first input */
        d.in[1] = 0;
    }
    add_node(k, &d, &t);
}

static void add_something(sketch *k)
{
    static const q_layer_class *const two[] = {&q_layer_add, &q_layer_mul, &q_layer_silu_mul};
    uint32_t x = real_value(k);
    switch (k->r->trains ? fuzz_pick(&k->s, 4) : fuzz_pick(&k->s, 15)) {
    case 0:
    case 1:
        (void)product(k, x, columns[fuzz_pick(&k->s, 8)]);
        break;
    case 2: /* a product and what it is added to */
        elementwise(k, &q_layer_add, product(k, x, k->types[x].dim[3].n), x);
        break;
    case 3:
        if (k->r->trains) {
            loss(k);
        } else {
            uint32_t y = product(k, x, k->types[x].dim[3].n);
            elementwise(k, &q_layer_add, like(k, y), y);
        }
        break;
    case 4:
    case 5:
        elementwise(k, two[fuzz_pick(&k->s, 3)], x, like(k, x));
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
        add_input(&k);
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

/* The inputs, as the builder made them. */
uint32_t fuzz_inputs(const recipe *r, q_input_desc *inputs, uint32_t cap)
{
    sketch k;
    uint32_t n;
    memset(&k, 0, sizeof(k));
    k.s = r->bytes;
    k.ids = Q_NONE;
    n = 1 + fuzz_pick(&k.s, 3);
    for (uint32_t i = 0; i < n && i < cap; i++) {
        static const uint32_t limits[] = {8, 8, 8, 5, 0, 9, 1u << 30, UINT32_MAX};
        uint32_t kind = fuzz_rarely(&k.s, 12) ? 7 : i == 0 ? fuzz_pick(&k.s, 3) + (r->trains ? 1u : 0u) : fuzz_pick(&k.s, 7);
        inputs[i].type = input_type(&k, kind);
        inputs[i].limit = limits[fuzz_pick(&k.s, 8)];
    }
    return n;
}
