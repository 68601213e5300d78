/* SPDX-License-Identifier: MIT */
/* The rig: builds a case's graph, runs it in every way, compares gradients with differences and with each other. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/gradcheck.h"
#include "rig_inner.h"
#include "tools/common/backends.h"
#include "port/posix/posix.h"
#include "port/x86/cpu_detect.h"

enum { RIG_TENSORS = 64, RIG_WORKERS = 3 };

/* What is known of a source, parameter or constant by its name. */
typedef struct rig_named {
    char name[64];
    double low;
    double high;
    uint32_t limit;
    q_value_type type; /* of constants */
    bool constant;
    void *data;        /* of constants: rows of the whole case */
} rig_named;

typedef struct rig_run {
    const rig_graph *graph;
    bool feeding; /* sources feed the probe too */
    rig_named named[RIG_TENSORS];
    uint32_t n_named;
    q_value sources[Q_MAX_INPUTS];
    uint32_t n_sources;
    q_maxima max;
} rig_run;

static rig_run run; /* builders are called back without a place for it */
static q_posix posix;
static const char *only = "";
static bool ends_at_failure;
static int passed;
static int failed;

void rig_only(const char *text)
{
    only = text;
}

void rig_end_at_failure(void)
{
    ends_at_failure = true;
}

/* Does the name have one of the texts between bars? */
static bool is_wanted(const char *name)
{
    const char *text = only;
    for (;;) {
        size_t n = strcspn(text, "|");
        for (const char *at = name; strlen(at) >= n; at++) {
            if (memcmp(at, text, n) == 0) {
                return true;
            }
        }
        if (text[n] == '\0') {
            return false;
        }
        text += n + 1;
    }
}

void rig_expect(bool ok, const char *name, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s: %s\n", name, what);
        if (ends_at_failure) {
            exit(rig_end());
        }
    }
}

int rig_end(void)
{
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0;
}

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("%s: error %d: %s: %s (need %llu, have %llu)\n", run.graph->name, (int)e, d->what, d->field,
               (unsigned long long)d->need, (unsigned long long)d->have);
        exit(1);
    }
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL) {
        printf("no memory\n");
        exit(1);
    }
    memset(p, 0xff, bytes); /* reals: NaN */
    return p;
}

/* ---- Building --------------------------------------------------------------------------------------------- */

static rig_named *named(const char *name)
{
    rig_named *n;
    for (uint32_t i = 0; i < run.n_named; i++) {
        if (strcmp(run.named[i].name, name) == 0) {
            return &run.named[i];
        }
    }
    n = &run.named[run.n_named++];
    memset(n, 0, sizeof(*n));
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    return n;
}

static void keep_range(rig_named *n, double low, double high)
{
    n->low = low;
    n->high = high;
    if (low == 0 && high == 0) {
        n->low = -1;
        n->high = 1;
    }
}

static q_value_type type_of(uint32_t sym, uint32_t n0, uint32_t n1, uint32_t n2, uint32_t columns)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = Q_REAL;
    t.dim[0].n = n0;
    t.dim[1].n = n1;
    t.dim[2].n = n2;
    t.dim[3].n = columns;
    t.dim[sym == Q_SYM_BATCH ? 0 : 2].sym = sym;
    return t;
}

q_value_type rig_rows(uint32_t columns)
{
    return type_of(Q_SYM_BATCH, 1, 1, 1, columns);
}

q_value_type rig_image(uint32_t height, uint32_t width, uint32_t channels)
{
    return type_of(Q_SYM_BATCH, 1, height, width, channels);
}

q_value_type rig_tokens(uint32_t columns)
{
    return type_of(Q_SYM_TOKENS, 1, 1, 1, columns);
}

q_value_type rig_ids(void)
{
    q_value_type t = rig_tokens(1);
    t.dtype = Q_I32;
    t.dim[2].sym = Q_SYM_ONE;
    t.dim[3].sym = Q_SYM_TOKENS;
    return t;
}

