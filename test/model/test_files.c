/* SPDX-License-Identifier: MIT */
/*
 * Graphs that travel as files: the committed MLP gives what its weights say, and a graph of a caller's classes runs
 * with the configs, edges and parameters of the file; without the classes it is refused by name.
 */
#include "flow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 1 << 16, MAX_WIDTH = 64 };

static _Alignas(128) unsigned char file_memory[MEMORY];
static _Alignas(128) unsigned char model_memory[MEMORY];
static _Alignas(128) unsigned char plan_memory[MEMORY];
static _Alignas(128) unsigned char session_memory[MEMORY];
static _Alignas(128) unsigned char scratch_memory[MEMORY];

typedef struct file_flow {
    q_file file;
    q_backend backend;
    q_session *session;
    q_diag diag;
} file_flow;

static q_error_code open_graph(file_flow *f, const char *folder, const char *name,
                               const q_layer_class *const *classes, size_t n_classes)
{
    char path[512];
    FILE *in;
    size_t size;
    q_file_build build;
    q_plan_config c;
    q_context context;
    q_region scratch;
    q_model *model = NULL;
    q_plan *plan = NULL;
    q_error_code e;
    memset(f, 0, sizeof(*f));
    (void)snprintf(path, sizeof(path), "%.*s%s", (int)(strrchr(folder, '/') - folder + 1), folder, name);
    in = fopen(path, "rb");
    if (in == NULL) {
        return Q_ERR_IO;
    }
    size = fread(file_memory, 1, sizeof(file_memory), in);
    (void)fclose(in);
    e = q_file_open(&f->file, file_memory, size, NULL, 0, &f->diag);
    memset(&build, 0, sizeof(build));
    build.file = &f->file;
    build.classes = classes;
    build.n_classes = n_classes;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.max.batch = c.max.tokens = 4;
    c.max.selected = 1;
    c.n_workers = 1;
    q_backend_scalar(&f->backend);
    memset(&context, 0, sizeof(context));
    context.backend = &f->backend;
    if (e == Q_OK) {
        e = q_model_init(&model, (q_block){model_memory, MEMORY}, q_build_from_file, &build, &f->diag);
    }
    if (e == Q_OK) {
        e = q_plan_init(&plan, (q_block){plan_memory, MEMORY}, model, &c, &f->diag);
    }
    memset(&scratch, 0, sizeof(scratch));
    scratch.base = scratch_memory;
    scratch.size = MEMORY;
    scratch.kind = Q_REGION_SCRATCH;
    if (e == Q_OK) {
        e = q_session_init(&f->session, (q_block){session_memory, MEMORY}, plan, &context, &scratch, 1, NULL, &f->diag);
    }
    return e;
}

/* ---- The MLP ---------------------------------------------------------------------------------------------- */

static double activate(double x, uint32_t activation)
{
    return activation == Q_ACT_RELU ? (x > 0 ? x : 0) : activation == Q_ACT_TANH ? tanh(x) : x;
}

/* One Linear of the file on x[0, in), in double. Returns the number of outputs. */
static uint32_t reference_linear(const file_flow *f, const q_file_graph_view *g, uint32_t node, double *x)
{
    const q_linear_config *c = (const q_linear_config *)(const void *)(g->configs + node * sizeof(q_linear_config));
    double y[MAX_WIDTH];
    q_tensor w;
    q_tensor b;
    q_file_tensor(&f->file, g->params[2 * node], &w);
    q_file_tensor(&f->file, g->params[2 * node + 1], &b);
    for (uint32_t m = 0; m < w.ne[2]; m++) {
        y[m] = (double)((const float *)b.data)[m];
        for (uint32_t k = 0; k < w.ne[3]; k++) {
            /* PLAIN, or a panel of 16 rows */
            size_t at = w.layout == Q_PLAIN ? (size_t)m * w.ne[3] + k
                                            : (size_t)(m / 16) * w.ne[3] * 16 + (size_t)k * 16 + m % 16;
            y[m] += (double)((const float *)w.data)[at] * x[k];
        }
        y[m] = activate(y[m], c->activation);
    }
    memcpy(x, y, w.ne[2] * sizeof(double));
    return w.ne[2];
}

