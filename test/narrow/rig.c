/* SPDX-License-Identifier: MIT */
/* Building, planning, training, writing and reading back. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/recipe.h"
#include "port/posix/posix.h"
#include "port/x86/cpu_detect.h"
#include "tools/common/backends.h"

static q_posix posix;

void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("FAIL error %d: %s: %s (need %llu, have %llu)\n", (int)e, d->what, d->field, (unsigned long long)d->need,
               (unsigned long long)d->have);
        exit(1);
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
    d.trainable = true;
    return q_graph_param(g, &d);
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

static q_value input(q_graph *g, const char *name, uint32_t columns)
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = columns != 0 ? Q_REAL : Q_I32;
    d.limit = columns != 0 ? 0 : RIG_VOCAB;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        d.type.dim[i] = (q_count){1, columns != 0 && i == 0 ? Q_SYM_BATCH : columns == 0 && i == 3 ? Q_SYM_TOKENS : Q_SYM_ONE};
    }
    d.type.dim[3].n = columns != 0 ? columns : 1;
    return q_graph_input(g, &d);
}

static void build_network(q_graph *g, const void *options)
{
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    static const q_activation_config relu = {Q_ACT_RELU, 0};
    const q_fake_quantize_config fake = {((const rig_options *)options)->fake, 0};
    q_value x = input(g, "x", RIG_IN);
    q_value target = input(g, "target", RIG_OUT);
    q_param w = slot(g, "first.w", RIG_HIDDEN, RIG_IN);
    x = node(g, &q_layer_linear, "first", &linear, x, Q_NONE, w, slot(g, "first.b", 1, RIG_HIDDEN));
    x = node(g, &q_layer_activation, "relu", &relu, x, Q_NONE, Q_NONE, Q_NONE);
    if (fake.planes != 0) {
        x = node(g, &q_layer_fake_quantize, "fake", &fake, x, Q_NONE, Q_NONE, Q_NONE);
    }
    w = slot(g, "second.w", RIG_OUT, RIG_HIDDEN);
    x = node(g, &q_layer_linear, "second", &linear, x, Q_NONE, w, Q_NONE);
    q_graph_output(g, "loss", node(g, &q_layer_mse, "loss", NULL, x, target, Q_NONE, Q_NONE));
}

static void build_decoder(q_graph *g, const void *unused)
{
    static const q_cross_entropy_config config = {-100, 0};
    static struct {
        q_file_arch arch;
        uint8_t kinds[8];
    } a;
    q_decoder_build d;
    q_value tokens = input(g, "tokens", 0);
    q_value targets = input(g, "targets", 0);
    q_value x;
    (void)unused;
    memset(&a, 0, sizeof(a));
    a.arch.kind = Q_ARCH_DECODER;
    a.arch.flags = Q_ARCH_TIED;
    a.arch.n_layers = 2;
    a.arch.d_model = a.arch.d_ffn = 32;
    a.arch.n_heads = 4;
    a.arch.n_kv_heads = 2;
    a.arch.head_dim = a.arch.rope_dims = 8;
    a.arch.n_vocab = RIG_VOCAB;
    a.arch.n_context = 64;
    a.arch.activation = Q_ACT_SILU;
    a.arch.norm_eps = 1e-5f;
    a.arch.embed_scale = a.arch.residual_scale = a.arch.logit_scale = 1;
    a.arch.attn_scale = 0.35f;
    a.arch.rope_pairing = 1;
    a.arch.rope_base = 10000;
    a.arch.rope_magnitude = 1;
    memset(&d, 0, sizeof(d));
    d.struct_size = sizeof(d);
    d.flags = Q_DECODER_ALL_ROWS;
    d.arch = &a.arch;
    x = q_graph_decoder(g, &d, tokens);
    q_graph_output(g, "loss", node(g, &q_layer_cross_entropy, "loss", &config, x, targets, Q_NONE, Q_NONE));
}

/* ---- Opening ----------------------------------------------------------------------------------------------- */

bool rig_has_backend(const char *name)
{
    q_backend probe;
    return backend_make(&probe, name, q_cpu_detect());
}

static void *hold(rig *r, size_t bytes)
{
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL) {
        exit(1);
    }
    memset(p, 0xff, bytes);
    r->memory[r->n_memory++] = p;
    return p;
}

