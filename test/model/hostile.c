/* SPDX-License-Identifier: MIT */
/* hostile.c: the graphs by hand of hostile.h, and their way from builder to step. */
#include "hostile.h"

#include <stdlib.h>
#include <string.h>

q_value_type type_of(uint32_t dtype, uint32_t d0, uint32_t d2, uint32_t sym2, uint32_t d3, uint32_t sym3)
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

q_value add_input(q_graph *g, const char *name, q_value_type t, uint32_t limit)
{
    q_input_desc d = {name, t, limit};
    return q_graph_input(g, &d);
}

q_value token_rows(q_graph *g, const char *name)
{
    return add_input(g, name, type_of(Q_REAL, 1, 1, Q_SYM_TOKENS, COLUMNS, 0), 0);
}

q_param slot(q_graph *g, const char *name, uint32_t layout, uint32_t rows, uint32_t columns, bool trainable)
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

q_value add_node(q_graph *g, const char *name, const q_layer_class *cls, const void *config, q_value a, q_value b,
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

q_value product(q_graph *g, const char *name, q_value x, q_param w)
{
    static const q_linear_config c = {Q_ACT_NONE, 0};
    return add_node(g, name, &q_layer_linear, &c, x, Q_NONE, w);
}

void hostile_residual(q_graph *g, const void *user)
{
    q_value x = add_node(g, "silu", &q_layer_silu, NULL, token_rows(g, "x"), Q_NONE, Q_NONE);
    q_value y = product(g, "linear", x, slot(g, "w", *(const uint32_t *)user, COLUMNS, COLUMNS, false));
    q_graph_output(g, "y", add_node(g, "add", &q_layer_add, NULL, x, y, Q_NONE));
}

/* ---- Making one run ----------------------------------------------------------------------------------------- */

void bench_init(bench *b)
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

void *fresh(size_t n)
{
    return flow_heap.take(NULL, n, "");
}

q_error_code plan_of(bench *b, q_build_fn build, const void *user)
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
void fill(float *to, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = (float)(int32_t)(seed >> 8) / 16777216.0f - 0.5f;
    }
}

void open_bench(bench *b, q_build_fn build, const void *user, const char *what)
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

q_error_code step_of(bench *b, const void *const *inputs, uint32_t tokens, uint32_t select, q_rows_fn rows, void *user)
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

void refused(q_build_fn build, const void *user, q_error_code expected, const char *what)
{
    bench b;
    q_error_code e;
    bench_init(&b);
    e = plan_of(&b, build, user);
    check(e == expected && b.diag.code == e && b.diag.field[0] != '\0', "%s: %d, %s: %s", what, (int)e, b.diag.what,
          b.diag.field);
}
