/* SPDX-License-Identifier: MIT */
/*
 * test_norm: BatchNorm at work. Running statistics against plain arithmetic in double, evaluation within training and
 * inference with the same bits, and products that do BatchNorm and its activation in their epilogue: with and without
 * fusion, on every backend, the same bits.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/opened.h"
#include "port/x86/cpu_detect.h"
#include "qorus/model.h"
#include "tools/common/backends.h"

enum { BATCH = 5, SIDE = 6, CHANNELS = 3, MIDDLE = 19, OUT = 7, BLOCKS_HELD = 16 };

static int passed;
static int failed;

static void check(bool ok, const char *what, const char *where)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s: %s\n", what, where);
    }
}

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("FAIL error %d: %s: %s (need %llu, have %llu)\n", (int)e, d->what, d->field, (unsigned long long)d->need,
               (unsigned long long)d->have);
        exit(1);
    }
}

/* ---- A network: convolution, batchnorm with relu; linear, batchnorm, + what came before; two of a product; of an input */

static const q_conv2d_config conv = {3, 3, 1, 1, 1, 1, 1, 1, 1, Q_ACT_NONE};
static const q_linear_config plain = {Q_ACT_NONE, 0};
static const q_batchnorm_config with_relu = {1e-5f, 0.25f, Q_ACT_RELU, 0};
static const q_batchnorm_config without = {1e-3f, 0.1f, Q_ACT_NONE, 0};

static q_param param(q_graph *g, const char *name, uint32_t rows, uint32_t columns, bool trainable)
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

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value x, q_value other,
                    const q_param *params, uint32_t n)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = other == Q_NONE ? 1 : 2;
    d.in[0] = x;
    d.in[1] = other == Q_NONE ? 0 : other;
    d.n_param = n;
    for (uint32_t i = 0; i < n; i++) {
        d.param[i] = params[i];
    }
    return q_graph_node(g, &d);
}

static q_value norm(q_graph *g, const char *name, const q_batchnorm_config *config, q_value x, uint32_t columns)
{
    static const char *const kinds[] = {"weight", "bias", "mean", "var"};
    q_param p[4];
    for (uint32_t i = 0; i < 4; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "%s.%s", name, kinds[i]);
        p[i] = param(g, text, 1, columns, i < 2);
    }
    return node(g, &q_layer_batchnorm, name, config, x, Q_NONE, p, 4);
}

static void build(q_graph *g, const void *user)
{
    q_input_desc in;
    q_value x;
    q_value a;
    q_value b;
    q_param p[2];
    (void)user;
    memset(&in, 0, sizeof(in));
    in.name = "x";
    in.type.dtype = Q_REAL;
    in.type.dim[0].n = 1;
    in.type.dim[0].sym = Q_SYM_BATCH;
    in.type.dim[1].n = in.type.dim[2].n = SIDE;
    in.type.dim[3].n = CHANNELS;
    x = norm(g, "first", &without, q_graph_input(g, &in), CHANNELS);
    p[0] = param(g, "conv.w", MIDDLE, 9 * CHANNELS, true);
    p[1] = param(g, "conv.b", 1, MIDDLE, true);
    a = norm(g, "second", &with_relu, node(g, &q_layer_conv2d, "conv", &conv, x, Q_NONE, p, 2), MIDDLE);
    p[0] = param(g, "linear.w", MIDDLE, MIDDLE, true);
    b = norm(g, "third", &without, node(g, &q_layer_linear, "linear", &plain, a, Q_NONE, p, 1), MIDDLE);
    b = node(g, &q_layer_add, "add", NULL, b, a, NULL, 0);
    p[0] = param(g, "twice.w", MIDDLE, MIDDLE, true);
    b = norm(g, "fifth", &without, node(g, &q_layer_linear, "twice", &plain, b, Q_NONE, p, 1), MIDDLE);
    b = norm(g, "behind", &without, b, MIDDLE);
    p[0] = param(g, "last.w", OUT, MIDDLE, true);
    b = node(g, &q_layer_linear, "last", &plain, b, Q_NONE, p, 1);
    q_graph_output(g, "y", norm(g, "fourth", &with_relu, b, OUT));
    q_graph_output(g, "made before the norm", b);
}

