/* SPDX-License-Identifier: MIT */
/* Graphs and calls that a hostile file or a careless caller could make: each ends in its error, none in bad memory. */
#include "flow.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 32, TOKENS = 4 };

/* One graph at work. */
typedef struct bench {
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_backend backend;
    q_region regions[Q_REGION_KINDS];
    size_t n_regions;
    q_diag diag;
    q_plan_config config;
} bench;

static q_value_type type_of(uint32_t dtype, uint32_t d0, uint32_t d2, uint32_t sym2, uint32_t d3, uint32_t sym3)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = dtype;
    t.dim[0].n = d0;
    t.dim[1].n = 1;
    t.dim[2].n = d2;
    t.dim[2].sym = sym2;
    t.dim[3].n = d3;
    t.dim[3].sym = sym3;
    return t;
}

static q_value add_input(q_graph *g, const char *name, q_value_type t, uint32_t limit)
{
    q_input_desc d = {name, t, limit};
    return q_graph_input(g, &d);
}

static q_value token_rows(q_graph *g, const char *name)
{
    return add_input(g, name, type_of(Q_REAL, 1, 1, Q_SYM_TOKENS, COLUMNS, 0), 0);
}

static q_param slot(q_graph *g, const char *name, uint32_t layout, uint32_t rows, uint32_t columns, bool trainable)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_F32;
    d.type.layout = layout;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    d.trainable = trainable;
    return q_graph_param(g, &d);
}

static q_value add_node(q_graph *g, const char *name, const q_layer_class *cls, const void *config, q_value a, q_value b,
                        q_param p)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.cls = cls;
    d.config = config;
    d.n_in = b != Q_NONE ? 2 : 1;
    d.in[0] = a;
    d.in[1] = b;
    d.n_param = p != Q_NONE;
    d.param[0] = p;
    return q_graph_node(g, &d);
}

static q_value product(q_graph *g, const char *name, q_value x, q_param w)
{
    static const q_linear_config c = {Q_ACT_NONE, 0};
    return add_node(g, name, &q_layer_linear, &c, x, Q_NONE, w);
}

/* ---- Making one run ----------------------------------------------------------------------------------------- */

static void bench_init(bench *b)
{
    memset(b, 0, sizeof(*b));
    q_backend_scalar(&b->backend);
    b->config.struct_size = sizeof(b->config);
    b->config.precision = Q_PRECISION_EXACT;
    b->config.max.batch = 2;
    b->config.max.tokens = TOKENS;
    b->config.max.selected = 1;
    b->config.max.kv = 64;
    b->config.n_workers = 1;
    b->config.workspace_size = b->backend.workspace_size;
}

static void *fresh(size_t n)
{
    return flow_heap.take(NULL, n, "");
}

static q_error_code plan_of(bench *b, q_build_fn build, const void *user)
{
    size_t n = 0;
    q_error_code e = q_model_size(build, user, &n, &b->diag);
    if (e == Q_OK) {
        e = q_model_init(&b->model, (q_block){fresh(n), n}, build, user, &b->diag);
    }
    if (e == Q_OK) {
        e = q_plan_size(b->model, &b->config, &n, &b->diag);
    }
    return e == Q_OK ? q_plan_init(&b->plan, (q_block){fresh(n), n}, b->model, &b->config, &b->diag) : e;
}

static q_error_code session_of(bench *b)
{
    q_context c = {NULL, &b->backend, 1, 0};
    q_needs needs;
    size_t n = 0;
    q_error_code e;
    q_plan_needs(b->plan, &needs);
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        q_region *r = &b->regions[b->n_regions];
        if (needs.bytes[kind][0] != 0) {
            r->kind = (uint8_t)kind;
            r->size = needs.bytes[kind][0];
            r->base = fresh(r->size);
            b->n_regions++;
        }
    }
    e = q_session_size(b->plan, &n, &b->diag);
    if (e == Q_OK) {
        e = q_session_init(&b->session, (q_block){fresh(n), n}, b->plan, &c, b->regions, b->n_regions, NULL, &b->diag);
    }
    return e;
}