static uint32_t rows_of_case(const q_value_type *t)
{
    uint32_t rows = 1;
    for (uint32_t d = 0; d < Q_MAX_DIMS - 1; d++) {
        uint32_t sym = t->dim[d].sym;
        rows *= t->dim[d].n * (sym == Q_SYM_BATCH                          ? run.max.batch
                               : sym == Q_SYM_TOKENS || sym == Q_SYM_ROWS  ? run.max.tokens
                               : sym == Q_SYM_SELECTED                     ? run.max.selected
                                                                           : 1);
    }
    return rows;
}

/* Elements of one sample (BATCH) or token, or of the whole value. */
static size_t unit_of(const q_value_type *t)
{
    return (size_t)t->dim[0].n * t->dim[1].n * t->dim[2].n * t->dim[3].n;
}

static q_value constant_input(q_graph *g, const char *name, const rig_input *in)
{
    q_input_desc d;
    rig_named *n = named(name);
    keep_range(n, in->low, in->high);
    n->constant = true;
    n->type = in->type;
    n->limit = in->limit;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type = in->type;
    d.limit = in->limit;
    return q_graph_input(g, &d);
}

q_value rig_source(q_graph *g, const char *name, const rig_input *in)
{
    rig_source_config c;
    rig_param p;
    q_node_desc d;
    char slot[72];
    if (in->constant || in->type.dtype == Q_I32) {
        return constant_input(g, name, in);
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        c.n[i] = in->type.dim[i].n;
        c.sym[i] = in->type.dim[i].sym;
    }
    memset(&p, 0, sizeof(p));
    p.rows = rows_of_case(&in->type);
    p.columns = in->type.dim[3].n;
    p.low = in->low;
    p.high = in->high;
    (void)snprintf(slot, sizeof(slot), "d %s", name);
    memset(&d, 0, sizeof(d));
    d.cls = &rig_source_class;
    d.name = name;
    d.config = &c;
    d.n_param = 1;
    d.param[0] = rig_slot(g, slot, &p);
    if (run.n_sources < Q_MAX_INPUTS) {
        run.sources[run.n_sources] = q_graph_node(g, &d);
        return run.sources[run.n_sources++];
    }
    return q_graph_node(g, &d);
}

q_param rig_slot(q_graph *g, const char *name, const rig_param *param)
{
    q_param_desc d;
    keep_range(named(name), param->low, param->high);
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = param->rows;
    d.type.ne[3] = param->columns;
    d.trainable = !param->frozen;
    return q_graph_param(g, &d);
}

void rig_probe(q_graph *g, const q_value *values, uint32_t n)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    q_graph_block(g, 0);
    d.cls = &rig_probe_class;
    d.name = "probe";
    for (uint32_t i = 0; i < n; i++) {
        d.in[d.n_in++] = values[i];
    }
    for (uint32_t i = 0; run.feeding && i < run.n_sources && d.n_in < Q_MAX_INPUTS; i++) {
        d.in[d.n_in++] = run.sources[i];
    }
    q_graph_output(g, "loss", q_graph_node(g, &d));
}

static void build(q_graph *g, const void *unused)
{
    (void)unused;
    run.n_sources = 0;
    q_graph_block(g, 1);
    run.graph->build(g, run.graph->user);
}

/* ---- One session ------------------------------------------------------------------------------------------ */

typedef struct bench {
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    void *memory[8];
    uint32_t n_memory;
    q_real *grads; /* of all trainable parameters, one behind the other */
    size_t n_grads;
} bench;

static void *hold(bench *b, size_t bytes)
{
    b->memory[b->n_memory] = memory(bytes);
    return b->memory[b->n_memory++];
}

static void close_bench(bench *b)
{
    for (uint32_t i = 0; i < b->n_memory; i++) {
        free(b->memory[i]);
    }
}

/* Irregular numbers in [0, 1). */
static double number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / 16777216.0;
}

static void fill_params(bench *b, q_diag *d)
{
    for (uint32_t p = 0; p < q_model_n_params(b->model); p++) {
        const rig_named *n = named(q_model_param_name(b->model, p));
        uint64_t state = 77 + p;
        q_tensor t;
        must(q_session_param(b->session, p, &t, d), d);
        if (t.layout != Q_PLAIN) {
            continue; /* a view of weights */
        }
        for (size_t i = 0; i < (size_t)t.ne[2] * t.ne[3]; i++) {
            ((q_real *)t.data)[i] = (q_real)(float)(n->low + (n->high - n->low) * number(&state));
        }
    }
}

