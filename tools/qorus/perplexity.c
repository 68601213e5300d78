/* SPDX-License-Identifier: MIT */
/*
 * qorus perplexity: how surprised a model is by a text. The text is cut into windows of --ctx
 * tokens that do not overlap; each begins with the bos token if the model was trained with one.
 * Every token with another one before it in its window is predicted, and its negative
 * log-likelihood is the logarithm of the sum of exp(logit) less its own logit, in double and in one
 * fixed order, so that the result does not depend on threads, chunks or backend.
 */
#include "host.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qorus/base/elementary_f64.h"

enum { DEFAULT_WINDOW = 512, ROWS = 32, BAR = 40 };

typedef struct perplexity_state {
    host h;
    options o;
    int32_t *ids; /* [n_ids] of the text */
    size_t n_ids;
    int32_t *window; /* [ctx] */
    uint32_t n_window;
    bool bos;

    /* rows in the hands of the workers */
    const q_tensor *rows;
    uint32_t first;
    uint32_t n_rows;
    uint32_t vocabulary;
    double row_nll[ROWS];

    double nll;
    uint64_t tokens;
    uint64_t windows;
    double seconds;
} perplexity_state;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static bool should_stop(void *user)
{
    (void)user;
    return interrupted != 0;
}

/* ---- One row ----------------------------------------------------------------------------------
 */

/* log(sum(exp(x))) - x[target]; NaN if some x is. */
static double row_loss(const float *x, uint32_t n, int32_t target)
{
    double top = (double)x[0];
    double sum = 0;
    for (uint32_t i = 1; i < n; i++) {
        top = (double)x[i] > top ? (double)x[i] : top;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += q_exp_f64((double)x[i] - top);
    }
    return q_log_f64(sum) + (top - (double)x[target]);
}

static void share_rows(void *arg, uint32_t worker, uint32_t n_workers)
{
    perplexity_state *s = (perplexity_state *)arg;
    for (uint32_t r = worker; r < s->n_rows; r += n_workers) {
        const char *row = (const char *)s->rows->data + r * s->rows->nb[2];
        s->row_nll[r] =
            row_loss((const float *)(const void *)row, s->vocabulary, s->window[s->first + r + 1]);
    }
}

static q_error_code take_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    perplexity_state *s = (perplexity_state *)user;
    const q_port *port = s->h.port;
    s->rows = rows;
    s->first = first;
    s->n_rows = n;
    (void)port->parallel(port->user, s->o.threads, share_rows, s);
    for (uint32_t r = 0; r < n; r++) {
        s->nll += s->row_nll[r];
    }
    return Q_OK;
}

/* ---- The text ---------------------------------------------------------------------------------
 */

static bool encode(perplexity_state *s, const char *text, size_t n)
{
    const q_tokenizer *t = &s->h.engine.tokenizer;
    size_t work_size = q_tokenizer_encode_work_need(t, text, n, 0);
    void *work = host_take(&s->h, work_size, "tokenizer work");
    s->ids = (int32_t *)host_take(&s->h, (n + 2) * sizeof(int32_t), "token ids");
    s->window = (int32_t *)host_take(&s->h, s->o.ctx * sizeof(int32_t), "window");
    if (work == NULL || s->ids == NULL || s->window == NULL) {
        return false;
    }
    if (q_tokenizer_encode(t, text, n, 0, work, work_size, s->ids, n + 2, &s->n_ids, &s->h.diag) !=
        Q_OK) {
        (void)say_failure(s->o.args[1], &s->h.diag);
        return false;
    }
    s->bos =
        (q_tokenizer_encode_flags(t) & Q_ENCODE_ADD_BOS) != 0 && q_tokenizer_bos(t) != Q_TOKEN_NONE;
    if (s->n_ids + (s->bos ? 1 : 0) < 2) {
        say("%s: the text has %zu tokens; nothing can be predicted", s->o.args[1], s->n_ids);
        return false;
    }
    return true;
}

/* Fills the window that begins at token `at`; returns how many tokens of the text it takes. */
static size_t fill_window(perplexity_state *s, size_t at)
{
    size_t room = s->o.ctx - (s->bos ? 1u : 0u);
    size_t n = s->n_ids - at < room ? s->n_ids - at : room;
    s->n_window = 0;
    if (s->bos) {
        s->window[s->n_window++] = (int32_t)q_tokenizer_bos(&s->h.engine.tokenizer);
    }
    memcpy(s->window + s->n_window, s->ids + at, n * sizeof(int32_t));
    s->n_window += (uint32_t)n;
    return n;
}

static void progress(const perplexity_state *s, size_t done)
{
    size_t full = done * BAR / s->n_ids;
    char bar[BAR + 1];
    if (!isatty(STDERR_FILENO)) {
        return;
    }
    memset(bar, '.', BAR);
    memset(bar, '#', full);
    bar[BAR] = '\0';
    (void)fprintf(stderr, "\r[%s] %zu/%zu tokens, perplexity %.4f ", bar, done, s->n_ids,
                  s->tokens != 0 ? q_exp_f64(s->nll / (double)s->tokens) : 0);
    if (done == s->n_ids) {
        (void)fputc('\n', stderr);
    }
    (void)fflush(stderr);
}

