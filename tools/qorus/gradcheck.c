/* SPDX-License-Identifier: MIT */
/*
 * qorus gradcheck: what backward says of every parameter against differences of the loss.
 *
 * Of a config file of qorus train: its network and loss at their first weights, on samples of its data. Of a model's file:
 * its weights, on inputs drawn by the seed; its loss is (y - y/2)^2 summed over output 0, so that every output matters.
 */
#include <stdlib.h>
#include <string.h>

#include "qorus/base/random.h"
#include "qorus/gradcheck.h"
#include "train_settings.h"

enum { CHECK_SAMPLES = 4, CHECK_SPANS = 2, CHECK_ROWS = 7, CHECK_INPUTS = 8 };

/* A step and what it points to. */
typedef struct check_step {
    q_step step;
    q_step_span spans[CHECK_SPANS];
    const void *inputs[CHECK_INPUTS];
} check_step;

/* ---- A model's file ------------------------------------------------------------------------------------------ */

static bool every_parameter(void *user, const char *name)
{
    (void)user;
    (void)name;
    return true;
}

static q_value add_node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value a, q_value b)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = b == Q_NONE ? 1 : 2;
    d.in[0] = a;
    d.in[1] = b;
    return q_graph_node(g, &d);
}

static q_value add_decoder(q_graph *g, const q_file *file)
{
    q_decoder_build d;
    q_input_desc tokens;
    memset(&tokens, 0, sizeof(tokens));
    tokens.name = "tokens";
    tokens.type.dtype = Q_I32;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        tokens.type.dim[i].n = 1;
    }
    tokens.type.dim[3].sym = Q_SYM_TOKENS;
    tokens.limit = q_file_get_arch(file)->n_vocab;
    memset(&d, 0, sizeof(d));
    d.struct_size = sizeof(d);
    d.flags = Q_DECODER_ALL_ROWS;
    d.file = file;
    d.trains = every_parameter;
    return q_graph_decoder(g, &d, q_graph_input(g, &tokens));
}

/* user: a q_file. */
static void build_checked(q_graph *g, const void *user)
{
    static const q_scale_config half = {0.5f, 0};
    const q_file *file = (const q_file *)user;
    q_file_graph_view view;
    q_file_build build;
    q_value y;
    memset(&build, 0, sizeof(build));
    build.file = file;
    build.trains = every_parameter;
    y = q_file_graph_arrays(file, &view)
            ? q_graph_file(g, &build, q_file_name(file, view.outputs[0].name_offset))
            : add_decoder(g, file);
    y = add_node(g, &q_layer_mse, "gradcheck.loss", NULL, y, add_node(g, &q_layer_scale, "gradcheck.half", &half, y, Q_NONE));
    q_graph_output(g, "loss", y);
}

static bool reads_tokens(const q_file *file)
{
    q_file_graph_view view;
    bool tokens = q_file_get_arch(file) != NULL;
    for (uint32_t i = 0; q_file_graph_arrays(file, &view) && i < view.head->n_inputs * Q_MAX_DIMS; i++) {
        tokens = tokens || view.inputs[i / Q_MAX_DIMS].sym[i % Q_MAX_DIMS] == Q_SYM_TOKENS;
    }
    return tokens;
}

static bool plan_file(host *h, const options *o)
{
    engine *e = &h->engine;
    q_diag *d = &h->diag;
    q_block block;
    q_plan_config c;
    memset(&c, 0, sizeof(c));
    if (engine_backend(&e->backend, o->backend, h->port, d) != Q_OK ||
        q_model_size(build_checked, &e->file, &e->model_bytes, d) != Q_OK) {
        return false;
    }
    block = (q_block){host_take(h, e->model_bytes, "model"), e->model_bytes};
    if (block.base == NULL || q_model_init(&e->model, block, build_checked, &e->file, d) != Q_OK) {
        return false;
    }
    c.struct_size = sizeof(c);
    c.mode = Q_PLAN_TRAIN;
    c.precision = Q_PRECISION_EXACT;
    c.flags = o->no_fuse ? Q_PLAN_NO_FUSE : 0;
    c.max = (q_maxima){CHECK_SAMPLES, 1, 1, 0, 1};
    if (reads_tokens(&e->file)) {
        c.max = (q_maxima){1, CHECK_ROWS, CHECK_ROWS, CHECK_ROWS, CHECK_SPANS};
    }
    c.n_workers = o->threads;
    c.workspace_size = e->backend.workspace_size;
    e->context.port = h->port;
    e->context.backend = &e->backend;
    if (q_plan_size(e->model, &c, &e->plan_bytes, d) != Q_OK) {
        return false;
    }
    block = (q_block){host_take(h, e->plan_bytes, "plan"), e->plan_bytes};
    if (block.base == NULL || q_plan_init(&e->plan, block, e->model, &c, d) != Q_OK ||
        q_session_size(e->plan, &e->session_bytes, d) != Q_OK) {
        return false;
    }
    q_plan_needs(e->plan, &e->needs);
    return engine_start(e, NULL, &h->memory, d) == Q_OK && q_session_load_params(e->session, &e->file, NULL, d) == Q_OK;
}

