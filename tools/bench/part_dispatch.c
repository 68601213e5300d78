/* SPDX-License-Identifier: MIT */
/*
 * part_dispatch.c: `parts dispatch`: what the library spends around its kernels. The kernels of the backend are
 * replaced by functions that return at once; what is left of a forward, an operation or a training step is dispatch and
 * checks.
 */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"

#include "../../core/base/fpenv.h"
#include "../common/backends.h"
#include "../common/engine.h"
#include "qorus/ops.h"
#include "works.h"

#include <stdio.h>
#include <string.h>

enum { SERIES = 41, CALLS = 20000 };

#define Q_KERNEL(slot, args)                                   \
    static void nothing_##slot(const q_work *w, const args *a) \
    {                                                          \
        (void)w;                                               \
        (void)a;                                               \
    }
#include "qorus/kernels.inc"
#undef Q_KERNEL

static void empty_kernels(q_backend *b)
{
#define Q_KERNEL(slot, args) b->kernels.slot = nothing_##slot;
#include "qorus/kernels.inc"
#undef Q_KERNEL
}

static q_error_code take(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    (void)user;
    (void)what;
    (void)diag;
    *base = parts_take(size != 0 ? size : 1);
    return Q_OK;
}

typedef struct bench_graph {
    engine e;
    engine_memory memory;
    options o;
    q_diag diag;
    float input[4096];
    const void *inputs[1];
    q_step step;
} bench_graph;

static void open_graph(bench_graph *g, const q_port *port, const char *path, bool empty)
{
    q_port_file file;
    const void *base;
    size_t size;
    memset(g, 0, sizeof(*g));
    g->memory.take = take;
    g->o.threads = 1;
    g->o.chunk = 1;
    if (port->file_open(port->user, path, Q_OPEN_READ, &file) != Q_OK ||
        port->map(port->user, file, &base, &size) != Q_OK ||
        engine_open(&g->e, base, size, false, &g->memory, &g->diag) != Q_OK ||
        engine_plan(&g->e, port, &g->o, 1, &g->memory, &g->diag) != Q_OK) {
        parts_fail("dispatch: cannot open the model");
    }
    if (empty) {
        empty_kernels(&g->e.backend);
    }
    if (engine_start(&g->e, NULL, &g->memory, &g->diag) != Q_OK) {
        parts_fail("dispatch: no session");
    }
    g->inputs[0] = g->input;
    g->step.inputs = g->inputs;
    g->step.n_tokens = 1;
    g->step.select = Q_SELECT_ALL;
}

static void time_forward(bench_graph *g, const char *what, const char *path)
{
    static series s;
    s.n = 0;
    for (uint32_t i = 0; i < SERIES; i++) {
        double t = parts_seconds();
        for (uint32_t k = 0; k < CALLS; k++) {
            if (q_model_forward(g->e.session, &g->step, &g->diag) != Q_OK) {
                parts_fail(g->diag.field);
            }
        }
        series_add(&s, (parts_seconds() - t) / CALLS * 1e9);
    }
    series_sort(&s);
    (void)printf("{\"part\":\"dispatch\",\"what\":\"%s\",\"file\":\"%s\",\"backend\":\"%s\"", what, path, g->e.backend.name);
    series_print(&s, "ns");
    (void)printf("}\n");
}

/* q_op_add of [1, 16], with a kernel behind it and with one that does nothing. */
typedef struct bench_op {
    q_backend backend;
    q_op_context ctx;
    q_tensor a, b, out;
    q_binary_args args;
    q_diag diag;
} bench_op;

static void open_op(bench_op *p, const q_port *port)
{
    static const uint32_t ne[Q_MAX_DIMS] = {1, 1, 1, 16};
    q_context context = {port, &p->backend, 1, 0};
    q_block workspace;
    float *data = (float *)parts_take(4096);
    if (q_op_workspace_size(&context, &workspace.size, &p->diag) != Q_OK) {
        parts_fail("dispatch: no workspace size");
    }
    workspace.base = parts_take(workspace.size + 1);
    if (q_op_init(&p->ctx, &context, workspace, &p->diag) != Q_OK ||
        q_tensor_init(&p->a, data, Q_REAL, Q_PLAIN, ne, &p->diag) != Q_OK ||
        q_tensor_init(&p->b, data + 64, Q_REAL, Q_PLAIN, ne, &p->diag) != Q_OK ||
        q_tensor_init(&p->out, data + 128, Q_REAL, Q_PLAIN, ne, &p->diag) != Q_OK) {
        parts_fail("dispatch: operations refuse to start");
    }
}

static void print_ns(series *s, const char *what, const char *backend)
{
    series_sort(s);
    (void)printf("{\"part\":\"dispatch\",\"what\":\"%s\",\"backend\":\"%s\"", what, backend);
    series_print(s, "ns");
    (void)printf("}\n");
}

/* The kernel of the operation called by hand, under the library's control word. */
static void time_by_hand(bench_op *p, const char *what)
{
    static series s;
    const q_run run = {0};
    const q_work alone = {.n_workers = 1, .run = &run, .state = p->backend.state};
    const q_binary_args args = {.rows = {1, Q_SYM_ONE},
                                .dim = 16,
                                .a = p->a.data,
                                .a_stride = p->a.nb[2],
                                .b = p->b.data,
                                .b_stride = p->b.nb[2],
                                .out = p->out.data,
                                .out_stride = p->out.nb[2]};
    s.n = 0;
    for (uint32_t i = 0; i < SERIES; i++) {
        double t = parts_seconds();
        for (uint32_t k = 0; k < CALLS; k++) {
            q_fp_state caller = q_fp_enter();
            p->backend.kernels.add(&alone, &args);
            q_fp_leave(caller);
        }
        series_add(&s, (parts_seconds() - t) / CALLS * 1e9);
    }
    print_ns(&s, what, p->backend.name);
}

