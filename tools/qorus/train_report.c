/* SPDX-License-Identifier: MIT */
/* What a training says: the line that shows where it is, the file of metrics, the figures at the end. */
#define _POSIX_C_SOURCE 200809L
#include "terminal.h"
#include "train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qorus/base/elementary_f64.h"

enum { BAR = 10, MAX_CLASSES = 4096, LINE_SECONDS = 10 };

static bool counts_classes(const train_run *r)
{
    return r->data.form != FORM_TEXT && r->s.loss == LOSS_CROSS_ENTROPY && r->network.columns <= MAX_CLASSES;
}

/* Without what stays in a file. */
static uint64_t count_parameters(const train_run *r)
{
    const engine *e = &r->h.engine;
    uint64_t n = 0;
    for (q_param p = 0; p < q_model_n_params(e->model); p++) {
        q_tensor t;
        q_diag d;
        bool own = q_model_param_is_slot(e->model, p) && q_session_param(e->session, p, &t, &d) == Q_OK;
        n += own ? (uint64_t)t.ne[2] * t.ne[3] : 0;
    }
    return n;
}

/* ---- Metrics ----------------------------------------------------------------------------------------------- */

/* Of a text, perplexity instead of accuracy; behind them, with weight_norm, how many parameters were scaled back to it, and, if
   wanted, the audit's. */
static const char columns[] = "step,epoch,loss,val_loss,%s,learning_rate,gradient_norm,samples_per_s,seconds%s";

/* What an audit says of a parameter: the gradient's norm, the update's in relation to the weights', zeros in the gradient, the
   weights' norm before the update. */
static const char *const audit_columns[] = {"gradient", "update", "zeros", "norm"};
enum { N_AUDIT = sizeof(audit_columns) / sizeof(audit_columns[0]) };

static void keep_audit(void *user, const q_audit *a)
{
    double *figures = ((train_run *)user)->audit + (size_t)a->param * N_AUDIT;
    figures[0] = a->norm;
    figures[1] = a->weight_norm != 0 ? a->update_norm / a->weight_norm : -1;
    figures[2] = (double)a->zeros / (double)a->n;
    figures[3] = a->weight_norm;
}

static bool open_audit(train_run *r)
{
    size_t n = (size_t)q_model_n_params(r->h.engine.model) * N_AUDIT;
    r->audit = (double *)train_take(r, n * sizeof(double), "audit");
    if (r->audit == NULL) {
        return false;
    }
    q_trainer_audit(r->trainer, keep_audit, r);
    return true;
}

/* Calls `each` for every audited figure with its column's name. */
static void walk_audit(train_run *r, void (*each)(const train_run *r, const char *name, bool present, double value))
{
    const engine *e = &r->h.engine;
    for (q_param p = 0; r->audit != NULL && p < q_model_n_params(e->model); p++) {
        q_tensor grad;
        q_diag d;
        for (uint32_t i = 0; i < N_AUDIT && q_session_param_grad(e->session, p, &grad, &d) == Q_OK; i++) {
            char name[Q_CAP_NAME + 16];
            double value = r->audit[(size_t)p * N_AUDIT + i];
            (void)snprintf(name, sizeof(name), "%s.%s", q_model_param_name(e->model, p), audit_columns[i]);
            each(r, name, value >= 0, value);
        }
    }
}

static void put_name(const train_run *r, const char *name, bool present, double value)
{
    (void)present;
    (void)value;
    (void)fprintf(r->metrics, ",%s", name);
}

