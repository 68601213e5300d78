/* SPDX-License-Identifier: MIT */
/* Handwritten digits, learnt by a convolutional network. Needs no libc. */
#include "digits.h"

#include "../../tools/common/dataset.h"
#include "../common/opened.h"
#include "../common/recipe.h"
#include "qorus/base/mem.h"
#include "qorus/net.h"
#include "qorus/train.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10, BATCH = 32, EPOCHS = 12, WARMUP = 20, SEED = 0, PIECES = 32 };

/* Samples that train, those held out behind them. */
typedef struct samples {
    uint32_t n[2];
    float *x; /* [n][PIXELS] */
    int32_t *y;
} samples;

typedef struct work {
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_trainer *trainer;
    q_confusion confusion;
    void *piece[PIECES];
    uint32_t n_pieces;
} work;

static void must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        host_fail(d->what, d->field, d->need, d->have);
    }
}

static void *hold(void *holder, size_t bytes)
{
    work *w = (work *)holder;
    void *p = host_take(bytes);
    memset(p, 0, bytes);
    w->piece[w->n_pieces++] = p;
    return p;
}

static q_block block(work *w, size_t bytes)
{
    return (q_block){hold(w, bytes), bytes};
}

/* ---- Data -------------------------------------------------------------------------------------------------- */

/* The IDX file at *at, which then is behind it. */
static dataset_array next_array(const uint8_t **at, const uint8_t *end)
{
    size_t size = 4;
    size_t elements = 1;
    dataset_array a;
    dataset_why why;
    if (end - *at < 4 || end - *at < 4 + 4 * (*at)[3]) {
        host_fail("digits", "four IDX files", 0, 0);
    }
    for (uint32_t i = 0; i < (*at)[3]; i++, size += 4) {
        const uint8_t *dim = *at + size;
        elements *= (size_t)dim[0] << 24 | (size_t)dim[1] << 16 | (size_t)dim[2] << 8 | dim[3];
    }
    size += elements;
    if ((size_t)(end - *at) < size || dataset_idx(&a, "digits", *at, size, &why) != Q_OK) {
        host_fail("digits", "IDX files of bytes", size, (size_t)(end - *at));
    }
    *at += size;
    return a;
}

/* A file's images and labels; those that train in the order `qorus train` has them in. */
static void load_half(work *w, const dataset_array part[2], bool trains, float *x, int32_t *y)
{
    uint32_t n = part[0].samples;
    uint32_t classes = 0;
    uint32_t n_train;
    float *images = (float *)hold(w, (size_t)n * PIXELS * sizeof(float));
    int32_t *labels = (int32_t *)hold(w, n * sizeof(int32_t));
    uint32_t *order = (uint32_t *)hold(w, n * sizeof(uint32_t));
    if (part[0].width != PIXELS || part[1].width != 1 || part[1].samples != n) {
        host_fail("digits", "images of 8 x 8 and their labels", n, part[1].samples);
    }
    if (dataset_reals(&part[0], images, (size_t)n * PIXELS, NULL) != Q_OK ||
        dataset_labels(&part[1], labels, n, &classes, NULL) != Q_OK || classes > CLASSES ||
        dataset_split(order, n, 0, SEED, &n_train) != Q_OK) {
        host_fail("digits", "images and labels", CLASSES, classes);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t from = trains ? order[i] : i;
        memcpy(x + (size_t)i * PIXELS, images + (size_t)from * PIXELS, PIXELS * sizeof(float));
        y[i] = labels[from];
    }
}

static samples load(work *w, const void *pack, size_t size)
{
    const uint8_t *at = (const uint8_t *)pack;
    dataset_array part[4]; /* images, labels; twice */
    float offset[PIXELS];
    float scale[PIXELS];
    uint32_t *rows;
    samples s;
    for (uint32_t i = 0; i < 4; i++) {
        part[i] = next_array(&at, (const uint8_t *)pack + size);
    }
    s.n[0] = part[0].samples;
    s.n[1] = part[2].samples;
    s.x = (float *)hold(w, (size_t)(s.n[0] + s.n[1]) * PIXELS * sizeof(float));
    s.y = (int32_t *)hold(w, (s.n[0] + s.n[1]) * sizeof(int32_t));
    load_half(w, &part[0], true, s.x, s.y);
    load_half(w, &part[2], false, s.x + (size_t)s.n[0] * PIXELS, s.y + s.n[0]);
    rows = (uint32_t *)hold(w, s.n[0] * sizeof(uint32_t));
    for (uint32_t i = 0; i < s.n[0]; i++) {
        rows[i] = i;
    }
    if (dataset_norm_fit(DATASET_NORM_GLOBAL, s.x, PIXELS, rows, s.n[0], offset, scale) != Q_OK) {
        host_fail("digits", "normalisation", 0, 0);
    }
    dataset_norm_apply(s.x, s.n[0] + s.n[1], PIXELS, offset, scale);
    return s;
}

/* ---- Network ----------------------------------------------------------------------------------------------- */

/* What follows is a line of the recipe's network: parameters begin, and dropout draws, by names with its number. */
static void line(q_net *n, const char *number)
{
    q_net_leave(n, 0);
    (void)q_net_enter(n, number, Q_NONE);
}

