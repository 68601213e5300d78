/* SPDX-License-Identifier: MIT */
/* Data of a training: files to samples and their targets in the order of training, or to windows of a text. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { META_BYTES = Q_CAP_META };

/* ---- Samples ----------------------------------------------------------------------------------------------- */

/* Samples and targets of one pair of files; y [n][y_width]. */
typedef struct pair {
    train_samples in;
    train_samples target; /* of a file of its own */
    const float *y;
    uint32_t y_width;
} pair;

static void pair_free(pair *p)
{
    train_free_samples(&p->in);
    train_free_samples(&p->target);
}

/* like: those whose labels these are to have, or NULL. */
static bool read_pair(pair *p, const train_settings *s, const char *data, const char *targets, const char *key, const pair *like)
{
    const char *classes = like != NULL ? like->in.classes : s->classes;
    const bool names = s->loss == LOSS_CROSS_ENTROPY && (like == NULL || classes != NULL);
    const train_source in = {data, s->format, targets == NULL ? s->label : NULL, 0, names, classes};
    const train_source target = {.path = targets, .format = FORMAT_AUTO};
    memset(p, 0, sizeof(*p));
    if (!train_read_samples(&p->in, &in)) {
        return false;
    }
    if (targets == NULL && p->in.y == NULL) {
        return train_complain(s, key, "no targets: give a file of targets, or for CSV the label's column");
    }
    if (targets != NULL && !train_read_samples(&p->target, &target)) {
        return false;
    }
    if (targets != NULL && p->target.n != p->in.n) {
        return train_complain(s, key, "%s has %u samples and %s %u", data, p->in.n, targets, p->target.n);
    }
    p->y = targets != NULL ? p->target.x : p->in.y;
    p->y_width = targets != NULL ? p->target.width : 1;
    return true;
}

static bool has_op(const train_settings *s, uint32_t first, uint32_t last)
{
    for (uint32_t i = 0; i < s->n_layers; i++) {
        if (s->layers[i].op >= first && s->layers[i].op <= last) {
            return true;
        }
    }
    return false;
}

/* Height, rows and columns of a sample: as the settings or the file say; an image is one row to a network without layers for
   images. */
static bool find_shape(train_data *d, const train_settings *s, const train_samples *in)
{
    const uint32_t *dim = s->n_shape != 0 ? s->shape : in->dim;
    uint32_t n = s->n_shape != 0 ? s->n_shape : in->n_dims;
    uint32_t shape[4] = {1, 1, 1, 1};
    bool image = n == 3;
    if (s->n_shape == 0 && in->format == FORMAT_IDX && n == 2) {
        image = true;
        shape[1] = dim[0];
        shape[2] = dim[1];
    } else {
        memcpy(shape + 4 - n, dim, n * sizeof(uint32_t));
    }
    if ((uint64_t)shape[1] * shape[2] * shape[3] != in->width) {
        return train_complain(s, "shape", "%u x %u x %u values, but the data has %u in a sample", shape[1], shape[2], shape[3],
                              in->width);
    }
    d->height = shape[1];
    d->rows = shape[2];
    d->columns = shape[3];
    if (image && !has_op(s, OP_CONV2D, OP_GLOBAL_POOL)) {
        d->height = d->rows = 1;
        d->columns = in->width;
    }
    if (d->form == FORM_ROWS && (d->height != 1 || d->rows < 2)) {
        return train_complain(s, "shape", "last needs sequences: samples of rows and columns");
    }
    return true;
}

/* A sequence's label behind those of its other rows, which do not count. */
static void spread_labels(const train_data *d, const int32_t *labels, uint32_t n, int32_t *to)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t row = 0; row + 1 < d->rows; row++) {
            *to++ = TRAIN_IGNORED;
        }
        *to++ = labels[i];
    }
}

/* Labels to classes, reals as they are; both 4 bytes. */
static bool put_targets(train_data *d, const train_settings *s, const pair *p, const uint32_t *order, uint32_t n, uint8_t *to)
{
    dataset_why why;
    uint32_t classes = 0;
    int32_t *labels;
    size_t row = (size_t)p->y_width * sizeof(float);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(to + i * row, p->y + (size_t)order[i] * p->y_width, row);
    }
    if (s->loss != LOSS_CROSS_ENTROPY) {
        return true;
    }
    labels = (int32_t *)malloc(n * row);
    if (labels == NULL) {
        say("out of memory");
        return false;
    }
    if (dataset_classes(s->targets != NULL ? s->targets : s->data, (const float *)(const void *)to, n * p->y_width, labels,
                        &classes, &why) != Q_OK) {
        free(labels);
        say("%s", why.text);
        return false;
    }
    if (d->form == FORM_ROWS) {
        spread_labels(d, labels, n, (int32_t *)(void *)to);
    } else {
        memcpy(to, labels, n * row);
    }
    free(labels);
    d->classes = classes > d->classes ? classes : d->classes;
    return true;
}

