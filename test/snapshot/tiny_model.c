/* SPDX-License-Identifier: MIT */
/* A language model of one attention layer, with a layer of the caller's own behind it if asked. */
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 32, HEADS = 2, HEAD_DIM = 8, WIDTH = HEADS * HEAD_DIM };

static q_backend backend;
static void *blocks;

/* A caller's layer that cannot go back: adds every row it has seen to its output. */
static q_error_code sum_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    return Q_OK;
}

static void sum_sizes(const q_node_info *info, q_layer_sizes *out)
{
    out->state = info->in[0].dim[3].n * sizeof(q_real);
}

static q_error_code sum_forward(const q_layer *layer, const q_work *w, uint32_t stage)
{
    uint32_t dim = layer->in[0]->ne[3];
    uint32_t n = w->run->n_tokens;
    (void)stage;
    for (uint32_t r = 0; r < n; r++) {
        q_real *sum = (q_real *)(void *)((char *)layer->state +
                                         q_span_of_row(w->run, n, r).sequence * layer->state_stride);
        const q_real *x = (const q_real *)(const void *)((const char *)layer->in[0]->data +
                                                         r * layer->in[0]->nb[2]);
        q_real *y = (q_real *)(void *)((char *)layer->out[0]->data + r * layer->out[0]->nb[2]);
        for (uint32_t i = 0; i < dim; i++) {
            sum[i] += x[i];
            y[i] = sum[i];
        }
    }
    return Q_OK;
}

static const q_layer_class sum_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 7,
    .name = "sum",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_STATEFUL,
    .shape = sum_shape,
    .sizes = sum_sizes,
    .forward = sum_forward,
};

static const q_layer_class sum_by_span_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 7,
    .name = "sum",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_STATEFUL | Q_LAYER_SEQUENCES,
    .shape = sum_shape,
    .sizes = sum_sizes,
    .forward = sum_forward,
};

static q_param weights(q_graph *g, const char *name, uint32_t rows, uint32_t columns)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    return q_graph_param(g, &d);
}

static q_value add_node(q_graph *g, const q_layer_class *cls, const char *name, const void *config,
                        const q_value *in, uint32_t n_in, q_param param)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = n_in;
    memcpy(d.in, in, n_in * sizeof(*in));
    d.n_param = param == Q_NONE ? 0 : 1;
    d.param[0] = param;
    return q_graph_node(g, &d);
}

static void build(q_graph *g, const void *user)
{
    const tiny_kind *kind = (const tiny_kind *)user;
    q_embedding_config ec = {1.0f, 0};
    q_linear_config lc = {Q_ACT_NONE, 0};
    q_attention_config ac = {HEADS, 1, HEAD_DIM, 0, kind->scale, 0};
    q_input_desc tokens;
    q_value x, in[3];
    memset(&tokens, 0, sizeof(tokens));
    tokens.name = "tokens";
    tokens.type.dtype = Q_I32;
    tokens.limit = VOCAB;
    for (int i = 0; i < 4; i++) {
        tokens.type.dim[i].n = 1;
    }
    tokens.type.dim[3].sym = Q_SYM_TOKENS;
    x = q_graph_input(g, &tokens);
    x = add_node(g, &q_layer_embedding, "embed", &ec, &x, 1, weights(g, "e", VOCAB, DIM));
    in[0] = add_node(g, &q_layer_linear, "q", &lc, &x, 1, weights(g, "q.w", WIDTH, DIM));
    in[1] = add_node(g, &q_layer_linear, "k", &lc, &x, 1, weights(g, "k.w", HEAD_DIM, DIM));
    in[2] = add_node(g, &q_layer_linear, "v", &lc, &x, 1, weights(g, "v.w", HEAD_DIM, DIM));
    x = add_node(g, &q_layer_attention, "attention", &ac, in, 3, Q_NONE);
    if (kind->with_sum) {
        x = add_node(g, kind->by_span ? &sum_by_span_class : &sum_class, "sum", NULL, &x, 1, Q_NONE);
    }
    x = add_node(g, &q_layer_select_rows, "select", NULL, &x, 1, Q_NONE);
    x = add_node(g, &q_layer_linear, "logits", &lc, &x, 1, weights(g, "o.w", VOCAB, WIDTH));
    q_graph_output(g, "logits", x);
}