/* The last token of a window predicts nothing and is not fed. */
static bool run_window(perplexity_state *s)
{
    const void *inputs[1];
    q_step step;
    if (s->n_window < 2) {
        return true;
    }
    inputs[0] = s->window;
    memset(&step, 0, sizeof(step));
    step.n_tokens = s->n_window - 1;
    step.inputs = inputs;
    step.select = Q_SELECT_ALL;
    step.rows = take_rows;
    step.rows_user = s;
    if (q_session_rewind(s->h.engine.session, 0, &s->h.diag) != Q_OK ||
        q_model_forward(s->h.engine.session, &step, &s->h.diag) != Q_OK) {
        (void)say_failure(s->o.args[1], &s->h.diag);
        return false;
    }
    s->tokens += s->n_window - 1;
    s->windows++;
    if (!(s->nll - s->nll == 0)) {
        say("%s: the model's logits are not finite", s->o.args[1]);
        return false;
    }
    return true;
}

static int report(const perplexity_state *s)
{
    double nll = s->nll / (double)s->tokens;
    double rate = s->seconds > 0 ? (double)s->tokens / s->seconds : 0;
    if (s->o.format != NULL) {
        (void)printf("{\"tokens\":%llu,\"nll\":%.12g,\"perplexity\":%.12g,\"ctx\":%u,\"windows\":%"
                     "llu,\"bos\":%s,"
                     "\"tok_s\":%.3f,\"backend\":\"%s\",\"precision\":\"%s\",\"threads\":%u}\n",
                     (unsigned long long)s->tokens, nll, q_exp_f64(nll), s->o.ctx,
                     (unsigned long long)s->windows, s->bos ? "true" : "false", rate,
                     s->h.engine.backend.name, s->o.exact ? "exact" : "fast",
                     q_session_workers(s->h.engine.session));
    } else {
        (void)printf("tokens %llu\nnll %.9f\nperplexity %.6f\n", (unsigned long long)s->tokens, nll,
                     q_exp_f64(nll));
        (void)fprintf(stderr, "[%s, %s, %u threads: %llu windows of %u tokens%s, %.1f tokens/s]\n",
                      s->h.engine.backend.name, s->o.exact ? "exact" : "fast",
                      q_session_workers(s->h.engine.session), (unsigned long long)s->windows,
                      s->o.ctx, s->bos ? " with bos" : "", rate);
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        say("cannot write the figures");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static int measure(perplexity_state *s, const char *text, size_t n)
{
    q_session_config sc;
    double begin;
    memset(&sc, 0, sizeof(sc));
    sc.struct_size = sizeof(sc);
    sc.flags = s->o.check_finite ? Q_SESSION_CHECK_FINITE : 0;
    sc.should_stop = should_stop;
    if (!host_session(&s->h, s->o.args[0], &s->o, ROWS, &sc)) {
        return EXIT_FAILED;
    }
    s->o.ctx = engine_context(&s->h.engine, &s->o);
    if (!s->h.engine.has_tokenizer) {
        say("%s has no tokenizer", s->o.args[0]);
        return EXIT_FAILED;
    }
    if (!encode(s, text, n)) {
        return EXIT_FAILED;
    }
    s->vocabulary = q_plan_output_columns(s->h.engine.plan, 0);
    begin = host_seconds(&s->h);
    for (size_t at = 0; at < s->n_ids;) {
        at += fill_window(s, at);
        if (!run_window(s)) {
            return EXIT_FAILED;
        }
        progress(s, at);
    }
    s->seconds = host_seconds(&s->h) - begin;
    return report(s);
}

int command_perplexity(const char *const *words, uint32_t n)
{
    static perplexity_state s;
    char error[256];
    char *text;
    size_t length = 0;
    int status;
    if (!options_parse(&s.o, FOR_PERPLEXITY, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (s.o.n_args != 2) {
        say("perplexity takes a model and a text: qorus perplexity MODEL FILE");
        return EXIT_USAGE;
    }
    s.o.most_ctx = DEFAULT_WINDOW;
    if (s.o.ctx == 1 || s.o.ctx > Q_CAP_CONTEXT) {
        say("--ctx: a window has 2 to %d tokens", Q_CAP_CONTEXT);
        return EXIT_USAGE;
    }
    text = host_read(s.o.args[1], &length);
    if (text == NULL) {
        return EXIT_FAILED;
    }
    if (!host_start(&s.h, &s.o)) {
        free(text);
        return EXIT_FAILED;
    }
    (void)signal(SIGINT, on_interrupt);
    status = measure(&s, text, length);
    host_stop(&s.h);
    free(text);
    return status;
}
