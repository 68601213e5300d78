/* SPDX-License-Identifier: MIT */
/*
 * qorus bench: tokens per second of prefill and decode on fixed token ids, without sampling, and
 * how near the decode comes to the rate at which the same threads can read the same bytes.
 */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_DECODE = 64, DEFAULT_CHUNK = 256, MAX_REPEAT = 1000, MAX_SEQUENCES = 1024, READ_PASSES = 3 };

typedef struct series {
    double rate[MAX_REPEAT]; /* tokens per second, ascending once summed up */
    uint32_t n;
} series;

typedef struct bench_state {
    host h;
    options o;
    profile seen;
    q_session_config config;
    int32_t *ids; /* [max(n_prompt, sequences)] */
    q_step_span *spans; /* [sequences] of one token */
    series prefill;
    series decode;
    double weights;   /* bytes read per decoded token */
    double read_rate; /* bytes per second */
} bench_state;

/* ---- The rate of reading ----------------------------------------------------------------------
 */

typedef struct reading {
    const uint64_t *words;
    size_t n;
    uint32_t kind;
    uint64_t sums[Q_MAX_WORKERS]; /* keeps the loads alive */
} reading;

/* Every word, in order. */
static uint64_t read_in_order(const uint64_t *w, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        a += w[i] + w[i + 4];
        b += w[i + 1] + w[i + 5];
        c += w[i + 2] + w[i + 6];
        d += w[i + 3] + w[i + 7];
    }
    return a ^ b ^ c ^ d;
}

/* Every word, as four streams side by side. */
static uint64_t read_streams(const uint64_t *w, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    size_t q = n / 4 / 8 * 8;
    for (size_t i = 0; i < q; i += 2) {
        a += w[i] + w[i + 1];
        b += w[q + i] + w[q + i + 1];
        c += w[2 * q + i] + w[2 * q + i + 1];
        d += w[3 * q + i] + w[3 * q + i + 1];
    }
    return a ^ b ^ c ^ d;
}

/* One word of each cache line: every byte comes, the processor does least. */
static uint64_t read_lines(const uint64_t *w, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i + 32 <= n; i += 32) {
        a += w[i];
        b += w[i + 8];
        c += w[i + 16];
        d += w[i + 24];
    }
    return a ^ b ^ c ^ d;
}

static uint64_t (*const readers[])(const uint64_t *, size_t) = {read_in_order, read_streams,
                                                                read_lines};
enum { N_READERS = sizeof(readers) / sizeof(readers[0]) };

static void read_share(void *arg, uint32_t worker, uint32_t n_workers)
{
    reading *r = (reading *)arg;
    size_t each = r->n / n_workers / 32 * 32;
    r->sums[worker] = readers[r->kind](r->words + worker * each, each);
}

/* Best of several passes of several loops over as many bytes of the model's data as a token reads.
 */
static double measure_reading(const bench_state *s)
{
    const q_file *f = &s->h.engine.file;
    const q_port *port = s->h.port;
    static reading r;
    double best = 0;
    size_t have = (size_t)(f->size - f->tables_size);
    size_t want = s->weights < (double)have ? (size_t)s->weights : have;
    uint32_t workers = q_session_workers(s->h.engine.session);
    r.words = (const uint64_t *)(const void *)(f->base + f->tables_size);
    r.n = want / sizeof(uint64_t);
    for (r.kind = 0; r.kind < N_READERS; r.kind++) {
        for (uint32_t pass = 0; pass < READ_PASSES; pass++) {
            double begin = host_seconds(&s->h);
            double rate;
            (void)port->parallel(port->user, workers, read_share, &r);
            rate = (double)want / (host_seconds(&s->h) - begin);
            best = rate > best ? rate : best;
        }
    }
    return best;
}

/* ---- Running ----------------------------------------------------------------------------------
 */

/* n tokens of sequence 0, or one of each. */
static bool step_of(bench_state *s, uint32_t n, uint32_t n_spans)
{
    const void *inputs[1];
    q_step st;
    inputs[0] = s->ids;
    memset(&st, 0, sizeof(st));
    st.n_tokens = n;
    st.inputs = inputs;
    st.select = Q_SELECT_LAST;
    st.n_spans = n_spans;
    st.spans = s->spans;
    if (q_model_forward(s->h.engine.session, &st, &s->h.diag) != Q_OK) {
        (void)say_failure("bench", &s->h.diag);
        return false;
    }
    return true;
}

static bool step(bench_state *s, uint32_t n)
{
    return step_of(s, n, 0);
}

static bool decode_step(bench_state *s)
{
    return step_of(s, s->o.sequences, s->o.sequences);
}

/* Every sequence at position n of the first. */
static bool spread(bench_state *s, uint32_t n)
{
    q_error_code e = q_session_rewind(s->h.engine.session, n, &s->h.diag);
    for (uint32_t i = 1; i < s->o.sequences && e == Q_OK; i++) {
        e = q_sequence_copy(s->h.engine.session, i, 0, n, &s->h.diag);
    }
    if (e != Q_OK) {
        (void)say_failure("bench", &s->h.diag);
    }
    return e == Q_OK;
}

