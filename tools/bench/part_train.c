/* SPDX-License-Identifier: MIT */
/*
 * part_train.c: `parts train`: whole steps of a work of works.h (forward, backward, clipping, AdamW); `parts fusion`: such
 * steps with fused layers and without, in turn; `parts forward`: the forward pass of one sample through the .qorus file of
 * that network.
 */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"

#include "../common/engine.h"
#include "qorus/write.h"
#include "works.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOSSES = 4, TRAIN_PASSES = 8, FORWARD_PASSES = 20, MOST_SPANS = 8 };
#define TRAIN_SECONDS 1.2
#define FUSION_SECONDS 8.0
#define FORWARD_SECONDS 0.4

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        char line[256];
        engine_explain(d, line, sizeof(line));
        parts_fail(line);
    }
}

static q_error_code take(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    (void)user;
    (void)what;
    (void)diag;
    *base = parts_take(size != 0 ? size : 1);
    return Q_OK;
}

/* Most memory this process has had at once, 0 where nobody tells; getrusage would count whoever started it. */
static double peak_mib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];
    unsigned long kib = 0;
    while (f != NULL && kib == 0 && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtoul(line + 6, NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return (double)kib / 1024;
}

/* ---- A training ------------------------------------------------------------------------------------------- */

typedef struct training {
    const work *w;
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_trainer *trainer;
    size_t bytes; /* of all regions */
    void *data[2];
    const void *inputs[2];
    q_step_span spans[MOST_SPANS];
    q_step step;
} training;

/* Samples of `batch`: x or tokens, and labels. */
static void make_data(training *t, uint32_t batch)
{
    const work *w = t->w;
    size_t n = (size_t)batch * w->rows;
    int32_t *labels = (int32_t *)parts_take((size_t)batch * w->labels * sizeof(int32_t));
    t->data[0] = parts_take(n * (w->columns != 0 ? w->columns * sizeof(float) : sizeof(int32_t)));
    t->data[1] = labels;
    if (w->columns != 0) {
        work_reals("x", 1, (float *)t->data[0], n * w->columns);
    }
    for (uint32_t i = 0; w->columns == 0 && i < n; i++) {
        ((int32_t *)t->data[0])[i] = (int32_t)(work_number("tokens", i) % w->classes);
    }
    for (uint32_t i = 0; i < batch * w->labels; i++) {
        labels[i] = (int32_t)(work_number("labels", i) % w->classes);
    }
    memset(&t->step, 0, sizeof(t->step));
    t->inputs[0] = t->data[0];
    t->inputs[1] = t->data[1];
    t->step.inputs = t->inputs;
    t->step.n_batch = w->columns != 0 ? batch : 1;
    t->step.n_spans = w->columns != 0 ? 0 : batch;
    for (uint32_t i = 0; i < t->step.n_spans; i++) {
        t->spans[i] = (q_step_span){i, w->rows};
    }
    t->step.spans = t->spans;
}

static q_train_config recipe(void)
{
    q_train_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.optimizer.struct_size = sizeof(c.optimizer);
    c.optimizer.cls = &q_optimizer_adamw;
    c.optimizer.learning_rate = 1e-3;
    c.optimizer.weight_decay = 0.1;
    c.schedule.struct_size = sizeof(c.schedule);
    c.clip_norm = 1;
    return c;
}

static q_plan_config plan_of(const training *t, uint32_t threads, uint32_t flags, const q_train_config *config)
{
    const work *w = t->w;
    bool texts = w->columns == 0;
    q_plan_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = Q_PLAN_TRAIN;
    c.flags = flags;
    c.precision = Q_PRECISION_EXACT;
    c.max = (q_maxima){texts ? 1 : w->batch, texts ? w->batch * w->rows : 1, 1, texts ? w->rows : 0, texts ? w->batch : 1};
    c.n_workers = threads;
    c.moments = q_train_moments(config);
    c.workspace_size = t->backend.workspace_size;
    return c;
}

static void open_session(training *t, const q_port *port, uint32_t threads, uint32_t flags, const q_train_config *config)
{
    const q_context context = {port, &t->backend, threads, 0};
    const q_plan_config c = plan_of(t, threads, flags, config);
    q_region regions[Q_REGION_KINDS];
    uint32_t n_regions = 0;
    q_needs needs;
    q_diag d;
    size_t n;
    must(q_model_size(work_build, t->w, &n, &d), &d);
    must(q_model_init(&t->model, (q_block){parts_take(n), n}, work_build, t->w, &d), &d);
    must(q_plan_size(t->model, &c, &n, &d), &d);
    must(q_plan_init(&t->plan, (q_block){parts_take(n), n}, t->model, &c, &d), &d);
    q_plan_needs(t->plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        size_t size = needs.bytes[kind][0];
        t->bytes += size;
        if (size != 0) {
            regions[n_regions].kind = (uint8_t)kind;
            regions[n_regions].size = size;
            regions[n_regions++].base = parts_take(size);
        }
    }
    must(q_session_size(t->plan, &n, &d), &d);
    must(q_session_init(&t->session, (q_block){parts_take(n), n}, t->plan, &context, regions, n_regions, NULL, &d), &d);
}

static void open_training(training *t, const char *const *words, const q_port *port, uint32_t threads, uint32_t flags)
{
    const q_train_config config = recipe();
    q_diag d;
    size_t n;
    t->w = work_find(words[0]);
    if (t->w == NULL) {
        parts_fail("no such work");
    }
    must(engine_backend(&t->backend, words[1], port, &d), &d);
    open_session(t, port, threads, flags, &config);
    for (q_param p = 0; p < q_model_n_params(t->model); p++) {
        q_tensor slot;
        must(q_session_param(t->session, p, &slot, &d), &d);
        work_parameter(q_model_param_name(t->model, p), slot.ne[2], slot.ne[3], (float *)slot.data);
    }
    must(q_trainer_size(t->session, &config, &n, &d), &d);
    must(q_trainer_init(&t->trainer, (q_block){parts_take(n), n}, t->session, &config, &d), &d);
}

/* A step, and what it took in milliseconds. */
static double train_step(training *t, q_train_report *report)
{
    double begin = parts_seconds();
    q_diag d;
    must(q_trainer_backward(t->trainer, &t->step, NULL, &d), &d);
    must(q_trainer_update(t->trainer, report, &d), &d);
    return (parts_seconds() - begin) * 1e3;
}

int part_fusion(const char *const *words, int n)
{
    static series s[2];
    static training t[2];
    uint32_t threads = parts_number(words[2], Q_MAX_WORKERS);
    const q_port *port = parts_port(threads);
    double begin = 0;
    (void)n;
    for (uint32_t k = 0; k < 2; k++) {
        open_training(&t[k], words, port, threads, k == 0 ? 0 : Q_PLAN_NO_FUSE);
        make_data(&t[k], t[k].w->batch);
    }
    for (uint32_t i = 0; i < LOSSES + TRAIN_PASSES || parts_seconds() - begin < FUSION_SECONDS; i++) {
        q_train_report report[2];
        for (uint32_t k = 0; k < 2; k++) {
            double ms = train_step(&t[k], &report[k]);
            if (i >= LOSSES) {
                series_add(&s[k], ms);
            }
        }
        if (memcmp(&report[0].loss, &report[1].loss, sizeof(report[0].loss)) != 0) {
            parts_fail("the losses of a step differ");
        }
        begin = i + 1 == LOSSES ? parts_seconds() : begin;
    }
    (void)printf("{\"part\":\"fusion\",\"work\":\"%s\",\"backend\":\"%s\",\"threads\":%u", words[0], words[1], threads);
    for (uint32_t k = 0; k < 2; k++) {
        series_sort(&s[k]);
        series_print(&s[k], k == 0 ? "fused" : "apart");
    }
    (void)printf("}\n");
    return 0;
}

int part_train(const char *const *words, int n)
{
    static series s;
    static training t;
    uint32_t threads = parts_number(words[2], Q_MAX_WORKERS);
    double losses[LOSSES];
    double begin = 0;
    (void)n;
    open_training(&t, words, parts_port(threads), threads, 0);
    make_data(&t, t.w->batch);
    for (uint32_t i = 0; i < LOSSES + TRAIN_PASSES || parts_seconds() - begin < TRAIN_SECONDS; i++) {
        q_train_report report;
        double ms = train_step(&t, &report);
        if (i < LOSSES) {
            losses[i] = report.loss;
            begin = parts_seconds();
        } else {
            series_add(&s, ms);
        }
    }
    series_sort(&s);
    (void)printf("{\"part\":\"train\",\"work\":\"%s\",\"backend\":\"%s\",\"threads\":%u", words[0], words[1], threads);
    series_print(&s, "ms");
    (void)printf(",\"operations\":%.0f,\"planned_mib\":%.2f,\"peak_mib\":%.2f,\"loss\":[", work_operations(t.w),
                 (double)t.bytes / 1048576, peak_mib());
    for (uint32_t i = 0; i < LOSSES; i++) {
        (void)printf("%s%.8g", i == 0 ? "" : ",", losses[i]);
    }
    (void)printf("]}\n");
    return 0;
}

/* ---- One sample forward ----------------------------------------------------------------------------------- */

static q_error_code put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    memcpy((uint8_t *)user + offset, bytes, n);
    return Q_OK;
}

