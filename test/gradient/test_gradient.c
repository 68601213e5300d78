/* SPDX-License-Identifier: MIT */
/*
 * Gradients of layers against central differences, in the double build: f(w + e) - f(w - e) over 2e with
 * e = 1e-6 must agree with backward to 1e-5 + 1e-3*|difference| (PyTorch's gradcheck defaults). Also: gradients of
 * two micro-batches add up to the large batch's bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/model.h"

#include "cases.h"

enum { IN = 7, HIDDEN = 5, OUT = 3, BATCH = 4 };

#ifdef Q_REAL_DOUBLE
static const double EPS = 1e-6;
static const double ATOL = 1e-5;
static const double RTOL = 1e-3;
#endif

static void check(int ok, const char *what)
{
    rig_expect(ok != 0, "whole models", what);
}

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("error %d: %s: %s (need %llu, have %llu)\n", (int)e, d->what, d->field, (unsigned long long)d->need,
               (unsigned long long)d->have);
        exit(1);
    }
}

static q_value_type rows_of(uint32_t columns)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = Q_REAL;
    for (int i = 0; i < 4; i++) {
        t.dim[i].n = 1;
    }
    t.dim[2].sym = Q_SYM_BATCH;
    t.dim[3].n = columns;
    return t;
}

static q_param slot(q_graph *g, const char *name, uint32_t rows, uint32_t columns, bool trainable)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    d.trainable = trainable;
    return q_graph_param(g, &d);
}

static q_value linear(q_graph *g, const char *name, q_value x, q_param w, q_param b)
{
    q_linear_config c = {Q_ACT_NONE, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_linear;
    d.name = name;
    d.config = &c;
    d.n_in = 1;
    d.in[0] = x;
    d.n_param = b == Q_NONE ? 1 : 2;
    d.param[0] = w;
    d.param[1] = b;
    return q_graph_node(g, &d);
}

/* Two layers; with `shared`, the square second one is used twice, so its gradient has two writers. */
static void build(q_graph *g, const void *user)
{
    bool shared = *(const bool *)user;
    q_input_desc x = {"x", rows_of(IN), 0};
    q_input_desc t = {"target", rows_of(OUT), 0};
    q_value in = q_graph_input(g, &x);
    q_value target = q_graph_input(g, &t);
    q_param w = slot(g, "first.w", HIDDEN, IN, true);
    q_param b = slot(g, "first.b", 1, HIDDEN, true);
    q_value h = linear(g, "first", in, w, b);
    q_node_desc loss;
    if (shared) {
        w = slot(g, "mid.w", HIDDEN, HIDDEN, true);
        h = linear(g, "mid1", h, w, Q_NONE);
        h = linear(g, "mid2", h, w, Q_NONE);
    }
    w = slot(g, "second.w", OUT, HIDDEN, true);
    b = slot(g, "second.b", 1, OUT, false);
    h = linear(g, "second", h, w, b);
    memset(&loss, 0, sizeof(loss));
    loss.cls = &q_layer_mse;
    loss.name = "loss";
    loss.n_in = 2;
    loss.in[0] = h;
    loss.in[1] = target;
    q_graph_output(g, "loss", q_graph_node(g, &loss));
}

/* Fixed, irregular numbers in (-1, 1). */
static q_real number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (q_real)((double)(int32_t)*state / 2147483648.0);
}

static void fill(q_real *x, uint32_t n, uint32_t *state)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = number(state);
    }
}

typedef struct bench {
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_real x[BATCH * IN];
    q_real target[BATCH * OUT];
} bench;

/* The framework needs nothing but memory: here it comes from a static array. */
static void *aligned(size_t bytes)
{
    static _Alignas(128) unsigned char pool[1 << 17];
    static size_t used;
    void *p = pool + used;
    used += (bytes + 127) / 128 * 128;
    if (used > sizeof(pool)) {
        printf("the test's pool is too small\n");
        exit(1);
    }
    return p;
}

