/* SPDX-License-Identifier: MIT */
/*
 * RNN, LSTM and GRU at work: against plain double arithmetic with PyTorch's weights; the same bits for every row however
 * its sequence is cut into steps, whatever stands beside it, on every backend, and as a sample of a batch; what is refused.
 */
#include "flow.h"

#include "../../port/posix/posix.h"
#include "../../port/x86/cpu_detect.h"
#include "../../tools/common/backends.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS = 6, ROWS = 40, IN = 5, DIM = 50, LEVELS = 2, MAX_STEP = 24 };

typedef struct recurrent_case {
    const q_layer_class *cls;
    const char *name;
    uint32_t blocks;
    q_rnn_config config;
    uint32_t samples; /* rows of a sample, or 0: rows of tokens */
    uint32_t n_param; /* of each level */
} recurrent_case;

/* ---- Building --------------------------------------------------------------------------------------------- */

static q_value_type value_of(const recurrent_case *c, uint32_t columns)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = Q_REAL;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        t.dim[d].n = 1;
    }
    t.dim[c->samples != 0 ? 0 : 2].sym = c->samples != 0 ? Q_SYM_BATCH : Q_SYM_TOKENS;
    t.dim[2].n = c->samples != 0 ? c->samples : 1;
    t.dim[3].n = columns;
    return t;
}

static q_param slot(q_graph *g, const char *name, uint32_t rows, uint32_t columns)
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

static void build(q_graph *g, const void *user)
{
    static const char *const names[LEVELS][4] = {{"a.0", "a.1", "a.2", "a.3"}, {"b.0", "b.1", "b.2", "b.3"}};
    const recurrent_case *c = (const recurrent_case *)user;
    q_input_desc in = {"x", value_of(c, IN), 0};
    q_value v = q_graph_input(g, &in);
    for (uint32_t level = 0; level < LEVELS; level++) {
        uint32_t columns = c->blocks * DIM;
        q_node_desc d;
        memset(&d, 0, sizeof(d));
        d.cls = c->cls;
        d.name = level == 0 ? "lower" : "upper";
        d.config = c->cls->config_size != 0 ? &c->config : NULL;
        d.n_in = 1;
        d.in[0] = v;
        d.n_param = c->n_param;
        d.param[0] = slot(g, names[level][0], columns, level == 0 ? IN : DIM);
        d.param[1] = slot(g, names[level][1], columns, DIM);
        d.param[2] = c->n_param > 2 ? slot(g, names[level][2], 1, columns) : 0;
        d.param[3] = c->n_param > 3 ? slot(g, names[level][3], 1, columns) : 0;
        v = q_graph_node(g, &d);
    }
    q_graph_output(g, "h", v);
}

typedef struct recurrent_rig {
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_posix posix;
    q_diag diag;
} recurrent_rig;

static void *take(size_t size)
{
    void *p = aligned_alloc(128, (size + 255) / 128 * 128);
    if (p == NULL) {
        (void)fprintf(stderr, "no memory\n");
        exit(2);
    }
    memset(p, 0xff, size);
    return p;
}

static float number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

static q_error_code open_plan(recurrent_rig *r, const recurrent_case *c, const char *backend, uint32_t workers,
                              q_maxima max)
{
    q_plan_config pc;
    size_t n;
    memset(r, 0, sizeof(*r));
    if (q_posix_init(&r->posix, workers, &r->diag) != Q_OK || !backend_make(&r->backend, backend, q_cpu_detect())) {
        return Q_ERR_NO_DEVICE;
    }
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.max = max;
    pc.n_workers = workers;
    pc.workspace_size = r->backend.workspace_size;
    if (q_model_size(build, c, &n, &r->diag) != Q_OK ||
        q_model_init(&r->model, (q_block){take(n), n}, build, c, &r->diag) != Q_OK ||
        q_plan_size(r->model, &pc, &n, &r->diag) != Q_OK) {
        return r->diag.code;
    }
    return q_plan_init(&r->plan, (q_block){take(n), n}, r->model, &pc, &r->diag);
}

