/* SPDX-License-Identifier: MIT */
/* Small models in slots, and writing them. */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/opened.h"
#include "tools/common/backends.h"

static q_backend backend;

void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("FAIL error %d: %s: %s (need %llu, have %llu)\n", (int)e, d->what, d->field, (unsigned long long)d->need,
               (unsigned long long)d->have);
        exit(1);
    }
}

static void *hold(void *holder, size_t bytes)
{
    net *n = (net *)holder;
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL) {
        exit(1);
    }
    memset(p, 0xff, bytes);
    n->memory[n->n_memory++] = p;
    return p;
}

static void fill(float *x, size_t n, uint32_t *state)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        x[i] = (float)((double)(int32_t)*state / 2147483648.0 * 0.5);
    }
}

void net_open(net *n, q_build_fn build, const void *user, uint32_t mode)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_context context = {NULL, &backend, 1, 0};
    q_plan_config c;
    opened o = {.build = build, .user = user, .config = &c, .context = &context, .hold = hold, .holder = n};
    uint32_t state = 77;
    if (backend.struct_size == 0 && !backend_make(&backend, "scalar", 0)) {
        exit(1);
    }
    memset(n, 0, sizeof(*n));
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = mode;
    c.precision = Q_PRECISION_EXACT;
    c.max = (q_maxima){NET_BATCH, NET_TOKENS, NET_TOKENS, NET_TOKENS, 1};
    c.n_workers = 1;
    c.workspace_size = backend.workspace_size;
    must(opened_make(&o, &d), &d);
    n->model = o.model;
    n->plan = o.plan;
    n->session = o.session;
    for (q_param p = 0; p < q_model_n_params(n->model) && o.needs.bytes[Q_REGION_PARAM][0] != 0; p++) {
        q_tensor t;
        must(q_session_param(n->session, p, &t, &d), &d);
        fill((float *)t.data, (size_t)t.ne[2] * t.ne[3], &state);
    }
}

void net_close(net *n)
{
    for (uint32_t i = 0; i < n->n_memory; i++) {
        free(n->memory[i]);
    }
}

/* ---- Graphs ------------------------------------------------------------------------------------------------ */

static q_param slot(q_graph *g, const char *name, uint32_t rows, uint32_t columns)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    d.trainable = strcmp(name, "first.b") != 0;
    return q_graph_param(g, &d);
}

static q_value input(q_graph *g, const char *name, uint32_t columns)
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        d.type.dim[i] = (q_count){i == 3 ? columns : 1, i == 0 ? Q_SYM_BATCH : Q_SYM_ONE};
    }
    return q_graph_input(g, &d);
}

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, const q_value *in,
                    uint32_t n_in, q_param w, q_param bias)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = n_in;
    memcpy(d.in, in, n_in * sizeof(*in));
    d.n_param = w == Q_NONE ? 0 : bias == Q_NONE ? 1 : 2;
    d.param[0] = w;
    d.param[1] = bias;
    return q_graph_node(g, &d);
}

void build_mlp(q_graph *g, const void *unused)
{
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    static const uint64_t twice = 2;
    q_value in[2] = {input(g, "target", NET_OUT), input(g, "x", NET_IN)};
    q_param last;
    (void)unused;
    last = slot(g, "second.w", NET_OUT, 64);
    in[1] = node(g, &q_layer_linear, "first", &linear, &in[1], 1, slot(g, "first.w", 64, NET_IN), slot(g, "first.b", 1, 64));
    in[1] = node(g, &net_scale_class, "own", &twice, &in[1], 1, slot(g, "own.w", 1, 64), Q_NONE);
    in[1] = node(g, &q_layer_linear, "second", &linear, &in[1], 1, last, Q_NONE);
    q_graph_output(g, "loss", node(g, &q_layer_mse, "loss", NULL, in, 2, Q_NONE, Q_NONE));
    q_graph_output(g, "y", in[1]);
}

/* A class of the test's own: y = times * w * x, with its backward. */
static q_error_code scale_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    return info->param[0].ne[3] == info->in[0].dim[3].n && info->param[0].layout == Q_PLAIN ? Q_OK : Q_ERR_INVALID_SHAPE;
}

