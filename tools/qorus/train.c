/* SPDX-License-Identifier: MIT */
/* qorus train: data, network, plan, and the run: steps until something ends it, then the model's file. */
#define _POSIX_C_SOURCE 200809L
#include "train.h"

#include <signal.h>
#include <string.h>

#include "../common/backends.h"

static volatile sig_atomic_t interrupted;

/* The first asks for an orderly end; a second one ends the program. */
static void on_interrupt(int signal_number)
{
    interrupted = 1;
    (void)signal(signal_number, SIG_DFL);
}

void *train_take(train_run *r, size_t size, const char *what)
{
    r->planned += size;
    return host_take(&r->h, size, what);
}

/* ---- Making ------------------------------------------------------------------------------------------------ */

static void make_config(train_run *r)
{
    static const q_optimizer_class *const classes[] = {&q_optimizer_adamw, &q_optimizer_adam, &q_optimizer_sgd, &q_optimizer_lion};
    const train_settings *s = &r->s;
    q_train_config *c = &r->config;
    q_schedule *sc = &c->schedule;
    memset(c, 0, sizeof(*c));
    c->struct_size = sizeof(*c);
    c->optimizer.struct_size = sizeof(c->optimizer);
    c->optimizer.cls = classes[s->optimizer];
    c->optimizer.flags = s->nesterov ? Q_OPTIMIZER_NESTEROV : 0;
    c->optimizer.learning_rate = s->learning_rate;
    c->optimizer.weight_decay = s->weight_decay;
    c->optimizer.momentum = s->momentum;
    c->optimizer.beta1 = s->beta1;
    c->optimizer.beta2 = s->beta2;
    c->optimizer.eps = s->eps;
    sc->struct_size = sizeof(*sc);
    sc->kind = s->schedule;
    sc->warmup = s->warmup;
    sc->total = r->total;
    sc->every = s->every;
    sc->decay = s->decay;
    sc->factor = s->factor;
    sc->last = s->last;
    c->clip_norm = s->clip_norm;
    c->clip_value = s->clip_value;
    c->weight_norm = s->weight_norm;
    c->average = s->average;
    c->seed = s->seed;
}

static void count_steps(train_run *r)
{
    const train_settings *s = &r->s;
    r->per_epoch = ((uint64_t)r->data.n_train + s->batch - 1) / s->batch;
    r->total = s->epochs != 0 ? s->epochs * r->per_epoch : s->steps;
    r->total = s->steps != 0 && s->steps < r->total ? s->steps : r->total;
}

/* What a schedule asks of the number of steps. */
static bool check_schedule(const train_run *r)
{
    const train_settings *s = &r->s;
    unsigned long long total = r->total;
    if (s->schedule <= Q_SCHEDULE_STEP) {
        return true;
    }
    if (s->warmup >= r->total) {
        return train_complain(s, "warmup", "%llu steps of it, but there are %llu in all", (unsigned long long)s->warmup, total);
    }
    return s->schedule != Q_SCHEDULE_WSD || s->decay <= r->total - s->warmup ||
           train_complain(s, "decay", "%llu steps of it, but only %llu follow the warm-up", (unsigned long long)s->decay,
                          (unsigned long long)(r->total - s->warmup));
}

/* The largest micro-batch. */
static q_maxima maxima(const train_run *r)
{
    uint32_t batch = r->s.micro_batch != 0 ? r->s.micro_batch : r->s.batch;
    q_maxima m = {1, 1, 1, 0, 1};
    if (r->data.form == FORM_SAMPLES) {
        m.batch = batch;
        return m;
    }
    m.tokens = batch * r->data.rows;
    m.kv = r->data.rows;
    m.sequences = batch;
    return m;
}

bool train_engine(train_run *r, engine *e, train_network *n, q_plan_config *c)
{
    q_diag *d = &r->h.diag;
    q_block block;
    c->struct_size = sizeof(*c);
    c->n_workers = r->s.threads;
    c->workspace_size = e->backend.workspace_size;
    e->context.port = r->h.port;
    e->context.backend = &e->backend;
    if (q_model_size(train_build, n, &e->model_bytes, d) != Q_OK) {
        return train_say_failure(&r->s, "network", d) == EXIT_DONE;
    }
    block = (q_block){train_take(r, e->model_bytes, "model"), e->model_bytes};
    if (block.base == NULL || q_model_init(&e->model, block, train_build, n, d) != Q_OK ||
        q_plan_size(e->model, c, &e->plan_bytes, d) != Q_OK) {
        return train_say_failure(&r->s, "network", d) == EXIT_DONE;
    }
    block = (q_block){train_take(r, e->plan_bytes, "plan"), e->plan_bytes};
    if (block.base == NULL || q_plan_init(&e->plan, block, e->model, c, d) != Q_OK ||
        q_session_size(e->plan, &e->session_bytes, d) != Q_OK) {
        return train_say_failure(&r->s, "plan", d) == EXIT_DONE;
    }
    q_plan_needs(e->plan, &e->needs);
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        r->planned += e->needs.bytes[kind][0];
    }
    r->planned += e->session_bytes;
    return true;
}