/* Small reals, each its own. */
static void fill(float *to, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = (float)(int32_t)(seed >> 8) / 16777216.0f - 0.5f;
    }
}

static void open_bench(bench *b, q_build_fn build, const void *user, const char *what)
{
    bool ok = plan_of(b, build, user) == Q_OK && session_of(b) == Q_OK;
    check(ok, "%s is accepted (%d, %s: %s)", what, (int)b->diag.code, b->diag.what, b->diag.field);
    if (!ok) {
        exit(1);
    }
    for (q_param p = 0; p < q_model_n_params(b->model); p++) {
        q_tensor t;
        if (q_session_param(b->session, p, &t, NULL) == Q_OK) {
            fill((float *)t.data, (size_t)t.ne[2] * t.ne[3], p + 1);
        }
    }
}

static q_error_code step_of(bench *b, const void *const *inputs, uint32_t tokens, uint32_t select, q_rows_fn rows, void *user)
{
    q_step s;
    memset(&s, 0, sizeof(s));
    s.n_tokens = tokens;
    s.inputs = inputs;
    s.select = select;
    s.rows = rows;
    s.rows_user = user;
    return q_model_forward(b->session, &s, &b->diag);
}

static void refused(q_build_fn build, const void *user, q_error_code expected, const char *what)
{
    bench b;
    q_error_code e;
    bench_init(&b);
    e = plan_of(&b, build, user);
    check(e == expected && b.diag.code == e && b.diag.field[0] != '\0', "%s: %d, %s: %s", what, (int)e, b.diag.what,
          b.diag.field);
}

/* ---- Shapes that a kernel would follow out of its memory ------------------------------------------------------ */

static void build_selected_input(q_graph *g, const void *user)
{
    (void)user;
    q_graph_output(g, "y", add_input(g, "x", type_of(Q_REAL, 1, 1, Q_SYM_SELECTED, 8, 0), 0));
}

static void build_huge(q_graph *g, const void *user)
{
    q_value_type t = type_of(Q_I32, 65536, 65536, 0, 1, 0);
    (void)user;
    q_graph_output(g, "y", add_input(g, "x", t, 8));
}

/* Rows of a step that are not its tokens, one by one. */
static void build_attention(q_graph *g, const void *user)
{
    q_attention_config c = {1, 1, COLUMNS, 0, 1, 0};
    const q_value_type *t = (const q_value_type *)user;
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.name = "attention";
    d.cls = &q_layer_attention;
    d.config = &c;
    d.n_in = 3;
    d.in[0] = d.in[1] = d.in[2] = add_input(g, "x", *t, 0);
    q_graph_output(g, "y", q_graph_node(g, &d));
}

static void build_rope(q_graph *g, const void *user)
{
    q_rope_config c = {4, 8};
    q_value x = add_input(g, "x", type_of(Q_REAL, 1, 3, Q_SYM_TOKENS, 32, 0), 0);
    q_value table = add_input(g, "table", type_of(Q_REAL, 1, 1, Q_SYM_TOKENS, 8, 0), 0);
    (void)user;
    q_graph_output(g, "y", add_node(g, "rope", &q_layer_rope, &c, x, table, Q_NONE));
}

static void build_view(q_graph *g, const void *user)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = "w";
    d.view = (const q_tensor *)user;
    d.type.dtype = Q_F32;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = d.type.ne[3] = COLUMNS;
    q_graph_output(g, "y", product(g, "linear", token_rows(g, "x"), q_graph_param(g, &d)));
}

