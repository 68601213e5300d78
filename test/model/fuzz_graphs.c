/* SPDX-License-Identifier: MIT */
/*
 * Random graphs from a byte string: built through the API, planned, run forward and backward in regions of exactly
 * the sizes asked for. Whatever the bytes say, every call ends in success or in an error with a diagnosis, and what
 * an accepted graph computes does not depend on fusion, in place, chunks, workers, backend or what was in memory.
 *
 *   fuzz_graphs ROUNDS [SEED]
 */
#define _POSIX_C_SOURCE 200809L
#include "fuzz.h"

#include "qorus/base/panel.h"

#include "../../port/posix/posix.h"
#include "../../port/x86/cpu_detect.h"
#include "../../tools/common/backends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct variant {
    uint32_t flags;
    uint32_t tokens;
    uint32_t selected;
    uint32_t workers;
    bool best; /* the fastest backend of this CPU, else scalar */
    int garbage;
} variant;

/* What a run gave: one hash for each step, of rows handed out, of outputs left, of gradients. */
typedef struct trace {
    q_error_code built;
    q_error_code code[MAX_STEPS];
    uint64_t rows[MAX_STEPS];
    uint64_t outputs[MAX_STEPS];
    uint64_t grads[MAX_STEPS];
} trace;

typedef struct flow {
    recipe *r;
    source s;
    q_model *model;
    q_plan *plan;
    q_session *session;
    void *session_memory;
    q_region regions[N_REGIONS];
    size_t n_regions;
    q_maxima max;
} flow;

static q_posix threads;
static bool have_threads;
static unsigned long accepted;
static unsigned long stepped;
static unsigned long went_back;
static unsigned long compared;

static uint64_t hash_reals(uint64_t h, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, (const uint8_t *)from + i * 4, 4);
        bits = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits; /* one NaN is as good as another */
        h = (h ^ bits) * 1099511628211u;
        h ^= h >> 29;
    }
    return h;
}

static uint64_t hash_tensor(uint64_t h, const q_tensor *t)
{
    for (uint32_t b = 0; b < t->ne[0]; b++) {
        for (uint32_t a = 0; a < t->ne[1]; a++) {
            for (uint32_t r = 0; r < t->ne[2]; r++) {
                h = hash_reals(h, (const uint8_t *)t->data + b * t->nb[0] + a * t->nb[1] + r * t->nb[2], t->ne[3]);
            }
        }
    }
    return h;
}

static q_error_code take_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    uint64_t *h = (uint64_t *)user;
    (void)first;
    if (rows->ne[0] * rows->ne[1] * rows->ne[2] != n) {
        abort();
    }
    *h = hash_tensor(*h, rows);
    return Q_OK;
}

static void must_tell(q_error_code e, const q_diag *d, const char *where)
{
    if (e != Q_OK && (d->code != e || d->field[0] == '\0')) {
        (void)printf("%s returned %d\n", where, (int)e);
        fuzz_broken("an error without its diagnosis", d);
    }
}

static q_error_code make_plan(flow *f, const variant *v, uint32_t mode, q_diag *d)
{
    q_plan_config c;
    size_t bytes = 0;
    q_error_code e;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = mode;
    c.precision = f->r->precision;
    c.flags = v->flags;
    c.max = f->max;
    c.max.tokens = v->tokens != 0 ? v->tokens : f->max.tokens;
    c.max.selected = v->selected != 0 ? v->selected : f->max.selected;
    c.n_workers = v->workers;
    c.workspace_size = 1u << 19; /* of any backend */
    e = q_plan_size(f->model, &c, &bytes, d);
    if (e != Q_OK) {
        must_tell(e, d, "q_plan_size");
        return e;
    }
    f->plan = NULL;
    {
        void *memory = fuzz_take(bytes, v->garbage);
        e = q_plan_init(&f->plan, (q_block){memory, bytes}, f->model, &c, d);
        if (e != Q_OK) {
            must_tell(e, d, "q_plan_init");
            free(memory);
            f->plan = NULL;
        }
    }
    return e;
}

static bool make_regions(flow *f, int garbage)
{
    q_needs needs;
    size_t total = 0;
    q_plan_needs(f->plan, &needs);
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        size_t n = needs.bytes[kind][0];
        if (n > 4 * MAX_BYTES || (total += n) > 8 * MAX_BYTES) {
            return false;
        }
    }
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        q_region *region = &f->regions[f->n_regions];
        if (needs.bytes[kind][0] != 0) {
            memset(region, 0, sizeof(*region));
            region->kind = (uint8_t)kind;
            region->size = needs.bytes[kind][0];
            region->base = fuzz_take(region->size, garbage);
            f->n_regions++;
        }
    }
    return true;
}

