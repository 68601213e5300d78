/* SPDX-License-Identifier: MIT */
/*
 * qorus run MODEL --input FILE: the answers of a model that reads samples, one line each: a class and its probability,
 * values, or chances, as the model's META says (qorus train writes it); with targets, how good they are.
 */
#include "predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/base/checked.h"
#include "qorus/base/elementary_f64.h"
#include "train.h"

enum { BATCH = 64, MAX_NAMES = 4096 };

typedef enum predict_task { TASK_CLASSES, TASK_VALUES, TASK_CHANCES } predict_task;

typedef struct prediction {
    host *h;
    const options *o;
    char *meta; /* terminated copy */
    uint32_t task;
    char *names[MAX_NAMES];
    uint32_t n_names;
    train_samples in;
    train_samples target; /* of a file of its own */
    const float *y;       /* [samples][y_width], or NULL */
    uint32_t y_width;
    uint32_t width;       /* columns of the model's input, or values of a sample */
    bool rows;            /* samples are spans of rows */
    uint32_t batch;
    q_step_span spans[BATCH];
    uint64_t right;       /* answers */
    uint64_t counted;
    double squares;
    output confusion;     /* --confusion */
    uint64_t *taken;      /* [classes that should be][classes that were answered] */
    uint32_t n_classes;
} prediction;

/* ---- What the model says of itself -------------------------------------------------------------------------- */

/* The value of a line "key: value" of META, cut out of it; NULL: there is none. */
static char *meta_value(const prediction *p, const char *key)
{
    size_t n = strlen(key);
    char *copy;
    for (const char *line = p->meta; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0' ? 1 : 0) {
        if (strncmp(line, key, n) == 0 && strncmp(line + n, ": ", 2) == 0) {
            size_t length = strcspn(line + n + 2, "\n");
            copy = (char *)malloc(length + 1);
            if (copy != NULL) {
                memcpy(copy, line + n + 2, length);
                copy[length] = '\0';
            }
            return copy;
        }
    }
    return NULL;
}

static bool read_meta(prediction *p)
{
    size_t n = 0;
    const void *meta = q_file_section_data(&p->h->engine.file, Q_SECTION_META, &n);
    char *task;
    char *names;
    char *word;
    p->meta = (char *)malloc(n + 1);
    if (p->meta == NULL) {
        say("out of memory");
        return false;
    }
    memcpy(p->meta, meta != NULL ? meta : "", n);
    p->meta[n] = '\0';
    task = meta_value(p, "task");
    p->task = task != NULL && strcmp(task, "classes") == 0   ? TASK_CLASSES
              : task != NULL && strcmp(task, "chances") == 0 ? TASK_CHANCES
                                                             : TASK_VALUES;
    free(task);
    names = meta_value(p, "classes"); /* the names point into it */
    while (names != NULL && p->n_names < MAX_NAMES && (word = train_word(&names)) != NULL) {
        p->names[p->n_names++] = word;
    }
    return true;
}

/* The one input, of reals. */
static bool read_input(prediction *p)
{
    q_file_graph_view g;
    const q_file_graph_input *in;
    const char *model = p->o->args[0];
    uint64_t width;
    if (!q_file_graph_arrays(&p->h->engine.file, &g) || g.head->n_inputs != 1 || g.inputs[0].dtype != Q_F32) {
        say("%s reads no samples but text or several inputs: --input is for models with one input of reals", model);
        return false;
    }
    in = &g.inputs[0];
    p->rows = in->sym[2] == Q_SYM_TOKENS;
    if (!p->rows && in->sym[0] != Q_SYM_BATCH) {
        say("%s: its input is neither samples nor rows of sequences", model);
        return false;
    }
    if (!q_mul_u64((uint64_t)in->dim[1] * in->dim[2], in->dim[3], &width) || width > UINT32_MAX) {
        say("%s: a sample of its input has more than %u values", model, UINT32_MAX);
        return false;
    }
    p->width = (uint32_t)width;
    return true;
}

/* ---- Data --------------------------------------------------------------------------------------------------- */