static void test_views(void)
{
    q_tensor view;
    q_tensor good;
    bench b;
    memset(&good, 0, sizeof(good));
    good.data = fresh(COLUMNS * COLUMNS * sizeof(float));
    good.ne[0] = good.ne[1] = 1;
    good.ne[2] = good.ne[3] = COLUMNS;
    good.nb[2] = COLUMNS * sizeof(float);
    bench_init(&b);
    check(plan_of(&b, build_view, &good) == Q_OK, "a view that is what its type says");
    view = good;
    view.ne[2] = 1000;
    refused(build_view, &view, Q_ERR_INVALID_SHAPE, "a view with more rows than its type");
    view = good;
    view.nb[2] = 4;
    refused(build_view, &view, Q_ERR_INVALID_LAYOUT, "a view whose rows overlap");
    view = good;
    view.layout = Q_PANEL16;
    refused(build_view, &view, Q_ERR_INVALID_LAYOUT, "a view of another layout");
    view = good;
    view.dtype = Q_F16;
    refused(build_view, &view, Q_ERR_INVALID_DTYPE, "a view of another dtype");
}

static void build_embedding(q_graph *g, const void *user)
{
    q_embedding_config c = {1, 0};
    q_value ids = add_input(g, "ids", type_of(Q_I32, 1, 1, 0, 1, Q_SYM_TOKENS), *(const uint32_t *)user);
    q_graph_output(g, "y", add_node(g, "embed", &q_layer_embedding, &c, ids, Q_NONE, slot(g, "w", Q_PLAIN, 8, 8, false)));
}

static void test_ids(void)
{
    static const uint32_t limits[] = {0, 9, UINT32_MAX};
    static const int32_t bad[][2] = {{8, 1}, {1, -1}, {INT32_MIN, 0}, {1, INT32_MAX}};
    static const int32_t good[2] = {7, 0};
    for (uint32_t i = 0; i < 3; i++) {
        bench b;
        const void *inputs[1];
        bench_init(&b);
        open_bench(&b, build_embedding, &limits[i], "an embedding of 8 rows");
        for (uint32_t k = 0; k < 4; k++) {
            inputs[0] = bad[k];
            check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_ERR_INVALID_TOKEN && b.diag.field[0] != '\0',
                  "id without a row, limit %u: %d", limits[i], (int)b.diag.code);
        }
        inputs[0] = good;
        check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_OK, "ids with rows");
    }
}

static void test_shapes(void)
{
    q_value_type t = type_of(Q_REAL, 1, 2, Q_SYM_TOKENS, COLUMNS, 0);
    refused(build_selected_input, NULL, Q_ERR_INVALID_SHAPE, "an input of selected rows");
    refused(build_huge, NULL, Q_ERR_OVERFLOW, "2^32 ids");
    refused(build_attention, &t, Q_ERR_INVALID_SHAPE, "attention over two rows a token");
    t = type_of(Q_REAL, 3, 1, Q_SYM_TOKENS, COLUMNS, 0);
    refused(build_attention, &t, Q_ERR_INVALID_SHAPE, "attention over three planes");
    refused(build_rope, NULL, Q_ERR_INVALID_SHAPE, "more rows than rope's table");
}

/* ---- What the planner may not change -------------------------------------------------------------------------- */

/* x + W x: the residual is also what the product reads. */
static void build_residual(q_graph *g, const void *user)
{
    q_value x = add_node(g, "silu", &q_layer_silu, NULL, token_rows(g, "x"), Q_NONE, Q_NONE);
    q_value y = product(g, "linear", x, slot(g, "w", *(const uint32_t *)user, COLUMNS, COLUMNS, false));
    q_graph_output(g, "y", add_node(g, "add", &q_layer_add, NULL, x, y, Q_NONE));
}

static void test_residual(uint32_t layout)
{
    float x[TOKENS * COLUMNS];
    const void *inputs[1];
    float *y[2];
    inputs[0] = x;
    fill(x, TOKENS * COLUMNS, 5);
    for (uint32_t i = 0; i < 2; i++) {
        bench b;
        q_tensor out;
        bench_init(&b);
        b.config.flags = i == 0 ? (uint32_t)(Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE) : 0;
        open_bench(&b, build_residual, &layout, "x + W x");
        check(step_of(&b, inputs, TOKENS, Q_SELECT_NONE, NULL, NULL) == Q_OK &&
                  q_session_output(b.session, 0, &out, NULL) == Q_OK,
              "x + W x runs");
        y[i] = (float *)out.data;
    }
    check(memcmp(y[0], y[1], TOKENS * COLUMNS * sizeof(float)) == 0, "x + W x is the same fused, layout %u", layout);
}

