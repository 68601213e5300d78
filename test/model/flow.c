/* SPDX-License-Identifier: MIT */
/* Putting a model together the way a test wants it. */
#define _POSIX_C_SOURCE 200809L
#include "flow.h"

#include "../../port/x86/cpu_detect.h"
#include "../../tools/common/backends.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_passed;
static int n_failed;
static int n_skipped;

void check(bool ok, const char *format, ...)
{
    va_list args;
    n_passed += ok ? 1 : 0;
    n_failed += ok ? 0 : 1;
    if (ok) {
        return;
    }
    va_start(args, format);
    (void)printf("FAIL ");
    (void)vprintf(format, args);
    (void)printf("\n");
    va_end(args);
}

void check_skip(const char *what)
{
    n_skipped++;
    (void)printf("SKIP %s\n", what);
}

int check_summary(void)
{
    (void)printf("%d passed, %d failed, %d skipped\n", n_passed, n_failed, n_skipped);
    return n_failed != 0;
}

static void *heap_take(void *user, size_t size, const char *what)
{
    void *p;
    (void)user;
    (void)what;
    p = aligned_alloc(4096, (size + 4095) / 4096 * 4096 + 4096);
    if (p == NULL) {
        (void)printf("out of memory\n");
        exit(1);
    }
    memset(p, 0xA5, size);
    return p;
}

const flow_memory flow_heap = {heap_take, NULL};

flow_setup flow_defaults(const char *file)
{
    flow_setup s;
    memset(&s, 0, sizeof(s));
    s.file = file;
    s.backend = "scalar";
    s.chunk = 16;
    s.selected = 1;
    s.workers = 1;
    s.session.struct_size = sizeof(s.session);
    return s;
}

static const void *load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    long n;
    void *bytes;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) != 0) {
        (void)printf("cannot read %s\n", path);
        exit(1);
    }
    bytes = heap_take(NULL, (size_t)n, path);
    *size = fread(bytes, 1, (size_t)n, f);
    (void)fclose(f);
    return bytes;
}

q_error_code flow_load(flow *f, const flow_setup *s)
{
    memset(f, 0, sizeof(*f));
    f->bytes = load(s->file, &f->size);
    if (!backend_make(&f->backend, s->backend, q_cpu_detect())) {
        return Q_ERR_NO_DEVICE;
    }
    f->context.port = s->port;
    f->context.backend = &f->backend;
    f->context.n_workers = s->workers;
    return q_file_open(&f->file, f->bytes, f->size, NULL, 0, &f->diag);
}

static q_file_build build_of(const flow *f, const flow_setup *s)
{
    q_file_build b;
    memset(&b, 0, sizeof(b));
    b.file = &f->file;
    b.swaps = s->swaps;
    b.n_swaps = s->n_swaps;
    return b;
}

static q_plan_config config_of(const flow *f, const flow_setup *s)
{
    q_plan_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.precision = s->precision;
    c.flags = s->plan_flags;
    c.max.batch = 1;
    c.max.tokens = s->chunk;
    c.max.selected = s->selected;
    c.max.kv = s->context != 0 ? s->context : FLOW_CONTEXT;
    c.max.sequences = s->sequences;
    c.kv_type = s->kv_type;
    c.n_workers = s->workers;
    c.workspace_size = f->backend.workspace_size;
    c.tag = s->tag;
    c.devices = s->devices;
    return c;
}

q_error_code flow_model(flow *f, const flow_setup *s, q_block memory)
{
    q_file_build b = build_of(f, s);
    if (s->decoder != NULL) {
        return q_model_init(&f->model, memory, q_build_decoder, s->decoder, &f->diag);
    }
    return q_model_init(&f->model, memory, q_build_from_file, &b, &f->diag);
}

q_error_code flow_plan(flow *f, const flow_setup *s, q_block memory)
{
    q_plan_config c = config_of(f, s);
    q_error_code e = q_plan_init(&f->plan, memory, f->model, &c, &f->diag);
    if (e == Q_OK) {
        q_plan_needs(f->plan, &f->needs);
    }
    return e;
}

q_error_code flow_session(flow *f, const flow_setup *s, q_block memory)
{
    return q_session_init(&f->session, memory, f->plan, &f->context, f->regions, f->n_regions, &s->session, &f->diag);
}

static void must(const flow *f, q_error_code e)
{
    if (e != Q_OK) {
        (void)printf("error %d: %s: %s (need %llu, have %llu)\n", (int)e, f->diag.what, f->diag.field,
                     (unsigned long long)f->diag.need, (unsigned long long)f->diag.have);
        exit(1);
    }
}

void flow_open(flow *f, const flow_setup *s, const flow_memory *memory)
{
    q_file_build b;
    q_plan_config c;
    must(f, flow_load(f, s));
    b = build_of(f, s);
    c = config_of(f, s);
    must(f, s->decoder != NULL ? q_model_size(q_build_decoder, s->decoder, &f->model_size, &f->diag)
                               : q_model_size(q_build_from_file, &b, &f->model_size, &f->diag));
    must(f, flow_model(f, s, (q_block){memory->take(memory->user, f->model_size, "model"), f->model_size}));
    must(f, q_plan_size(f->model, &c, &f->plan_size, &f->diag));
    must(f, flow_plan(f, s, (q_block){memory->take(memory->user, f->plan_size, "plan"), f->plan_size}));
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
            q_region *r = &f->regions[f->n_regions];
            if (f->needs.bytes[kind][tag] != 0) {
                memset(r, 0, sizeof(*r));
                r->kind = (uint8_t)kind;
                r->tag = (uint8_t)tag;
                r->size = f->needs.bytes[kind][tag];
                if (tag >= Q_MAX_TAGS) {
                    r->device = (uint8_t)s->devices->backend[tag - Q_MAX_TAGS]->device;
                }
                r->base = memory->take(memory->user, r->size,
                                       r->device != 0 ? "device" : kind == Q_REGION_STATE ? "state" : "scratch");
                f->n_regions++;
            }
        }
    }
    must(f, q_session_size(f->plan, &f->session_size, &f->diag));
    must(f, flow_session(f, s, (q_block){memory->take(memory->user, f->session_size, "session"), f->session_size}));
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) * 1099511628211u;
    }
    return h;
}

static q_error_code hash_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    uint64_t *h = (uint64_t *)user;
    (void)first;
    for (uint32_t r = 0; r < n; r++) {
        *h = hash_bytes(*h, (const char *)rows->data + r * rows->nb[2], rows->ne[3] * sizeof(float));
    }
    return Q_OK;
}

uint64_t flow_hash(flow *f, const int32_t *tokens, uint32_t n, q_error_code *code)
{
    uint64_t h = 1469598103934665603u;
    const void *inputs[1];
    q_step step;
    inputs[0] = tokens;
    memset(&step, 0, sizeof(step));
    step.n_tokens = n;
    step.inputs = inputs;
    step.select = Q_SELECT_ALL;
    step.rows = hash_rows;
    step.rows_user = &h;
    *code = q_model_forward(f->session, &step, &f->diag);
    return h;
}

void flow_tokens(const flow *f, int32_t *tokens, uint32_t n, uint32_t seed)
{
    uint32_t vocabulary = q_file_get_arch(&f->file)->n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((seed >> 8) % vocabulary);
    }
}
