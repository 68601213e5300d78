/* SPDX-License-Identifier: MIT */
/* A language model of a file under training. */
#include "tune.h"

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
        printf("error %d: %s: %s (need %llu, have %llu)\n", (int)e, d->what, d->field, (unsigned long long)d->need,
               (unsigned long long)d->have);
        exit(1);
    }
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4096) / 4096 * 4096);
    if (p == NULL) {
        exit(1);
    }
    memset(p, 0, (bytes + 4096) / 4096 * 4096);
    return p;
}

tune_file tune_take(uint8_t *bytes, size_t size)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    tune_file f;
    memset(&f, 0, sizeof(f));
    f.bytes = bytes;
    f.size = size;
    must(q_file_open(&f.file, bytes, size, NULL, 0, &d), &d);
    return f;
}

tune_file tune_read(const char *path)
{
    FILE *in = fopen(path, "rb");
    long n;
    uint8_t *bytes;
    if (in == NULL || fseek(in, 0, SEEK_END) != 0 || (n = ftell(in)) < 0 || fseek(in, 0, SEEK_SET) != 0) {
        printf("%s: cannot be read\n", path);
        exit(1);
    }
    bytes = (uint8_t *)room((size_t)n);
    if (fread(bytes, 1, (size_t)n, in) != (size_t)n) {
        exit(1);
    }
    (void)fclose(in);
    return tune_take(bytes, (size_t)n);
}

static q_value ids(q_graph *g, const char *name, uint32_t limit)
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_I32;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        d.type.dim[i].n = 1;
    }
    d.type.dim[3].sym = Q_SYM_TOKENS;
    d.limit = limit;
    return q_graph_input(g, &d);
}

static void build(q_graph *g, const void *user)
{
    static const q_cross_entropy_config config = {-100, 0};
    const q_decoder_build *b = (const q_decoder_build *)user;
    uint32_t vocabulary = (b->arch != NULL ? b->arch : q_file_get_arch(b->file))->n_vocab;
    q_value tokens = ids(g, "tokens", vocabulary);
    q_value targets = ids(g, "targets", vocabulary);
    q_value logits = q_graph_decoder(g, b, tokens);
    q_node_desc d;
    q_value loss;
    if (logits == Q_NONE) {
        return;
    }
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_cross_entropy;
    d.name = "loss";
    d.config = &config;
    d.n_in = 2;
    d.in[0] = logits;
    d.in[1] = targets;
    loss = q_graph_node(g, &d);
    q_graph_output(g, "loss", loss);
    q_graph_output(g, "count", loss + 1);
    q_graph_output(g, "logits", logits);
}

static void *hold(tune *t, size_t bytes)
{
    return t->memory[t->n_memory++] = room(bytes);
}

static void make_session(tune *t, bool trains, uint32_t workers, const q_train_config *tc, q_diag *d)
{
    q_context context = {q_posix_port(&posix), &t->backend, workers, 0};
    q_plan_config pc;
    q_plan *plan;
    q_needs needs;
    q_region regions[Q_REGION_KINDS];
    uint32_t n_regions = 0;
    size_t n;
    memset(&pc, 0, sizeof(pc));
    memset(regions, 0, sizeof(regions));
    pc.struct_size = sizeof(pc);
    pc.mode = trains ? Q_PLAN_TRAIN : Q_PLAN_INFER;
    pc.precision = Q_PRECISION_EXACT;
    pc.max = (q_maxima){1, TUNE_TOKENS, 1, TUNE_TOKENS, TUNE_SPANS};
    pc.n_workers = workers;
    pc.workspace_size = t->backend.workspace_size;
    pc.moments = q_train_moments(tc);
    must(q_plan_size(t->model, &pc, &n, d), d);
    must(q_plan_init(&plan, (q_block){hold(t, n), n}, t->model, &pc, d), d);
    q_plan_needs(plan, &needs);
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        if (needs.bytes[kind][0] != 0) {
            regions[n_regions].kind = (uint8_t)kind;
            regions[n_regions].size = needs.bytes[kind][0];
            regions[n_regions++].base = hold(t, needs.bytes[kind][0]);
        }
    }
    must(q_session_size(plan, &n, d), d);
    must(q_session_init(&t->session, (q_block){hold(t, n), n}, plan, &context, regions, n_regions, NULL, d), d);
}