static q_error_code scale_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->in_rows[0]);
    uint32_t k = layer->in[0]->ne[3];
    const float *x = (const float *)layer->in[0]->data;
    const float *w = (const float *)layer->param[0]->data;
    float *y = (float *)layer->out[0]->data;
    (void)stage;
    for (uint32_t i = 0; i < rows * k; i++) {
        y[i / k * (layer->out[0]->nb[2] / sizeof(float)) + i % k] =
            (float)*(const uint64_t *)layer->config * w[i % k] * x[i / k * (layer->in[0]->nb[2] / sizeof(float)) + i % k];
    }
    return Q_OK;
}

static q_error_code scale_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)layer;
    (void)work;
    (void)stage;
    return Q_OK;
}

const q_layer_class net_scale_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 5,
    .name = "test.scale",
    .config_size = 8,
    .config_version = 3,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .forward_stages = 1,
    .backward_stages = 1,
    .saves = 1,
    .shape = scale_shape,
    .forward = scale_forward,
    .backward = scale_backward,
};

/* ---- A decoder --------------------------------------------------------------------------------------------- */

enum { DIM = 32, HEADS = 4, KV_HEADS = 2, HEAD = 8, FFN = 64 };

const uint8_t decoder_kinds[2] = {Q_LAYER_FULL, Q_LAYER_FULL};

q_file_arch decoder_arch(void)
{
    q_file_arch a;
    memset(&a, 0, sizeof(a));
    a.kind = Q_ARCH_DECODER;
    a.flags = Q_ARCH_TIED;
    a.n_layers = 2;
    a.d_model = DIM;
    a.n_heads = HEADS;
    a.n_kv_heads = KV_HEADS;
    a.head_dim = HEAD;
    a.d_ffn = FFN;
    a.n_vocab = NET_VOCAB;
    a.n_context = 64;
    a.activation = Q_ACT_SILU;
    a.norm_eps = 1e-5f;
    a.embed_scale = a.residual_scale = a.logit_scale = 1;
    a.attn_scale = 0.35f;
    a.rope_dims = HEAD;
    a.rope_pairing = 1;
    a.rope_base = 10000;
    a.rope_magnitude = 1;
    return a;
}

static const char *part(uint32_t layer, const char *name)
{
    static char text[48];
    (void)snprintf(text, sizeof(text), "layers.%u.%s", layer, name);
    return text;
}

static q_value matrix(q_graph *g, uint32_t layer, const char *name, q_value x, uint32_t rows, uint32_t columns)
{
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    q_param w = slot(g, part(layer, name), rows, columns);
    return node(g, &q_layer_linear, part(layer, name), &linear, &x, 1, w, Q_NONE);
}

static q_value norm(q_graph *g, const char *name, q_value x)
{
    static const q_rmsnorm_config config = {1e-5f, 0, 0, 0};
    q_param w = slot(g, name, 1, DIM);
    return node(g, &q_layer_rmsnorm, name, &config, &x, 1, w, Q_NONE);
}

static q_value block(q_graph *g, uint32_t layer, q_value x, q_value table)
{
    static const q_rope_config ropes[2] = {{HEADS, HEAD}, {KV_HEADS, HEAD}};
    static const q_attention_config attention = {HEADS, KV_HEADS, HEAD, 0, 0.35f, 0};
    q_value h = norm(g, part(layer, "attn_norm"), x);
    q_value qkv[3];
    q_value two[2];
    qkv[0] = matrix(g, layer, "q", h, HEADS * HEAD, DIM);
    qkv[1] = matrix(g, layer, "k", h, KV_HEADS * HEAD, DIM);
    qkv[2] = matrix(g, layer, "v", h, KV_HEADS * HEAD, DIM);
    for (uint32_t i = 0; i < 2; i++) {
        two[0] = qkv[i];
        two[1] = table;
        qkv[i] = node(g, &q_layer_rope, part(layer, i == 0 ? "q_rope" : "k_rope"), &ropes[i], two, 2, Q_NONE, Q_NONE);
    }
    two[0] = x;
    h = node(g, &q_layer_attention, part(layer, "attention"), &attention, qkv, 3, Q_NONE, Q_NONE);
    two[1] = matrix(g, layer, "o", h, DIM, HEADS * HEAD);
    x = node(g, &q_layer_add, part(layer, "attn_add"), NULL, two, 2, Q_NONE, Q_NONE);
    h = norm(g, part(layer, "ffn_norm"), x);
    two[0] = matrix(g, layer, "gate", h, FFN, DIM);
    two[1] = matrix(g, layer, "up", h, FFN, DIM);
    h = node(g, &q_layer_silu_mul, part(layer, "silu_mul"), NULL, two, 2, Q_NONE, Q_NONE);
    two[0] = x;
    two[1] = matrix(g, layer, "down", h, DIM, FFN);
    return node(g, &q_layer_add, part(layer, "ffn_add"), NULL, two, 2, Q_NONE, Q_NONE);
}

