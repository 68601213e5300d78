/* SPDX-License-Identifier: MIT */
/*
 * A layer class from outside the core, with a parameter, state and scratch, takes the place of every RMSNorm of a
 * model: same bits, with two workers and with chunks. Also: what the graph refuses.
 */
#include "flow.h"

#include "qorus/base/fma.h"
#include "../../port/posix/posix.h"
#include "../../port/x86/cpu_detect.h"

#include <stdio.h>
#include <string.h>

/* ---- A caller's RMSNorm ----------------------------------------------------------------------------------- */

/* It counts the rows it has normalised in its state, and squares into scratch. */
typedef struct counting_norm_config {
    float eps;
    float offset;
    uint32_t group;
    uint32_t reserved;
} counting_norm_config;

static q_error_code counting_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    return info->param[0].ne[3] == info->in[0].dim[3].n ? Q_OK : Q_ERR_INVALID_SHAPE;
}

static void counting_sizes(const q_node_info *info, q_layer_sizes *out)
{
    out->state = 64;
    out->scratch = (size_t)info->in[0].dim[3].n * sizeof(float);
}

/* Sum of squares in the documented order: lanes by fma, tree 8-4-2-1. */
static float square_sum(const float *x, uint32_t n)
{
    float lane[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        lane[i % 16] = q_fma_f32(x[i], x[i], lane[i % 16]);
    }
    for (uint32_t width = 8; width != 0; width /= 2) {
        for (uint32_t i = 0; i < width; i++) {
            lane[i] = lane[i] + lane[i + width];
        }
    }
    return lane[0];
}

/* One worker: the class does not say that it shares work. */
static q_error_code counting_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const counting_norm_config *c = (const counting_norm_config *)layer->config;
    const float *weight = (const float *)layer->param[0]->data;
    float *scratch = (float *)layer->scratch;
    uint32_t n = layer->in[0]->ne[3];
    uint32_t rows = q_count_value(work->run, layer->out_rows[0]);
    (void)stage;
    if (work->n_workers != 1) {
        return Q_ERR_INVALID_STATE;
    }
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = (const float *)(const void *)((const char *)layer->in[0]->data + r * layer->in[0]->nb[2]);
        float *y = (float *)(void *)((char *)layer->out[0]->data + r * layer->out[0]->nb[2]);
        float s = 1.0f / q_sqrt_f32(square_sum(x, n) / (float)n + c->eps);
        for (uint32_t i = 0; i < n; i++) {
            scratch[i] = x[i] * s;
        }
        for (uint32_t i = 0; i < n; i++) {
            y[i] = scratch[i] * weight[i];
        }
    }
    *(uint64_t *)layer->state += rows;
    return Q_OK;
}

static const q_layer_class counting_norm = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 1,
    .name = "counting_norm",
    .config_size = sizeof(counting_norm_config),
    .config_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .forward_stages = 1,
    .in_place = 1,
    .flags = 0,
    .shape = counting_shape,
    .sizes = counting_sizes,
    .forward = counting_forward,
};

/* Rows counted in the states of all its nodes: the first 8 bytes of pieces of 64, which the test finds by value. */
static uint64_t counted(const flow *f, uint32_t nodes, uint64_t rows)
{
    uint64_t found = 0;
    for (size_t i = 0; i < f->n_regions; i++) {
        for (size_t at = 0; f->regions[i].kind == Q_REGION_STATE && at < f->regions[i].size; at += 64) {
            uint64_t v;
            memcpy(&v, (const char *)f->regions[i].base + at, sizeof(v));
            found += v == rows ? 1 : 0;
        }
    }
    return found >= nodes;
}

static void test_swap(const char *file, uint32_t precision, const char *backend)
{
    static q_posix posix;
    static const q_class_swap swap = {Q_LAYER_RMSNORM, &counting_norm, NULL};
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[60];
    q_error_code e;
    uint64_t expected;
    q_diag d;
    s.precision = precision;
    s.backend = backend;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 60, 61);
    expected = flow_hash(&f, tokens, 60, &e);
    if (q_posix_init(&posix, 2, &d) != Q_OK) {
        check(false, "threads");
        return;
    }
    s.port = q_posix_port(&posix);
    s.swaps = &swap;
    s.n_swaps = 1;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        for (uint32_t chunk = 1; chunk <= 64; chunk *= 4) {
            uint32_t layers = q_file_get_arch(&f.file)->n_layers;
            s.workers = workers;
            s.chunk = chunk;
            flow_open(&f, &s, &flow_heap);
            check(flow_hash(&f, tokens, 60, &e) == expected && e == Q_OK,
                  "a caller's RMSNorm everywhere, precision %u, %u workers, chunks of %u: same bits", precision, workers,
                  chunk);
            check(counted(&f, 2 * layers, 60) == 1, "its state counted 60 rows in every layer");
        }
    }
    q_posix_close(&posix);
}