/* Numbers of [-1, 1), or ids below the limit. */
static void *drawn(uint32_t input, uint64_t n, uint32_t dtype, uint32_t limit)
{
    const q_random_place place = {0, 0, input, 0};
    void *data = malloc((size_t)n * sizeof(q_real));
    for (uint32_t i = 0; data != NULL && i < n; i++) {
        uint32_t bits = q_random_u32(&place, i);
        if (dtype == Q_I32) {
            ((int32_t *)data)[i] = (int32_t)((uint64_t)bits * (limit != 0 ? limit : 1) >> 32);
        } else {
            ((q_real *)data)[i] = (q_real)((double)bits / 2147483648.0 - 1);
        }
    }
    return data;
}

static bool draw_inputs(const q_file *file, check_step *s)
{
    q_file_graph_view view;
    bool graph = q_file_graph_arrays(file, &view);
    uint32_t n_inputs = graph ? view.head->n_inputs : 1;
    if (n_inputs > CHECK_INPUTS) {
        say("more than %d inputs", (int)CHECK_INPUTS);
        return false;
    }
    s->step.inputs = s->inputs;
    s->step.n_batch = CHECK_SAMPLES;
    if (reads_tokens(file)) {
        s->spans[0] = (q_step_span){0, CHECK_ROWS / 2};
        s->spans[1] = (q_step_span){1, CHECK_ROWS - CHECK_ROWS / 2};
        s->step.n_batch = 1;
        s->step.n_spans = CHECK_SPANS;
        s->step.spans = s->spans;
        s->step.select = Q_SELECT_ALL;
    }
    for (uint32_t i = 0; i < n_inputs; i++) {
        uint64_t n = graph ? 1 : CHECK_ROWS;
        for (uint32_t k = 0; graph && k < Q_MAX_DIMS; k++) {
            uint32_t sym = view.inputs[i].sym[k];
            n *= (uint64_t)view.inputs[i].dim[k] * (sym == Q_SYM_BATCH ? s->step.n_batch : sym == Q_SYM_TOKENS ? CHECK_ROWS : 1);
        }
        s->inputs[i] = drawn(i, n, graph ? view.inputs[i].dtype : (uint32_t)Q_I32,
                             graph ? view.inputs[i].limit : q_file_get_arch(file)->n_vocab);
        if (s->inputs[i] == NULL) {
            say("out of memory");
            return false;
        }
    }
    return true;
}

/* ---- The table ----------------------------------------------------------------------------------------------- */

static void print_param(void *user, const q_gradcheck_param *p)
{
    const char *verdict = p->failed != 0 ? "WRONG" : p->largest == 0 ? "flat" : "right";
    (void)user;
    (void)printf("%-32s %-24s %9llu %8llu %7llu %8.3f %14.6g %14.6g  %s\n", p->name, p->node, (unsigned long long)p->elements,
                 (unsigned long long)p->checked, (unsigned long long)p->failed, p->excess, p->backward, p->difference, verdict);
}

static int check(const char *what, host *h, const q_step *step, uint32_t samples)
{
    q_gradcheck_config c = q_gradcheck_defaults();
    q_gradcheck_result r;
    c.samples = samples;
    c.seen = print_param;
    (void)printf("%s build: eps %g, atol %g, rtol %g, rounding %g%s\n", sizeof(q_real) == 8 ? "double" : "float", c.eps, c.atol,
                 c.rtol, c.rounding,
                 sizeof(q_real) == 8 ? "" : " of the loss: finds wrong terms, not small ones; the strict check is VARIANT=double's");
    (void)printf("%-32s %-24s %9s %8s %7s %8s %14s %14s\n", "parameter", "node", "elements", "checked", "wrong", "excess", "backward",
                 "difference");
    if (q_gradcheck(h->engine.session, step, &c, &r, &h->diag) != Q_OK) {
        return say_failure(what, &h->diag);
    }
    (void)printf("%u parameters, %llu elements checked, %llu wrong; farthest off: %s of %s, %.3f of its tolerance; loss %g\n", r.params,
                 (unsigned long long)r.checked, (unsigned long long)r.failed, r.worst.name, r.worst.node, r.worst.excess, r.loss);
    return r.failed != 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_DONE;
}