/* A scalar of the tail, added to an input: the tail runs once for each selected row. */
static void build_tail(q_graph *g, const void *user)
{
    q_value x = token_rows(g, "x");
    q_value c = add_input(g, "c", type_of(Q_REAL, 1, 1, 0, 1, 0), 0);
    q_value s = add_node(g, "select", &q_layer_select_rows, NULL, x, Q_NONE, Q_NONE);
    q_value other = add_node(g, "other", &q_layer_select_rows, NULL,
                             add_node(g, "silu", &q_layer_silu, NULL, x, Q_NONE, Q_NONE), Q_NONE, Q_NONE);
    q_value m = add_node(g, "mse", &q_layer_mse, NULL, s, other, Q_NONE);
    (void)user;
    q_graph_output(g, "rows", s);
    q_graph_output(g, "sum", add_node(g, "add", &q_layer_add, NULL, c, m, Q_NONE));
}

static q_error_code count_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    uint32_t *count = (uint32_t *)user;
    check(first == *count && rows->ne[2] == n, "rows in order");
    *count += n;
    return Q_OK;
}

static void test_tail(void)
{
    static const float one = 1;
    float x[TOKENS * COLUMNS];
    const void *inputs[2];
    uint32_t rows = 0;
    float sum;
    bench b;
    q_tensor out;
    inputs[0] = x;
    inputs[1] = &one;
    fill(x, TOKENS * COLUMNS, 6);
    bench_init(&b);
    open_bench(&b, build_tail, NULL, "an input that the tail adds to");
    check(step_of(&b, inputs, TOKENS, Q_SELECT_LAST, NULL, NULL) == Q_OK &&
              q_session_output(b.session, 1, &out, NULL) == Q_OK,
          "the last row");
    memcpy(&sum, out.data, sizeof(sum));
    check(step_of(&b, inputs, TOKENS, Q_SELECT_ALL, count_rows, &rows) == Q_OK && rows == TOKENS, "a row at a time");
    check(q_session_output(b.session, 1, &out, NULL) == Q_OK && *(float *)out.data == sum,
          "every window adds to the input itself: %g is not %g", (double)*(float *)out.data, (double)sum);
    check(step_of(&b, inputs, TOKENS, Q_SELECT_LAST, NULL, NULL) == Q_OK && q_session_output(b.session, 0, &out, NULL) == Q_OK &&
              out.ne[2] == 1 && memcmp(out.data, x + 3 * COLUMNS, COLUMNS * sizeof(float)) == 0,
          "one row selected is one row of output: %u", out.ne[2]);
    check(step_of(&b, inputs, TOKENS, Q_SELECT_NONE, NULL, NULL) == Q_OK &&
              q_session_output(b.session, 1, &out, &b.diag) == Q_ERR_INVALID_STATE,
          "no row selected: no output of the tail");
}

/* ---- Calls out of order ---------------------------------------------------------------------------------------- */

static void build_planes(q_graph *g, const void *user)
{
    q_attention_config c = {1, 1, COLUMNS, 0, 1, 0};
    q_value planes = add_input(g, "planes", type_of(Q_REAL, 2, 1, Q_SYM_TOKENS, 8, 0), 0);
    q_node_desc d;
    (void)user;
    memset(&d, 0, sizeof(d));
    d.name = "attention";
    d.cls = &q_layer_attention;
    d.config = &c;
    d.n_in = 3;
    d.in[0] = d.in[1] = d.in[2] = token_rows(g, "x");
    q_graph_output(g, "y", add_node(g, "select", &q_layer_select_rows, NULL, q_graph_node(g, &d), Q_NONE, Q_NONE));
    q_graph_output(g, "planes", planes);
}

typedef struct again {
    bench *b;
    const void *const *inputs;
    uint32_t tried;
} again;