static void test_mlp(const char *folder)
{
    file_flow f;
    q_file_graph_view g;
    float in[4][MAX_WIDTH];
    float packed[4 * MAX_WIDTH];
    const void *inputs[] = {packed};
    q_step step;
    q_tensor out;
    uint32_t width;
    q_error_code e = open_graph(&f, folder, "mlp.qorus", NULL, 0);
    check(e == Q_OK, "mlp.qorus opens and plans (%d %s %s)", (int)e, f.diag.what, f.diag.field);
    if (e != Q_OK || !q_file_graph_arrays(&f.file, &g)) {
        return;
    }
    width = g.inputs[0].dim[g.inputs[0].n_dims - 1 + 4 - g.inputs[0].n_dims];
    for (uint32_t r = 0; r < 4; r++) {
        for (uint32_t i = 0; i < width; i++) {
            in[r][i] = (float)((int)((r * 37 + i * 11) % 19) - 9) / 8.0f;
            packed[r * width + i] = in[r][i];
        }
    }
    memset(&step, 0, sizeof(step));
    step.n_batch = step.n_tokens = g.inputs[0].sym[2] == Q_SYM_ROWS ? 2 : 4;
    step.n_batch = g.inputs[0].sym[2] == Q_SYM_TOKENS ? 1 : step.n_batch;
    step.n_tokens = g.inputs[0].sym[2] == Q_SYM_BATCH ? 1 : step.n_tokens;
    step.inputs = inputs;
    check(q_model_forward(f.session, &step, &f.diag) == Q_OK && q_session_output(f.session, 0, &out, &f.diag) == Q_OK,
          "mlp.qorus runs (%s %s)", f.diag.what, f.diag.field);
    for (uint32_t r = 0; r < 4; r++) {
        double x[MAX_WIDTH];
        uint32_t n = width;
        const float *row = (const float *)(const void *)((const char *)out.data + r * out.nb[2]);
        for (uint32_t i = 0; i < width; i++) {
            x[i] = (double)in[r][i];
        }
        for (uint32_t node = 0; node < g.head->n_nodes; node++) {
            n = reference_linear(&f, &g, node, x);
        }
        for (uint32_t i = 0; i < n; i++) {
            check(fabs((double)row[i] - x[i]) <= 1e-5 + 1e-4 * fabs(x[i]), "mlp.qorus row %u output %u: %g, expected %g",
                  r, i, (double)row[i], x[i]);
        }
    }
}

/* ---- A caller's classes ----------------------------------------------------------------------------------- */

typedef struct mix_config {
    double scale;
    uint32_t a;
    uint32_t b;
    float c;
    uint32_t reserved;
} mix_config;

static q_error_code like_first(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    for (uint32_t i = 0; i < info->n_out; i++) {
        info->out[i] = info->in[0];
    }
    return Q_OK;
}

static float *at_row(const q_tensor *t, uint32_t r)
{
    return (float *)(void *)((char *)t->data + r * t->nb[2]);
}

/* out_o = scale*(x + y) + c*param_o*(a + o) + b*param_7 */
static q_error_code mix_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const mix_config *c = (const mix_config *)layer->config;
    uint32_t rows = q_count_value(work->run, layer->out_rows[0]);
    (void)stage;
    for (uint32_t o = 0; o < layer->n_out; o++) {
        for (uint32_t r = 0; r < rows; r++) {
            for (uint32_t i = 0; i < layer->out[o]->ne[3]; i++) {
                at_row(layer->out[o], r)[i] =
                    (float)c->scale * (at_row(layer->in[0], r)[i] + at_row(layer->in[1], r)[i]) +
                    c->c * at_row(layer->param[o], 0)[i] * (float)(c->a + o) + (float)c->b * at_row(layer->param[7], 0)[i];
            }
        }
    }
    return Q_OK;
}

/* Sum of all inputs, times the parameter. */
static q_error_code join_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->out_rows[0]);
    (void)stage;
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < layer->out[0]->ne[3]; i++) {
            float sum = 0;
            for (uint32_t k = 0; k < layer->n_in; k++) {
                sum += at_row(layer->in[k], r)[i];
            }
            at_row(layer->out[0], r)[i] = sum * at_row(layer->param[0], 0)[i];
        }
    }
    return Q_OK;
}

