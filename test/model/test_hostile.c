/* SPDX-License-Identifier: MIT */
/* Graphs that a hostile file or a careless caller could make: each ends in its error, none in bad memory. */
#include "hostile.h"

#include <stdlib.h>
#include <string.h>

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
        open_bench(&b, hostile_residual, &layout, "x + W x");
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

void test_hostile(const char *file)
{
    test_shapes();
    test_views();
    test_ids();
    test_residual(Q_PLAIN);
    test_residual(Q_PANEL16);
    test_tail();
    test_hostile_calls(file);
}