static q_error_code call_back(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    again *a = (again *)user;
    q_diag d;
    (void)first;
    (void)n;
    (void)rows;
    if (a->tried++ < 3) {
        check(step_of(a->b, a->inputs, 1, Q_SELECT_NONE, NULL, NULL) == Q_ERR_INVALID_STATE, "a step within a step");
        check(q_session_set_position(a->b->session, 63, &d) == Q_ERR_INVALID_STATE, "a position within a step");
        check(q_session_rewind(a->b->session, 0, &d) == Q_ERR_INVALID_STATE, "back within a step");
    }
    return Q_OK;
}

static void test_calls(void)
{
    enum { LONG = 11 };
    float planes[2 * LONG * 8];
    float x[LONG * COLUMNS];
    uint32_t list = 1;
    const void *inputs[2];
    again a;
    bench b;
    q_tensor out;
    q_step s;
    fill(planes, 2 * LONG * 8, 1);
    fill(x, LONG * COLUMNS, 2);
    inputs[0] = planes;
    inputs[1] = x;
    bench_init(&b);
    open_bench(&b, build_planes, NULL, "planes of tokens");
    a.b = &b;
    a.inputs = inputs;
    a.tried = 0;
    check(step_of(&b, inputs, LONG, Q_SELECT_ALL, call_back, &a) == Q_OK && a.tried == LONG, "rows of three chunks");
    check(q_session_position(b.session) == LONG, "the position");
    check(q_session_output(b.session, 1, &out, NULL) == Q_OK && out.ne[2] == 3 && out.nb[0] == out.nb[2] * 3 &&
              memcmp(out.data, planes + 8 * 8, 3 * 8 * sizeof(float)) == 0 &&
              memcmp((float *)out.data + 3 * 8, planes + (LONG + 8) * 8, 3 * 8 * sizeof(float)) == 0,
          "the last chunk of each plane");
    memset(&s, 0, sizeof(s));
    s.n_tokens = LONG;
    s.inputs = inputs;
    s.select = Q_SELECT_LIST;
    s.n_selected = 1;
    s.selected = &list;
    check(q_model_forward(b.session, &s, &b.diag) == Q_ERR_INVALID_ARG, "a row of an early chunk that nobody takes");
    inputs[1] = out.data;
    check(step_of(&b, inputs, 1, Q_SELECT_LAST, NULL, NULL) == Q_ERR_ALIASING, "an input that lies in SCRATCH");
}

static q_error_code no_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    (void)user;
    (void)first;
    return n <= rows->ne[2] ? Q_OK : Q_ERR_INVALID_STATE;
}

static void test_no_tail(void)
{
    float x[TOKENS * COLUMNS] = {0};
    uint32_t layout = Q_PLAIN;
    const void *inputs[1];
    bench b;
    inputs[0] = x;
    bench_init(&b);
    open_bench(&b, build_residual, &layout, "a graph without select_rows");
    check(step_of(&b, inputs, TOKENS, Q_SELECT_ALL, no_rows, NULL) == Q_ERR_INVALID_ARG, "rows where none are selected");
}

/* ---- A caller's class ------------------------------------------------------------------------------------------ */

static q_error_code odd_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    info->out[0].dim[1].n = *(const uint32_t *)info->config;
    info->out[0].dim[2].sym = ((const uint32_t *)info->config)[1];
    return Q_OK;
}

static void odd_sizes(const q_node_info *info, q_layer_sizes *out)
{
    (void)info;
    out->state = 64;
}

/* Adds one to its state, and fails when it is told to. */
static q_error_code odd_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)work;
    (void)stage;
    ++*(uint32_t *)layer->state;
    memcpy(layer->out[0]->data, layer->in[0]->data, layer->in[0]->nb[2] * work->run->n_tokens);
    return *(const float *)layer->in[0]->data > 100 ? Q_ERR_NON_FINITE : Q_OK;
}

static const q_layer_class odd = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 9,
    .name = "odd",
    .config_size = 8,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_STATEFUL,
    .shape = odd_shape,
    .sizes = odd_sizes,
    .forward = odd_forward,
};

static void build_odd(q_graph *g, const void *user)
{
    q_graph_output(g, "y", add_node(g, "odd", &odd, user, token_rows(g, "x"), Q_NONE, Q_NONE));
}