static void build(q_graph *graph, const void *unused)
{
    static const q_dropout_config third = {0.3f, 0};
    q_net n;
    q_edge x;
    q_edge labels;
    (void)unused;
    q_net_begin(&n, graph);
    x = q_net_images(&n, "x", SIDE, SIDE, 1);
    labels = q_net_labels(&n, "targets", CLASSES);
    n.bias = false;
    line(&n, "1");
    x = q_net_conv2d(&n, "conv2d", x, 16, 3, 1, 1);
    line(&n, "2");
    x = q_net_batchnorm(&n, "batchnorm", x, Q_ACT_RELU);
    x = q_net_max_pool(&n, x, 2);
    line(&n, "4");
    x = q_net_conv2d(&n, "conv2d", x, 32, 3, 1, 1);
    line(&n, "5");
    x = q_net_batchnorm(&n, "batchnorm", x, Q_ACT_RELU);
    x = q_net_flatten(&n, q_net_max_pool(&n, x, 2));
    n.bias = true;
    line(&n, "8");
    x = q_net_layer(&n, &(q_net_layer_desc){.cls = &q_layer_dropout, .name = "dropout", .config = &third, .in = &x, .n_in = 1});
    line(&n, "9");
    x = q_net_linear(&n, "linear", x, CLASSES, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, labels);
    q_net_output(&n, "logits", x);
}

static void open_session(work *w, const q_backend *backend, uint32_t workers, uint32_t moments)
{
    q_context context = {host_port(), backend, workers, 0};
    q_plan_config pc;
    opened o = {.build = build, .config = &pc, .context = &context, .hold = hold, .holder = w};
    q_diag d;
    memset(&pc, 0, sizeof(pc));
    pc.struct_size = sizeof(pc);
    pc.mode = Q_PLAN_TRAIN;
    pc.precision = Q_PRECISION_EXACT;
    pc.max = (q_maxima){BATCH, 1, 1, 0, 1};
    pc.n_workers = workers;
    pc.moments = moments;
    pc.workspace_size = backend->workspace_size;
    must(opened_make(&o, &d), &d);
    w->model = o.model;
    w->plan = o.plan;
    w->session = o.session;
    must(q_session_init_params(w->session, SEED, &d), &d);
}

/* ---- Training ---------------------------------------------------------------------------------------------- */

static q_train_config recipe(uint32_t samples_of_an_epoch)
{
    q_train_config c = recipe_of(&q_optimizer_adamw, 0.005);
    c.optimizer.weight_decay = 0.01;
    c.optimizer.beta1 = 0.9;
    c.optimizer.beta2 = 0.999;
    c.optimizer.eps = 1e-8;
    c.schedule.kind = Q_SCHEDULE_COSINE;
    c.schedule.warmup = WARMUP;
    c.schedule.total = (uint64_t)EPOCHS * ((samples_of_an_epoch + BATCH - 1) / BATCH);
    c.seed = SEED;
    return c;
}

/* Output 2 is "logits", behind loss and count. */
static void count_answers(void *user, const q_step *step, const q_train_part *part, bool evaluated)
{
    work *w = (work *)user;
    q_tensor logits;
    q_diag d;
    (void)part;
    if (evaluated) {
        must(q_session_output(w->session, 2, &logits, &d), &d);
        q_confusion_add(&w->confusion, &logits, (const int32_t *)step->inputs[1], step->n_batch);
    }
}

static q_dataset dataset(work *w, const samples *s, uint32_t half, q_table *table)
{
    uint32_t first = half == 0 ? 0 : s->n[0];
    memset(table, 0, sizeof(*table));
    table->n = s->n[half];
    table->n_inputs = 2;
    table->data[0] = s->x + (size_t)first * PIXELS;
    table->data[1] = s->y + first;
    table->bytes[0] = PIXELS * sizeof(float);
    table->bytes[1] = sizeof(int32_t);
    table->size = q_table_bytes(table, BATCH);
    table->buffer = hold(w, table->size);
    return q_table_dataset(table);
}

static void fit(work *w, const q_dataset *data)
{
    q_fit_config c;
    q_fit_result result;
    q_diag d;
    size_t n = 0;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.batch = BATCH;
    c.epochs = EPOCHS;
    must(q_fit_size(w->trainer, &c, data, &n, &d), &d);
    must(q_model_train(w->trainer, block(w, n), &c, data, NULL, &result, &d), &d);
}

digits_outcome digits_train(const void *pack, size_t size, const q_backend *backend, uint32_t workers, const q_file *trained)
{
    work w = {.n_pieces = 0};
    samples s = load(&w, pack, size);
    q_train_config config = recipe(s.n[0]);
    digits_outcome out = {.images = s.n[1]};
    uint32_t ids[BATCH];
    q_table table[2];
    q_dataset half[2] = {dataset(&w, &s, 0, &table[0]), dataset(&w, &s, 1, &table[1])};
    double loss;
    size_t n = 0;
    q_diag d;
    open_session(&w, backend, workers, q_train_moments(&config));
    must(q_trainer_size(w.session, &config, &n, &d), &d);
    must(q_trainer_init(&w.trainer, block(&w, n), w.session, &config, &d), &d);
    if (trained != NULL) {
        must(q_session_load_params(w.session, trained, NULL, &d), &d);
    } else {
        fit(&w, &half[0]);
    }
    w.confusion.classes = CLASSES;
    w.confusion.count = (uint64_t *)hold(&w, CLASSES * CLASSES * sizeof(uint64_t));
    must(q_model_evaluate(w.trainer, &half[1], ids, BATCH, count_answers, &w, &loss, &d), &d);
    out.right = (uint32_t)(q_confusion_accuracy(&w.confusion) * s.n[1] + 0.5);
    out.workers = q_session_workers(w.session);
    session_hash(w.session, out.hex);
    while (w.n_pieces != 0) {
        host_give(w.piece[--w.n_pieces]);
    }
    return out;
}