static void fill_constants(void)
{
    for (uint32_t k = 0; k < run.n_named; k++) {
        rig_named *n = &run.named[k];
        uint64_t state = 4711 + k;
        size_t count;
        if (!n->constant || n->data != NULL) {
            continue;
        }
        count = n->type.dim[3].sym == Q_SYM_ONE
                    ? (size_t)rows_of_case(&n->type) * n->type.dim[3].n
                    : (size_t)run.max.tokens * run.max.batch * unit_of(&n->type);
        n->data = memory(count * sizeof(q_real));
        for (size_t i = 0; i < count; i++) {
            if (n->type.dtype == Q_I32) {
                ((int32_t *)n->data)[i] = (int32_t)(number(&state) * n->limit);
            } else {
                ((q_real *)n->data)[i] = (q_real)(float)(n->low + (n->high - n->low) * number(&state));
            }
        }
    }
}

static void open_bench(bench *b, const char *backend, uint32_t workers, uint32_t flags)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_context context = {q_posix_port(&posix), &b->backend, workers, 0};
    q_plan_config pc;
    q_needs needs;
    q_region regions[4];
    size_t n;
    memset(b, 0, sizeof(*b));
    (void)backend_make(&b->backend, backend, q_cpu_detect());
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = Q_PLAN_TRAIN;
    pc.precision = Q_PRECISION_EXACT;
    pc.flags = flags;
    pc.max = run.max;
    pc.n_workers = workers;
    pc.workspace_size = b->backend.workspace_size;
    must(q_model_size(build, NULL, &n, &d), &d);
    must(q_model_init(&b->model, (q_block){hold(b, n), n}, build, NULL, &d), &d);
    must(q_plan_size(b->model, &pc, &n, &d), &d);
    must(q_plan_init(&b->plan, (q_block){hold(b, n), n}, b->model, &pc, &d), &d);
    q_plan_needs(b->plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (uint32_t i = 0; i < 4; i++) {
        static const uint8_t kinds[] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN, Q_REGION_STATE};
        regions[i].kind = kinds[i];
        regions[i].size = needs.bytes[kinds[i]][0];
        regions[i].base = hold(b, regions[i].size);
    }
    must(q_session_size(b->plan, &n, &d), &d);
    must(q_session_init(&b->session, (q_block){hold(b, n), n}, b->plan, &context, regions, 4, NULL, &d), &d);
    fill_params(b, &d);
    fill_constants();
}

/* A step with what it points to. */
typedef struct step_parts {
    q_step step;
    q_step_span spans[RIG_SPANS];
    const void *inputs[RIG_TENSORS];
} step_parts;

/* Samples (or spans) first .. first + n - 1. */
static void make_step(bench *b, uint32_t first, uint32_t n, step_parts *p)
{
    const rig_step *s = &run.graph->step;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    uint32_t n_inputs = 0;
    rig_at.sample = first;
    rig_at.token = 0;
    for (uint32_t i = 0; i < first && s->n_spans != 0; i++) {
        rig_at.token += s->span_rows[i];
    }
    memset(&p->step, 0, sizeof(p->step));
    for (uint32_t i = 0; i < n && s->n_spans != 0; i++) {
        p->spans[i].sequence = first + i;
        p->spans[i].n_tokens = s->span_rows[first + i];
        p->step.n_tokens += p->spans[i].n_tokens;
        must(q_sequence_rewind(b->session, first + i, 0, &d), &d);
    }
    for (uint32_t k = 0; k < run.n_named; k++) {
        const rig_named *v = &run.named[k];
        if (v->constant) {
            bool batch = v->type.dim[0].sym == Q_SYM_BATCH;
            size_t at = unit_of(&v->type) * (batch ? rig_at.sample : rig_at.token);
            p->inputs[n_inputs++] = (const uint8_t *)v->data + at * (v->type.dtype == Q_I32 ? sizeof(int32_t) : sizeof(q_real));
        }
    }
    p->step.n_batch = s->n_spans != 0 ? 1 : n;
    p->step.n_spans = s->n_spans != 0 ? n : 0;
    p->step.spans = p->spans;
    p->step.inputs = p->inputs;
    p->step.select = s->n_spans != 0 ? Q_SELECT_ALL : Q_SELECT_NONE;
    p->step.first_sample = first;
    p->step.seed = 99;
    p->step.index = 5;
}

