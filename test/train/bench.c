/* SPDX-License-Identifier: MIT */
/* A small model in training. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/opened.h"
#include "../common/recipe.h"
#include "port/posix/posix.h"
#include "port/x86/cpu_detect.h"
#include "tools/common/backends.h"

static q_posix posix;

void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("error %d: %s: %s (need %llu, have %llu)\n", (int)e, d->what, d->field, (unsigned long long)d->need,
               (unsigned long long)d->have);
        exit(1);
    }
}

q_train_config plain_config(const q_optimizer_class *cls)
{
    return recipe_of(cls, 0.01);
}

static q_param slot(q_graph *g, const char *name, uint32_t rows, uint32_t columns)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    d.trainable = true;
    return q_graph_param(g, &d);
}

static q_value input(q_graph *g, const char *name, uint32_t columns)
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.dim[0] = (q_count){1, Q_SYM_BATCH};
    d.type.dim[1] = d.type.dim[2] = (q_count){1, Q_SYM_ONE};
    d.type.dim[3] = (q_count){columns, Q_SYM_ONE};
    return q_graph_input(g, &d);
}

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value a, q_value b,
                    q_param w, q_param bias)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = b == Q_NONE ? 1 : 2;
    d.in[0] = a;
    d.in[1] = b;
    d.n_param = w == Q_NONE ? 0 : bias == Q_NONE ? 1 : 2;
    d.param[0] = w;
    d.param[1] = bias;
    return q_graph_node(g, &d);
}

static void build(q_graph *g, const void *unused)
{
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    q_value x = input(g, "x", BENCH_IN);
    q_value target = input(g, "target", BENCH_OUT);
    q_param w;
    q_param b;
    (void)unused;
    w = slot(g, "first.w", BENCH_HIDDEN, BENCH_IN);
    b = slot(g, "first.b", 1, BENCH_HIDDEN);
    x = node(g, &q_layer_linear, "first", &linear, x, Q_NONE, w, b);
    w = slot(g, "second.w", BENCH_OUT, BENCH_HIDDEN);
    x = node(g, &q_layer_linear, "second", &linear, x, Q_NONE, w, Q_NONE);
    q_graph_output(g, "loss", node(g, &q_layer_mse, "loss", NULL, x, target, Q_NONE, Q_NONE));
}

static void *hold(void *holder, size_t bytes)
{
    bench *b = (bench *)holder;
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL) {
        exit(1);
    }
    memset(p, 0xff, bytes);
    b->memory[b->n_memory++] = p;
    return p;
}

static void fill(q_real *x, size_t n, uint32_t *state, double size)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        x[i] = (q_real)(float)((double)(int32_t)*state / 2147483648.0 * size);
    }
}

void bench_open(bench *b, const bench_options *o, const q_train_config *config)
{
    static bool ready;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    uint32_t workers = o->workers != 0 ? o->workers : 1;
    q_context context = {NULL, &b->backend, workers, 0};
    q_plan_config pc;
    opened made = {.build = build, .config = &pc, .context = &context, .hold = hold, .holder = b};
    uint32_t state = 4242;
    size_t n;
    if (!ready) {
        must(q_posix_init(&posix, 7, &d), &d);
        ready = true;
    }
    memset(b, 0, sizeof(*b));
    context.port = q_posix_port(&posix);
    if (!backend_make(&b->backend, o->backend != NULL ? o->backend : "scalar", q_cpu_detect())) {
        exit(1);
    }
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = o->infer ? Q_PLAN_INFER : Q_PLAN_TRAIN;
    pc.precision = Q_PRECISION_EXACT;
    pc.flags = o->plan_flags;
    pc.max.batch = BENCH_BATCH;
    pc.max.tokens = pc.max.selected = 1;
    pc.n_workers = workers;
    pc.moments = o->moments != 0 ? o->moments : q_train_moments(config);
    pc.workspace_size = b->backend.workspace_size;
    must(opened_make(&made, &d), &d);
    b->model = made.model;
    b->plan = made.plan;
    b->session = made.session;
    for (q_param p = 0; p < q_model_n_params(b->model); p++) {
        q_tensor t;
        must(q_session_param(b->session, p, &t, &d), &d);
        fill((q_real *)t.data, (size_t)t.ne[2] * t.ne[3], &state, 0.5);
    }
    fill(b->x, BENCH_BATCH * BENCH_IN, &state, 1);
    fill(b->target, BENCH_BATCH * BENCH_OUT, &state, 1);
    if (!o->infer) {
        must(q_trainer_size(b->session, config, &n, &d), &d);
        must(q_trainer_init(&b->trainer, (q_block){hold(b, n), n}, b->session, config, &d), &d);
    }
}

void bench_close(bench *b)
{
    for (uint32_t i = 0; i < b->n_memory; i++) {
        free(b->memory[i]);
    }
}

q_error_code bench_backward(bench *b, uint32_t first, uint32_t n, q_train_part *part, q_diag *d)
{
    const void *inputs[2] = {b->x + (size_t)first * BENCH_IN, b->target + (size_t)first * BENCH_OUT};
    q_step step;
    memset(&step, 0, sizeof(step));
    step.n_batch = n;
    step.inputs = inputs;
    return q_trainer_backward(b->trainer, &step, part, d);
}

q_train_report bench_step(bench *b, uint32_t each)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_train_report report;
    for (uint32_t first = 0; first < BENCH_BATCH; first += each) {
        uint32_t n = first + each <= BENCH_BATCH ? each : BENCH_BATCH - first;
        must(bench_backward(b, first, n, NULL, &d), &d);
    }
    must(q_trainer_update(b->trainer, &report, &d), &d);
    return report;
}

q_tensor bench_param(const bench *b, const char *name)
{
    q_diag d;
    q_tensor t;
    must(q_session_param(b->session, q_model_find_param(b->model, name), &t, &d), &d);
    return t;
}

uint64_t bench_hash(const bench *b)
{
    uint64_t h = 14695981039346656037u;
    for (q_param p = 0; p < q_model_n_params(b->model); p++) {
        q_diag d;
        q_tensor t;
        must(q_session_param(b->session, p, &t, &d), &d);
        for (size_t i = 0; i < (size_t)t.ne[2] * t.ne[3] * sizeof(q_real); i++) {
            h = (h ^ ((const uint8_t *)t.data)[i]) * 1099511628211u;
        }
    }
    return h;
}
