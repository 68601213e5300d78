/* SPDX-License-Identifier: MIT */
/* A network of a trajectory in training. Needs no libc. */
#include "qorus/base/mem.h"
#include "../../tools/common/backends.h"
#include "../common/opened.h"
#include "../common/recipe.h"
#include "trajectory.h"

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        host_fail(d->what, d->field, d->need, d->have);
    }
}

static uint64_t features(void)
{
    const q_port *port = host_port();
    return port != NULL ? port->cpu_features(port->user) : 0;
}

static void *hold(void *holder, size_t bytes)
{
    bench *b = (bench *)holder;
    void *p = host_take(bytes);
    memset(p, 0xff, bytes);
    b->memory[b->n_memory++] = p;
    return p;
}

/* ---- Data ------------------------------------------------------------------------------------------------- */

static void convert(void *out, const record *r, uint32_t ignored)
{
    for (size_t i = 0; i < (size_t)r->rows * r->columns; i++) {
        if (r->type == RECORD_I32) {
            int32_t id = ((const int32_t *)r->data)[i];
            ((int32_t *)out)[i] = id == TRAJECTORY_IGNORED ? (int32_t)ignored : id;
        } else {
            ((q_real *)out)[i] = (q_real)((const float *)r->data)[i];
        }
    }
}

static void load_data(bench *b)
{
    record lengths;
    for (uint32_t i = 0; i < TRAJECTORY_INPUTS; i++) {
        record r = trajectory_need(b->t, "data", b->net->inputs[i]);
        b->row_bytes[i] = r.columns * (r.type == RECORD_I32 ? sizeof(int32_t) : sizeof(q_real));
        b->data[i] = hold(b, r.rows * b->row_bytes[i]);
        convert(b->data[i], &r, b->net->classes);
        b->n_samples = r.rows;
    }
    if (b->net->texts) {
        lengths = trajectory_need(b->t, "data", "lengths");
        b->n_samples = lengths.rows;
    }
    b->first = (uint32_t *)hold(b, (b->n_samples + 1) * sizeof(uint32_t));
    b->first[0] = 0;
    for (uint32_t i = 0; i < b->n_samples; i++) {
        b->first[i + 1] = b->first[i] + (b->net->texts ? (uint32_t)((const int32_t *)lengths.data)[i] : 1);
    }
    b->n_batches = b->n_samples / TRAJECTORY_BATCH;
}

static void load_params(bench *b)
{
    for (q_param p = 0; p < q_model_n_params(b->model); p++) {
        const char *name = q_model_param_name(b->model, p);
        q_diag d;
        q_tensor t;
        record r;
        must(q_session_param(b->session, p, &t, &d), &d);
        if (!trajectory_find(b->t, "param", name, &r)) {
            r = trajectory_need(b->t, "buffer", name);
        }
        convert(t.data, &r, 0);
    }
}

/* ---- Opening ---------------------------------------------------------------------------------------------- */

/* The fields in the order of the generator. */
q_train_config bench_config(const trajectory *t, const char *recipe)
{
    static const q_optimizer_class *const optimizers[] = {&q_optimizer_sgd, &q_optimizer_adam, &q_optimizer_adamw};
    const double *f = (const double *)trajectory_need(t, recipe, "recipe").data;
    q_train_config c = recipe_of(optimizers[(uint32_t)f[0]], f[1]);
    c.optimizer.weight_decay = f[2];
    c.optimizer.momentum = f[3];
    c.optimizer.flags = f[4] != 0 ? Q_OPTIMIZER_NESTEROV : 0;
    c.optimizer.beta1 = f[5];
    c.optimizer.beta2 = f[6];
    c.optimizer.eps = f[7];
    c.clip_norm = f[8];
    c.clip_value = f[9];
    c.schedule.kind = (uint32_t)f[10];
    c.schedule.warmup = (uint64_t)f[11];
    c.schedule.total = (uint64_t)f[12];
    c.schedule.last = f[13];
    c.schedule.every = (uint64_t)f[14];
    c.schedule.factor = f[15];
    return c;
}