static void fill(q_real *x, size_t n, uint32_t *state, double size)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        x[i] = (q_real)(float)((double)(int32_t)*state / 2147483648.0 * size);
    }
}

static uint32_t weight_type(void *user, const char *name, const q_param_type *type)
{
    const rig_options *o = (const rig_options *)user;
    (void)name;
    return type->ne[2] == 1 ? o->vectors : o->weights;
}

static uint32_t value_type(void *user, const char *name, bool gradient)
{
    const rig_options *o = (const rig_options *)user;
    (void)name;
    return gradient ? o->gradients : o->values;
}

q_error_code rig_plan(rig *r, const rig_options *o, q_diag *d)
{
    q_file_build from = {.file = o->file};
    q_build_fn build = o->file != NULL ? q_build_from_file : o->decoder ? build_decoder : build_network;
    const void *user = o->file != NULL ? (const void *)&from : o;
    q_plan_config *c = &r->plan_config;
    size_t n;
    memset(r, 0, sizeof(*r));
    r->o = *o;
    if (!backend_make(&r->backend, o->backend != NULL ? o->backend : "scalar", q_cpu_detect())) {
        exit(1);
    }
    c->struct_size = sizeof(*c);
    c->mode = o->infer ? Q_PLAN_INFER : Q_PLAN_TRAIN;
    c->precision = o->precision;
    c->flags = o->plan_flags;
    c->max = (q_maxima){o->decoder ? 1 : RIG_BATCH, RIG_TOKENS, RIG_TOKENS, RIG_TOKENS, 1};
    c->n_workers = o->workers != 0 ? o->workers : 1;
    c->workspace_size = r->backend.workspace_size;
    c->moments = o->infer ? 0 : 2;
    c->kv_type = Q_KV_REAL; /* attention goes back from nothing else */
    c->weight_type = o->weights != Q_F32 || o->vectors != Q_F32 ? weight_type : NULL;
    c->value_type = o->values != Q_F32 || o->gradients != Q_F32 ? value_type : NULL;
    c->type_user = &r->o;
    must(q_model_size(build, user, &n, d), d);
    must(q_model_init(&r->model, (q_block){hold(r, n), n}, build, user, d), d);
    if (q_plan_size(r->model, c, &n, d) != Q_OK) {
        return d->code;
    }
    return q_plan_init(&r->plan, (q_block){hold(r, n), n}, r->model, c, d);
}

static void open_session(rig *r, q_diag *d)
{
    static const uint8_t kinds[4] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN, Q_REGION_STATE};
    static bool ready;
    q_context context = {NULL, &r->backend, r->plan_config.n_workers, 0};
    q_needs needs;
    q_region regions[4];
    size_t n;
    if (!ready) {
        must(q_posix_init(&posix, 3, d), d);
        ready = true;
    }
    context.port = q_posix_port(&posix);
    q_plan_needs(r->plan, &needs);
    memset(regions, 0, sizeof(regions));
    n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        n += needs.bytes[kinds[i]][0];
    }
    regions[0].base = hold(r, n);
    for (uint32_t i = 0; i < 4; i++) {
        regions[i].kind = kinds[i];
        regions[i].size = needs.bytes[kinds[i]][0];
        if (i != 0) {
            regions[i].base = (uint8_t *)regions[i - 1].base + regions[i - 1].size;
        }
    }
    regions[0].base = r->o.share != NULL ? r->o.share->params : regions[0].base;
    r->params = regions[0].base;
    must(q_session_size(r->plan, &n, d), d);
    must(q_session_init(&r->session, (q_block){hold(r, n), n}, r->plan, &context, regions, 4, NULL, d), d);
}

void rig_open(rig *r, const rig_options *o)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_train_config config = recipe_of(&q_optimizer_adamw, 0.01);
    uint32_t state = 99;
    size_t n;
    must(rig_plan(r, o, &d), &d);
    open_session(r, &d);
    fill(r->x, RIG_BATCH * RIG_IN, &state, 1);
    fill(r->target, RIG_BATCH * RIG_OUT, &state, 1);
    for (uint32_t i = 0; i <= RIG_TOKENS; i++) {
        r->tokens[i] = (int32_t)(i * 7 % RIG_VOCAB);
    }
    for (q_param p = 0; p < q_model_n_params(r->model) && o->file == NULL && o->share == NULL; p++) {
        q_tensor t;
        must(q_session_param(r->session, p, &t, &d), &d);
        fill((q_real *)t.data, (size_t)t.ne[2] * t.ne[3], &state, 0.3);
    }
    if (!o->infer) {
        must(q_trainer_size(r->session, &config, &n, &d), &d);
        must(q_trainer_init(&r->trainer, (q_block){hold(r, n), n}, r->session, &config, &d), &d);
    }
}