/* Parameters: small reals, bytes that make finite scales of any other type. */
static void fill_params(flow *f)
{
    for (q_param p = 0; p < q_model_n_params(f->model); p++) {
        q_tensor t;
        uint32_t x = 17 + p;
        uint64_t bytes = 0;
        q_diag d;
        if (q_session_param(f->session, p, &t, &d) != Q_OK ||
            !q_matrix_bytes(t.dtype, t.layout, (uint64_t)t.ne[0] * t.ne[1] * t.ne[2], t.ne[3], &bytes)) {
            fuzz_broken("a parameter without bytes", &d);
        }
        for (uint64_t i = 0; i + 4 <= bytes; i += 4) {
            float real;
            x = x * 1664525u + 1013904223u;
            real = (float)(int32_t)(x >> 8) / 16777216.0f - 0.4f;
            if (t.dtype == Q_F32) {
                memcpy((uint8_t *)t.data + i, &real, 4);
            } else {
                uint32_t word = x & 0x3b3b3b3bu;
                memcpy((uint8_t *)t.data + i, &word, 4);
            }
        }
        memset((uint8_t *)t.data + bytes / 4 * 4, 0x3b, (size_t)(bytes % 4));
    }
}

/* Exactly the bytes one input of a step has; NULL if they are many. */
static void *input_bytes(const q_value_type *t, uint32_t batch, uint32_t tokens, uint32_t limit, uint32_t seed)
{
    uint64_t n = 1;
    uint8_t *to;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        uint32_t sym = t->dim[d].sym;
        n *= t->dim[d].n;
        n *= sym == Q_SYM_BATCH ? batch : sym == Q_SYM_TOKENS ? tokens : sym == Q_SYM_ROWS ? batch * tokens : 1;
        if (n > 65536) {
            return NULL;
        }
    }
    to = (uint8_t *)fuzz_take((size_t)n * 4, 0);
    for (uint64_t i = 0; i < n; i++) {
        float real;
        int32_t id;
        seed = seed * 1664525u + 1013904223u;
        real = (float)(int32_t)(seed >> 8) / 8388608.0f - 1.0f;
        id = (int32_t)((seed >> 8) % (limit != 0 && limit < 12 ? limit : 8));
        memcpy(to + i * 4, t->dtype == Q_I32 ? (void *)&id : (void *)&real, 4);
    }
    return to;
}

static void read_outputs(flow *f, trace *t, uint32_t step)
{
    for (uint32_t i = 0; i < q_model_n_outputs(f->model); i++) {
        q_tensor out;
        q_diag d;
        q_error_code e = q_session_output(f->session, i, &out, &d);
        must_tell(e, &d, "q_session_output");
        t->outputs[step] = e == Q_OK ? hash_tensor(t->outputs[step], &out) : t->outputs[step] + (uint64_t)(int64_t)e;
    }
}

static void go_back(flow *f, trace *t, uint32_t step)
{
    q_diag d;
    q_error_code e = q_model_backward(f->session, step != 0, &d);
    must_tell(e, &d, "q_model_backward");
    went_back += e == Q_OK ? 1u : 0u;
    t->grads[step] = (uint64_t)(int64_t)e;
    for (q_param p = 0; e == Q_OK && p < q_model_n_params(f->model); p++) {
        q_tensor g;
        if (q_session_param_grad(f->session, p, &g, NULL) == Q_OK) {
            t->grads[step] = hash_tensor(t->grads[step], &g);
        }
    }
}