void tiny_must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        (void)printf(
            "FAIL error %d: %s: %s (need %llu, have %llu)\n0 passed, 1 failed, 0 skipped\n", (int)e,
            d->what, d->field, (unsigned long long)d->need, (unsigned long long)d->have);
        exit(1);
    }
}

/* Memory that lives until tiny_end; a block begins with a pointer to the one before. */
static void *aligned(size_t n)
{
    char *p = (char *)aligned_alloc(128, (n + 127) / 128 * 128 + 128);
    if (p == NULL) {
        exit(1);
    }
    memcpy(p, &blocks, sizeof(blocks));
    blocks = p;
    memset(p + 128, 0xAB, n);
    return p + 128;
}

void tiny_end(void)
{
    while (blocks != NULL) {
        void *before;
        memcpy(&before, blocks, sizeof(before));
        free(blocks);
        blocks = before;
    }
}

q_error_code tiny_plan(const tiny_kind *kind, uint32_t kv, uint32_t precision, q_plan **plan, q_diag *d)
{
    q_plan_config pc;
    q_model *model;
    size_t n;
    q_backend_scalar(&backend);
    tiny_must(q_model_size(build, kind, &n, d), d);
    tiny_must(q_model_init(&model, (q_block){aligned(n), n}, build, kind, d), d);
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.precision = precision;
    pc.max.batch = pc.max.selected = 1;
    pc.max.tokens = 8;
    pc.max.kv = kv;
    pc.max.sequences = kind->sequences;
    pc.kv_type = kind->kv_type;
    pc.n_workers = 1;
    pc.workspace_size = backend.workspace_size;
    tiny_must(q_plan_size(model, &pc, &n, d), d);
    return q_plan_init(plan, (q_block){aligned(n), n}, model, &pc, d);
}

q_session *tiny_session(const tiny_kind *kind, uint32_t kv, uint32_t precision)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_context context = {NULL, &backend, 1, 0};
    const q_model *model;
    q_plan *plan;
    q_session *s;
    q_needs needs;
    q_region regions[3];
    uint32_t state = 99;
    size_t n;
    tiny_must(tiny_plan(kind, kv, precision, &plan, &d), &d);
    q_plan_needs(plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (int i = 0; i < 3; i++) {
        regions[i].kind = (uint8_t)(i == 0   ? Q_REGION_PARAM
                                    : i == 1 ? Q_REGION_STATE
                                             : Q_REGION_SCRATCH);
        regions[i].size = needs.bytes[regions[i].kind][0];
        regions[i].base = aligned(regions[i].size);
    }
    tiny_must(q_session_size(plan, &n, &d), &d);
    tiny_must(q_session_init(&s, (q_block){aligned(n), n}, plan, &context, regions, 3, NULL, &d),
              &d);
    model = q_session_model(s);
    for (uint32_t p = 0; p < q_model_n_params(model); p++) {
        q_tensor t;
        tiny_must(q_session_param(s, p, &t, &d), &d);
        for (uint32_t i = 0; i < t.ne[2] * t.ne[3]; i++) {
            state = state * 1664525u + 1013904223u;
            ((q_real *)t.data)[i] = (q_real)((double)(int32_t)state / 2147483648.0);
        }
    }
    return s;
}

/* Feeds n tokens that follow from the position; the last one's logits go to out. */
void tiny_feed(q_session *s, uint32_t n, q_real out[VOCAB])
{
    tiny_feed_sequence(s, 0, n, out);
}

void tiny_feed_sequence(q_session *s, uint32_t sequence, uint32_t n, q_real out[VOCAB])
{
    const q_step_span span = {sequence, n};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    int32_t ids[64];
    const void *inputs[1] = {ids};
    q_step step;
    q_tensor t;
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = (int32_t)((q_sequence_position(s, sequence) + i) * 7 % VOCAB);
    }
    memset(&step, 0, sizeof(step));
    step.n_spans = sequence != 0 ? 1 : 0;
    step.spans = &span;
    step.n_tokens = n;
    step.inputs = inputs;
    step.select = Q_SELECT_LAST;
    tiny_must(q_model_forward(s, &step, &d), &d);
    tiny_must(q_session_output(s, 0, &t, &d), &d);
    memcpy(out, t.data, VOCAB * sizeof(q_real));
}