static void forward(bench *b, uint32_t first, uint32_t n)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    step_parts parts;
    make_step(b, first, n, &parts);
    must(q_model_forward(b->session, &parts.step, &d), &d);
}

static void keep_grads(bench *b)
{
    size_t n = 0;
    b->grads = NULL;
    for (int pass = 0; pass < 2; pass++) {
        n = 0;
        for (uint32_t p = 0; p < q_model_n_params(b->model); p++) {
            q_tensor g;
            if (q_session_param_grad(b->session, p, &g, NULL) == Q_OK) {
                size_t count = (size_t)g.ne[2] * g.ne[3];
                if (pass == 1) {
                    memcpy(b->grads + n, g.data, count * sizeof(q_real));
                }
                n += count;
            }
        }
        if (pass == 0) {
            b->grads = (q_real *)hold(b, n * sizeof(q_real));
        }
    }
    b->n_grads = n;
}

static uint32_t samples(void)
{
    const rig_step *s = &run.graph->step;
    return s->n_spans != 0 ? s->n_spans : run.max.batch;
}

static void whole_batch(bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    forward(b, 0, samples());
    must(q_model_backward(b->session, false, &d), &d);
}

/* How many nodes backward visits. */
static q_error_code count_backward(void *user, const q_observation *seen)
{
    *(uint32_t *)user += seen->backward;
    return Q_OK;
}

static void check_backward_steps(bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    uint32_t n = 0;
    const q_session_config watching = {.struct_size = sizeof(watching), .observe = count_backward, .user = &n};
    const q_session_config usual = {.struct_size = sizeof(usual)};
    if (run.graph->backward_steps != 0 && !run.feeding) {
        must(q_session_configure(b->session, &watching, &d), &d);
        whole_batch(b);
        must(q_session_configure(b->session, &usual, &d), &d);
        rig_expect(n == run.graph->backward_steps, run.graph->name, "backward ends where nothing upstream trains");
    }
}

/* ---- Against differences ---------------------------------------------------------------------------------- */

static void judge(void *user, const q_gradcheck_param *found)
{
    char what[160];
    (void)user;
    if (found->failed != 0) {
        printf("%s: %s[%llu]: backward %.9g, difference %.9g\n", run.graph->name, found->name,
               (unsigned long long)found->worst, found->backward, found->difference);
    }
    (void)snprintf(what, sizeof(what), "gradient of %s", found->name);
    rig_expect(found->failed == 0 && (found->largest != 0 || (run.graph->flags & RIG_FLAT) != 0), run.graph->name, what);
}

static void against_differences(bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_gradcheck_config config = q_gradcheck_defaults();
    q_gradcheck_result result;
    step_parts parts;
#ifndef Q_REAL_DOUBLE
    if ((run.graph->flags & RIG_STEEP) != 0) {
        return;
    }
    config.atol = 1e-2; /* terms of the probe cancel: its rounding is of their size, not of its own */
#endif
    config.samples = RIG_SAMPLES;
    config.seen = judge;
    make_step(b, 0, samples(), &parts);
    must(q_gradcheck(b->session, &parts.step, &config, &result, &d), &d);
}

/* ---- Against each other ----------------------------------------------------------------------------------- */

static void same_bits(const bench *want, const bench *got, const char *what)
{
    rig_expect(want->n_grads == got->n_grads &&
                   memcmp(want->grads, got->grads, want->n_grads * sizeof(q_real)) == 0,
               run.graph->name, what);
}

static void check_split(const bench *want)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    uint32_t n = samples();
    uint32_t split = run.graph->step.split != 0 ? run.graph->step.split : n / 2;
    bench b;
    if (n < 2 || (run.graph->flags & RIG_NO_SPLIT) != 0) {
        return;
    }
    open_bench(&b, "scalar", 1, 0);
    forward(&b, 0, split);
    must(q_model_backward(b.session, false, &d), &d);
    forward(&b, split, n - split);
    must(q_model_backward(b.session, true, &d), &d);
    keep_grads(&b);
    same_bits(want, &b, "two micro-batches have the bits of the batch");
    close_bench(&b);
}