/* Matrices as the file will have them; all else stays, as there. */
static uint32_t weight_type(void *user, const char *name, const q_param_type *type)
{
    const train_run *r = (const train_run *)user;
    const q_model *m = r->h.engine.model;
    (void)type;
    return q_model_param_is_matrix(m, q_model_find_param(m, name)) ? train_type(r->s.quantise) : (uint32_t)Q_F32;
}

static uint32_t value_type(void *user, const char *node, bool gradient)
{
    (void)node;
    (void)gradient;
    return train_type(((const train_run *)user)->s.simulate);
}

static bool is_narrow(const train_settings *s)
{
    return s->simulate != 0 || s->quantise != 0 || s->precision != 0;
}

/* narrow: as the settings have it; else nothing is rounded. */
static bool make_plan(train_run *r, engine *e, const q_train_config *config, bool narrow)
{
    q_plan_config c;
    memset(&c, 0, sizeof(c));
    if (engine_backend(&e->backend, r->s.backend, r->h.port, &r->h.diag) != Q_OK) {
        char line[256];
        engine_explain(&r->h.diag, line, sizeof(line));
        return train_complain(&r->s, "backend", "%s", line);
    }
    c.mode = Q_PLAN_TRAIN;
    c.precision = narrow && r->s.precision != 0 ? Q_PRECISION_FAST : Q_PRECISION_EXACT;
    c.kv_type = Q_KV_REAL;
    c.weight_type = narrow && r->s.quantise != 0 ? weight_type : NULL;
    c.value_type = narrow && r->s.simulate != 0 ? value_type : NULL;
    c.type_user = r;
    c.flags = r->s.recompute ? Q_PLAN_RECOMPUTE : 0;
    c.max = maxima(r);
    c.moments = q_train_moments(config);
    return train_engine(r, e, &r->network, &c);
}

static void make_fit(train_run *r)
{
    const train_settings *s = &r->s;
    q_fit_config *f = &r->fit;
    memset(f, 0, sizeof(*f));
    f->struct_size = sizeof(*f);
    f->flags = (s->in_order ? (uint32_t)Q_FIT_IN_ORDER : 0u) | (s->average != 0 ? (uint32_t)Q_FIT_AVERAGE : 0u) |
               (s->keep_best && r->data.n_validate != 0 ? (uint32_t)Q_FIT_KEEP_BEST : 0u);
    f->batch = s->batch;
    f->micro_batch = s->micro_batch;
    f->epochs = s->epochs;
    f->max_steps = s->export_to != NULL ? 1 : s->steps; /* one that any state has made */
    f->evaluate_every = s->evaluate_every;
    f->patience = s->patience;
    f->min_delta = s->min_delta;
    f->user = r;
    f->state = &r->state;
}

bool train_copy_weights(train_run *r, engine *to)
{
    for (q_param p = 0; p < q_model_n_params(to->model); p++) {
        q_tensor from;
        q_param of = q_model_find_param(r->h.engine.model, q_model_param_name(to->model, p));
        if (q_model_param_is_slot(to->model, p) && (q_session_param(r->h.engine.session, of, &from, &r->h.diag) != Q_OK ||
                                                    q_session_load_param(to->session, p, &from, &r->h.diag) != Q_OK)) {
            return false;
        }
    }
    return true;
}

static bool make_trainer(train_run *r)
{
    q_diag *d = &r->h.diag;
    q_session *session;
    size_t n = 0;
    void *memory;
    if (engine_start(&r->h.engine, NULL, &r->h.memory, d) != Q_OK) {
        if (d->code == Q_ERR_NO_SPACE) {
            say("training: %.1f MiB are more than there are: a smaller micro_batch or window, or recompute = yes, needs less",
                (double)r->planned / 1048576);
            return false;
        }
        return train_say_failure(&r->s, "training", d) == EXIT_DONE;
    }
    if (r->s.pin) {
        host_pin(&r->h);
    }
    session = r->h.engine.session;
    if (q_session_init_params(session, r->s.seed, d) != Q_OK || q_trainer_size(session, &r->config, &n, d) != Q_OK) {
        return train_say_failure(&r->s, "training", d) == EXIT_DONE;
    }
    if (!tune_load(r)) {
        return false;
    }
    memory = train_take(r, n, "trainer");
    return memory != NULL && (q_trainer_init(&r->trainer, (q_block){memory, n}, session, &r->config, d) == Q_OK ||
                              train_say_failure(&r->s, "training", d) == EXIT_DONE);
}

