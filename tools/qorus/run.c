/* SPDX-License-Identifier: MIT */
/* qorus run: continues a text, streaming it as it comes; or answers samples. */
#include "dump.h"
#include "predict.h"
#include "profile.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TOKENS = 256 };

typedef struct run_state {
    host h;
    options o;
    q_generator *generator;
    output logits; /* --logits */
    dump dumps;    /* --dump */
    profile seen;  /* --profile */
    double first; /* when the first token came out */
} run_state;

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

static bool print_text(void *user, const char *text, size_t n)
{
    (void)user;
    return fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
}

/* Logits of a prompt's rows, and of each generated token, go to the file of --logits. */
static q_error_code write_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    run_state *s = (run_state *)user;
    (void)first;
    for (uint32_t r = 0; r < n; r++) {
        const char *row = (const char *)rows->data + r * rows->nb[2];
        if (fwrite(row, sizeof(float), rows->ne[3], s->logits.file) != rows->ne[3]) {
            return Q_ERR_IO;
        }
    }
    return Q_OK;
}

static bool keep_logits(void *user, float *logits, uint32_t n)
{
    run_state *s = (run_state *)user;
    if (s->first == 0) {
        s->first = host_seconds(&s->h);
    }
    return s->logits.file == NULL || fwrite(logits, sizeof(float), n, s->logits.file) == n;
}

/* After every node, where someone wants to know. */
static q_error_code observe(void *user, const q_observation *seen)
{
    run_state *s = (run_state *)user;
    q_error_code e = s->o.profile ? profile_see(&s->seen, seen) : Q_OK;
    return e == Q_OK ? dump_see(&s->dumps, seen) : e;
}

/* The prompt's bytes: -p, -f, or nothing. */
static char *prompt_text(const options *o, size_t *n)
{
    char *copy;
    if (o->file != NULL) {
        return host_read(o->file, n);
    }
    *n = o->prompt != NULL ? strlen(o->prompt) : 0;
    copy = (char *)malloc(*n + 1);
    if (copy != NULL) {
        memcpy(copy, o->prompt != NULL ? o->prompt : "", *n + 1);
    }
    return copy;
}

static bool encode(run_state *s, const char *text, size_t n, int32_t **ids, size_t *n_ids)
{
    const q_tokenizer *t = &s->h.engine.tokenizer;
    size_t work_size = q_tokenizer_encode_work_size(t, n);
    void *work = host_take(&s->h, work_size, "tokenizer work");
    uint32_t flags = q_tokenizer_encode_flags(t) | (s->o.special ? (uint32_t)Q_ENCODE_PARSE_SPECIAL : 0u);
    *ids = (int32_t *)host_take(&s->h, (n + 2) * sizeof(int32_t), "token ids");
    if (work == NULL || *ids == NULL) {
        return false;
    }
    if (q_tokenizer_encode(t, text, n, flags, work, work_size, *ids, n + 2, n_ids, &s->h.diag) != Q_OK) {
        (void)say_failure("prompt", &s->h.diag);
        return false;
    }
    if (*n_ids == 0) {
        if (q_tokenizer_bos(t) == Q_TOKEN_NONE) {
            say("the prompt is empty, and the model has no token to begin a text with: give -p TEXT");
            return false;
        }
        (*ids)[(*n_ids)++] = (int32_t)q_tokenizer_bos(t);
    }
    return true;
}

/* With --logits every row of the prompt is wanted, so it goes through the session before the generator takes over
   its last token. */
static bool feed(run_state *s, const int32_t *ids, size_t n)
{
    const void *inputs[1];
    q_step step;
    if (s->logits.file == NULL || n == 1) {
        return q_generator_feed(s->generator, ids, n, &s->h.diag) == Q_OK;
    }
    inputs[0] = ids;
    memset(&step, 0, sizeof(step));
    step.n_tokens = (uint32_t)n - 1;
    step.inputs = inputs;
    step.select = Q_SELECT_ALL;
    step.rows = write_rows;
    step.rows_user = s;
    return q_model_forward(s->h.engine.session, &step, &s->h.diag) == Q_OK &&
           q_generator_restore(s->generator, ids, (uint32_t)n - 1, &s->h.diag) == Q_OK &&
           q_generator_feed(s->generator, ids + n - 1, 1, &s->h.diag) == Q_OK;
}

static void report(const run_state *s, size_t n_prompt, double begin, double fed, double end)
{
    uint32_t made = q_generator_count(s->generator);
    double prefill = (double)n_prompt / (fed - begin);
    double decode = made > 1 ? (double)(made - 1) / (end - fed) : 0;
    if (s->o.format != NULL) {
        (void)fprintf(stderr,
                      "{\"backend\":\"%s\",\"threads\":%u,\"prompt_tokens\":%zu,\"prefill_tok_s\":%.2f,"
                      "\"tokens\":%u,\"decode_tok_s\":%.2f}\n",
                      s->h.engine.backend.name, q_session_workers(s->h.engine.session), n_prompt, prefill, made,
                      decode);
        return;
    }
    (void)fprintf(stderr, "[%s, %u threads: prompt %zu tokens at %.1f/s, %u tokens at %.1f/s]\n",
                  s->h.engine.backend.name, q_session_workers(s->h.engine.session), n_prompt, prefill, made, decode);
}