/* Samples of rows go as spans. */
static q_error_code load_rows(void *user, const uint32_t *ids, uint32_t n, q_step *step)
{
    const train_rows *r = (const train_rows *)user;
    q_error_code e = q_table_dataset(r->table).load(r->table, ids, n, step);
    step->n_batch = 0;
    step->n_tokens = n * r->spans[0].n_tokens;
    step->n_spans = n;
    step->spans = r->spans;
    return e;
}

static bool make_tables(train_data *d, host *h, const train_settings *s, const uint8_t *x, const uint8_t *y)
{
    uint32_t batch = s->micro_batch != 0 ? s->micro_batch : s->batch;
    for (uint32_t i = 0; i < 2; i++) {
        q_table *t = &d->table[i];
        t->n = i == 0 ? d->n_train : d->n_validate;
        t->n_inputs = 2;
        t->bytes[0] = (size_t)d->height * d->rows * d->columns * sizeof(float);
        t->bytes[1] = d->target_width * sizeof(float);
        t->data[0] = x + (i == 0 ? 0 : d->n_train * t->bytes[0]);
        t->data[1] = y + (i == 0 ? 0 : d->n_train * t->bytes[1]);
        t->size = q_table_bytes(t, batch);
        t->buffer = i == 0 ? host_take(h, t->size, "batch") : d->table[0].buffer;
        d->set[i] = q_table_dataset(t);
        if (d->form == FORM_ROWS) {
            d->set[i].load = load_rows;
            d->set[i].user = &d->span_rows[i];
        }
    }
    d->spans = (q_step_span *)host_take(h, batch * sizeof(q_step_span), "spans");
    for (uint32_t i = 0; d->spans != NULL && i < batch; i++) {
        d->spans[i].sequence = i;
        d->spans[i].n_tokens = d->rows;
    }
    for (uint32_t i = 0; i < 2; i++) {
        d->span_rows[i] = (train_rows){&d->table[i], d->spans};
    }
    return d->table[0].buffer != NULL && d->spans != NULL;
}

/* What qorus run must know to feed the model. */
static bool write_meta(train_data *d, const train_settings *s, const char *names, const float *offset, const float *scale, uint32_t n)
{
    static const char *const tasks[] = {"classes", "values", "values", "chances"}; /* as train_loss */
    char *meta = (char *)malloc(META_BYTES);
    size_t at;
    d->meta = meta;
    if (meta == NULL) {
        say("out of memory");
        return false;
    }
    at = (size_t)snprintf(meta, META_BYTES, "source: qorus train\ntask: %s\n", tasks[s->loss]);
    if (s->label != NULL && at < META_BYTES) {
        at += (size_t)snprintf(meta + at, META_BYTES - at, "label: %s\n", s->label);
    }
    if (names != NULL && at < META_BYTES) {
        at += (size_t)snprintf(meta + at, META_BYTES - at, "classes: %s\n", names);
    }
    if (at >= META_BYTES) {
        return train_complain(s, "classes", "their names do not fit into the model's file");
    }
    for (uint32_t k = 0; k < 2 && n != 0; k++) {
        at += at < META_BYTES ? (size_t)snprintf(meta + at, META_BYTES - at, "%s:", k == 0 ? "offset" : "scale") : 0;
        for (uint32_t i = 0; i < n && at < META_BYTES; i++) {
            at += (size_t)snprintf(meta + at, META_BYTES - at, " %.9g", (double)(k == 0 ? offset : scale)[i]);
        }
        at += at < META_BYTES ? (size_t)snprintf(meta + at, META_BYTES - at, "\n") : 0;
    }
    return at < META_BYTES || train_complain(s, "normalise", "its numbers do not fit into the model's file: use global or unit");
}

