/* SPDX-License-Identifier: MIT */
/*
 * The check itself: it passes what is right, a caller's own class too, finds one wrong element, a wrong sign and what is no
 * number, names where, and refuses what it cannot check.
 */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/gradcheck.h"

enum { CUBE_DIM = 5, CUBE_BATCH = 4 };

/* How its backward is wrong. */
typedef enum wrong { WRONG_NOTHING, WRONG_SIGN, WRONG_ONE_COLUMN, WRONG_NAN, N_WRONG } wrong;

typedef struct cube_config {
    uint32_t wrong;
    uint32_t reserved;
} cube_config;

/* ---- A caller's class: y = w*x^3, column by column --------------------------------------------------------- */

static q_error_code cube_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    return Q_OK;
}

static q_error_code cube_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t n = q_count_value(work->run, layer->out_rows[0]) * CUBE_DIM;
    const q_real *x = (const q_real *)layer->in[0]->data;
    const q_real *w = (const q_real *)layer->param[0]->data;
    (void)stage;
    for (uint32_t i = 0; i < n; i++) {
        ((q_real *)layer->out[0]->data)[i] = w[i % CUBE_DIM] * x[i] * x[i] * x[i];
    }
    return Q_OK;
}

static q_error_code cube_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const cube_config *c = (const cube_config *)layer->config;
    uint32_t n = q_count_value(work->run, layer->out_rows[0]) * CUBE_DIM;
    const q_real *x = (const q_real *)layer->in[0]->data;
    const q_real *w = (const q_real *)layer->param[0]->data;
    const q_real *dy = (const q_real *)layer->grad_out[0]->data;
    (void)stage;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t column = i % CUBE_DIM;
        q_real sign = c->wrong == WRONG_SIGN ? -1 : 1;
        if (layer->grad_in[0] != NULL) {
            q_real *dx = (q_real *)layer->grad_in[0]->data + i;
            *dx = 3 * w[column] * x[i] * x[i] * dy[i] + ((layer->accumulate & 1u) != 0 ? *dx : 0);
        }
        ((q_real *)layer->grad_param[0]->data)[column] += c->wrong == WRONG_ONE_COLUMN && column == 2 ? 0 : sign * x[i] * x[i] * x[i] * dy[i];
    }
    if (c->wrong == WRONG_NAN) {
        q_real zero = w[0] - w[0];
        ((q_real *)layer->grad_param[0]->data)[3] = zero / zero;
    }
    return Q_OK;
}

static const q_layer_class cube_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 9,
    .name = "cube",
    .config_size = sizeof(cube_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .saves = 1,
    .forward_stages = 1,
    .backward_stages = 1,
    .shape = cube_shape,
    .forward = cube_forward,
    .backward = cube_backward,
};

/* ---- A session of input -> linear -> cube -> mean of squares ------------------------------------------------ */

typedef struct bench {
    q_session *session;
    q_step step;
    q_real x[CUBE_BATCH * CUBE_DIM];
    q_real target[CUBE_BATCH * CUBE_DIM];
    const void *inputs[2];
} bench;

static q_value_type batch_rows(void)
{
    return rig_rows(CUBE_DIM);
}

static q_param one_slot(q_graph *g, const char *name, uint32_t rows, uint32_t init, bool trainable)
{
    const q_param_desc d = {.name = name, .type = {.dtype = Q_REAL, .ne = {1, 1, rows, CUBE_DIM}}, .trainable = trainable,
                            .init = {init, 0, 0.9}};
    return q_graph_param(g, &d);
}

