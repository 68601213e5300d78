/* SPDX-License-Identifier: MIT */
/* qorus quantize: a .qorus file again, its matrices in another type, or with adapters merged into them. The output appears
   only when it is whole. */
#define _POSIX_C_SOURCE 200809L
#include "model_file.h"
#include "qorus/rewrite.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const types[] = {"f32", "q8_0", "q4_0", "q4_1", "f16", "bf16"}; /* by q_dtype */
enum { N_TYPES = sizeof(types) / sizeof(types[0]), NOTE_BYTES = 160, PROGRESS_WIDTH = 32 };

typedef struct quantize_state {
    host h;
    const char *in;
    const char *out;
    const char *adapter; /* or NULL */
    model_file file;
    bool bar;
} quantize_state;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static q_error_code write_piece(void *user, uint64_t offset, const void *bytes, size_t n)
{
    quantize_state *s = (quantize_state *)user;
    if (interrupted != 0) {
        return Q_ERR_CANCELLED;
    }
    return model_file_write(&s->file, offset, bytes, n);
}

static void show_progress(void *user, uint32_t done, uint32_t all)
{
    const quantize_state *s = (const quantize_state *)user;
    int width = all != 0 ? (int)((uint64_t)PROGRESS_WIDTH * done / all) : PROGRESS_WIDTH;
    if (s->bar) {
        (void)fprintf(stderr, "\r[%.*s%*s] %u/%u%s", width, "################################", PROGRESS_WIDTH - width,
                      "", done, all, done == all ? "\n" : "");
    }
}

/* What the matrices are now: how many of each type. Says so where values have been rounded before. */
static void describe(const quantize_state *s, uint32_t dtype, char note[NOTE_BYTES])
{
    const q_file *f = &s->h.engine.file;
    uint32_t count[N_TYPES] = {0};
    size_t n;
    const char *between = " ";
    for (uint32_t i = 0; i < q_file_n_tensors(f); i++) {
        const q_file_tensor_record *r = q_file_record(f, i);
        if (r->layout == Q_PANEL16 && r->dtype < N_TYPES) {
            count[r->dtype]++;
        }
    }
    if (s->adapter != NULL) {
        say("adapters merged into %u matrices", s->h.merge.n_merged);
    }
    if (dtype == ADAPTER_KEEP_TYPES) {
        (void)snprintf(note, NOTE_BYTES, "merged: adapters of alpha %g", s->h.merge.alpha);
        return;
    }
    n = (size_t)snprintf(note, NOTE_BYTES, "requantized: %s%s from", types[dtype],
                         s->adapter != NULL ? ", adapters merged," : "");
    for (uint32_t t = 0; t < N_TYPES; t++) {
        if (count[t] == 0) {
            continue;
        }
        n += (size_t)snprintf(note + n, NOTE_BYTES - n, "%s%s", between, types[t]);
        between = ", ";
        if (t != dtype && t != Q_F32) {
            say("%u %s of %s quantised again as %s", count[t], count[t] == 1 ? "matrix" : "matrices", types[t],
                types[dtype]);
        }
    }
}

/* Says what is wrong and returns false. */
static bool fill(quantize_state *s, const q_rewrite *w)
{
    size_t n = 0;
    void *work;
    q_error_code e = q_rewrite_size(w, NULL, &n, &s->h.diag);
    work = e == Q_OK ? host_take(&s->h, n, "work") : NULL;
    if (e == Q_OK && work == NULL) {
        return false;
    }
    if (e == Q_OK) {
        e = q_rewrite_run(w, work, n, &s->h.diag);
    }
    if (e != Q_OK && s->bar) {
        (void)fputc('\n', stderr);
    }
    if (e == Q_ERR_CANCELLED) {
        say("interrupted; nothing was written");
        return false;
    }
    if (e == Q_ERR_IO && strcmp(s->h.diag.field, "write") == 0) {
        return model_file_failed(&s->file);
    }
    return e == Q_OK || say_failure(s->in, &s->h.diag) == EXIT_DONE;
}

static int rewrite_file(quantize_state *s, uint32_t dtype)
{
    q_rewrite w;
    bool whole;
    char note[NOTE_BYTES] = "";
    if (!host_open(&s->h, s->in) || !host_adapters(&s->h, s->adapter)) {
        return EXIT_FAILED;
    }
    s->h.merge.dtype = dtype;
    memset(&w, 0, sizeof(w));
    w.struct_size = sizeof(w);
    w.dtype = dtype != ADAPTER_KEEP_TYPES ? dtype : 0;
    w.change = s->adapter != NULL ? &s->h.merge.change : NULL;
    w.file = &s->h.engine.file;
    w.note = note;
    w.user = s;
    w.write = write_piece;
    w.progress = show_progress;
    if (q_rewrite_size(&w, NULL, NULL, &s->h.diag) != Q_OK) {
        return say_failure(s->in, &s->h.diag);
    }
    describe(s, dtype, note);
    if (!model_file_open(&s->file, &s->h, s->out)) {
        return EXIT_FAILED;
    }
    whole = fill(s, &w);
    return model_file_close(&s->file, whole) && whole ? EXIT_DONE : EXIT_FAILED;
}

static bool same_file(const char *a, const char *b)
{
    struct stat sa;
    struct stat sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static int quantize(quantize_state *s, uint32_t dtype)
{
    struct stat out;
    if (same_file(s->in, s->out)) {
        say("the output would replace the input %s", s->in);
        return EXIT_FAILED;
    }
    if (stat(s->out, &out) == 0 && !S_ISREG(out.st_mode)) {
        say("%s: cannot be written: not a regular file", s->out);
        return EXIT_FAILED;
    }
    s->bar = isatty(STDERR_FILENO) != 0;
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    return rewrite_file(s, dtype);
}

int command_quantize(const char *const *words, uint32_t n)
{
    static quantize_state s;
    options o;
    char error[256];
    uint32_t dtype = 0;
    int status;
    if (!options_parse(&o, FOR_QUANTIZE, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (o.n_args != 3) {
        say("quantize takes a file to read, one to write, and a type: qorus quantize IN OUT q4_0");
        return EXIT_USAGE;
    }
    while (dtype < N_TYPES && strcmp(o.args[2], types[dtype]) != 0) {
        dtype++;
    }
    if (dtype == N_TYPES && o.adapter != NULL && strcmp(o.args[2], "same") == 0) {
        dtype = ADAPTER_KEEP_TYPES;
    }
    if (dtype == N_TYPES) {
        say("unknown type '%s': q4_0, q4_1, q8_0, f16, bf16 or f32; with --adapter also same", o.args[2]);
        return EXIT_USAGE;
    }
    o.threads = 1;
    if (!host_start(&s.h, &o)) {
        return EXIT_FAILED;
    }
    s.in = o.args[0];
    s.out = o.args[1];
    s.adapter = o.adapter;
    status = quantize(&s, dtype);
    host_stop(&s.h);
    return status;
}