static void time_op(bench_op *p, const char *what)
{
    static series s;
    s.n = 0;
    for (uint32_t i = 0; i < SERIES; i++) {
        double t = parts_seconds();
        for (uint32_t k = 0; k < CALLS; k++) {
            if (q_op_add(&p->ctx, &p->a, &p->b, &p->out, &p->diag) != Q_OK) {
                parts_fail(p->diag.field);
            }
        }
        series_add(&s, (parts_seconds() - t) / CALLS * 1e9);
    }
    print_ns(&s, what, p->backend.name);
}

/* Forward and backward of a micro-batch of the MLP of works.h, one worker: gradients are added, nobody clears them. */
typedef struct bench_step {
    q_backend backend;
    q_session *session;
    q_step step;
    const void *inputs[2];
    q_diag diag;
} bench_step;

static q_block piece(size_t size)
{
    const q_block block = {parts_take(size + 1), size};
    return block;
}

static void open_step(bench_step *b, const q_port *port, const work *w, bool empty)
{
    static const uint8_t kinds[] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN};
    const q_context context = {port, &b->backend, 1, 0};
    q_plan_config c;
    q_region regions[3];
    q_needs needs;
    q_model *model;
    q_plan *plan;
    size_t n[3] = {0, 0, 0};
    backend_best(&b->backend, port->cpu_features(port->user));
    if (empty) {
        empty_kernels(&b->backend);
    }
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = Q_PLAN_TRAIN;
    c.precision = Q_PRECISION_EXACT;
    c.max = (q_maxima){w->batch, 1, 1, 1, 1};
    c.n_workers = 1;
    c.workspace_size = b->backend.workspace_size;
    if (q_model_size(work_build, w, &n[0], &b->diag) != Q_OK ||
        q_model_init(&model, piece(n[0]), work_build, w, &b->diag) != Q_OK ||
        q_plan_size(model, &c, &n[1], &b->diag) != Q_OK ||
        q_plan_init(&plan, piece(n[1]), model, &c, &b->diag) != Q_OK) {
        parts_fail("dispatch: no plan of a training");
    }
    q_plan_needs(plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (uint32_t i = 0; i < 3; i++) {
        regions[i].kind = kinds[i];
        regions[i].size = needs.bytes[kinds[i]][0];
        regions[i].base = piece(regions[i].size).base;
    }
    if (q_session_size(plan, &n[2], &b->diag) != Q_OK ||
        q_session_init(&b->session, piece(n[2]), plan, &context, regions, 3, NULL, &b->diag) != Q_OK ||
        q_session_init_params(b->session, 1, &b->diag) != Q_OK) {
        parts_fail("dispatch: no session of a training");
    }
    b->inputs[0] = parts_take((size_t)w->batch * w->rows * w->columns * sizeof(float));
    b->inputs[1] = parts_take((size_t)w->batch * w->labels * sizeof(int32_t));
    b->step.inputs = b->inputs;
    b->step.n_batch = w->batch;
}

static void time_step(bench_step *b, const char *what, uint32_t calls)
{
    static series s;
    s.n = 0;
    for (uint32_t i = 0; i < SERIES; i++) {
        double t = parts_seconds();
        for (uint32_t k = 0; k < calls; k++) {
            if (q_model_forward(b->session, &b->step, &b->diag) != Q_OK ||
                q_model_backward(b->session, true, &b->diag) != Q_OK) {
                parts_fail(b->diag.field);
            }
        }
        series_add(&s, (parts_seconds() - t) / calls * 1e9);
    }
    print_ns(&s, what, b->backend.name);
}

static void time_training(const q_port *port)
{
    static bench_step steps[2];
    const work *w = work_find("mlp");
    if (w == NULL) {
        parts_fail("dispatch: no work named mlp");
    }
    open_step(&steps[0], port, w, false);
    open_step(&steps[1], port, w, true);
    time_step(&steps[0], "training step", 10);
    time_step(&steps[1], "training step without kernels", CALLS / 10);
}

int part_dispatch(const char *const *words, int n)
{
    static bench_graph graphs[2];
    static bench_op ops[2];
    const q_port *port = parts_port(1);
    (void)n;
    open_graph(&graphs[0], port, words[0], false);
    open_graph(&graphs[1], port, words[0], true);
    time_forward(&graphs[0], "forward", words[0]);
    time_forward(&graphs[1], "forward without kernels", words[0]);
    for (int i = 0; i < 2; i++) {
        backend_best(&ops[i].backend, port->cpu_features(port->user));
        if (i == 1) {
            empty_kernels(&ops[i].backend);
        }
        open_op(&ops[i], port);
        time_op(&ops[i], i == 0 ? "q_op_add of 16 values" : "q_op_add without its kernel");
        time_by_hand(&ops[i], i == 0 ? "add of 16 values by hand" : "no kernel by hand");
    }
    time_training(port);
    return 0;
}