static void build_cube(q_graph *g, const void *user)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    const cube_config config = {*(const uint32_t *)user, 0};
    const q_input_desc x = {"x", batch_rows(), 0};
    const q_input_desc t = {"target", batch_rows(), 0};
    q_node_desc linear = {.cls = &q_layer_linear, .name = "linear", .config = &plain, .n_in = 1, .n_param = 1};
    q_node_desc cube = {.cls = &cube_class, .name = "cube", .config = &config, .n_in = 1, .n_param = 1};
    q_node_desc loss = {.cls = &q_layer_mse, .name = "loss", .n_in = 2};
    linear.in[0] = q_graph_input(g, &x);
    loss.in[1] = q_graph_input(g, &t);
    linear.param[0] = one_slot(g, "linear.w", CUBE_DIM, Q_INIT_UNIFORM, *(const uint32_t *)user < N_WRONG);
    cube.param[0] = one_slot(g, "cube.w", 1, Q_INIT_UNIFORM, *(const uint32_t *)user < N_WRONG);
    cube.in[0] = q_graph_node(g, &linear);
    loss.in[0] = q_graph_node(g, &cube);
    q_graph_output(g, "loss", q_graph_node(g, &loss));
}

static void need(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("gradcheck: error %d: %s: %s\n", (int)e, d->what, d->field);
        exit(1);
    }
}

/* All cases together need little: a static array serves them. */
static q_block some_memory(size_t bytes)
{
    static _Alignas(128) unsigned char pool[1 << 18];
    static size_t used;
    q_block block = {pool + used, bytes};
    used += (bytes + 127) / 128 * 128;
    if (used > sizeof(pool)) {
        printf("gradcheck: the test's pool is too small\n");
        exit(1);
    }
    return block;
}