void build_slots_decoder(q_graph *g, const void *unused)
{
    static const q_embedding_config embed = {1, 0};
    static const q_linear_config head = {Q_ACT_NONE, 2};
    q_rope_table_config table = {HEAD / 2, 0, 0, 0, 10000, 0, 0, 0, 1};
    q_input_desc d;
    q_value tokens;
    q_value cosines;
    q_value x;
    q_param w;
    (void)unused;
    memset(&d, 0, sizeof(d));
    d.name = "tokens";
    d.type.dtype = Q_I32;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        d.type.dim[i] = (q_count){1, i == 3 ? Q_SYM_TOKENS : Q_SYM_ONE};
    }
    d.limit = NET_VOCAB;
    tokens = q_graph_input(g, &d);
    cosines = node(g, &q_layer_rope_table, "rope_table", &table, &tokens, 1, Q_NONE, Q_NONE);
    w = slot(g, "embed", NET_VOCAB, DIM);
    x = node(g, &q_layer_embedding, "embed", &embed, &tokens, 1, w, Q_NONE);
    for (uint32_t layer = 0; layer < 2; layer++) {
        x = block(g, layer, x, cosines);
    }
    x = node(g, &q_layer_select_rows, "select_rows", NULL, &x, 1, Q_NONE, Q_NONE);
    x = norm(g, "norm", x);
    q_graph_output(g, "logits", node(g, &q_layer_linear, "logits", &head, &x, 1, w, Q_NONE));
}

/* ---- Writing ----------------------------------------------------------------------------------------------- */

static q_error_code put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    sink *s = (sink *)user;
    if (++s->calls == s->fail_at) {
        return Q_ERR_IO;
    }
    if (offset > s->size || n > s->size - offset) {
        s->outside = true;
        return Q_ERR_IO;
    }
    memcpy(s->bytes + offset, bytes, n);
    for (size_t i = 0; i < n; i++) {
        s->seen[offset + i]++;
    }
    return Q_OK;
}

static void progress(void *user, uint32_t done, uint32_t all)
{
    sink *s = (sink *)user;
    s->done = done;
    s->all = all;
}

q_write write_of(const net *n, sink *s)
{
    q_write w;
    memset(&w, 0, sizeof(w));
    memset(s, 0, sizeof(*s));
    w.struct_size = sizeof(w);
    w.model = n->model;
    w.session = n->session;
    w.user = s;
    w.write = put;
    w.progress = progress;
    return w;
}

void sink_free(sink *s)
{
    free(s->bytes);
    free(s->seen);
    memset(s, 0, sizeof(*s));
}

bool net_write(q_write *w, sink *s, q_diag *d)
{
    enum { CANARY = 64 };
    uint8_t canary[CANARY];
    size_t n = 0;
    uint8_t *work;
    bool once = true;
    bool ok;
    if (q_write_work_size(w, &n, d) != Q_OK) {
        return false;
    }
    work = (uint8_t *)aligned_alloc(64, (n + CANARY + 63) / 64 * 64);
    if (work == NULL) {
        exit(1);
    }
    memset(work, 0xee, n + CANARY);
    memset(canary, 0xee, CANARY);
    if (s->bytes == NULL && q_write_size(w, work, n, &s->size, d) == Q_OK) {
        s->bytes = (uint8_t *)aligned_alloc(64, (size_t)s->size);
        s->seen = (uint8_t *)calloc((size_t)s->size, 1);
    }
    ok = s->bytes != NULL && q_write_run(w, work, n, d) == Q_OK;
    check(memcmp(work + n, canary, CANARY) == 0, "no byte behind work is touched");
    for (uint64_t i = 0; ok && i < s->size; i++) {
        once = once && s->seen[i] == 1;
    }
    check(once && !s->outside, "every byte of the file is written once");
    check(!ok || s->done == s->all, "progress ends at the end");
    free(work);
    return ok;
}