/* ---- What the graph refuses -------------------------------------------------------------------------------- */

typedef struct graph_case {
    const char *name;
    int defect;
    q_error_code code;
    const char *field;
} graph_case;

enum {
    SOUND, NO_OUTPUT, BAD_EDGE, BAD_PARAM, TOO_MANY_INPUTS, TOO_FEW_PARAMS, NO_CLASS, OLD_CLASS, NO_CONFIG, LATE_INPUT,
    EMPTY_NAME, LONG_NAME, NODE_TWICE, PARAM_TWICE, ZERO_DIM, TWO_SYMBOLS, BAD_DTYPE, SHAPE_MISMATCH, BAD_EPS,
    QUANT_TRAINABLE, BLOCK_CUT, BAD_OUTPUT, UNEVEN_BUILDER
};

static q_param vector_param(q_graph *g, const char *name, uint32_t n, int defect)
{
    q_param_desc p;
    memset(&p, 0, sizeof(p));
    p.name = name;
    p.type.dtype = defect == QUANT_TRAINABLE ? Q_Q8_0 : Q_F32;
    p.type.ne[0] = p.type.ne[1] = p.type.ne[2] = 1;
    p.type.ne[3] = defect == QUANT_TRAINABLE ? 32 : defect == ZERO_DIM ? 0 : n;
    p.trainable = defect == QUANT_TRAINABLE;
    if (defect == BLOCK_CUT) {
        p.type.dtype = Q_Q4_0;
        p.type.ne[3] = 33;
    }
    return q_graph_param(g, &p);
}

static char long_name[200];

static void build_norm(q_graph *g, const void *user)
{
    int defect = *(const int *)user;
    static int runs;
    q_rmsnorm_config c = {1e-5f, 0, 0, 0};
    q_layer_class old = q_layer_rmsnorm;
    q_input_desc in;
    q_node_desc node;
    q_value x;
    memset(&in, 0, sizeof(in));
    in.name = "x";
    in.type.dtype = defect == BAD_DTYPE ? Q_Q8_0 : Q_F32;
    for (int i = 0; i < 4; i++) {
        in.type.dim[i].n = 1;
    }
    in.type.dim[2].sym = Q_SYM_BATCH;
    in.type.dim[1].sym = defect == TWO_SYMBOLS ? Q_SYM_TOKENS : Q_SYM_ONE;
    in.type.dim[3].n = 8;
    x = q_graph_input(g, &in);
    memset(&node, 0, sizeof(node));
    old.struct_size--;
    c.eps = defect == BAD_EPS ? 0 : c.eps;
    memset(long_name, 'n', sizeof(long_name) - 1);
    node.cls = defect == NO_CLASS ? NULL : defect == OLD_CLASS ? &old : &q_layer_rmsnorm;
    node.name = defect == EMPTY_NAME ? "" : defect == LONG_NAME ? long_name : "norm";
    node.config = defect == NO_CONFIG ? NULL : &c;
    node.n_in = defect == TOO_MANY_INPUTS ? 2 : 1;
    node.in[0] = defect == BAD_EDGE ? x + 1 : x;
    node.n_param = defect == TOO_FEW_PARAMS ? 0 : 1;
    node.param[0] = vector_param(g, "w", defect == SHAPE_MISMATCH ? 7 : 8, defect);
    if (defect == BAD_PARAM) {
        node.param[0]++;
    }
    if (defect == PARAM_TWICE) {
        (void)vector_param(g, "w", 8, SOUND);
    }
    x = q_graph_node(g, &node);
    if (defect == NODE_TWICE || (defect == UNEVEN_BUILDER && runs++ % 2 == 1)) {
        node.name = defect == NODE_TWICE ? "norm" : "more";
        x = q_graph_node(g, &node);
    }
    if (defect == LATE_INPUT) {
        in.name = "late";
        (void)q_graph_input(g, &in);
    }
    if (defect != NO_OUTPUT) {
        q_graph_output(g, "y", defect == BAD_OUTPUT ? x + 1 : x);
    }
}