static void open_cube(bench *b, uint32_t mode, uint32_t how)
{
    static q_backend backend;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_plan_config pc = {.struct_size = sizeof(pc), .mode = mode, .max = {.batch = CUBE_BATCH, .tokens = 1, .selected = 1, .sequences = 1},
                        .n_workers = 1};
    q_context context = {NULL, &backend, 1, 0};
    q_region regions[Q_REGION_KINDS];
    q_needs needs;
    q_model *model;
    q_plan *plan;
    size_t n;
    q_backend_scalar(&backend);
    pc.workspace_size = backend.workspace_size;
    need(q_model_size(build_cube, &how, &n, &d), &d);
    need(q_model_init(&model, some_memory(n), build_cube, &how, &d), &d);
    need(q_plan_size(model, &pc, &n, &d), &d);
    need(q_plan_init(&plan, some_memory(n), model, &pc, &d), &d);
    q_plan_needs(plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (uint32_t i = 0; i < Q_REGION_KINDS; i++) {
        regions[i].kind = (uint8_t)i;
        regions[i].size = needs.bytes[i][0];
        regions[i].base = some_memory(regions[i].size).base;
    }
    need(q_session_size(plan, &n, &d), &d);
    need(q_session_init(&b->session, some_memory(n), plan, &context, regions, Q_REGION_KINDS, NULL, &d), &d);
    need(q_session_init_params(b->session, 4, &d), &d);
    for (uint32_t i = 0; i < CUBE_BATCH * CUBE_DIM; i++) {
        b->x[i] = (q_real)((double)(i * 7 % 11) / 8 - 0.6);
        b->target[i] = (q_real)((double)(i * 5 % 7) / 8 - 0.3);
    }
    memset(&b->step, 0, sizeof(b->step));
    b->inputs[0] = b->x;
    b->inputs[1] = b->target;
    b->step.n_batch = CUBE_BATCH;
    b->step.inputs = b->inputs;
}

/* ---- What it finds ------------------------------------------------------------------------------------------ */

static void expect(bool ok, const char *what)
{
    rig_expect(ok, "gradcheck", what);
}

typedef struct heard {
    uint32_t n;
    q_gradcheck_param param[4];
} heard;

static void hear(void *user, const q_gradcheck_param *found)
{
    heard *h = (heard *)user;
    h->param[h->n++ % 4] = *found;
}

static void check_right(void)
{
    static bench b;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    heard h = {0};
    q_gradcheck_config config = q_gradcheck_defaults();
    q_gradcheck_result r;
    q_real before[CUBE_DIM * CUBE_DIM];
    q_tensor w;
    open_cube(&b, Q_PLAN_TRAIN, WRONG_NOTHING);
    need(q_session_param(b.session, 0, &w, &d), &d);
    memcpy(before, w.data, sizeof(before));
    config.seen = hear;
    config.user = &h;
    need(q_gradcheck(b.session, &b.step, &config, &r, &d), &d);
    expect(r.failed == 0 && r.params == 2 && r.checked == CUBE_DIM * CUBE_DIM + CUBE_DIM, "what is right passes");
    expect(h.n == 2 && h.param[1].largest > 0 && strcmp(h.param[1].name, "cube.w") == 0 && strcmp(h.param[1].node, "cube") == 0 &&
               h.param[1].uses == 1 && h.param[1].elements == CUBE_DIM,
           "every parameter is told of");
    expect(memcmp(before, w.data, sizeof(before)) == 0, "parameters are as before");
    config.samples = 4;
    need(q_gradcheck(b.session, &b.step, &config, &r, &d), &d);
    expect(r.failed == 0 && r.checked >= 8 && r.checked < 16, "a sample of elements");
}

static void check_wrong(void)
{
    static bench b;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_gradcheck_config config = q_gradcheck_defaults();
    q_gradcheck_result r;
    open_cube(&b, Q_PLAN_TRAIN, WRONG_SIGN);
    need(q_gradcheck(b.session, &b.step, &config, &r, &d), &d);
    expect(r.failed >= CUBE_DIM - 1 && r.failed <= CUBE_DIM && strcmp(r.worst.name, "cube.w") == 0 && r.worst.excess > 10, "a wrong sign");
    open_cube(&b, Q_PLAN_TRAIN, WRONG_ONE_COLUMN);
    need(q_gradcheck(b.session, &b.step, &config, &r, &d), &d);
    expect(r.failed == 1 && r.worst.worst == 2 && r.worst.backward == 0 && r.worst.difference != 0, "one element");
    open_cube(&b, Q_PLAN_TRAIN, WRONG_NAN);
    need(q_gradcheck(b.session, &b.step, &config, &r, &d), &d);
    expect(r.failed == 1 && r.worst.worst == 3 && r.worst.excess == 1e300, "no number");
}

static void check_refusals(void)
{
    static bench b;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    const q_gradcheck_config usual = q_gradcheck_defaults();
    q_gradcheck_config c = usual;
    q_gradcheck_result r;
    open_cube(&b, Q_PLAN_INFER, WRONG_NOTHING);
    expect(q_gradcheck(b.session, &b.step, &c, &r, &d) == Q_ERR_INVALID_STATE, "a session that does not train");
    open_cube(&b, Q_PLAN_TRAIN, N_WRONG);
    expect(q_gradcheck(b.session, &b.step, &c, &r, &d) == Q_ERR_NOT_FOUND, "nothing trainable");
    open_cube(&b, Q_PLAN_TRAIN, WRONG_NOTHING);
    b.x[0] = (q_real)1e30;
    b.x[0] *= b.x[0] * b.x[0];
    b.x[0] *= b.x[0] * b.x[0] * b.x[0];
    expect(q_gradcheck(b.session, &b.step, &c, &r, &d) == Q_ERR_NON_FINITE, "a loss without end");
    c.eps = 0;
    expect(q_gradcheck(b.session, &b.step, &c, &r, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "eps") == 0, "eps 0");
    c = usual;
    c.rtol = -1;
    expect(q_gradcheck(b.session, &b.step, &c, &r, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "rtol") == 0, "rtol below 0");
    c = usual;
    c.flags = 8;
    expect(q_gradcheck(b.session, &b.step, &c, &r, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "flags") == 0, "unknown flags");
    expect(q_gradcheck(b.session, &b.step, NULL, &r, &d) == Q_ERR_INVALID_ARG, "no config");
    expect(q_gradcheck(b.session, &b.step, &usual, NULL, &d) == Q_ERR_INVALID_ARG, "no result");
    expect(q_gradcheck(NULL, &b.step, &usual, &r, &d) == Q_ERR_INVALID_ARG, "no session");
}

void cases_gradcheck(void)
{
    check_right();
    check_wrong();
    check_refusals();
}