static void build_odd_tail(q_graph *g, const void *user)
{
    q_value s = add_node(g, "select", &q_layer_select_rows, NULL, token_rows(g, "x"), Q_NONE, Q_NONE);
    q_graph_output(g, "y", add_node(g, "odd", &odd, user, s, Q_NONE, Q_NONE));
}

static void test_odd(void)
{
    static const uint32_t good[2] = {1, Q_SYM_TOKENS};
    static const uint32_t nothing[2] = {0, Q_SYM_TOKENS};
    static const uint32_t symbol[2] = {1, 17};
    static const uint32_t selected[2] = {1, Q_SYM_SELECTED};
    float x[TOKENS * COLUMNS] = {0};
    const void *inputs[1];
    bench b;
    inputs[0] = x;
    refused(build_odd, nothing, Q_ERR_INVALID_SHAPE, "a class whose output has no rows");
    refused(build_odd, symbol, Q_ERR_INVALID_SHAPE, "a class whose output has an unknown symbol");
    refused(build_odd_tail, selected, Q_ERR_UNSUPPORTED, "state below select_rows");
    bench_init(&b);
    open_bench(&b, build_odd, good, "a class with a state of its own");
    check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_OK, "a step with state");
    x[0] = 200;
    check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_ERR_NON_FINITE, "a step that fails");
    x[0] = 0;
    check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_ERR_INVALID_STATE && q_session_position(b.session) == 2,
          "its state cannot go back, so nothing goes on");
    check(q_session_rewind(b.session, 2, &b.diag) == Q_ERR_UNSUPPORTED, "nor does rewinding to where it was help");
    check(q_session_rewind(b.session, 0, &b.diag) == Q_OK && step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_OK,
          "but from the start it does");
}

/* ---- Training -------------------------------------------------------------------------------------------------- */

enum { PLAIN_LOSS, SIDE_BRANCH, SILU_BETWEEN, PANEL_ABOVE, WIDE_LOSS, LOSS_SCALED };

static void build_training(q_graph *g, const void *user)
{
    uint32_t kind = *(const uint32_t *)user;
    q_value x = token_rows(g, "x");
    q_value t = token_rows(g, "target");
    q_value h = product(g, "first", x, slot(g, "w", Q_PLAIN, COLUMNS, COLUMNS, true));
    q_value y = h;
    q_value loss;
    if (kind == SILU_BETWEEN) {
        y = add_node(g, "silu", &q_layer_silu, NULL, y, Q_NONE, Q_NONE);
    }
    if (kind == PANEL_ABOVE) {
        y = product(g, "second", y, slot(g, "panel", Q_PANEL16, COLUMNS, COLUMNS, false));
    }
    loss = add_node(g, "loss", &q_layer_mse, NULL, y, t, Q_NONE);
    if (kind == LOSS_SCALED) {
        loss = product(g, "scale", loss, slot(g, "by", Q_PLAIN, 1, 1, true));
    }
    q_graph_output(g, "loss", kind == WIDE_LOSS ? h : loss);
    if (kind == SIDE_BRANCH) {
        q_graph_output(g, "side", product(g, "side", h, slot(g, "side_w", Q_PLAIN, COLUMNS, COLUMNS, true)));
    }
}

static void train_bench(bench *b, uint32_t kind, const void *const *inputs)
{
    bench_init(b);
    b->config.mode = Q_PLAN_TRAIN;
    open_bench(b, build_training, &kind, "a graph to train");
    check(step_of(b, inputs, TOKENS, Q_SELECT_NONE, NULL, NULL) == Q_OK, "training goes forward");
}