static void one_step(flow *f, trace *t, uint32_t step)
{
    q_input_desc inputs[4];
    void *data[4] = {NULL};
    uint32_t list[8];
    uint32_t n_inputs = fuzz_inputs(f->r, inputs, 4);
    uint64_t h = 1469598103934665603u;
    bool fits = true;
    q_step s;
    q_diag d;
    memset(&s, 0, sizeof(s));
    memset(&d, 0, sizeof(d));
    s.n_batch = fuzz_rarely(&f->s, 16) ? f->max.batch + 1 : 1 + fuzz_pick(&f->s, f->max.batch);
    s.n_tokens = fuzz_rarely(&f->s, 16) ? f->max.tokens + fuzz_pick(&f->s, 9) : 1 + fuzz_pick(&f->s, f->max.tokens);
    s.select = fuzz_rarely(&f->s, 40) ? 9 : fuzz_pick(&f->s, 4);
    s.n_selected = 1 + fuzz_pick(&f->s, 4);
    for (uint32_t i = 0; i < s.n_selected; i++) {
        list[i] = (i != 0 ? list[i - 1] + 1 : 0) + (fuzz_rarely(&f->s, 3) ? 1 : 0);
    }
    s.selected = list;
    s.rows = fuzz_rarely(&f->s, 4) ? NULL : take_rows;
    s.rows_user = &h;
    s.inputs = (const void *const *)data;
    for (uint32_t i = 0; i < n_inputs; i++) {
        data[i] = input_bytes(&inputs[i].type, s.n_batch, s.n_tokens, inputs[i].limit, step * 7 + i);
        fits = fits && data[i] != NULL;
    }
    if (fits) {
        t->code[step] = q_model_forward(f->session, &s, &d);
        must_tell(t->code[step], &d, "q_model_forward");
        stepped += t->code[step] == Q_OK ? 1u : 0u;
        t->rows[step] = h;
        if (t->code[step] == Q_OK) {
            read_outputs(f, t, step);
        }
    }
    for (uint32_t i = 0; i < n_inputs; i++) {
        free(data[i]);
    }
    if (f->r->trains) {
        go_back(f, t, step);
    }
    if (fuzz_rarely(&f->s, 4)) {
        must_tell(q_session_rewind(f->session, fuzz_pick(&f->s, 5), &d), &d, "q_session_rewind");
    } else if (fuzz_rarely(&f->s, 30)) {
        must_tell(q_session_set_position(f->session, fuzz_pick(&f->s, 0), &d), &d, "q_session_set_position");
    }
}

static q_error_code open_session(flow *f, const variant *v, q_backend *backend, q_diag *d)
{
    q_context c;
    size_t bytes;
    q_error_code e = q_session_size(f->plan, &bytes, d);
    memset(&c, 0, sizeof(c));
    q_backend_scalar(backend);
    if (v->best) {
        backend_best(backend, q_cpu_detect());
    }
    c.backend = backend;
    c.port = v->workers > 1 && have_threads ? q_posix_port(&threads) : NULL;
    c.n_workers = v->workers;
    f->session_memory = fuzz_take(bytes, v->garbage);
    if (e == Q_OK) {
        e = q_session_init(&f->session, (q_block){f->session_memory, bytes}, f->plan, &c, f->regions, f->n_regions, NULL, d);
    }
    must_tell(e, d, "q_session_init");
    return e;
}

/* Plan, session and steps of a model in one way of running it. */
static void run_variant(recipe *r, q_model *model, const q_maxima *max, const variant *v, source steps, trace *t)
{
    flow f;
    q_backend backend;
    q_diag d;
    memset(&f, 0, sizeof(f));
    memset(&d, 0, sizeof(d));
    memset(t, 0, sizeof(*t));
    f.r = r;
    f.model = model;
    f.max = *max;
    f.s = steps;
    t->built = make_plan(&f, v, r->trains ? Q_PLAN_TRAIN : Q_PLAN_INFER, &d);
    if (t->built == Q_OK && !make_regions(&f, v->garbage)) {
        t->built = Q_ERR_LIMIT;
    }
    if (t->built == Q_OK) {
        t->built = open_session(&f, v, &backend, &d);
    }
    if (t->built == Q_OK) {
        uint32_t n = 1 + fuzz_pick(&f.s, MAX_STEPS);
        accepted++;
        fill_params(&f);
        for (uint32_t i = 0; i < n; i++) {
            one_step(&f, t, i);
        }
    }
    for (size_t i = 0; i < f.n_regions; i++) {
        free(f.regions[i].base);
    }
    free(f.session_memory);
    free(f.plan);
}

