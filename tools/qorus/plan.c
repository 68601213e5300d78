/* SPDX-License-Identifier: MIT */
/* qorus plan: the exact bytes a model needs for stated maxima, step by step, as text, DOT or JSON. */
#include "host.h"

#include <string.h>

static void print_piece(void *user, const char *text, size_t n)
{
    (void)fwrite(text, 1, n, (FILE *)user);
}

static int print_plan(const engine *e, const options *o)
{
    if (o->format == NULL) {
        q_plan_print(e->plan, Q_PLAN_TEXT, print_piece, stdout);
        (void)printf("objects    model %zu, plan %zu, session %zu bytes\n", e->model_bytes, e->plan_bytes,
                     e->session_bytes);
    } else if (strcmp(o->format, "dot") == 0) {
        (void)printf("// objects: model %zu, plan %zu, session %zu bytes\n", e->model_bytes, e->plan_bytes,
                     e->session_bytes);
        q_plan_print(e->plan, Q_PLAN_DOT, print_piece, stdout);
    } else {
        (void)printf("{\"model_bytes\":%zu,\"plan_bytes\":%zu,\"session_bytes\":%zu,\"plan\":", e->model_bytes,
                     e->plan_bytes, e->session_bytes);
        q_plan_print(e->plan, Q_PLAN_JSON, print_piece, stdout);
        (void)printf("}\n");
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say("cannot write the plan");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static int plan_model(host *h, const options *o)
{
    if (!host_open(h, o->args[0]) || !host_adapters(h, o->adapter)) {
        return EXIT_FAILED;
    }
    if (engine_plan(&h->engine, h->port, o, 1, &h->memory, &h->diag) != Q_OK) {
        return say_failure(o->args[0], &h->diag);
    }
    if (o->train != NULL) {
        say("%s: nothing to train: parameters that are views of the file cannot be trained in this version",
            o->args[0]);
        return EXIT_FAILED;
    }
    return print_plan(&h->engine, o);
}

int command_plan(const char *const *words, uint32_t n)
{
    static host h;
    options o;
    char error[256];
    int status;
    if (!options_parse(&o, FOR_PLAN, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (o.n_args != 1) {
        say("plan takes one model: qorus plan MODEL");
        return EXIT_USAGE;
    }
    if (o.train != NULL && strcmp(o.train, "sgd") != 0) {
        say("--train does not know the optimizer '%s'; it knows sgd", o.train);
        return EXIT_USAGE;
    }
    if (!host_start(&h, &o)) {
        return EXIT_FAILED;
    }
    status = plan_model(&h, &o);
    host_stop(&h);
    return status;
}