static q_error_code build_and_plan(int defect, q_diag *d)
{
    static _Alignas(128) unsigned char memory[1 << 16];
    q_plan_config c;
    q_model *m = NULL;
    q_plan *p = NULL;
    size_t n = 0;
    q_error_code e = q_model_size(build_norm, &defect, &n, d);
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.max.batch = c.max.tokens = c.max.selected = 1;
    c.n_workers = 1;
    if (e == Q_OK) {
        e = q_model_init(&m, (q_block){memory, sizeof(memory) / 2}, build_norm, &defect, d);
    }
    if (e == Q_OK) {
        e = q_plan_init(&p, (q_block){memory + sizeof(memory) / 2, sizeof(memory) / 2}, m, &c, d);
    }
    check((e == Q_OK) == (p != NULL), "outputs are written on success alone");
    return e;
}

static void test_graph_errors(void)
{
    static const graph_case cases[] = {
        {"sound", SOUND, Q_OK, ""},
        {"no output", NO_OUTPUT, Q_ERR_INVALID_ARG, "outputs"},
        {"edge to a value that is not there", BAD_EDGE, Q_ERR_INVALID_ARG, "in"},
        {"parameter that is not there", BAD_PARAM, Q_ERR_INVALID_ARG, "param"},
        {"more inputs than the class takes", TOO_MANY_INPUTS, Q_ERR_INVALID_ARG, "n_in"},
        {"fewer parameters than the class takes", TOO_FEW_PARAMS, Q_ERR_INVALID_ARG, "n_param"},
        {"A01 no class", NO_CLASS, Q_ERR_INVALID_ARG, "cls"},
        {"A05 class of another size", OLD_CLASS, Q_ERR_INVALID_ARG, "cls"},
        {"A01 no config", NO_CONFIG, Q_ERR_INVALID_ARG, "config"},
        {"input after a node", LATE_INPUT, Q_ERR_INVALID_STATE, "inputs come before nodes"},
        {"M40 empty name", EMPTY_NAME, Q_ERR_INVALID_ARG, "name"},
        {"M41 name too long", LONG_NAME, Q_ERR_INVALID_ARG, "name"},
        {"M45 two nodes of one name", NODE_TWICE, Q_ERR_INVALID_ARG, "name used twice"},
        {"M45 two parameters of one name", PARAM_TWICE, Q_ERR_INVALID_ARG, "name used twice"},
        {"M21 dimension 0", ZERO_DIM, Q_ERR_INVALID_SIZE, "type.ne"},
        {"two symbols in one shape", TWO_SYMBOLS, Q_ERR_INVALID_SHAPE, "type.dim"},
        {"M27 input of a storage type", BAD_DTYPE, Q_ERR_INVALID_DTYPE, "type.dtype"},
        {"M49 parameter of another width", SHAPE_MISMATCH, Q_ERR_INVALID_SHAPE, "parameter"},
        {"M63 norm eps 0", BAD_EPS, Q_ERR_INVALID_ARG, "config.eps"},
        {"quantised parameter that is to be trained", QUANT_TRAINABLE, Q_ERR_INVALID_DTYPE, "trainable"},
        {"M26 row that cuts a block", BLOCK_CUT, Q_ERR_INVALID_SHAPE, "type.ne"},
        {"output that is not there", BAD_OUTPUT, Q_ERR_INVALID_ARG, "value"},
        {"builder that differs between its runs", UNEVEN_BUILDER, Q_ERR_INVALID_STATE,
         "builder differs between its two runs"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        q_diag d;
        q_error_code e;
        memset(&d, 0, sizeof(d));
        e = build_and_plan(cases[i].defect, &d);
        check(e == cases[i].code && strncmp(d.field, cases[i].field, sizeof(d.field) - 1) == 0,
              "%s: expected %d %s, got %d %s", cases[i].name, (int)cases[i].code, cases[i].field, (int)e, d.field);
    }
}

void test_layers(const char *file)
{
    test_swap(file, Q_PRECISION_FAST, "scalar");
    test_swap(file, Q_PRECISION_EXACT, "scalar");
    test_graph_errors();
}

/* All 61 norms of SmolLM2, on AVX2 where this CPU has it. */
void test_large(const char *file)
{
    FILE *f = fopen(file, "rb");
    if (f == NULL) {
        check_skip("the large model is not there");
        return;
    }
    (void)fclose(f);
    test_swap(file, Q_PRECISION_FAST, (q_cpu_detect() & Q_CPU_AVX2) != 0 ? "avx2" : "scalar");
    test_sequences_large(file, (q_cpu_detect() & Q_CPU_AVX2) != 0 ? "avx2" : "scalar");
}