bool report_open(train_run *r, uint64_t bytes)
{
    const char *path = r->s.metrics;
    r->bar = isatty(STDERR_FILENO) != 0;
    if (path == NULL || r->s.export_to != NULL) {
        return true;
    }
    r->json = train_ends_in(path, ".jsonl") || train_ends_in(path, ".json");
    if (bytes != 0 && truncate(path, (off_t)bytes) != 0 && errno != ENOENT) {
        return train_complain(&r->s, "metrics", "%s: %s", path, strerror(errno));
    }
    r->metrics = fopen(path, bytes != 0 ? "ab" : "wb");
    if (r->metrics == NULL) {
        return train_complain(&r->s, "metrics", "%s: %s", path, strerror(errno));
    }
    if (r->s.audit && !open_audit(r)) {
        return false;
    }
    if (!r->json && ftell(r->metrics) == 0) {
        (void)fprintf(r->metrics, columns, r->data.form == FORM_TEXT ? "perplexity" : "accuracy",
                      r->s.weight_norm != 0 ? ",rescaled" : "");
        walk_audit(r, put_name);
        (void)fputc('\n', r->metrics);
    }
    return true;
}

uint64_t report_bytes(train_run *r)
{
    if (r->metrics == NULL || fflush(r->metrics) != 0) {
        return 0;
    }
    return (uint64_t)ftell(r->metrics);
}

/* One figure of a line; absent: an empty field, or in JSON, which has no infinity, no member. */
static void put(const train_run *r, const char *name, bool present, double value)
{
    const char *comma = strcmp(name, "step") == 0 ? "" : ",";
    if (!r->json) {
        (void)fprintf(r->metrics, present ? "%s%.9g" : "%s", comma, value);
    } else if (present && value - value == 0) {
        (void)fprintf(r->metrics, "%s\"%s\":%.9g", comma, name, value);
    }
}

static void put_line(train_run *r, const q_fit_progress *p, double accuracy)
{
    double now = host_seconds(&r->h);
    double since = now - r->logged;
    double rate = since > 0 ? (double)(p->samples - r->logged_samples) / since : 0;
    (void)fputs(r->json ? "{" : "", r->metrics);
    put(r, "step", true, (double)p->steps);
    put(r, "epoch", true, (double)p->epoch);
    put(r, "loss", true, r->loss_sum / (double)r->loss_n);
    put(r, "val_loss", p->evaluated != 0, p->validation);
    if (r->data.form == FORM_TEXT) {
        put(r, "perplexity", p->evaluated != 0, q_exp_f64(p->validation));
    } else {
        put(r, "accuracy", accuracy >= 0, accuracy);
    }
    put(r, "learning_rate", true, p->report.learning_rate);
    put(r, "gradient_norm", true, p->report.gradient_norm);
    put(r, "samples_per_s", true, rate);
    put(r, "seconds", true, r->before + now - r->begin);
    if (r->s.weight_norm != 0) {
        put(r, "rescaled", true, (double)r->rescaled);
    }
    walk_audit(r, put);
    (void)fputs(r->json ? "}\n" : "\n", r->metrics);
    r->logged = now;
    r->logged_samples = p->samples;
    r->loss_sum = 0;
    r->loss_n = 0;
    r->rescaled = 0;
}

bool report_close(train_run *r)
{
    bool ok = r->metrics == NULL || (fflush(r->metrics) == 0 && !ferror(r->metrics));
    if (r->metrics != NULL && (fclose(r->metrics) != 0 || !ok)) {
        return train_complain(&r->s, "metrics", "%s: cannot be written", r->s.metrics);
    }
    return true;
}

/* ---- Progress ---------------------------------------------------------------------------------------------- */

void report_start(train_run *r)
{
    if (counts_classes(r)) {
        r->confusion.classes = r->network.columns;
        r->confusion.count = (uint64_t *)train_take(r, (size_t)r->network.columns * r->network.columns * 8, "confusion");
    }
    (void)fprintf(stderr, "qorus: %llu parameters, ", (unsigned long long)count_parameters(r));
    if (r->data.form == FORM_TEXT) {
        (void)fprintf(stderr, "vocabulary of %u; ", r->data.classes);
    }
    (void)fprintf(stderr, "%.1f MiB planned; %s, %u thread%s\nqorus: %u ", (double)r->planned / 1048576, r->h.engine.backend.name,
                  r->s.threads, r->s.threads == 1 ? "" : "s", r->data.n_train);
    if (r->data.form == FORM_TEXT) {
        (void)fprintf(stderr, "windows of %u tokens", r->data.rows);
    } else {
        (void)fprintf(stderr, "samples");
    }
    (void)fprintf(stderr, ", %u held out; %llu steps, %llu an epoch\n", r->data.n_validate, (unsigned long long)r->total,
                  (unsigned long long)r->per_epoch);
}