/* One prefill and one run of decoding from an empty context; rates go to the series if kept. */
static bool round_trip(bench_state *s, uint32_t n_decode, bool kept)
{
    double begin;
    double middle;
    double prefill;
    if (!spread(s, 0)) {
        return false;
    }
    begin = host_seconds(&s->h);
    if (s->o.n_prompt != 0 && !step(s, s->o.n_prompt)) {
        return false;
    }
    prefill = host_seconds(&s->h) - begin;
    if (!spread(s, s->o.n_prompt)) {
        return false;
    }
    middle = host_seconds(&s->h);
    for (uint32_t i = 0; i < n_decode; i++) {
        if (!decode_step(s)) {
            return false;
        }
    }
    if (kept && s->o.n_prompt != 0) {
        s->prefill.rate[s->prefill.n++] = s->o.n_prompt / prefill;
    }
    if (kept && n_decode != 0) {
        s->decode.rate[s->decode.n++] =
            (double)n_decode * s->o.sequences / (host_seconds(&s->h) - middle);
    }
    return true;
}

static bool observe(bench_state *s, bool yes)
{
    s->config.observe = yes ? profile_see : NULL;
    s->config.user = &s->seen;
    return q_session_configure(s->h.engine.session, &s->config, &s->h.diag) == Q_OK;
}

/* One observed token tells how many bytes of weights a token reads. */
static bool warm_up(bench_state *s)
{
    if (!observe(s, true) || !step(s, 1) || !observe(s, false)) {
        return false;
    }
    s->weights = profile_weights(&s->seen);
    profile_clear(&s->seen);
    return round_trip(s, s->o.n < 8 ? s->o.n : 8, false);
}

static bool show_profile(bench_state *s)
{
    if (!observe(s, true) || !round_trip(s, 0, false)) {
        return false;
    }
    if (s->o.n_prompt != 0) {
        (void)fprintf(stderr, "prefill of %u tokens\n", s->o.n_prompt);
        profile_print(&s->seen, &s->h, stderr);
    }
    profile_clear(&s->seen);
    for (uint32_t i = 0; i < s->o.n; i++) {
        if (!decode_step(s)) {
            return false;
        }
    }
    if (s->o.n != 0) {
        (void)fprintf(stderr, "decode of %u tokens\n", s->o.n);
        profile_print(&s->seen, &s->h, stderr);
    }
    profile_clear(&s->seen);
    return true;
}

/* ---- Results ----------------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static double median(series *s)
{
    if (s->n == 0) {
        return 0;
    }
    qsort(s->rate, s->n, sizeof(s->rate[0]), ascending);
    return s->n % 2 != 0 ? s->rate[s->n / 2] : (s->rate[s->n / 2 - 1] + s->rate[s->n / 2]) / 2;
}

static void print_json(bench_state *s)
{
    double prefill = median(&s->prefill);
    double decode = median(&s->decode);
    double steps = decode / s->o.sequences; /* each reads the weights once */
    (void)printf("{\"backend\":\"%s\",\"precision\":\"%s\",\"threads\":%u,\"repetitions\":%u,"
                 "\"sampling\":false,\"sequences\":%u",
                 s->h.engine.backend.name, s->o.exact ? "exact" : "fast",
                 q_session_workers(s->h.engine.session), s->o.repeat, s->o.sequences);
    if (s->prefill.n != 0) {
        (void)printf(",\"prompt_tokens\":%u,\"prefill_tok_s\":%.3f,\"prefill_min\":%.3f,\"prefill_"
                     "max\":%.3f",
                     s->o.n_prompt, prefill, s->prefill.rate[0], s->prefill.rate[s->prefill.n - 1]);
    }
    if (s->decode.n != 0) {
        (void)printf(
            ",\"tokens\":%u,\"decode_tok_s\":%.3f,\"decode_min\":%.3f,\"decode_max\":%.3f"
            ",\"weight_bytes\":%.0f,\"decode_gb_s\":%.3f,\"read_gb_s\":%.3f,\"read_share\":%.4f",
            s->o.n, decode, s->decode.rate[0], s->decode.rate[s->decode.n - 1], s->weights,
            s->weights * steps * 1e-9, s->read_rate * 1e-9, s->weights * steps / s->read_rate);
    }
    (void)printf("}\n");
}

static void print_row(const char *name, uint32_t tokens, series *s)
{
    double m = median(s);
    if (s->n != 0) {
        (void)printf("%-8s %7u %12.2f %12.2f %12.2f\n", name, tokens, m, s->rate[0],
                     s->rate[s->n - 1]);
    }
}