/* ---- The run ----------------------------------------------------------------------------------------------- */

static bool after_step(void *user, const q_fit_progress *p)
{
    train_run *r = (train_run *)user;
    double now = host_seconds(&r->h);
    report_step(r, p);
    if (r->generator != NULL && p->steps % r->s.sample_every == 0) {
        text_show(r, p->steps);
    }
    if (r->s.save_every != 0 && now - r->saved >= r->s.save_every) {
        r->saved = now;
        r->failed = !save_state(r);
    }
    return interrupted == 0 && !r->failed;
}

/* What final figures are of: what was held out, else what was learnt; NULL where that was not gone through once. */
static const q_dataset *set_of_figures(const train_run *r)
{
    if (r->data.n_validate != 0) {
        return &r->data.set[1];
    }
    return r->result.epochs != 0 ? &r->data.set[0] : NULL;
}

static bool evaluate(train_run *r, const q_dataset *set, q_trainer *trainer, double *loss)
{
    uint32_t batch = r->s.micro_batch != 0 ? r->s.micro_batch : r->s.batch;
    uint32_t *ids = (uint32_t *)train_take(r, batch * sizeof(uint32_t), "evaluation");
    return ids != NULL && (q_model_evaluate(trainer, set, ids, batch, trainer == r->trainer ? report_seen : NULL, r, loss,
                                            &r->h.diag) == Q_OK ||
                           train_say_failure(&r->s, "evaluation", &r->h.diag) == EXIT_DONE);
}

/* The loss of the same weights where nothing is rounded: of a session of its own, into which they are copied. */
static bool evaluate_wide(train_run *r, const q_dataset *set, double *loss)
{
    engine *e = &r->wide;
    q_train_config c = r->config;
    q_trainer *trainer = NULL;
    q_block block = {NULL, 0};
    uint64_t planned = r->planned;
    q_diag *d = &r->h.diag;
    bool ok;
    c.optimizer.cls = &q_optimizer_sgd;
    c.optimizer.flags = 0;
    c.optimizer.momentum = c.average = 0;
    if (!make_plan(r, e, &c, false)) {
        return false;
    }
    if (engine_start(e, NULL, &r->h.memory, d) != Q_OK || !train_copy_weights(r, e) ||
        q_trainer_size(e->session, &c, &block.size, d) != Q_OK) {
        return train_say_failure(&r->s, "evaluation", d) == EXIT_DONE;
    }
    block.base = train_take(r, block.size, "evaluation");
    ok = block.base != NULL && (q_trainer_init(&trainer, block, e->session, &c, d) == Q_OK ||
                                train_say_failure(&r->s, "evaluation", d) == EXIT_DONE) &&
         evaluate(r, set, trainer, loss);
    r->planned = planned; /* what the training needed */
    return ok;
}

static int finish(train_run *r)
{
    const q_dataset *set = set_of_figures(r);
    bool narrow = set != NULL && is_narrow(&r->s);
    double loss = 0;
    double wide = 0;
    bool best = (r->fit.flags & Q_FIT_KEEP_BEST) != 0 && r->state.evaluations != 0;
    report_pause(r);
    if (r->s.average != 0 && !best && q_trainer_exchange_average(r->trainer, &r->h.diag) != Q_OK) {
        return train_say_failure(&r->s, "average", &r->h.diag);
    }
    if (!save_model(r) || (set != NULL && !evaluate(r, set, r->trainer, &loss)) || (narrow && !evaluate_wide(r, set, &wide)) ||
        !report_summary(r, set != NULL ? &loss : NULL, narrow ? &wide : NULL)) {
        return EXIT_FAILED;
    }
    if (r->s.export_to == NULL) {
        remove_state(r);
    }
    return EXIT_DONE;
}

/* What the run ended with that is no good end: the weights are those of the last step. */
static int give_up(train_run *r)
{
    report_pause(r);
    (void)train_say_failure(&r->s, "training", &r->h.diag);
    if (r->h.diag.code == Q_ERR_NON_FINITE && save_model(r)) {
        say("stopped in step %llu; %s holds the weights before it. A lower learning_rate, warmup or clip_norm may help",
            (unsigned long long)q_trainer_steps(r->trainer) + 1, train_model_path(r));
    }
    return EXIT_FAILED;
}