static bool open_rig(recurrent_rig *r, const recurrent_case *c, const char *backend, uint32_t workers, q_maxima max)
{
    static const uint8_t kinds[] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_STATE};
    q_context context;
    q_region regions[3];
    q_needs needs;
    uint32_t state = 7;
    size_t n;
    q_error_code e = open_plan(r, c, backend, workers, max);
    if (e == Q_ERR_NO_DEVICE) {
        return false;
    }
    check(e == Q_OK, "%s: plan: %s %s", c->name, r->diag.what, r->diag.field);
    context = (q_context){q_posix_port(&r->posix), &r->backend, workers, 0};
    q_plan_needs(r->plan, &needs);
    memset(regions, 0, sizeof(regions));
    for (uint32_t i = 0; i < 3; i++) {
        regions[i].kind = kinds[i];
        regions[i].size = needs.bytes[kinds[i]][0];
        regions[i].base = take(regions[i].size);
    }
    check(q_session_size(r->plan, &n, &r->diag) == Q_OK &&
              q_session_init(&r->session, (q_block){take(n), n}, r->plan, &context, regions, 3, NULL, &r->diag) == Q_OK,
          "%s: session", c->name);
    for (uint32_t p = 0; p < q_model_n_params(r->model); p++) {
        q_tensor t;
        check(q_session_param(r->session, p, &t, &r->diag) == Q_OK, "parameter");
        for (uint32_t i = 0; i < t.ne[2] * t.ne[3]; i++) {
            ((float *)t.data)[i] = number(&state) * 0.2f;
        }
    }
    return true;
}

/* ---- Plain double arithmetic ------------------------------------------------------------------------------ */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double part_of(const q_tensor *w, const q_tensor *b, uint32_t j, const double *x)
{
    double sum = b->data != NULL ? (double)((const float *)b->data)[j] : 0;
    for (uint32_t k = 0; k < w->ne[3]; k++) {
        sum += (double)((const float *)w->data)[j * w->ne[3] + k] * x[k];
    }
    return sum;
}

/* One row of one level. */
static void plain_cell(const recurrent_case *c, const q_tensor p[4], const double *x, double *h, double *cell)
{
    double before[DIM];
    memcpy(before, h, sizeof(before));
    for (uint32_t j = 0; j < DIM; j++) {
        double xs[4];
        double hs[4];
        for (uint32_t b = 0; b < c->blocks; b++) {
            xs[b] = part_of(&p[0], &p[2], b * DIM + j, x);
            hs[b] = part_of(&p[1], &p[3], b * DIM + j, before);
        }
        if (c->blocks == 1) {
            double a = xs[0] + hs[0];
            h[j] = c->config.activation == Q_ACT_RELU ? (a > 0 ? a : 0) : tanh(a);
        } else if (c->blocks == 4) {
            cell[j] = sigmoid(xs[1] + hs[1]) * cell[j] + sigmoid(xs[0] + hs[0]) * tanh(xs[2] + hs[2]);
            h[j] = sigmoid(xs[3] + hs[3]) * tanh(cell[j]);
        } else {
            double z = sigmoid(xs[1] + hs[1]);
            double n = tanh(xs[2] + sigmoid(xs[0] + hs[0]) * hs[2]);
            h[j] = (1 - z) * n + z * before[j];
        }
    }
}

/* Largest distance of `got` from what the text gives, relative to 1 + |h|. */
static double plain_distance(const recurrent_case *c, const recurrent_rig *r, const float *text, const float *got)
{
    double h[LEVELS][DIM] = {{0}};
    double cell[LEVELS][DIM] = {{0}};
    q_tensor p[LEVELS][4];
    double worst = 0;
    memset(p, 0, sizeof(p));
    for (uint32_t i = 0; i < LEVELS * c->n_param; i++) {
        check(q_session_param(r->session, i, &p[i / c->n_param][i % c->n_param], NULL) == Q_OK, "parameter");
    }
    for (uint32_t t = 0; t < ROWS; t++) {
        double x[IN];
        for (uint32_t k = 0; k < IN; k++) {
            x[k] = (double)text[t * IN + k];
        }
        plain_cell(c, p[0], x, h[0], cell[0]);
        plain_cell(c, p[1], h[0], h[1], cell[1]);
        for (uint32_t j = 0; j < DIM; j++) {
            worst = fmax(worst, fabs(h[1][j] - (double)got[t * DIM + j]) / (1 + fabs(h[1][j])));
        }
    }
    return worst;
}

/* ---- Reading ---------------------------------------------------------------------------------------------- */

typedef struct texts {
    float x[TEXTS][ROWS * IN];
    float h[TEXTS][ROWS * DIM]; /* of each text read alone, in one step */
} texts;