static void print_table(bench_state *s)
{
    double steps = median(&s->decode) / s->o.sequences;
    (void)printf("%s, %s, %u threads, %u sequences; median of %u after a warm-up; fixed tokens, no sampling\n\n",
                 s->h.engine.backend.name, s->o.exact ? "exact" : "fast",
                 q_session_workers(s->h.engine.session), s->o.sequences, s->o.repeat);
    (void)printf("%-8s %7s %12s %12s %12s\n", "", "tokens", "tokens/s", "slowest", "fastest");
    print_row("prefill", s->o.n_prompt, &s->prefill);
    print_row("decode", s->o.n, &s->decode);
    if (s->decode.n != 0) {
        (void)printf("\ndecode reads %.1f MB of weights per step: %.2f GB/s, %.0f%% of the %.2f "
                     "GB/s at which\n"
                     "plain loops on %u threads read as many bytes of the model\n",
                     s->weights * 1e-6, s->weights * steps * 1e-9,
                     100 * s->weights * steps / s->read_rate, s->read_rate * 1e-9,
                     q_session_workers(s->h.engine.session));
    }
}

/* ---- The command ------------------------------------------------------------------------------
 */

static bool prepare(bench_state *s)
{
    uint32_t vocabulary;
    size_t n = s->o.n_prompt > s->o.sequences ? s->o.n_prompt : s->o.sequences;
    s->config.struct_size = sizeof(s->config);
    if (!host_session(&s->h, s->o.args[0], &s->o, s->o.sequences, &s->config)) {
        return false;
    }
    if (q_file_get_arch(&s->h.engine.file) == NULL) {
        say("%s is not a language model", s->o.args[0]);
        return false;
    }
    s->ids = (int32_t *)host_take(&s->h, n * sizeof(int32_t), "token ids");
    s->spans = (q_step_span *)host_take(&s->h, s->o.sequences * sizeof(*s->spans), "spans");
    if (s->ids == NULL || s->spans == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < s->o.sequences; i++) {
        s->spans[i].sequence = i;
        s->spans[i].n_tokens = 1;
    }
    vocabulary = q_plan_output_columns(s->h.engine.plan, 0);
    for (size_t i = 0; i < n; i++) {
        s->ids[i] = (int32_t)((i * 7919 + 13) % vocabulary);
    }
    return true;
}

static int run(bench_state *s)
{
    if (!prepare(s) || !warm_up(s)) {
        return EXIT_FAILED;
    }
    for (uint32_t i = 0; i < s->o.repeat; i++) {
        if (!round_trip(s, s->o.n, true)) {
            return EXIT_FAILED;
        }
    }
    s->read_rate = measure_reading(s);
    if (s->o.format != NULL) {
        print_json(s);
    } else {
        print_table(s);
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        say("cannot write the figures");
        return EXIT_FAILED;
    }
    return !s->o.profile || show_profile(s) ? EXIT_DONE : EXIT_FAILED;
}

/* What is wrong with the numbers asked for; NULL if nothing. */
static const char *wrong_numbers(const options *o)
{
    if (o->n_args != 1) {
        return "bench takes one model: qorus bench MODEL";
    }
    if (o->n_prompt > Q_CAP_CONTEXT || o->n > Q_CAP_CONTEXT) {
        return "-p and -n: more tokens than any context holds";
    }
    if (o->n_prompt == 0 && o->n == 0) {
        return "-p 0 and -n 0 leave nothing to measure";
    }
    if (o->sequences > MAX_SEQUENCES) {
        return "--sequences: 1 to 1024";
    }
    if (o->repeat == 0 || o->repeat > MAX_REPEAT) {
        return "-r: 1 to 1000 repetitions";
    }
    if (o->sequences > (o->chunk != 0 ? o->chunk : MAX_SEQUENCES) || (o->ctx != 0 && o->sequences > o->ctx)) {
        return "--chunk or --ctx is smaller than --sequences";
    }
    if (o->ctx != 0 && o->ctx < o->n_prompt + o->n) {
        return "--ctx is smaller than -p and -n together";
    }
    return NULL;
}

int command_bench(const char *const *words, uint32_t n)
{
    static bench_state s;
    char error[256];
    const char *wrong;
    int status;
    if (!options_parse(&s.o, FOR_BENCH, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    s.o.sequences = s.o.sequences == 0 ? 1 : s.o.sequences;
    s.o.n = s.o.n == UINT32_MAX ? DEFAULT_DECODE : s.o.n;
    wrong = wrong_numbers(&s.o);
    if (wrong != NULL) {
        say("%s", wrong);
        return EXIT_USAGE;
    }
    s.o.ctx = s.o.ctx != 0 ? s.o.ctx : s.o.n_prompt + s.o.n;
    s.o.ctx = s.o.ctx > s.o.sequences ? s.o.ctx : s.o.sequences;
    s.o.chunk = s.o.chunk == 0 && s.o.sequences > DEFAULT_CHUNK ? s.o.sequences : s.o.chunk;
    if (!host_start(&s.h, &s.o)) {
        return EXIT_FAILED;
    }
    status = run(&s);
    host_stop(&s.h);
    return status;
}