/* The network as a file in memory. */
static q_block file_of(const training *t)
{
    static const char *const outputs[] = {"logits"};
    q_write w;
    q_block file, room;
    uint64_t size;
    q_diag d;
    memset(&w, 0, sizeof(w));
    w.struct_size = sizeof(w);
    w.dtype = Q_F32;
    w.model = t->model;
    w.session = t->session;
    w.outputs = outputs;
    w.n_outputs = 1;
    w.write = put;
    must(q_write_work_size(&w, &room.size, &d), &d);
    room.base = parts_take(room.size);
    must(q_write_size(&w, room.base, room.size, &size, &d), &d);
    file.size = (size_t)size;
    file.base = w.user = parts_take(file.size);
    must(q_write_run(&w, room.base, room.size, &d), &d);
    return file;
}

int part_forward(const char *const *words, int n)
{
    static series s;
    static training t;
    static engine e;
    static options o;
    const engine_memory memory = {NULL, take, true};
    uint32_t threads = parts_number(words[2], Q_MAX_WORKERS);
    const q_port *port = parts_port(threads);
    double begin;
    q_block file;
    q_diag d;
    (void)n;
    open_training(&t, words, port, threads, 0);
    file = file_of(&t);
    o.backend = words[1];
    o.threads = threads;
    o.exact = true;
    o.ctx = o.chunk = t.w->columns == 0 ? t.w->rows : 0;
    must(engine_open(&e, file.base, file.size, false, &memory, &d), &d);
    must(engine_plan(&e, port, &o, t.w->columns == 0 ? t.w->rows : 1, &memory, &d), &d);
    must(engine_start(&e, NULL, &memory, &d), &d);
    make_data(&t, 1);
    begin = parts_seconds();
    for (uint32_t i = 0; i < FORWARD_PASSES || parts_seconds() - begin < FORWARD_SECONDS; i++) {
        double time = parts_seconds();
        must(q_session_rewind(e.session, 0, &d), &d);
        must(q_model_forward(e.session, &t.step, &d), &d);
        series_add(&s, (parts_seconds() - time) * 1e6);
    }
    series_sort(&s);
    (void)printf("{\"part\":\"forward\",\"work\":\"%s\",\"backend\":\"%s\",\"threads\":%u", words[0], words[1], threads);
    series_print(&s, "us");
    (void)printf("}\n");
    return 0;
}
