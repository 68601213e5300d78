/* SPDX-License-Identifier: MIT */
/*
 * qorus conform: proves this machine: the golden vectors and the fingerprint of a model's logits, on every backend
 * it can run.
 */
#include "../../test/vectors/runner.h"
#include "../common/backends.h"
#include "../common/fingerprint.h"
#include "host.h"

#include <stdlib.h>
#include <string.h>

enum { VECTORS_WORK = 8 << 20 };

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    (void)printf("%.*s\n", (int)n, line);
}

/* 1: run it, 0: not asked for or not here (said so), -1: unknown. */
static int wanted(host *h, const options *o, const char *name, q_backend *backend)
{
    if (o->backend != NULL && strcmp(o->backend, name) != 0) {
        return 0;
    }
    if (engine_backend(backend, name, h->port, &h->diag) != Q_OK) {
        (void)printf("%s: UNAVAILABLE on this machine\n", name);
        return o->backend != NULL ? -1 : 0;
    }
    return 1;
}

static int run_vectors(host *h, const options *o)
{
    void *work = host_take(h, VECTORS_WORK, "vectors work");
    q_posix_model pack;
    int status = EXIT_DONE;
    if (work == NULL || q_posix_open_model(&h->posix, o->vectors, NULL, &pack, &h->diag) != Q_OK) {
        return say_failure(o->vectors, &h->diag);
    }
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        static q_vectors_result result;
        q_backend backend;
        int want = wanted(h, o, backend_name(i), &backend);
        if (want != 1) {
            status = want < 0 ? EXIT_FAILED : status;
            continue;
        }
        (void)printf("vectors on %s\n", backend_name(i));
        memset(&result, 0, sizeof(result));
        q_vectors_run(&backend, pack.base, pack.size, work, VECTORS_WORK, print_line, NULL, &result);
        if (!q_vectors_finish(print_line, NULL, &result)) {
            status = EXIT_FAILED;
        }
    }
    q_posix_close_model(&h->posix, &pack);
    return status;
}

/* One fingerprint; the first of a precision is what the later ones must equal. */
static int run_model(const options *o, const char *backend, bool exact, char first[65])
{
    static host h;
    options mine = *o;
    char hex[65];
    char name[24];
    int status = EXIT_FAILED;
    mine.backend = backend;
    mine.exact = exact;
    mine.ctx = o->n_prompt + FINGERPRINT_DECODED;
    if (!host_start(&h, &mine)) {
        return EXIT_FAILED;
    }
    if (host_session(&h, o->args[0], &mine, 1, NULL)) {
        if (!h.engine.has_tokenizer && q_file_get_arch(&h.engine.file) != NULL) {
            say("%s has no tokenizer", o->args[0]);
        } else if (fingerprint_run(&h.engine, &h.memory, o->n_prompt, hex, &h.diag) != Q_OK) {
            (void)say_failure(o->args[0], &h.diag);
        } else {
            fingerprint_name(exact, o->kv, o->n_prompt, name);
            (void)printf("logits %s %s %s\n", name, hex, backend);
            (void)fflush(stdout);
            status = first[0] == '\0' || strcmp(first, hex) == 0 ? EXIT_DONE : EXIT_FAILED;
            memcpy(first, hex, sizeof(hex));
        }
    }
    host_stop(&h);
    return status;
}

static int run_models(host *h, const options *o)
{
    int status = EXIT_DONE;
    for (uint32_t exact = o->exact ? 1 : 0; exact < 2; exact++) {
        char first[65] = "";
        for (uint32_t i = 0; backend_name(i) != NULL; i++) {
            q_backend unused;
            int want = wanted(h, o, backend_name(i), &unused);
            if (want < 0 || (want == 1 && run_model(o, backend_name(i), exact != 0, first) != EXIT_DONE)) {
                status = EXIT_FAILED;
            }
        }
    }
    if (status != EXIT_DONE) {
        say("this machine does not conform");
    }
    return status;
}

int command_conform(const char *const *words, uint32_t n)
{
    static host h;
    options o;
    char error[256];
    int status = EXIT_DONE;
    if (!options_parse(&o, FOR_CONFORM, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (o.n_args > 1 || (o.n_args == 0 && o.vectors == NULL)) {
        say("conform takes a model, --vectors FILE, or both");
        return EXIT_USAGE;
    }
    if (!host_start(&h, &o)) {
        return EXIT_FAILED;
    }
    if (o.vectors != NULL) {
        status = run_vectors(&h, &o);
    }
    if (o.n_args == 1 && run_models(&h, &o) != EXIT_DONE) {
        status = EXIT_FAILED;
    }
    host_stop(&h);
    return status;
}