static int generate(run_state *s, const int32_t *ids, size_t n_ids)
{
    q_stop_reason reason = Q_STOP_NONE;
    double begin = host_seconds(&s->h);
    double fed;
    bool ok = feed(s, ids, n_ids);
    fed = host_seconds(&s->h);
    if (ok) {
        ok = q_generator_run(s->generator, &reason, &s->h.diag) == Q_OK;
        (void)fputc('\n', stdout);
    }
    (void)fflush(stdout); /* before figures and messages on stderr */
    if (!ok && s->h.diag.code == Q_ERR_CONTEXT_FULL) {
        say("the prompt has %zu tokens and the context %u positions: give --ctx %zu or more", n_ids,
            q_plan_maxima(s->h.engine.plan).kv, n_ids + 1);
        return EXIT_FAILED;
    }
    if (!ok && s->h.diag.code != Q_ERR_CANCELLED) {
        return say_failure("run", &s->h.diag);
    }
    report(s, n_ids, begin, fed, host_seconds(&s->h));
    if (!ok) {
        say("interrupted");
        return EXIT_FAILED;
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        say("cannot write the text");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static int run_model(run_state *s, const char *text, size_t n)
{
    q_session_config sc;
    q_generate_config gc;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    memset(&sc, 0, sizeof(sc));
    sc.struct_size = sizeof(sc);
    sc.flags = s->o.check_finite ? Q_SESSION_CHECK_FINITE : 0;
    sc.should_stop = should_stop;
    sc.observe = s->o.profile || s->dumps.n != 0 ? observe : NULL;
    sc.user = s;
    if (s->o.input != NULL) {
        return predict(&s->h, &s->o, &sc, &s->dumps);
    }
    if (!host_session(&s->h, s->o.args[0], &s->o, 1, &sc) || !dump_knows(&s->dumps, s->h.engine.model)) {
        return EXIT_FAILED;
    }
    if (!s->h.engine.has_tokenizer && q_file_get_arch(&s->h.engine.file) == NULL) {
        say("%s reads no text: give samples with --input FILE", s->o.args[0]);
        return EXIT_FAILED;
    }
    q_generate_defaults(&gc);
    gc.max_tokens = DEFAULT_TOKENS;
    gc.on_text = print_text;
    gc.on_logits = keep_logits;
    gc.user = s;
    if (engine_generator(&s->h.engine, &s->o, &gc, &s->h.memory, &s->generator, &s->h.diag) != Q_OK) {
        return say_failure(s->o.args[0], &s->h.diag);
    }
    return encode(s, text, n, &ids, &n_ids) ? generate(s, ids, n_ids) : EXIT_FAILED;
}

/* Closes what was written on the side. */
static int close_outputs(run_state *s, int status)
{
    if (!output_close(&s->logits, status == EXIT_DONE)) {
        status = EXIT_FAILED;
    }
    return dump_close(&s->dumps, status);
}

int command_run(const char *const *words, uint32_t n)
{
    static run_state s;
    char error[256];
    char *text;
    size_t length;
    int status;
    if (!options_parse(&s.o, FOR_RUN, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (s.o.n_args != 1 || (s.o.prompt != NULL && s.o.file != NULL)) {
        say(s.o.n_args != 1 ? "run takes one model: qorus run MODEL -p TEXT" : "-p and -f exclude each other");
        return EXIT_USAGE;
    }
    if (s.o.input != NULL && !options_parse(&s.o, FOR_ANSWERS, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if ((s.o.targets != NULL || s.o.confusion != NULL) && s.o.input == NULL) {
        say("--targets and --confusion go with --input");
        return EXIT_USAGE;
    }
    text = prompt_text(&s.o, &length);
    if (text == NULL || !host_start(&s.h, &s.o)) {
        free(text);
        return EXIT_FAILED;
    }
    (void)signal(SIGINT, on_interrupt);
    status = EXIT_FAILED;
    if ((s.o.logits == NULL || output_open(&s.logits, s.o.logits)) && dump_open(&s.dumps, &s.o)) {
        status = run_model(&s, text, length);
    }
    if (s.o.profile && s.seen.nodes != NULL) {
        profile_print(&s.seen, &s.h, stderr);
        profile_clear(&s.seen);
    }
    status = close_outputs(&s, status);
    host_stop(&s.h);
    free(text);
    return status;
}