static bool fits(const prediction *p)
{
    return p->rows ? p->in.width % p->width == 0 : p->in.width == p->width;
}

/* A CSV file may have the label's column or not. */
static bool read_samples(prediction *p)
{
    const char *path = p->o->input;
    char *label = meta_value(p, "label");
    char *classes = meta_value(p, "classes");
    const train_source in = {path, FORMAT_AUTO, label, p->width, p->task == TASK_CLASSES && classes != NULL, classes};
    const train_source target = {.path = p->o->targets, .format = FORMAT_AUTO};
    bool ok = train_read_samples(&p->in, &in);
    free(classes);
    free(label);
    if (ok && !fits(p)) {
        say("%s: %u values in a sample, but the model reads %u", path, p->in.width, p->width);
        ok = false;
    }
    p->y = p->in.y;
    p->y_width = 1;
    if (ok && p->o->targets != NULL) {
        ok = train_read_samples(&p->target, &target);
        if (ok && p->target.n != p->in.n) {
            say("%s has %u samples and %s %u", path, p->in.n, p->o->targets, p->target.n);
            ok = false;
        }
        p->y = p->target.x;
        p->y_width = p->target.width;
    }
    return ok;
}

/* As the samples that trained were: (x - offset) * scale. */
static bool normalise(prediction *p)
{
    char *text[2];
    float *list[2] = {NULL, NULL};
    uint32_t n[2] = {0, 0};
    bool ok = true;
    text[0] = meta_value(p, "offset");
    text[1] = meta_value(p, "scale");
    for (int k = 0; k < 2 && text[0] != NULL && text[1] != NULL; k++) {
        char *rest = text[k];
        char *word;
        list[k] = (float *)malloc(p->in.width * sizeof(float));
        while (list[k] != NULL && n[k] < p->in.width && (word = train_word(&rest)) != NULL) {
            list[k][n[k]++] = strtof(word, NULL);
        }
        ok = ok && list[k] != NULL && (n[k] == 1 || n[k] == p->in.width);
        for (uint32_t i = 1; ok && n[k] == 1 && i < p->in.width; i++) {
            list[k][i] = list[k][0];
        }
    }
    if (ok && list[1] != NULL) {
        dataset_norm_apply(p->in.x, p->in.n, p->in.width, list[0], list[1]);
    } else if (!ok) {
        say("%s: offset and scale of its META do not fit samples of %u values", p->o->args[0], p->in.width);
    }
    for (int k = 0; k < 2; k++) {
        free(text[k]);
        free(list[k]);
    }
    return ok;
}

/* ---- Which class was taken for which --------------------------------------------------------------------------- */

/* The table is there before anything runs: whatever cannot be counted is refused. */
static bool open_confusion(prediction *p)
{
    p->n_classes = q_plan_output_columns(p->h->engine.plan, 0);
    if (p->o->confusion == NULL) {
        return true;
    }
    if (p->task != TASK_CLASSES || p->n_classes > MAX_NAMES) {
        say("--confusion: %s answers with values, not with one of %u classes at most", p->o->args[0], MAX_NAMES);
        return false;
    }
    if (p->y == NULL) {
        say("--confusion: nothing says what the answers should be: give --targets FILE, or a CSV file with the label's column");
        return false;
    }
    for (uint64_t i = 0; i < (uint64_t)p->in.n * p->y_width; i++) {
        double y = (double)p->y[i];
        if (!(y >= 0 && y < p->n_classes && y == (uint32_t)y)) {
            say("--confusion: target %g of sample %llu is none of the model's %u classes", y, (unsigned long long)(i / p->y_width + 1),
                p->n_classes);
            return false;
        }
    }
    p->taken = (uint64_t *)calloc((size_t)p->n_classes * p->n_classes, sizeof(uint64_t));
    if (p->taken == NULL) {
        say("out of memory");
    }
    return p->taken != NULL && output_open(&p->confusion, p->o->confusion);
}

static void count_taken(prediction *p, double target, uint32_t answer)
{
    if (p->taken != NULL) {
        p->taken[(size_t)target * p->n_classes + answer]++;
    }
}