static const q_layer_class mix = {
    .struct_size = sizeof(q_layer_class),
    .id = 65537,
    .name = "example.mix",
    .config_size = sizeof(mix_config),
    .config_version = 2,
    .min_in = 2,
    .max_in = 2,
    .n_out = 3,
    .min_param = 8,
    .max_param = 8,
    .forward_stages = 1,
    .shape = like_first,
    .forward = mix_forward,
};

static const q_layer_class join = {
    .struct_size = sizeof(q_layer_class),
    .id = 65538,
    .name = "example.join",
    .config_version = 1,
    .min_in = 1,
    .max_in = 6,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .forward_stages = 1,
    .shape = like_first,
    .forward = join_forward,
};

static const float *vector(const file_flow *f, const char *name)
{
    uint32_t index = 0;
    q_tensor t;
    check(q_file_find(&f->file, name, strlen(name), &index) == Q_OK, "%s is in the file", name);
    q_file_tensor(&f->file, index, &t);
    return (const float *)t.data;
}

static void compare_classes(const file_flow *f, const float *xs, const int32_t *ids)
{
    const float *table = vector(f, "table"); /* one panel: [8 columns][16 rows] */
    const float *p7 = vector(f, "mix.7");
    const float *first = vector(f, "mix.0");
    const float *second = vector(f, "mix.1");
    const float *third = vector(f, "mix.2");
    q_tensor out;
    check(q_session_output(f->session, 0, &out, NULL) == Q_OK, "output 0");
    for (uint32_t r = 0; r < 3; r++) {
        for (uint32_t i = 0; i < 8; i++) {
            float x = xs[r * 8 + i];
            float base = 0.5f * (table[i * 16 + (uint32_t)ids[r]] + x);
            float o0 = base + 1.25f * first[i] * 3 + 7 * p7[i];
            float o1 = base + 1.25f * second[i] * 4 + 7 * p7[i];
            float o2 = base + 1.25f * third[i] * 5 + 7 * p7[i];
            float want = (o0 + o1 + o2 + o0 + o1 + x) * p7[i];
            float got = at_row(&out, r)[i];
            check(fabsf(got - want) <= 1e-4f + 1e-4f * fabsf(want), "graph.qorus row %u column %u: %g, expected %g", r, i,
                  (double)got, (double)want);
        }
    }
}

static void test_classes(const char *folder)
{
    static const q_layer_class *const both[] = {&join, &mix};
    static const int32_t ids[] = {5, 0, 15};
    float xs[24];
    const void *inputs[] = {xs, ids};
    q_layer_class other = mix;
    const q_layer_class *wrong[2];
    file_flow f;
    q_step step;
    q_error_code e;
    for (int i = 0; i < 24; i++) {
        xs[i] = (float)(i % 7) - 3.0f;
    }
    check(open_graph(&f, folder, "graph.qorus", NULL, 0) == Q_ERR_NOT_FOUND && strcmp(f.diag.what, "example.mix") == 0,
          "a class nobody gave is refused by its name (%s)", f.diag.what);
    check(open_graph(&f, folder, "graph.qorus", both, 1) == Q_ERR_NOT_FOUND, "one of two is not enough");
    other.config_version = 3;
    wrong[0] = &other;
    wrong[1] = &join;
    check(open_graph(&f, folder, "graph.qorus", wrong, 2) == Q_ERR_VERSION, "another version of its config is refused");
    e = open_graph(&f, folder, "graph.qorus", both, 2);
    check(e == Q_OK, "graph.qorus with its classes opens and plans (%d %s %s)", (int)e, f.diag.what, f.diag.field);
    if (e != Q_OK) {
        return;
    }
    memset(&step, 0, sizeof(step));
    step.n_tokens = 3;
    step.inputs = inputs;
    e = q_model_forward(f.session, &step, &f.diag);
    check(e == Q_OK, "graph.qorus runs (%d %s %s)", (int)e, f.diag.what, f.diag.field);
    compare_classes(&f, xs, ids);
    step.inputs = (const void *const[]){xs, (const int32_t[]){1, 16, 2}};
    check(q_model_forward(f.session, &step, &f.diag) == Q_ERR_INVALID_TOKEN && f.diag.offset == 1,
          "an index input beyond its limit is refused, by index");
}

void test_files(const char *file)
{
    test_mlp(file);
    test_classes(file);
}