static void fill_texts(tune *t, uint32_t vocabulary)
{
    uint32_t state = 99;
    for (uint32_t i = 0; i < TUNE_TOKENS; i++) {
        state = state * 1664525u + 1013904223u;
        t->tokens[i] = (int32_t)((state >> 8) % vocabulary);
    }
    for (uint32_t i = 0; i < TUNE_TOKENS; i++) {
        t->targets[i] = t->tokens[(i + 1) % TUNE_TOKENS];
    }
}

void tune_open(tune *t, const q_decoder_build *decoder, bool trains, uint32_t workers)
{
    static bool ready;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_train_config tc = recipe_of(&q_optimizer_adam, 0.01);
    size_t n;
    if (!ready) {
        must(q_posix_init(&posix, 7, &d), &d);
        ready = true;
    }
    memset(t, 0, sizeof(*t));
    t->decoder = *decoder;
    t->decoder.flags |= Q_DECODER_ALL_ROWS;
    (void)backend_make(&t->backend, "scalar", q_cpu_detect());
    must(q_model_size(build, &t->decoder, &n, &d), &d);
    must(q_model_init(&t->model, (q_block){hold(t, n), n}, build, &t->decoder, &d), &d);
    make_session(t, trains, workers, &tc, &d);
    must(q_session_init_params(t->session, 3, &d), &d);
    if (q_session_load_params(t->session, decoder->file, NULL, &d) != Q_OK && d.code != Q_ERR_NOT_FOUND) {
        must(d.code, &d); /* adapters alone have no tensor in the file */
    }
    fill_texts(t, q_file_get_arch(decoder->file)->n_vocab);
    if (trains) {
        must(q_trainer_size(t->session, &tc, &n, &d), &d);
        must(q_trainer_init(&t->trainer, (q_block){hold(t, n), n}, t->session, &tc, &d), &d);
    }
}

void tune_close(tune *t)
{
    for (uint32_t i = 0; i < t->n_memory; i++) {
        free(t->memory[i]);
    }
}

/* Texts first .. first + n - 1, each a span from position 0. */
static q_step step_of(tune *t, q_step_span spans[TUNE_SPANS], uint32_t first, uint32_t n)
{
    const uint32_t each = TUNE_TOKENS / TUNE_SPANS;
    q_step step;
    memset(&step, 0, sizeof(step));
    for (uint32_t i = 0; i < n; i++) {
        spans[i].sequence = i;
        spans[i].n_tokens = each;
    }
    t->inputs[0] = t->tokens + (size_t)first * each;
    t->inputs[1] = t->targets + (size_t)first * each;
    step.inputs = t->inputs;
    step.n_spans = n;
    step.spans = spans;
    return step;
}

double tune_step(tune *t)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_step_span spans[TUNE_SPANS];
    q_train_report report;
    for (uint32_t i = 0; i < TUNE_SPANS; i++) {
        q_step step = step_of(t, spans, i, 1);
        must(q_trainer_backward(t->trainer, &step, NULL, &d), &d);
    }
    must(q_trainer_update(t->trainer, &report, &d), &d);
    return report.loss;
}

void tune_backward(tune *t)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_step_span spans[TUNE_SPANS];
    q_step step = step_of(t, spans, 0, TUNE_SPANS);
    for (uint32_t i = 0; i < TUNE_SPANS; i++) {
        must(q_sequence_rewind(t->session, i, 0, &d), &d);
    }
    must(q_model_forward(t->session, &step, &d), &d);
    must(q_model_backward(t->session, false, &d), &d);
}

const float *tune_logits(tune *t, uint32_t *columns)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_step_span spans[TUNE_SPANS];
    q_step step = step_of(t, spans, 0, TUNE_SPANS);
    q_tensor out;
    for (uint32_t i = 0; i < TUNE_SPANS; i++) {
        must(q_sequence_rewind(t->session, i, 0, &d), &d);
    }
    step.flags = t->trainer != NULL ? Q_STEP_EVALUATE : 0;
    must(q_model_forward(t->session, &step, &d), &d);
    must(q_session_output(t->session, 2, &out, &d), &d);
    *columns = out.ne[3];
    return (const float *)out.data;
}

q_tensor tune_param(const tune *t, const char *name)
{
    q_tensor out;
    if (q_session_param(t->session, q_model_find_param(t->model, name), &out, NULL) != Q_OK) {
        memset(&out, 0, sizeof(out));
    }
    return out;
}

q_tensor tune_gradient(const tune *t, const char *name)
{
    q_tensor out;
    if (q_session_param_grad(t->session, q_model_find_param(t->model, name), &out, NULL) != Q_OK) {
        memset(&out, 0, sizeof(out));
    }
    return out;
}