/* ---- The command --------------------------------------------------------------------------------------------- */

static int check_file(const char *const *words, uint32_t n)
{
    static host h;
    static check_step s;
    options o;
    char error[256];
    int status = EXIT_FAILED;
    if (!options_parse(&o, FOR_GRADCHECK, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (o.n_args != 1) {
        say("gradcheck takes one model or config file: qorus gradcheck MODEL|CONFIG");
        return EXIT_USAGE;
    }
    if (!host_start(&h, &o)) {
        return EXIT_FAILED;
    }
    if (host_open(&h, o.args[0])) {
        if (!plan_file(&h, &o)) {
            status = say_failure(o.args[0], &h.diag);
        } else if (draw_inputs(&h.engine.file, &s)) {
            status = check(o.args[0], &h, &s.step, o.samples);
        }
    }
    host_stop(&h);
    return status;
}

/* Data is read as floats; the step wants reals. */
static bool to_reals(const void **data, uint64_t n)
{
    q_real *reals = (q_real *)malloc((size_t)n * sizeof(q_real));
    for (uint64_t i = 0; reals != NULL && i < n; i++) {
        reals[i] = (q_real)((const float *)*data)[i];
    }
    *data = reals;
    return reals != NULL;
}

/* The first samples of the data. */
static bool load_samples(train_run *r, check_step *s)
{
    const train_data *d = &r->data;
    uint32_t batch = r->s.micro_batch != 0 ? r->s.micro_batch : r->s.batch;
    uint32_t ids[CHECK_SAMPLES] = {0, 1, 2, 3};
    uint32_t n = batch < CHECK_SAMPLES ? batch : CHECK_SAMPLES;
    n = d->n_train < n ? d->n_train : n;
    if (d->set[0].load(d->set[0].user, ids, n, &s->step) != Q_OK) {
        say("%s: no samples", r->s.config != NULL ? r->s.config : "data");
        return false;
    }
    memcpy(s->inputs, s->step.inputs, 2 * sizeof(s->inputs[0]));
    s->step.inputs = s->inputs;
    if ((d->form != FORM_TEXT && !to_reals(&s->inputs[0], (uint64_t)n * d->height * d->rows * d->columns)) ||
        (r->s.loss != LOSS_CROSS_ENTROPY && !to_reals(&s->inputs[1], (uint64_t)n * d->target_width))) {
        say("out of memory");
        return false;
    }
    return true;
}

static int check_config(const char *const *words, uint32_t n, uint32_t samples)
{
    static train_run r;
    static check_step s;
    options o;
    int status;
    if (!train_read(&r.s, words, n)) {
        return EXIT_USAGE;
    }
    memset(&o, 0, sizeof(o));
    o.threads = r.s.threads;
    if (!host_start(&r.h, &o)) {
        return EXIT_FAILED;
    }
    r.s.threads = o.threads;
    status = train_prepare(&r);
    if (status == EXIT_DONE && (engine_start(&r.h.engine, NULL, &r.h.memory, &r.h.diag) != Q_OK ||
                                q_session_init_params(r.h.engine.session, r.s.seed, &r.h.diag) != Q_OK)) {
        status = train_say_failure(&r.s, "network", &r.h.diag);
    }
    if (status == EXIT_DONE) {
        s.step.seed = r.s.seed;
        status = load_samples(&r, &s) ? check("network", &r.h, &s.step, samples) : EXIT_FAILED;
    }
    host_stop(&r.h);
    return status;
}

/* A word that is not the value of a key of trainings. */
static bool is_model(const char *const *words, uint32_t i)
{
    size_t n = strlen(words[i]);
    const setting *key = i != 0 && strncmp(words[i - 1], "--", 2) == 0 ? setting_find(words[i - 1] + 2) : NULL;
    return n > 6 && strcmp(words[i] + n - 6, ".qorus") == 0 && key == NULL;
}

int command_gradcheck(const char *const *words, uint32_t n)
{
    enum { MAX_WORDS = 256 };
    const char *rest[MAX_WORDS];
    uint64_t samples = 20;
    uint32_t n_rest = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (is_model(words, i)) {
            return check_file(words, n);
        }
    }
    if (n > MAX_WORDS) {
        say("%u words are too many: %u at most", n, (uint32_t)MAX_WORDS);
        return EXIT_USAGE;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(words[i], "--samples") != 0) {
            rest[n_rest++] = words[i];
        } else if (i + 1 == n || !options_u64(words[++i], &samples) || samples > UINT32_MAX) {
            say("--samples wants a number");
            return EXIT_USAGE;
        }
    }
    return n_rest == 0 ? check_file(words, n) : check_config(rest, n_rest, (uint32_t)samples);
}