static void open_bench(bench *b, const q_backend *backend, const bool *shared)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_plan_config pc;
    q_context context = {NULL, backend, 1, 0};
    q_needs needs;
    q_region regions[3];
    size_t n;
    uint32_t state = 12345;
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = Q_PLAN_TRAIN;
    pc.max.batch = BATCH;
    pc.max.tokens = pc.max.selected = 1;
    pc.n_workers = 1;
    pc.workspace_size = backend->workspace_size;
    must(q_model_size(build, shared, &n, &d), &d);
    must(q_model_init(&b->model, (q_block){aligned(n), n}, build, shared, &d), &d);
    must(q_plan_size(b->model, &pc, &n, &d), &d);
    must(q_plan_init(&b->plan, (q_block){aligned(n), n}, b->model, &pc, &d), &d);
    q_plan_needs(b->plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (int i = 0; i < 3; i++) {
        regions[i].kind = (uint8_t)(i == 0 ? Q_REGION_PARAM : i == 1 ? Q_REGION_SCRATCH : Q_REGION_TRAIN);
        regions[i].size = needs.bytes[regions[i].kind][0];
        regions[i].base = aligned(regions[i].size);
        memset(regions[i].base, 0xff, regions[i].size);
    }
    must(q_session_size(b->plan, &n, &d), &d);
    must(q_session_init(&b->session, (q_block){aligned(n), n}, b->plan, &context, regions, 3, NULL, &d), &d);
    for (uint32_t p = 0; p < q_model_n_params(b->model); p++) {
        q_tensor t;
        must(q_session_param(b->session, p, &t, &d), &d);
        fill((q_real *)t.data, t.ne[2] * t.ne[3], &state);
    }
    fill(b->x, BATCH * IN, &state);
    fill(b->target, BATCH * OUT, &state);
}

static q_real forward(bench *b, uint32_t first, uint32_t n)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    const void *inputs[2];
    q_step step;
    q_tensor out;
    inputs[0] = b->x + first * IN;
    inputs[1] = b->target + first * OUT;
    memset(&step, 0, sizeof(step));
    step.n_batch = n;
    step.inputs = inputs;
    must(q_model_forward(b->session, &step, &d), &d);
    must(q_session_output(b->session, 0, &out, &d), &d);
    return *(q_real *)out.data;
}

#ifdef Q_REAL_DOUBLE
static void check_against_differences(bench *b, const char *what)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    int seen = 0;
    (void)forward(b, 0, BATCH);
    must(q_model_backward(b->session, false, &d), &d);
    for (uint32_t p = 0; p < q_model_n_params(b->model); p++) {
        q_tensor w;
        q_tensor g;
        char name[96];
        int ok = 1;
        must(q_session_param(b->session, p, &w, &d), &d);
        if (q_session_param_grad(b->session, p, &g, &d) != Q_OK) {
            continue;
        }
        for (uint32_t i = 0; i < w.ne[2] * w.ne[3]; i++) {
            double *at = (double *)w.data + i;
            double keep = *at;
            double up;
            double down;
            double numeric;
            double analytic = ((double *)g.data)[i];
            *at = keep + EPS;
            up = forward(b, 0, BATCH);
            *at = keep - EPS;
            down = forward(b, 0, BATCH);
            *at = keep;
            numeric = (up - down) / (2 * EPS);
            if (!(analytic - numeric <= ATOL + RTOL * (numeric < 0 ? -numeric : numeric) &&
                  numeric - analytic <= ATOL + RTOL * (numeric < 0 ? -numeric : numeric))) {
                printf("%s[%u]: backward %.9g, difference %.9g\n", q_model_param_name(b->model, p), i, analytic,
                       numeric);
                ok = 0;
            }
        }
        (void)snprintf(name, sizeof(name), "%s: gradient of %s", what, q_model_param_name(b->model, p));
        check(ok, name);
        seen++;
    }
    check(seen >= 3, "every trainable parameter has a gradient");
    check(q_session_param_grad(b->session, q_model_find_param(b->model, "second.b"), &(q_tensor){0}, &d) ==
              Q_ERR_NOT_FOUND,
          "a frozen parameter has none");
}
#endif

static void check_micro_batches(bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_real whole[HIDDEN * IN];
    q_tensor g;
    must(q_session_param_grad(b->session, q_model_find_param(b->model, "first.w"), &g, &d), &d);
    (void)forward(b, 0, BATCH);
    must(q_model_backward(b->session, false, &d), &d);
    memcpy(whole, g.data, sizeof(whole));
    (void)forward(b, 0, 1);
    must(q_model_backward(b->session, false, &d), &d);
    (void)forward(b, 1, BATCH - 1);
    must(q_model_backward(b->session, true, &d), &d);
    check(memcmp(whole, g.data, sizeof(whole)) == 0, "micro-batches of 1 and 3 have the bits of the batch of 4");
}

int main(int argc, char **argv)
{
    static const bool plain = false;
    static const bool shared = true;
    static bench b;
    q_backend backend;
    q_backend_scalar(&backend);
    open_bench(&b, &backend, &plain);
#ifdef Q_REAL_DOUBLE
    check_against_differences(&b, "two layers");
#endif
    check_micro_batches(&b);
    open_bench(&b, &backend, &shared);
#ifdef Q_REAL_DOUBLE
    check_against_differences(&b, "shared weights");
#endif
    check_micro_batches(&b);
    if (argc > 1) {
        rig_only(argv[1]);
    }
    cases_linear();
    cases_recurrent();
    cases_image();
    cases_language();
    cases_attention();
    cases_norm();
    cases_element();
    cases_loss();
    cases_shape();
    return rig_end();
}