static q_error_code read_rows(recurrent_rig *r, const float *x, uint32_t n_spans, const q_step_span *spans,
                              uint32_t n_batch)
{
    const void *inputs[1];
    q_step step;
    inputs[0] = x;
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.n_spans = n_spans;
    step.spans = spans;
    step.n_batch = n_batch;
    return q_model_forward(r->session, &step, &r->diag);
}

static bool output_is(const recurrent_rig *r, uint32_t at, const float *want, uint32_t rows)
{
    q_tensor out;
    return q_session_output(r->session, 0, &out, NULL) == Q_OK &&
           memcmp((const float *)out.data + at * DIM, want, rows * DIM * sizeof(float)) == 0;
}

static void read_alone(const recurrent_case *c, texts *t)
{
    recurrent_rig r;
    uint32_t state = 99;
    q_maxima max = {1, ROWS, 1, ROWS, 1};
    q_tensor out;
    (void)open_rig(&r, c, "scalar", 1, max);
    for (uint32_t i = 0; i < TEXTS; i++) {
        q_step_span all = {0, ROWS};
        for (uint32_t k = 0; k < ROWS * IN; k++) {
            t->x[i][k] = number(&state);
        }
        check(q_session_rewind(r.session, 0, &r.diag) == Q_OK, "%s: rewind", c->name);
        check(read_rows(&r, t->x[i], 1, &all, 1) == Q_OK && q_session_output(r.session, 0, &out, NULL) == Q_OK,
              "%s: a text alone", c->name);
        memcpy(t->h[i], out.data, sizeof(t->h[i]));
        check(plain_distance(c, &r, t->x[i], t->h[i]) < 2e-5, "%s: plain arithmetic gives the same", c->name);
    }
    check(q_session_rewind(r.session, 3, &r.diag) == Q_ERR_UNSUPPORTED, "%s: no way back but to 0", c->name);
    q_posix_close(&r.posix);
}

/* ---- Company ---------------------------------------------------------------------------------------------- */

static uint32_t draw(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(*seed >> 8) * n >> 24);
}

/* Steps of several texts, each text in pieces of its own; one in eight begins anew, or goes on as a copy of another. */
static void read_together(const recurrent_case *c, const texts *t, const char *backend, uint32_t workers, uint32_t longest)
{
    q_maxima max = {1, MAX_STEP, 1, ROWS, TEXTS};
    uint32_t position[TEXTS] = {0};
    uint32_t seed = workers + longest;
    bool good = true;
    recurrent_rig r;
    if (!open_rig(&r, c, backend, workers, max)) {
        return;
    }
    for (uint32_t round = 0; round < 60; round++) {
        q_step_span spans[TEXTS];
        float x[MAX_STEP * IN];
        uint32_t n_spans = 0;
        uint32_t rows = 0;
        uint32_t first = draw(&seed, TEXTS);
        for (uint32_t k = 0; k < TEXTS; k++) {
            uint32_t i = (first + k) % TEXTS;
            uint32_t n = 1 + draw(&seed, longest);
            if (position[i] == ROWS || draw(&seed, 8) == 0) {
                good = good && q_sequence_rewind(r.session, i, 0, &r.diag) == Q_OK;
                position[i] = 0;
            }
            n = n < ROWS - position[i] ? n : ROWS - position[i];
            if (rows + n > MAX_STEP || draw(&seed, 4) == 0) {
                continue;
            }
            memcpy(x + rows * IN, t->x[i] + position[i] * IN, n * IN * sizeof(float));
            spans[n_spans++] = (q_step_span){i, n};
            rows += n;
        }
        if (n_spans == 0) {
            continue;
        }
        good = good && read_rows(&r, x, n_spans, spans, 1) == Q_OK;
        for (uint32_t k = 0, row = 0; k < n_spans; row += spans[k++].n_tokens) {
            uint32_t i = spans[k].sequence;
            good = good && output_is(&r, row, t->h[i] + position[i] * DIM, spans[k].n_tokens);
            position[i] += spans[k].n_tokens;
            good = good && q_sequence_position(r.session, i) == position[i];
        }
    }
    check(good, "%s: %s, %u workers, up to %u rows of a text: the bits of each alone", c->name, backend, workers, longest);
    q_posix_close(&r.posix);
}

