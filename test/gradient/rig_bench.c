/* SPDX-License-Identifier: MIT */
/* One session of a case: its memory, its numbers, its steps. */
#include "rig_inner.h"

#include <stdlib.h>
#include <string.h>

#include "../common/opened.h"
#include "tools/common/backends.h"
#include "port/x86/cpu_detect.h"

static q_posix posix;

static void *hold(void *holder, size_t bytes)
{
    rig_bench *b = (rig_bench *)holder;
    b->memory[b->n_memory] = rig_memory(bytes);
    return b->memory[b->n_memory++];
}

void rig_close(rig_bench *b)
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

static void fill_params(rig_bench *b, q_diag *d)
{
    for (uint32_t p = 0; p < q_model_n_params(b->model); p++) {
        const rig_named *n = rig_find(q_model_param_name(b->model, p));
        uint64_t state = 77 + p;
        q_tensor t;
        rig_must(q_session_param(b->session, p, &t, d), d);
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
    for (uint32_t k = 0; k < rig_now.n_named; k++) {
        rig_named *n = &rig_now.named[k];
        uint64_t state = 4711 + k;
        size_t count;
        if (!n->constant || n->data != NULL) {
            continue;
        }
        count = n->type.dim[3].sym == Q_SYM_ONE
                    ? (size_t)rig_rows_of_case(&n->type) * n->type.dim[3].n
                    : (size_t)rig_now.max.tokens * rig_now.max.batch * rig_unit_of(&n->type);
        n->data = rig_memory(count * sizeof(q_real));
        for (size_t i = 0; i < count; i++) {
            if (n->type.dtype == Q_I32) {
                int32_t first = n->low > 0 ? (int32_t)n->low : 0;
                ((int32_t *)n->data)[i] = first + (int32_t)(number(&state) * ((int32_t)n->limit - first));
            } else {
                ((q_real *)n->data)[i] = (q_real)(float)(n->low + (n->high - n->low) * number(&state));
            }
        }
    }
}

static void start(void)
{
    static bool ready;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    if (!ready) {
        rig_must(q_posix_init(&posix, RIG_WORKERS, &d), &d);
        ready = true;
    }
}

void rig_open(rig_bench *b, const char *backend, uint32_t workers, uint32_t flags, bool slow)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_context context = {q_posix_port(&posix), &b->backend, workers, 0};
    q_plan_config pc;
    opened o = {.build = rig_build, .config = &pc, .context = &context, .hold = hold, .holder = b};
    start();
    memset(b, 0, sizeof(*b));
    (void)backend_make(&b->backend, backend, q_cpu_detect());
    if (slow) {
        rig_take_turns(&b->backend.kernels);
    }
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = Q_PLAN_TRAIN;
    pc.precision = Q_PRECISION_EXACT;
    pc.flags = flags;
    pc.max = rig_now.max;
    pc.n_workers = workers;
    pc.workspace_size = b->backend.workspace_size;
    rig_must(opened_make(&o, &d), &d);
    b->model = o.model;
    b->plan = o.plan;
    b->session = o.session;
    fill_params(b, &d);
    fill_constants();
}

/* Samples (or spans) first .. first + n - 1. */
void rig_make_step(rig_bench *b, uint32_t first, uint32_t n, rig_step_parts *p)
{
    const rig_step *s = &rig_now.graph->step;
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
        rig_must(q_sequence_rewind(b->session, first + i, 0, &d), &d);
    }
    for (uint32_t k = 0; k < rig_now.n_named; k++) {
        const rig_named *v = &rig_now.named[k];
        if (v->constant) {
            bool batch = v->type.dim[0].sym == Q_SYM_BATCH;
            size_t at = rig_unit_of(&v->type) * (batch ? rig_at.sample : rig_at.token);
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

void rig_forward(rig_bench *b, uint32_t first, uint32_t n)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    rig_step_parts parts;
    rig_make_step(b, first, n, &parts);
    rig_must(q_model_forward(b->session, &parts.step, &d), &d);
}

void rig_keep_grads(rig_bench *b)
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

uint32_t rig_samples(void)
{
    const rig_step *s = &rig_now.graph->step;
    return s->n_spans != 0 ? s->n_spans : rig_now.max.batch;
}

void rig_whole_batch(rig_bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    rig_forward(b, 0, rig_samples());
    rig_must(q_model_backward(b->session, false, &d), &d);
}