/* The largest step any batch asks for. */
static q_maxima maxima_of(const bench *b)
{
    q_maxima m = {TRAJECTORY_BATCH, 1, 1, 0, 1};
    if (!b->net->texts) {
        return m;
    }
    m.batch = 1;
    m.sequences = TRAJECTORY_BATCH;
    for (uint32_t i = 0; i < b->n_samples; i++) {
        uint32_t rows = b->first[i + 1] - b->first[i];
        m.kv = rows > m.kv ? rows : m.kv;
        if (i % TRAJECTORY_BATCH == 0) {
            rows = b->first[i + TRAJECTORY_BATCH] - b->first[i];
            m.tokens = rows > m.tokens ? rows : m.tokens;
        }
    }
    m.selected = m.tokens;
    return m;
}

static void open_session(bench *b, uint32_t workers, uint32_t flags, uint32_t moments)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_context context = {host_port(), &b->backend, workers, 0};
    q_plan_config pc;
    opened o = {.build = b->net->build, .user = b->t, .config = &pc, .context = &context, .hold = hold, .holder = b};
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = Q_PLAN_TRAIN;
    pc.precision = Q_PRECISION_EXACT;
    pc.flags = flags;
    pc.max = maxima_of(b);
    pc.n_workers = workers;
    pc.moments = moments;
    pc.workspace_size = b->backend.workspace_size;
    must(opened_make(&o, &d), &d);
    b->model = o.model;
    b->plan = o.plan;
    b->session = o.session;
}

void bench_open(bench *b, const network *net, const trajectory *t, const char *recipe, const bench_options *o)
{
    q_train_config config = bench_config(t, recipe);
    bench_open_as(b, net, t, &config, o);
}

void bench_open_as(bench *b, const network *net, const trajectory *t, const q_train_config *config, const bench_options *o)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    size_t n;
    memset(b, 0, sizeof(*b));
    b->net = net;
    b->t = t;
    b->each = o->each != 0 ? o->each : TRAJECTORY_BATCH;
    if (!backend_make(&b->backend, o->backend != NULL ? o->backend : "scalar", features())) {
        host_fail(o->backend, "backend", 1, 0);
    }
    load_data(b);
    open_session(b, o->workers != 0 ? o->workers : 1, o->plan_flags, q_train_moments(config));
    load_params(b);
    must(q_trainer_size(b->session, config, &n, &d), &d);
    must(q_trainer_init(&b->trainer, (q_block){hold(b, n), n}, b->session, config, &d), &d);
}

void bench_close(bench *b)
{
    for (uint32_t i = 0; i < b->n_memory; i++) {
        host_give(b->memory[i]);
    }
}

bool bench_has(const char *backend)
{
    q_backend probe;
    return backend_make(&probe, backend, features());
}

/* ---- Steps ------------------------------------------------------------------------------------------------ */

static void micro_batch(bench *b, uint32_t sample, uint32_t n)
{
    q_step_span spans[TRAJECTORY_BATCH];
    const void *inputs[TRAJECTORY_INPUTS];
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_step step;
    memset(&step, 0, sizeof(step));
    for (uint32_t i = 0; i < TRAJECTORY_INPUTS; i++) {
        inputs[i] = (const uint8_t *)b->data[i] + b->first[sample] * b->row_bytes[i];
    }
    step.inputs = inputs;
    if (b->net->texts) {
        for (uint32_t i = 0; i < n; i++) {
            spans[i].sequence = i;
            spans[i].n_tokens = b->first[sample + i + 1] - b->first[sample + i];
        }
        step.n_spans = n;
        step.spans = spans;
        step.select = Q_SELECT_ALL;
    } else {
        step.n_batch = n;
    }
    must(q_trainer_backward(b->trainer, &step, NULL, &d), &d);
    b->granted = q_session_workers(b->session);
}

q_train_report bench_step(bench *b, uint32_t step)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    uint32_t sample = step % b->n_batches * TRAJECTORY_BATCH;
    q_train_report report;
    for (uint32_t done = 0; done < TRAJECTORY_BATCH; done += b->each) {
        uint32_t rest = TRAJECTORY_BATCH - done;
        micro_batch(b, sample + done, rest < b->each ? rest : b->each);
    }
    must(q_trainer_update(b->trainer, &report, &d), &d);
    return report;
}