/* A text longer than a step in one call, and what a copied state goes on with. */
static void read_chunks(const recurrent_case *c, const texts *t, const char *backend)
{
    q_maxima max = {1, 7, 1, ROWS, 2};
    q_step_span most = {0, ROWS - 5};
    q_step_span rest = {1, 5};
    recurrent_rig r;
    if (!open_rig(&r, c, backend, 2, max)) {
        return;
    }
    check(read_rows(&r, t->x[1], 1, &most, 1) == Q_OK && output_is(&r, 0, t->h[1] + (ROWS - 12) * DIM, 7),
          "%s: %s, chunks of 7", c->name, backend);
    check(q_sequence_copy(r.session, 1, 0, ROWS - 5, &r.diag) == Q_OK &&
              read_rows(&r, t->x[1] + (ROWS - 5) * IN, 1, &rest, 1) == Q_OK &&
              output_is(&r, 0, t->h[1] + (ROWS - 5) * DIM, 5),
          "%s: %s, a copied sequence goes on", c->name, backend);
    q_posix_close(&r.posix);
}

/* As samples of a batch, which need no room in max.kv and leave no state. */
static void read_samples(const recurrent_case *c, const texts *t, const char *backend, uint32_t workers)
{
    recurrent_case samples = *c;
    q_maxima max = {TEXTS, 1, 1, 0, 3};
    bool good = true;
    recurrent_rig r;
    samples.samples = ROWS;
    if (!open_rig(&r, &samples, backend, workers, max)) {
        return;
    }
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t n = round == 1 ? 2 : TEXTS;
        good = good && read_rows(&r, t->x[round == 1 ? 3 : 0], 0, NULL, n) == Q_OK;
        good = good && output_is(&r, 0, t->h[round == 1 ? 3 : 0], n * ROWS);
    }
    check(good && q_session_position(r.session) == 0, "%s: %s, %u workers: samples have the bits of texts", c->name, backend,
          workers);
    q_posix_close(&r.posix);
}

/* ---- What is refused -------------------------------------------------------------------------------------- */

static void refuse(recurrent_case c, q_maxima max, q_error_code code, const char *field)
{
    recurrent_rig r;
    q_error_code e = open_plan(&r, &c, "scalar", 1, max);
    check(e == code && strstr(r.diag.field, field) != NULL && strcmp(r.diag.what, "lower") == 0,
          "%s: %s is named (%d, %s, %s)", c.name, field, (int)e, r.diag.what, r.diag.field);
    q_posix_close(&r.posix);
}

static void check_refusals(const recurrent_case *c)
{
    q_maxima max = {1, 4, 1, 4, 1};
    q_maxima no_positions = {1, 4, 1, 0, 1};
    recurrent_case bad = *c;
    refuse(bad, no_positions, Q_ERR_INVALID_ARG, "max.kv");
    bad.n_param = 3;
    refuse(bad, max, Q_ERR_INVALID_ARG, "b_hh");
    bad = *c;
    bad.blocks = c->blocks + 1;
    refuse(bad, max, Q_ERR_INVALID_SHAPE, "W_ih");
    if (c->cls->config_size != 0) {
        bad = *c;
        bad.config.activation = Q_ACT_SILU;
        refuse(bad, max, Q_ERR_INVALID_ARG, "config.activation");
        bad = *c;
        bad.config.reserved = 1;
        refuse(bad, max, Q_ERR_INVALID_ARG, "config.reserved");
    }
}

void test_recurrent(void)
{
    static const recurrent_case cases[] = {
        {&q_layer_rnn, "rnn", 1, {Q_ACT_TANH, 0}, 0, 4},
        {&q_layer_rnn, "rnn of relu", 1, {Q_ACT_RELU, 0}, 0, 2},
        {&q_layer_lstm, "lstm", 4, {0, 0}, 0, 4},
        {&q_layer_lstm, "lstm without biases", 4, {0, 0}, 0, 2},
        {&q_layer_gru, "gru", 3, {0, 0}, 0, 4},
    };
    static texts t;
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_alone(&cases[i], &t);
        for (uint32_t b = 0; backend_name(b) != NULL; b++) {
            read_together(&cases[i], &t, backend_name(b), 1, 1);
            read_together(&cases[i], &t, backend_name(b), 3, 9);
            read_together(&cases[i], &t, backend_name(b), 2, 20);
            read_chunks(&cases[i], &t, backend_name(b));
            read_samples(&cases[i], &t, backend_name(b), 1);
            read_samples(&cases[i], &t, backend_name(b), 2);
            read_samples(&cases[i], &t, backend_name(b), 3);
        }
        check_refusals(&cases[i]);
    }
}
