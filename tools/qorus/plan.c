/* SPDX-License-Identifier: MIT */
/* qorus plan: the exact bytes a model needs for stated maxima, step by step, as text, DOT, SVG or JSON. */
#include "host.h"
#include "qorus/net.h"
#include "qorus/optim.h"

#include <string.h>

/* ---- A file's model in training --------------------------------------------------------------------------- */

static bool everything(void *user, const char *name)
{
    (void)user;
    (void)name;
    return true;
}

/* All parameters train. Behind a decoder lies a cross-entropy; behind a graph without a loss of its own, one of the size of
   its first output stands for it: half the squares of that. */
static void build_training(q_graph *g, const void *user)
{
    const q_file *file = (const q_file *)user;
    const q_file_arch *arch = q_file_get_arch(file);
    const q_file_build whole = {.file = file, .trains = everything};
    q_file_graph_view a;
    q_net n;
    q_net_begin(&n, g);
    if (arch != NULL) {
        const q_decoder_build d = {.struct_size = sizeof(d), .flags = Q_DECODER_ALL_ROWS, .file = file, .trains = everything};
        q_edge tokens = q_net_tokens(&n, "tokens", arch->n_vocab);
        q_edge targets = q_net_targets(&n, "targets", arch->n_vocab);
        q_edge logits = tokens;
        logits.value = q_graph_decoder(g, &d, tokens.value);
        logits.type.dtype = Q_REAL;
        logits.type.dim[2].sym = Q_SYM_TOKENS;
        logits.type.dim[3] = (q_count){arch->n_vocab, Q_SYM_ONE};
        q_net_cross_entropy(&n, logits, targets);
    } else if (!q_file_graph_arrays(file, &a) || a.head->n_outputs == 0 ||
               strcmp(q_file_name(file, a.outputs[0].name_offset), "loss") == 0) {
        q_build_from_file(g, &whole);
    } else {
        q_edge y = {0, {Q_REAL, 0, {{1, Q_SYM_ONE}, {1, Q_SYM_ONE}, {1, Q_SYM_ONE}, {1, Q_SYM_ONE}}}};
        y.value = q_graph_file(g, &whole, q_file_name(file, a.outputs[0].name_offset));
        q_net_mse(&n, y, y);
    }
}

/* Plans with and without recompute; the second one stays. Bytes of a session of each, and steps of forward that the first runs
   twice. */
static q_error_code plan_training(host *h, const options *o, size_t bytes[2], uint32_t *twice)
{
    q_optimizer_config optimizer = {.struct_size = sizeof(optimizer), .cls = q_optimizer_find(o->train), .momentum = 0.9};
    h->engine.build = build_training;
    h->engine.build_user = &h->engine.file;
    h->engine.moments = optimizer.cls->moments(&optimizer);
    for (int again = 1; again >= 0; again--) {
        q_error_code e;
        h->engine.plan_flags = again != 0 ? Q_PLAN_RECOMPUTE : 0;
        e = engine_plan(&h->engine, h->port, o, 1, &h->memory, &h->diag);
        if (e != Q_OK) {
            return e;
        }
        *twice = again != 0 ? q_plan_n_steps_again(h->engine.plan) : *twice;
        bytes[again] = h->engine.session_bytes;
        for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
            bytes[again] += h->engine.needs.bytes[kind][0];
        }
    }
    return Q_OK;
}

/* ---- Printing --------------------------------------------------------------------------------------------- */

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
    } else if (strcmp(o->format, "svg") == 0) {
        q_plan_print(e->plan, Q_PLAN_SVG, print_piece, stdout);
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
    size_t bytes[2] = {0, 0};
    uint32_t twice = 0;
    q_error_code e;
    if (!host_open(h, o->args[0]) || !host_adapters(h, o->adapter)) {
        return EXIT_FAILED;
    }
    e = o->train != NULL ? plan_training(h, o, bytes, &twice) : engine_plan(&h->engine, h->port, o, 1, &h->memory, &h->diag);
    if (e != Q_OK) {
        return say_failure(o->args[0], &h->diag);
    }
    if (o->train != NULL && o->format == NULL) {
        (void)printf("training   by %s: %zu bytes; with recompute %zu, and %u of %u steps of forward run twice\n", o->train, bytes[0],
                     bytes[1], twice, q_plan_n_steps(h->engine.plan));
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
    if (o.train != NULL && q_optimizer_find(o.train) == NULL) {
        say("--train does not know the optimizer '%s'; it knows sgd, adam, adamw and lion", o.train);
        return EXIT_USAGE;
    }
    if (!host_start(&h, &o)) {
        return EXIT_FAILED;
    }
    status = plan_model(&h, &o);
    host_stop(&h);
    return status;
}