static void same(const trace *a, const trace *b, bool chunks, const char *what)
{
    q_diag d;
    memset(&d, 0, sizeof(d));
    if (a->built != b->built && !chunks && a->built != Q_ERR_LIMIT && b->built != Q_ERR_LIMIT) {
        fuzz_broken(what, &d);
    }
    for (uint32_t i = 0; i < MAX_STEPS && a->built == Q_OK && b->built == Q_OK; i++) {
        if (chunks && (a->code[i] != b->code[i] || a->code[i] != Q_OK)) {
            return; /* not every step can be split, and one that fails has handed out other rows by then */
        }
        if (a->code[i] != b->code[i] || a->rows[i] != b->rows[i] ||
            (!chunks && (a->outputs[i] != b->outputs[i] || a->grads[i] != b->grads[i]))) {
            (void)printf("step %u: codes %d %d, rows %d, outputs %d, gradients %d\n", i, (int)a->code[i], (int)b->code[i],
                         a->rows[i] == b->rows[i], a->outputs[i] == b->outputs[i], a->grads[i] == b->grads[i]);
            fuzz_broken(what, &d);
        }
        compared++;
    }
}

static void run_all(recipe *r, q_model *model, source *s)
{
    variant base = {Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE, 0, 0, 1, false, 0x00};
    variant v;
    q_maxima max;
    source steps;
    trace first;
    trace t;
    max.batch = 1 + fuzz_pick(s, 3);
    max.tokens = 1 + fuzz_pick(s, 8);
    max.selected = 1 + fuzz_pick(s, 8);
    max.kv = fuzz_rarely(s, 30) ? fuzz_extremes[fuzz_pick(s, 8)] : max.tokens + fuzz_pick(s, 40);
    max.sequences = fuzz_rarely(s, 8) ? fuzz_pick(s, 4) : 1;
    steps = *s;
    steps.at += 4;
    run_variant(r, model, &max, &base, steps, &first);
    v = base;
    v.flags = 0;
    v.garbage = 0xa5;
    run_variant(r, model, &max, &v, steps, &t);
    same(&first, &t, false, "fusion and in place change the result");
    if (first.built != Q_OK) {
        return;
    }
    v.best = true;
    v.flags = fuzz_pick(s, 4);
    v.garbage = 0xff;
    run_variant(r, model, &max, &v, steps, &t);
    same(&first, &t, false, "the backend changes the result");
    v.tokens = 1 + max.tokens / 3;
    v.selected = 1 + max.selected / 3;
    run_variant(r, model, &max, &v, steps, &t);
    same(&first, &t, true, "chunks change the result");
    if (fuzz_pick(s, 32) == 0 && have_threads) {
            v = base;
        v.flags = 0;
        v.workers = 2;
        run_variant(r, model, &max, &v, steps, &t);
        same(&first, &t, false, "workers change the result");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s = {data, size, 0};
    recipe r;
    q_model *model = NULL;
    size_t bytes;
    q_diag d;
    q_error_code e;
    memset(&r, 0, sizeof(r));
    memset(&d, 0, sizeof(d));
    r.trains = fuzz_pick(&s, 4) == 0;
    r.precision = fuzz_pick(&s, 2);
    r.bytes = s;
    s.at += 160; /* the steps' own bytes */
    e = q_model_size(fuzz_build, &r, &bytes, &d);
    if (e == Q_OK) {
        void *memory = fuzz_take(bytes, 0xa5);
        e = q_model_init(&model, (q_block){memory, bytes}, fuzz_build, &r, &d);
        if (e == Q_OK) {
            run_all(&r, model, &s);
        }
        free(memory);
    }
    must_tell(e, &d, "the graph");
    for (uint32_t i = 0; i < r.n_views; i++) {
        free(r.views[i]);
    }
    return 0;
}

#ifndef Q_FUZZ_LIBRARY
int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
    uint32_t seed = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    uint32_t first = seed;
    uint8_t bytes[256];
    q_diag d;
    bool verbose = argc > 3;
    have_threads = q_posix_init(&threads, 2, &d) == Q_OK;
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t x = (fuzz_seed = seed++) * 2654435761u;
        for (uint32_t j = 0; j < sizeof(bytes); j++) {
            x = x * 1664525u + 1013904223u;
            bytes[j] = (uint8_t)(x >> 23);
        }
        if (verbose) {
            (void)printf("seed %u\n", seed - 1);
            (void)fflush(stdout);
        }
        (void)LLVMFuzzerTestOneInput(bytes, sizeof(bytes));
    }
    (void)printf("seeds %u to %u: %lu runs of accepted graphs, %lu steps, %lu backward, %lu comparisons\n", first, seed - 1,
                 accepted, stepped, went_back, compared);
    (void)printf("%u passed, 0 failed, 0 skipped\n", accepted != 0 && went_back != 0 && compared != 0 ? 1u : 0u);
    return accepted == 0 || went_back == 0 || compared == 0;
}
#endif