/* ---- One session ------------------------------------------------------------------------------------------------ */

typedef struct bench {
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    void *held[BLOCKS_HELD];
    uint32_t n_held;
} bench;

static void *hold(void *holder, size_t bytes)
{
    bench *b = (bench *)holder;
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL || b->n_held == BLOCKS_HELD) {
        printf("FAIL no memory\n");
        exit(1);
    }
    memset(p, 0xff, bytes);
    b->held[b->n_held++] = p;
    return p;
}

static void close_bench(bench *b)
{
    for (uint32_t i = 0; i < b->n_held; i++) {
        free(b->held[i]);
    }
}

static double number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / 16777216.0;
}

static void fill_params(bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    for (uint32_t p = 0; p < q_model_n_params(b->model); p++) {
        const char *name = q_model_param_name(b->model, p);
        bool var = strstr(name, ".var") != NULL;
        uint64_t state = 5 + p;
        q_tensor t;
        must(q_session_param(b->session, p, &t, &d), &d);
        for (uint32_t i = 0; i < t.ne[2] * t.ne[3]; i++) {
            ((float *)t.data)[i] = (float)(var ? 0.5 + number(&state) : 2 * number(&state) - 1);
        }
    }
}

static void open_bench(bench *b, const char *backend, q_plan_mode mode, uint32_t flags)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_context context = {NULL, &b->backend, 1, 0};
    q_plan_config pc;
    opened o = {.build = build, .config = &pc, .context = &context, .hold = hold, .holder = b};
    memset(b, 0, sizeof(*b));
    (void)backend_make(&b->backend, backend, q_cpu_detect());
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = mode;
    pc.precision = Q_PRECISION_EXACT;
    pc.flags = flags;
    pc.max = (q_maxima){BATCH, 1, 1, 0, 1};
    pc.n_workers = 1;
    pc.workspace_size = b->backend.workspace_size;
    must(opened_make(&o, &d), &d);
    b->model = o.model;
    b->plan = o.plan;
    b->session = o.session;
    fill_params(b);
}

static float image[BATCH * SIDE * SIDE * CHANNELS];

static void forward(bench *b, uint32_t flags)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    const void *inputs[] = {image};
    q_step step;
    memset(&step, 0, sizeof(step));
    step.n_batch = BATCH;
    step.inputs = inputs;
    step.flags = flags;
    must(q_model_forward(b->session, &step, &d), &d);
}

/* All outputs, one behind the other. */
static const float *outputs(bench *b)
{
    static float all[2 * BATCH * SIDE * SIDE * OUT];
    for (uint32_t i = 0; i < 2; i++) {
        q_diag d = {Q_OK, "", "", 0, 0, 0};
        q_tensor t;
        must(q_session_output(b->session, i, &t, &d), &d);
        memcpy(all + i * sizeof(all) / sizeof(all[0]) / 2, t.data, sizeof(all) / 2);
    }
    return all;
}

static const float *param_of(bench *b, const char *name)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_tensor t;
    must(q_session_param(b->session, q_model_find_param(b->model, name), &t, &d), &d);
    return (const float *)t.data;
}

/* ---- Tests -------------------------------------------------------------------------------------------------------- */

/* Steps of that class in the printed plan. */
typedef struct count {
    const char *what;
    uint32_t n;
    char text[65536];
    size_t size;
} count;

static void collect(void *user, const char *text, size_t n)
{
    count *c = (count *)user;
    if (c->size + n < sizeof(c->text)) {
        memcpy(c->text + c->size, text, n);
        c->size += n;
    }
}

static uint32_t occurrences(const bench *b, const char *what)
{
    static count c;
    uint32_t n = 0;
    memset(&c, 0, sizeof(c));
    q_plan_print(b->plan, Q_PLAN_JSON, collect, &c);
    for (const char *p = strstr(c.text, what); p != NULL; p = strstr(p + 1, what)) {
        n++;
    }
    return n;
}