/* x [n_train + n_validate][width] by what its first samples say. */
static bool normalise(train_data *d, const train_settings *s, const char *names, float *x, uint32_t width)
{
    uint32_t *rows = (uint32_t *)malloc(d->n_train * sizeof(uint32_t));
    float *offset = (float *)malloc(width * sizeof(float));
    float *scale = (float *)malloc(width * sizeof(float));
    bool ok = rows != NULL && offset != NULL && scale != NULL;
    for (uint32_t i = 0; ok && i < d->n_train; i++) {
        rows[i] = i;
    }
    if (ok && s->normalise != DATASET_NORM_NONE) {
        ok = dataset_norm_fit(s->normalise, x, width, rows, d->n_train, offset, scale) == Q_OK;
        dataset_norm_apply(x, d->n_train + d->n_validate, width, offset, scale);
    }
    ok = ok && write_meta(d, s, names, offset, scale,
                          s->normalise == DATASET_NORM_NONE ? 0 : s->normalise == DATASET_NORM_STANDARD ? width : 1);
    free(rows);
    free(offset);
    free(scale);
    return ok;
}

/* Copies a pair's samples, in that order, behind the first `from`. */
static bool place(train_data *d, const train_settings *s, const pair *p, const uint32_t *order, uint32_t from, float *x, uint8_t *y)
{
    uint32_t width = p->in.width;
    for (uint32_t i = 0; i < p->in.n; i++) {
        memcpy(x + (size_t)(from + i) * width, p->in.x + (size_t)order[i] * width, width * sizeof(float));
    }
    return put_targets(d, s, p, order, p->in.n, y + (size_t)from * d->target_width * sizeof(float));
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool join(train_data *d, host *h, const train_settings *s, const pair *train, const pair *held)
{
    const char *names = train->in.classes != NULL ? train->in.classes : s->classes;
    uint32_t n = train->in.n + held->in.n;
    uint32_t *order = (uint32_t *)malloc(n * sizeof(uint32_t));
    float *x = (float *)host_take(h, (size_t)n * train->in.width * sizeof(float), "samples");
    uint8_t *y;
    bool ok;
    d->target_width = d->form == FORM_ROWS ? d->rows : train->y_width;
    y = (uint8_t *)host_take(h, (size_t)n * d->target_width * sizeof(float), "targets");
    ok = order != NULL && x != NULL && y != NULL;
    if (ok && dataset_split(order, train->in.n, s->validate, s->seed, &d->n_train) != Q_OK) {
        ok = train_complain(s, "validate", "of %u samples nothing would be left to train with", train->in.n);
    }
    if (ok && s->in_order) {
        qsort(order, d->n_train, sizeof(*order), by_number);
    }
    d->n_validate = n - d->n_train;
    ok = ok && place(d, s, train, order, 0, x, y);
    for (uint32_t i = 0; ok && i < held->in.n; i++) {
        order[i] = i;
    }
    ok = ok && (held->in.n == 0 || place(d, s, held, order, train->in.n, x, y)) && normalise(d, s, names, x, train->in.width) &&
         make_tables(d, h, s, (const uint8_t *)x, y);
    free(order);
    return ok;
}

static bool load_samples(train_data *d, host *h, const train_settings *s)
{
    pair train = {0};
    pair held = {0};
    bool ok = read_pair(&train, s, s->data, s->targets, "data", NULL) && find_shape(d, s, &train.in);
    if (ok && d->form == FORM_ROWS && train.y_width != 1) {
        ok = train_complain(s, "targets", "last gives one answer for a sequence, but there are %u labels for one", train.y_width);
    }
    if (ok && s->validate_data != NULL) {
        ok = read_pair(&held, s, s->validate_data, s->validate_targets, "validate_data", &train);
        if (ok && (held.in.width != train.in.width || held.y_width != train.y_width)) {
            ok = train_complain(s, "validate_data", "its samples have %u values and %u targets, those of data %u and %u",
                                held.in.width, held.y_width, train.in.width, train.y_width);
        }
    }
    d->classes = train.in.n_classes;
    ok = ok && join(d, h, s, &train, &held);
    pair_free(&train);
    pair_free(&held);
    return ok;
}

bool train_load(train_data *d, host *h, const train_settings *s, train_form form, uint32_t window)
{
    memset(d, 0, sizeof(*d));
    d->form = form;
    d->height = d->rows = 1;
    return form == FORM_TEXT ? train_load_text(d, h, s, window) : load_samples(d, h, s);
}