static void check_variants(const bench *want)
{
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        for (uint32_t variant = 0; variant < 4; variant++) {
            static const uint32_t workers[] = {1, RIG_WORKERS, 1, RIG_WORKERS};
            static const uint32_t flags[] = {0, 0, Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE, Q_PLAN_RECOMPUTE};
            static const char *const names[] = {"", ", 3 workers", ", nothing fused", ", computed again"};
            q_backend probe;
            char what[96];
            bench b;
            if (!backend_make(&probe, backend_name(i), q_cpu_detect())) {
                continue;
            }
            open_bench(&b, backend_name(i), workers[variant], flags[variant]);
            whole_batch(&b);
            keep_grads(&b);
            (void)snprintf(what, sizeof(what), "same bits: %s%s", backend_name(i), names[variant]);
            same_bits(want, &b, what);
            close_bench(&b);
        }
    }
}

static void start(void)
{
    static bool ready;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    if (!ready) {
        must(q_posix_init(&posix, RIG_WORKERS, &d), &d);
        ready = true;
    }
}

static void check_once(const rig_graph *graph, bool feeding)
{
    const rig_step *s = &graph->step;
    bench b;
    memset(&run, 0, sizeof(run));
    run.graph = graph;
    run.feeding = feeding;
    start();
    run.max.batch = s->n_batch != 0 ? s->n_batch : 1;
    run.max.sequences = s->n_spans != 0 ? s->n_spans : 1;
    run.max.tokens = s->n_spans != 0 ? 0 : 1;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        run.max.tokens += s->span_rows[i];
        run.max.kv = s->span_rows[i] > run.max.kv ? s->span_rows[i] : run.max.kv;
    }
    run.max.selected = run.max.tokens;
    open_bench(&b, "scalar", 1, Q_PLAN_NO_FUSE);
    whole_batch(&b);
    keep_grads(&b);
    against_differences(&b);
    check_variants(&b);
    check_split(&b);
    check_backward_steps(&b);
    close_bench(&b);
    for (uint32_t i = 0; i < run.n_named; i++) {
        free(run.named[i].data);
    }
}

void rig_check_graph(const rig_graph *graph)
{
    if (!is_wanted(graph->name)) {
        return;
    }
    check_once(graph, false);
    check_once(graph, true);
}

/* ---- One layer -------------------------------------------------------------------------------------------- */

static void build_layer(q_graph *g, const void *user)
{
    const rig_layer *layer = (const rig_layer *)user;
    uint32_t n_out = (layer->flags & RIG_FIRST_OUTPUT) != 0 ? 1 : layer->cls->n_out;
    q_value out[Q_MAX_OUTPUTS];
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = layer->cls;
    d.name = "layer";
    d.config = layer->config;
    d.n_in = layer->n_in;
    d.n_param = layer->n_param;
    for (uint32_t i = 0; i < 2u * layer->n_in; i++) { /* inputs of the graph come before its nodes */
        const rig_input *in = &layer->in[i % layer->n_in];
        char name[24];
        (void)snprintf(name, sizeof(name), "in %u", i % layer->n_in);
        if ((in->constant || in->type.dtype == Q_I32) == (i < layer->n_in)) {
            d.in[i % layer->n_in] = rig_source(g, name, in);
        }
    }
    for (uint32_t i = 0; i < layer->n_param; i++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "param %u", i);
        d.param[i] = rig_slot(g, name, &layer->param[i]);
    }
    out[0] = q_graph_node(g, &d);
    for (uint32_t i = 1; i < n_out; i++) {
        out[i] = out[0] + i;
    }
    rig_probe(g, out, n_out);
}

void rig_check_layer(const rig_layer *layer)
{
    rig_graph graph;
    memset(&graph, 0, sizeof(graph));
    graph.name = layer->name;
    graph.build = build_layer;
    graph.user = layer;
    graph.step = layer->step;
    graph.flags = layer->flags;
    rig_check_graph(&graph);
}