static void test_fusion(const char *backend, float *first)
{
    bench fused;
    bench loose;
    open_bench(&fused, backend, Q_PLAN_INFER, 0);
    open_bench(&loose, backend, Q_PLAN_INFER, Q_PLAN_NO_FUSE);
    forward(&fused, 0);
    forward(&loose, 0);
    check(occurrences(&fused, "\"class\":\"fold\"") == 3 && occurrences(&fused, "\"fold\":") == 3 &&
              occurrences(&fused, "\"class\":\"batchnorm\"") == 3 && occurrences(&fused, "\"class\":\"add\"") == 0,
          "three of six batchnorms are folded, and the addition", backend);
    check(occurrences(&loose, "\"class\":\"fold\"") == 0 && occurrences(&loose, "\"class\":\"batchnorm\"") == 6,
          "without fusion none", backend);
    check(memcmp(outputs(&loose), first, sizeof(float) * 2 * BATCH * SIDE * SIDE * OUT) == 0, "the bits of scalar", backend);
    check(memcmp(outputs(&fused), first, sizeof(float) * 2 * BATCH * SIDE * SIDE * OUT) == 0, "the same bits fused", backend);
    close_bench(&fused);
    close_bench(&loose);
}

static void test_evaluation(const char *backend, const float *want)
{
    bench b;
    float mean;
    open_bench(&b, backend, Q_PLAN_TRAIN, 0);
    mean = *param_of(&b, "first.mean");
    forward(&b, Q_STEP_EVALUATE);
    check(memcmp(outputs(&b), want, sizeof(float) * 2 * BATCH * SIDE * SIDE * OUT) == 0, "evaluation gives inference's bits",
          backend);
    check(*param_of(&b, "first.mean") == mean, "evaluation leaves running statistics alone", backend);
    forward(&b, 0);
    check(*param_of(&b, "first.mean") != mean, "training moves running statistics", backend);
    close_bench(&b);
}

/* What PyTorch does: running = (1 - momentum)*running + momentum*new, the variance unbiased. */
static void test_running(const char *backend)
{
    static const double rows = BATCH * SIDE * SIDE;
    bench b;
    float old[2][CHANNELS];
    open_bench(&b, backend, Q_PLAN_TRAIN, 0);
    memcpy(old[0], param_of(&b, "first.mean"), sizeof(old[0]));
    memcpy(old[1], param_of(&b, "first.var"), sizeof(old[1]));
    forward(&b, 0);
    for (uint32_t c = 0; c < CHANNELS; c++) {
        double sum = 0;
        double squares = 0;
        for (uint32_t r = 0; r < BATCH * SIDE * SIDE; r++) {
            sum += (double)image[r * CHANNELS + c];
        }
        for (uint32_t r = 0; r < BATCH * SIDE * SIDE; r++) {
            double d = (double)image[r * CHANNELS + c] - sum / rows;
            squares += d * d;
        }
        check(fabs((double)param_of(&b, "first.mean")[c] - (0.9 * (double)old[0][c] + 0.1 * sum / rows)) < 1e-6,
              "running mean", backend);
        check(fabs((double)param_of(&b, "first.var")[c] - (0.9 * (double)old[1][c] + 0.1 * squares / (rows - 1))) < 1e-6,
              "running variance", backend);
    }
    close_bench(&b);
}

int main(void)
{
    static float want[2 * BATCH * SIDE * SIDE * OUT];
    uint64_t state = 3;
    bench b;
    for (size_t i = 0; i < sizeof(image) / sizeof(image[0]); i++) {
        image[i] = (float)(4 * number(&state) - 1);
    }
    open_bench(&b, "scalar", Q_PLAN_INFER, Q_PLAN_NO_FUSE);
    forward(&b, 0);
    memcpy(want, outputs(&b), sizeof(want));
    close_bench(&b);
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        q_backend backend;
        if (!backend_make(&backend, backend_name(i), q_cpu_detect())) {
            continue;
        }
        test_fusion(backend_name(i), want);
        test_evaluation(backend_name(i), want);
        test_running(backend_name(i));
    }
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