void report_seen(void *user, const q_step *step, const q_train_part *part, bool evaluated)
{
    train_run *r = (train_run *)user;
    q_tensor logits;
    q_diag d;
    (void)part;
    if (evaluated && r->confusion.count != NULL && q_session_output(r->h.engine.session, 2, &logits, &d) == Q_OK) {
        uint32_t samples = step->n_spans != 0 ? step->n_spans : step->n_batch;
        q_confusion_add(&r->confusion, &logits, (const int32_t *)step->inputs[1], samples * r->data.target_width);
    }
}

static void format_time(double seconds, char text[16])
{
    uint64_t s = seconds > 0 && seconds < 3.6e8 ? (uint64_t)(seconds + 0.5) : 0;
    if (s >= 3600) {
        (void)snprintf(text, 16, "%u:%02u:%02u", (unsigned)(s / 3600), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    } else {
        (void)snprintf(text, 16, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
    }
}

/* Speed, and the time that is left; at the end what it took. */
static void format_pace(const train_run *r, const q_fit_progress *p, char text[48])
{
    double elapsed = host_seconds(&r->h) - r->begin;
    double rate = elapsed > 0 ? (double)p->samples * (r->data.form == FORM_TEXT ? r->data.rows : 1) / elapsed : 0;
    bool last = p->steps == r->total;
    char time[16];
    const char *unit = rate < 9999.5 ? "" : rate < 9999.5e3 ? "k" : "M";
    rate /= rate < 9999.5 ? 1 : rate < 9999.5e3 ? 1e3 : 1e6;
    format_time(last ? r->before + elapsed : (double)(r->total - p->steps) * elapsed / (double)(p->steps - r->first_step), time);
    (void)snprintf(text, 48, "%.0f%s%s/s, %s%s%s", rate, unit, r->data.form == FORM_TEXT ? " tokens" : "", last ? "in " : "", time,
                   last ? "" : " left");
}

/* The line of a terminal, drawn over the one before: without its bar where that is too much, and never more than fits. */
static void draw(const train_run *r, const q_fit_progress *p)
{
    char line[192];
    char bar[BAR + 1];
    char pace[48];
    size_t full = (size_t)(p->steps * BAR / r->total);
    size_t width = terminal_columns() - 1;
    size_t n;
    const char *shown = line;
    memset(bar, '.', BAR);
    memset(bar, '#', full < BAR ? full : BAR);
    bar[BAR] = '\0';
    format_pace(r, p, pace);
    n = (size_t)snprintf(line, sizeof(line), "[%s] %llu/%llu: loss %.4f, ", bar, (unsigned long long)p->steps,
                         (unsigned long long)r->total, p->report.loss);
    if (r->state.evaluations != 0) {
        n += (size_t)snprintf(line + n, sizeof(line) - n, "val %.4f, ", p->validation);
    }
    n += (size_t)snprintf(line + n, sizeof(line) - n, "%s", pace);
    width = width < sizeof(line) - 1 ? width : sizeof(line) - 1;
    shown += n > width ? BAR + 3 : 0;
    (void)fprintf(stderr, "\r%-*.*s", (int)width, (int)width, shown);
    (void)fflush(stderr);
}

/* The same where it stays: a line of a log, with what an evaluation found. */
static void print_line(const train_run *r, const q_fit_progress *p, double accuracy)
{
    char pace[48];
    format_pace(r, p, pace);
    (void)fprintf(stderr, "%llu/%llu: loss %.4f, ", (unsigned long long)p->steps, (unsigned long long)r->total, p->report.loss);
    if (p->evaluated != 0) {
        (void)fprintf(stderr, "val %.4f%s, ", p->validation, p->improved != 0 ? " (best)" : "");
    }
    if (accuracy >= 0) {
        (void)fprintf(stderr, "accuracy %.4f, ", accuracy);
    }
    (void)fprintf(stderr, "%s\n", pace);
}

void report_pause(train_run *r)
{
    if (r->bar && r->shown != 0) {
        (void)fputc('\n', stderr);
        r->shown = 0;
    }
}

/* Accuracy of the evaluation just made, whose counts are forgotten; -1: none. */
static double take_accuracy(train_run *r, double *f1)
{
    double accuracy;
    if (r->confusion.count == NULL) {
        return -1;
    }
    accuracy = q_confusion_accuracy(&r->confusion);
    *f1 = q_confusion_f1(&r->confusion);
    memset(r->confusion.count, 0, (size_t)r->confusion.classes * r->confusion.classes * sizeof(uint64_t));
    return accuracy;
}

void report_step(train_run *r, const q_fit_progress *p)
{
    double now = host_seconds(&r->h);
    double f1;
    double accuracy = p->evaluated != 0 ? take_accuracy(r, &f1) : -1;
    bool last = p->steps == r->total;
    r->loss_sum += p->report.loss;
    r->loss_n++;
    r->rescaled += p->report.rescaled;
    if (r->metrics != NULL && (p->steps % r->s.log_every == 0 || p->evaluated != 0 || last)) {
        put_line(r, p, accuracy);
    }
    if (r->bar && (last || p->evaluated != 0 || now - r->shown >= 0.1)) {
        draw(r, p);
        r->shown = now;
    }
    if (!r->bar && (last || p->evaluated != 0 || p->steps % r->per_epoch == 0 || now - r->shown >= LINE_SECONDS)) {
        print_line(r, p, accuracy);
        r->shown = now;
    }
}

/* ---- The end ----------------------------------------------------------------------------------------------- */

bool report_summary(train_run *r, const double *loss, const double *wide)
{
    const char *of = r->data.n_validate != 0 ? "validation" : "training";
    double f1 = 0;
    double accuracy = take_accuracy(r, &f1);
    bool part = r->result.steps % r->per_epoch != 0;
    bool trained = r->result.steps != r->first_step;
    char time[16];
    format_time(r->before + host_seconds(&r->h) - r->begin, time);
    (void)printf("%s: %llu parameters after %llu steps, %.*f epochs, in %s\n", train_model_path(r),
                 (unsigned long long)count_parameters(r), (unsigned long long)r->result.steps, part ? 2 : 0,
                 (double)r->result.steps / (double)r->per_epoch, time);
    if (r->result.end == Q_FIT_PATIENCE) {
        (void)printf("ended early: no better loss in %u evaluations\n", (unsigned)r->s.patience);
    }
    if (loss != NULL) {
        (void)printf("%s loss %.6f", of, *loss);
        if ((r->fit.flags & Q_FIT_KEEP_BEST) != 0 && r->state.evaluations != 0) {
            (void)printf(" (step %llu, the best)", (unsigned long long)r->state.best_step);
        }
        (void)printf("%s", trained ? ", " : "\n");
    }
    if (trained) {
        (void)printf("last training loss %.6f\n", r->result.loss);
    }
    if (wide != NULL) {
        (void)printf("%s loss of the same weights in f32 %.6f: the narrow types cost %.6f\n", of, *wide, *loss - *wide);
    }
    if (loss != NULL && accuracy >= 0) {
        (void)printf("%s accuracy %.4f, F1 %.4f\n", of, accuracy, f1);
    }
    if (loss != NULL && r->data.form == FORM_TEXT) {
        (void)printf("%s perplexity %.4f\n", of, q_exp_f64(*loss));
    }
    (void)printf("memory planned %.1f MiB\n", (double)r->planned / 1048576);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say("cannot write the figures");
        return false;
    }
    return true;
}