static int stop(train_run *r, const char *const *words, uint32_t n)
{
    report_pause(r);
    if (r->failed || !save_state(r)) {
        return EXIT_FAILED;
    }
    (void)fprintf(stderr, "qorus: stopped after step %llu; to go on:\n  qorus train", (unsigned long long)r->result.steps);
    for (uint32_t i = 0; i < n; i++) {
        const char *quote = strpbrk(words[i], " ;{}$\"\\*") != NULL || *words[i] == '\0' ? "'" : "";
        if (strcmp(words[i], "--resume") != 0) {
            (void)fprintf(stderr, " %s%s%s", quote, words[i], quote);
        }
    }
    (void)fprintf(stderr, " --resume\n");
    return EXIT_DONE;
}

static int run(train_run *r, const char *const *words, uint32_t n_words)
{
    const q_dataset *held = r->data.n_validate != 0 ? &r->data.set[1] : NULL;
    size_t n = 0;
    void *memory;
    q_error_code e = q_fit_size(r->trainer, &r->fit, &r->data.set[0], &n, &r->h.diag);
    if (e != Q_OK) {
        return train_say_failure(&r->s, "training", &r->h.diag);
    }
    memory = train_take(r, n, "epochs");
    if (memory == NULL || (r->s.sample_every != 0 && !text_open(r))) {
        return EXIT_FAILED;
    }
    report_start(r);
    r->fit.progress = after_step;
    r->fit.seen = report_seen;
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    r->begin = r->saved = r->logged = host_seconds(&r->h);
    e = q_model_train(r->trainer, (q_block){memory, n}, &r->fit, &r->data.set[0], held, &r->result, &r->h.diag);
    if (e != Q_OK) {
        return give_up(r);
    }
    return r->result.end == Q_FIT_STOPPED ? stop(r, words, n_words) : finish(r);
}

/* ---- The command ------------------------------------------------------------------------------------------- */

static void print_piece(void *user, const char *text, size_t n)
{
    (void)fwrite(text, 1, n, (FILE *)user);
}

/* The settings, and how much data there is. */
static size_t describe(train_run *r)
{
    const train_data *d = &r->data;
    size_t n = train_describe(&r->s, r->settings, sizeof(r->settings));
    n += (size_t)snprintf(r->settings + n, sizeof(r->settings) - n, "samples = %u and %u, %llu tokens, %u classes\n", d->n_train,
                          d->n_validate, (unsigned long long)d->tokens, d->classes);
    for (uint32_t i = 0; d->base != NULL && i < sizeof(q_file_get_header(d->base)->tables_sha256); i++) {
        n += n < sizeof(r->settings) ? (size_t)snprintf(r->settings + n, sizeof(r->settings) - n, "%s%02x", i == 0 ? "base = " : "",
                                                        q_file_get_header(d->base)->tables_sha256[i])
                                     : 0;
    }
    return n < sizeof(r->settings) ? n : sizeof(r->settings) - 1;
}

int train_prepare(train_run *r)
{
    train_form form;
    uint32_t window;
    if (!train_form_of(&r->s, &form, &window)) {
        return EXIT_USAGE;
    }
    if (r->s.model != NULL && !tune_open(&r->h, &r->s, &window)) {
        return EXIT_FAILED;
    }
    if (!train_load(&r->data, &r->h, &r->s, form, window) || !train_network_open(&r->network, &r->s, &r->data)) {
        return EXIT_FAILED;
    }
    count_steps(r);
    if (!check_schedule(r)) {
        return EXIT_FAILED;
    }
    make_config(r);
    make_fit(r);
    r->settings_bytes = describe(r);
    return make_plan(r, &r->h.engine, &r->config, true) ? EXIT_DONE : EXIT_FAILED;
}

static int go(train_run *r, const char *const *words, uint32_t n)
{
    int status;
    uint64_t metrics = 0;
    if (r->s.plan) {
        q_plan_print(r->h.engine.plan, Q_PLAN_TEXT, print_piece, stdout);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    if (!save_is_possible(r) || !make_trainer(r) || !save_fits_type(r) || (r->s.resume && !resume_state(r, &metrics)) ||
        !report_open(r, metrics)) {
        return EXIT_FAILED;
    }
    status = run(r, words, n);
    return report_close(r) ? status : EXIT_FAILED;
}

int command_train(const char *const *words, uint32_t n)
{
    static train_run r;
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
    if (status == EXIT_DONE) {
        status = go(&r, words, n);
    }
    host_stop(&r.h);
    return status;
}