static void test_training(void)
{
    static const uint32_t silu = SILU_BETWEEN;
    float x[2 * TOKENS * COLUMNS];
    const void *inputs[2];
    q_tensor grads[2];
    bench b;
    inputs[0] = x;
    inputs[1] = x + TOKENS * COLUMNS;
    fill(x, 2 * TOKENS * COLUMNS, 3);
    bench_init(&b);
    b.config.mode = Q_PLAN_TRAIN;
    check(plan_of(&b, build_training, &silu) == Q_ERR_UNSUPPORTED && strcmp(b.diag.what, "silu") == 0,
          "a gradient that a class without backward would swallow");
    for (uint32_t i = 0; i < 2; i++) {
        train_bench(&b, i == 0 ? PLAIN_LOSS : SIDE_BRANCH, inputs);
        check(q_model_backward(b.session, true, &b.diag) == Q_OK, "gradients add to nothing at first");
        check(q_session_param_grad(b.session, 0, &grads[i], &b.diag) == Q_OK, "a gradient");
        check(q_model_backward(b.session, false, &b.diag) == Q_ERR_INVALID_STATE, "backward twice");
    }
    check(memcmp(grads[0].data, grads[1].data, COLUMNS * COLUMNS * sizeof(float)) == 0,
          "a branch beside the loss has no gradient");
    train_bench(&b, PANEL_ABOVE, inputs);
    check(q_model_backward(b.session, false, &b.diag) == Q_ERR_UNSUPPORTED, "backward through panels");
    train_bench(&b, WIDE_LOSS, inputs);
    check(q_model_backward(b.session, false, &b.diag) == Q_ERR_INVALID_SHAPE, "a loss of many numbers");
    train_bench(&b, LOSS_SCALED, inputs);
    check(q_model_backward(b.session, false, &b.diag) == Q_ERR_UNSUPPORTED, "a loss that is not the last word");
}

/* ---- Generating -------------------------------------------------------------------------------------------------- */

/* Two inputs, where a generator has one to give. */
static void build_two_inputs(q_graph *g, const void *user)
{
    q_embedding_config c = {1, 0};
    q_value ids = add_input(g, "ids", type_of(Q_I32, 1, 1, 0, 1, Q_SYM_TOKENS), 8);
    q_value y;
    (void)token_rows(g, "more");
    y = add_node(g, "embed", &q_layer_embedding, &c, ids, Q_NONE, slot(g, "w", Q_PLAIN, 8, *(const uint32_t *)user, false));
    q_graph_output(g, "y", add_node(g, "select", &q_layer_select_rows, NULL, y, Q_NONE, Q_NONE));
}

static void test_generator(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow f;
    q_tokenizer t;
    q_generate_config config;
    q_generator *g = NULL;
    const void *section;
    const void *inputs[1];
    int32_t ids[4];
    uint32_t columns;
    size_t n = 0;
    q_step step;
    bench b;
    flow_open(&f, &s, &flow_heap);
    section = q_file_section_data(&f.file, Q_SECTION_TOKENIZER, &n);
    check(q_tokenizer_open(&t, section, n, &f.diag) == Q_OK, "the tokenizer opens");
    q_generate_defaults(&config);
    columns = (uint32_t)q_tokenizer_n_vocab(&t);
    bench_init(&b);
    open_bench(&b, build_two_inputs, &columns, "a model with two inputs");
    check(q_generator_size(b.session, &t, &config, &n, &b.diag) == Q_ERR_MISMATCH, "it cannot generate: %d", (int)b.diag.code);
    check(q_generator_size(f.session, &t, &config, &n, &f.diag) == Q_OK &&
              q_generator_init(&g, (q_block){fresh(n), n}, f.session, &t, &config, &f.diag) == Q_OK,
          "a generator");
    flow_tokens(&f, ids, 4, 1);
    inputs[0] = ids;
    memset(&step, 0, sizeof(step));
    step.n_tokens = 4;
    step.inputs = inputs;
    check(q_model_forward(f.session, &step, &f.diag) == Q_OK, "tokens behind the generator's back");
    check(q_generator_feed(g, ids, 1, &f.diag) == Q_ERR_MISMATCH, "it sees that its history is not the session's");
}

void test_hostile(const char *file)
{
    test_shapes();
    test_views();
    test_ids();
    test_residual(Q_PLAIN);
    test_residual(Q_PANEL16);
    test_tail();
    test_calls();
    test_no_tail();
    test_odd();
    test_training();
    test_generator(file);
}