/* As CSV wants it: quoted where a comma or a quote is in it. */
static void write_class(const prediction *p, uint32_t k)
{
    FILE *to = p->confusion.file;
    bool quoted = k < p->n_names && strpbrk(p->names[k], ",\"") != NULL;
    if (k >= p->n_names) {
        (void)fprintf(to, "%u", k);
        return;
    }
    (void)fputs(quoted ? "\"" : "", to);
    for (const char *c = p->names[k]; *c != '\0'; c++) {
        (void)fputs(*c == '"' ? "\"" : "", to);
        (void)fputc(*c, to);
    }
    (void)fputs(quoted ? "\"" : "", to);
}

/* First line and first column name the classes. */
static void write_confusion(const prediction *p)
{
    (void)fputs("target", p->confusion.file);
    for (uint32_t k = 0; k < p->n_classes; k++) {
        (void)fputc(',', p->confusion.file);
        write_class(p, k);
    }
    for (uint32_t i = 0; i < p->n_classes; i++) {
        (void)fputc('\n', p->confusion.file);
        write_class(p, i);
        for (uint32_t k = 0; k < p->n_classes; k++) {
            (void)fprintf(p->confusion.file, ",%llu", (unsigned long long)p->taken[(size_t)i * p->n_classes + k]);
        }
    }
    (void)fputc('\n', p->confusion.file);
}

static int close_confusion(prediction *p, int status)
{
    if (p->confusion.file != NULL && status == EXIT_DONE) {
        write_confusion(p);
    }
    free(p->taken);
    return output_close(&p->confusion, status == EXIT_DONE) ? status : EXIT_FAILED;
}

/* ---- Answers ------------------------------------------------------------------------------------------------ */

static void print_class(prediction *p, const float *x, uint32_t n, const float *target, bool first)
{
    uint32_t best = 0;
    double sum = 0;
    for (uint32_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += q_exp_f64((double)x[i] - (double)x[best]);
    }
    if (best < p->n_names) {
        (void)printf("%s%s %.6f", first ? "" : " ", p->names[best], 1 / sum);
    } else {
        (void)printf("%s%u %.6f", first ? "" : " ", best, 1 / sum);
    }
    if (target != NULL) {
        p->counted++;
        p->right += (double)*target == best ? 1u : 0u;
        count_taken(p, (double)*target, best);
    }
}

static void print_values(prediction *p, const float *x, uint32_t n, const float *target, bool first)
{
    for (uint32_t i = 0; i < n; i++) {
        double v = p->task == TASK_CHANCES ? 1 / (1 + q_exp_f64(-(double)x[i])) : (double)x[i];
        (void)printf(first && i == 0 ? "%.6g" : " %.6g", v);
        if (target != NULL) {
            p->counted++;
            p->squares += (v - (double)target[i]) * (v - (double)target[i]);
            p->right += (v >= 0.5) == (target[i] >= 0.5f) ? 1u : 0u;
        }
    }
}

/* Values that say what the answers of a sample should be. */
static uint32_t targets_of(const prediction *p, const q_tensor *out, uint32_t rows)
{
    return rows * (p->task == TASK_CLASSES ? 1 : out->ne[3]);
}

static bool fits_targets(const prediction *p, const q_tensor *out, uint32_t rows)
{
    if (p->o->targets != NULL && p->y_width != targets_of(p, out, rows)) {
        say("%s: %u values of a sample, but the model answers with %u", p->o->targets, p->y_width, targets_of(p, out, rows));
        return false;
    }
    return true;
}

/* All answers of one sample on a line. */
static bool print_sample(prediction *p, const q_tensor *out, uint32_t first_row, uint32_t rows, uint32_t sample)
{
    uint32_t columns = out->ne[3];
    const float *y = p->y != NULL && p->y_width == targets_of(p, out, rows) ? p->y + (size_t)sample * p->y_width : NULL;
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = (const float *)(const void *)((const char *)out->data + (size_t)(first_row + r) * out->nb[2]);
        if (p->task == TASK_CLASSES) {
            print_class(p, x, columns, y != NULL ? y + r : NULL, r == 0);
        } else {
            print_values(p, x, columns, y != NULL ? y + (size_t)r * columns : NULL, r == 0);
        }
    }
    return putchar('\n') != EOF;
}