void rig_close(rig *r)
{
    for (uint32_t i = 0; i < r->n_memory; i++) {
        free(r->memory[i]);
    }
}

/* ---- Steps ------------------------------------------------------------------------------------------------- */

q_step rig_step(const rig *r, const void *inputs[2])
{
    q_step step;
    memset(&step, 0, sizeof(step));
    step.n_batch = r->o.decoder ? 1 : RIG_BATCH;
    step.n_tokens = r->o.decoder ? RIG_TOKENS : 1;
    inputs[0] = r->o.decoder ? (const void *)r->tokens : r->x;
    inputs[1] = r->o.decoder ? (const void *)(r->tokens + 1) : r->target;
    step.inputs = inputs;
    return step;
}

q_error_code rig_backward(rig *r, q_diag *d)
{
    const void *inputs[2];
    q_step step = rig_step(r, inputs);
    return q_trainer_backward(r->trainer, &step, NULL, d);
}

double rig_train(rig *r, uint32_t steps)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_train_report report = {0};
    for (uint32_t i = 0; i < steps; i++) {
        must(rig_backward(r, &d), &d);
        must(q_trainer_update(r->trainer, &report, &d), &d);
    }
    return report.loss;
}

double rig_loss(rig *r)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    const void *inputs[2];
    q_step step = rig_step(r, inputs);
    q_train_part part;
    q_tensor out;
    if (!r->o.infer) {
        must(q_trainer_evaluate(r->trainer, &step, &part, &d), &d);
        return part.loss;
    }
    must(q_model_forward(r->session, &step, &d), &d);
    must(q_session_output(r->session, 0, &out, &d), &d);
    return (double)*(q_real *)out.data;
}

q_tensor rig_param(const rig *r, const char *name)
{
    q_diag d;
    q_tensor t;
    must(q_session_param(r->session, q_model_find_param(r->model, name), &t, &d), &d);
    return t;
}

q_tensor rig_grad(rig *r, const char *name)
{
    q_diag d;
    q_tensor t;
    must(q_session_param_grad(r->session, q_model_find_param(r->model, name), &t, &d), &d);
    return t;
}

uint64_t rig_hash(const rig *r)
{
    uint64_t h = 14695981039346656037u;
    for (q_param p = 0; p < q_model_n_params(r->model); p++) {
        q_tensor t = rig_param(r, q_model_param_name(r->model, p));
        for (size_t i = 0; i < (size_t)t.ne[2] * t.ne[3] * sizeof(q_real); i++) {
            h = (h ^ ((const uint8_t *)t.data)[i]) * 1099511628211u;
        }
    }
    return h;
}

/* ---- Files ------------------------------------------------------------------------------------------------- */

static q_error_code put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    memcpy((uint8_t *)user + offset, bytes, n);
    return Q_OK;
}

double rig_file_loss(const rig *r, uint32_t dtype, uint32_t precision)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w = {.struct_size = sizeof(w), .dtype = dtype, .model = r->model, .session = r->session, .write = put};
    rig_options o = {.precision = precision, .decoder = r->o.decoder, .infer = true};
    rig run;
    q_file file;
    uint64_t bytes;
    size_t n;
    double loss;
    void *work;
    must(q_write_work_size(&w, &n, &d), &d);
    work = aligned_alloc(64, (n + 63) / 64 * 64);
    must(q_write_size(&w, work, n, &bytes, &d), &d);
    w.user = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    must(q_write_run(&w, work, n, &d), &d);
    must(q_file_open(&file, w.user, (size_t)bytes, NULL, 0, &d), &d);
    o.file = &file;
    rig_open(&run, &o);
    loss = rig_loss(&run);
    rig_close(&run);
    free(work);
    free(w.user);
    return loss;
}