static q_error_code run_batch(prediction *p, uint32_t first, uint32_t n, q_tensor *out)
{
    q_session *session = p->h->engine.session;
    const void *inputs[1];
    q_step step;
    q_error_code e = Q_OK;
    memset(&step, 0, sizeof(step));
    inputs[0] = p->in.x + (size_t)first * p->in.width;
    step.inputs = inputs;
    step.n_batch = p->rows ? 0 : n;
    step.select = p->rows ? Q_SELECT_LAST : Q_SELECT_NONE;
    for (uint32_t i = 0; p->rows && i < n && e == Q_OK; i++) {
        p->spans[i] = (q_step_span){i, p->in.width / p->width};
        e = q_sequence_rewind(session, i, 0, &p->h->diag);
    }
    step.n_spans = p->rows ? n : 0;
    step.spans = p->spans;
    e = e == Q_OK ? q_model_forward(session, &step, &p->h->diag) : e;
    return e == Q_OK ? q_session_output(session, 0, out, &p->h->diag) : e;
}

static int run_all(prediction *p)
{
    double begin = host_seconds(p->h);
    for (uint32_t first = 0; first < p->in.n; first += p->batch) {
        uint32_t n = p->in.n - first < p->batch ? p->in.n - first : p->batch;
        q_tensor out;
        uint32_t rows;
        if (run_batch(p, first, n, &out) != Q_OK) {
            return say_failure(p->o->args[0], &p->h->diag);
        }
        rows = out.ne[0] * out.ne[1] * out.ne[2] / n;
        if (first == 0 && !fits_targets(p, &out, rows)) {
            return EXIT_FAILED;
        }
        for (uint32_t i = 0; i < n; i++) {
            if (!print_sample(p, &out, i * rows, rows, first + i)) {
                break;
            }
        }
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say("cannot write the answers");
        return EXIT_FAILED;
    }
    (void)fprintf(stderr, "[%s, %u threads: %u samples at %.0f/s", p->h->engine.backend.name, q_session_workers(p->h->engine.session),
                  p->in.n, p->in.n / (host_seconds(p->h) - begin));
    if (p->counted != 0 && p->task == TASK_VALUES) {
        (void)fprintf(stderr, ", mean squared error %.6g", p->squares / (double)p->counted);
    } else if (p->counted != 0) {
        (void)fprintf(stderr, ", accuracy %.4f (%llu of %llu)", (double)p->right / (double)p->counted, (unsigned long long)p->right,
                      (unsigned long long)p->counted);
    }
    (void)fprintf(stderr, "]\n");
    return EXIT_DONE;
}

int predict(host *h, const options *o, const q_session_config *config, const dump *dumps)
{
    static prediction p;
    options mine = *o;
    int status = EXIT_FAILED;
    p.h = h;
    p.o = o;
    if (!host_open(h, o->args[0]) || !read_meta(&p)) {
        return EXIT_FAILED;
    }
    if (read_input(&p) && read_samples(&p) && normalise(&p)) {
        uint32_t rows = p.rows ? p.in.width / p.width : 1;
        p.batch = p.in.n < BATCH ? p.in.n : BATCH;
        mine.batch = p.rows ? 1 : p.batch;
        mine.sequences = p.rows ? p.batch : 1;
        mine.ctx = mine.chunk = p.batch * rows;
        if (engine_plan(&h->engine, h->port, &mine, p.rows ? p.batch : 1, &h->memory, &h->diag) != Q_OK ||
            engine_start(&h->engine, config, &h->memory, &h->diag) != Q_OK) {
            status = say_failure(o->args[0], &h->diag);
        } else if (dump_knows(dumps, h->engine.model) && open_confusion(&p)) {
            status = run_all(&p);
        }
    }
    status = close_confusion(&p, status);
    train_free_samples(&p.in);
    train_free_samples(&p.target);
    free(p.target.y);
    free(p.meta);
    return status;
}
