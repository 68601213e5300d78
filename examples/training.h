/* SPDX-License-Identifier: MIT */
/* training.h: what the examples that train have in common: from a builder to a trainer, all in one static array. */
#ifndef EXAMPLES_TRAINING_H
#define EXAMPLES_TRAINING_H

#include <stdio.h>
#include <string.h>

#include "qorus.h"

typedef struct training {
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_trainer *trainer;
} training;

#ifndef TRAINING_BYTES
#define TRAINING_BYTES (4 << 20) /* the array; a block that it has no room for is refused, and says how much is missing */
#endif

static _Alignas(128) unsigned char training_memory[TRAINING_BYTES];
static size_t training_used;

/* The next bytes of the array; a block too small if there are none left, which whoever gets it refuses. */
static q_block training_block(size_t size)
{
    size_t left = sizeof(training_memory) - training_used;
    q_block block = {training_memory + training_used, size < left ? size : left};
    training_used += (block.size + 127) / 128 * 128 < left ? (block.size + 127) / 128 * 128 : left;
    return block;
}

/* The CPU this runs on, for a backend faster than the scalar one; NULL: any. */
static const q_port *training_port;

static void training_backend(q_backend *backend)
{
    q_backend_scalar(backend);
#if defined(__x86_64__) && !defined(SCALAR_ONLY) /* SCALAR_ONLY: for qorus.c of tools/amalgamate, alone */
    if (training_port != NULL && training_port->cpu_features != NULL) {
        uint64_t features = training_port->cpu_features(training_port->user);
        (void)(q_backend_avx2(backend, features) && q_backend_avx512(backend, features));
    }
#endif
}

/* Steps of so many samples; of so many texts of so many tokens each. */
static inline q_maxima training_samples(uint32_t batch)
{
    return (q_maxima){batch, 1, 1, 1, 1};
}

static inline q_maxima training_texts(uint32_t texts, uint32_t tokens)
{
    return (q_maxima){1, texts * tokens, 1, tokens, texts};
}

/* From a builder to a session; moments: of the optimizer, where the mode is Q_PLAN_TRAIN. */
static q_error_code training_session(training *t, q_build_fn build, const void *user, q_plan_mode mode, uint32_t moments,
                                     q_maxima most, q_diag *d)
{
    static const unsigned char kinds[] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN, Q_REGION_STATE};
    q_context context = {training_port, &t->backend, 1, 0};
    q_plan_config c = {0};
    q_region region[4] = {{0}};
    q_needs needs;
    size_t n = 0;
    q_error_code e = q_model_size(build, user, &n, d);
    training_backend(&t->backend);
    c.struct_size = sizeof(c);
    c.mode = mode;
    c.precision = Q_PRECISION_EXACT;
    c.max = most;
    c.n_workers = 1;
    c.workspace_size = t->backend.workspace_size;
    c.moments = moments;
    e = e == Q_OK ? q_model_init(&t->model, training_block(n), build, user, d) : e;
    e = e == Q_OK ? q_plan_size(t->model, &c, &n, d) : e;
    e = e == Q_OK ? q_plan_init(&t->plan, training_block(n), t->model, &c, d) : e;
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(t->plan, &needs);
    for (int i = 0; i < 4; i++) {
        q_block block = training_block(needs.bytes[kinds[i]][0]);
        region[i].kind = kinds[i];
        region[i].base = block.base;
        region[i].size = block.size;
    }
    e = q_session_size(t->plan, &n, d);
    return e == Q_OK ? q_session_init(&t->session, training_block(n), t->plan, &context, region, 4, NULL, d) : e;
}

/* A session in training, its parameters as the builder says that they begin, and its trainer. */
static q_error_code training_open(training *t, q_build_fn build, const void *user, const q_train_config *config,
                                  q_maxima most, q_diag *d)
{
    size_t n = 0;
    q_error_code e = training_session(t, build, user, Q_PLAN_TRAIN, q_train_moments(config), most, d);
    e = e == Q_OK ? q_session_init_params(t->session, 1, d) : e;
    e = e == Q_OK ? q_trainer_size(t->session, config, &n, d) : e;
    return e == Q_OK ? q_trainer_init(&t->trainer, training_block(n), t->session, config, d) : e;
}

/* The usual numbers of Adam and its kind, and a constant rate. */
static inline q_train_config training_config(const q_optimizer_class *optimizer, double rate)
{
    return (q_train_config){.struct_size = sizeof(q_train_config),
                            .optimizer = {.struct_size = sizeof(q_optimizer_config), .cls = optimizer, .learning_rate = rate,
                                          .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
                            .schedule = {.struct_size = sizeof(q_schedule)}};
}

/* A whole training; held may be NULL. */
static inline q_error_code training_fit(const training *t, const q_fit_config *config, const q_dataset *data,
                                        const q_dataset *held, q_fit_result *result, q_diag *d)
{
    size_t n = 0;
    q_error_code e = q_fit_size(t->trainer, config, data, &n, d);
    return e == Q_OK ? q_model_train(t->trainer, training_block(n), config, data, held, result, d) : e;
}

/* Counts answers of evaluated batches, given as `seen`: output 2 of a network is what it says, behind loss and count. */
typedef struct training_answers {
    const training *of;
    q_confusion confusion;
} training_answers;

static inline void training_count(void *user, const q_step *step, const q_train_part *part, bool evaluated)
{
    training_answers *a = (training_answers *)user;
    q_tensor answer;
    (void)part;
    if (evaluated && q_session_output(a->of->session, 2, &answer, NULL) == Q_OK) {
        q_confusion_add(&a->confusion, &answer, (const int32_t *)step->inputs[1], answer.ne[0] * answer.ne[2]);
    }
}

/* Have they learnt the same, bit for bit? Parameters are compared by name. */
static inline bool training_same(const training *a, const training *b)
{
    for (q_param p = 0; p < q_model_n_params(a->model); p++) {
        q_param twin = q_model_find_param(b->model, q_model_param_name(a->model, p));
        q_tensor t[2];
        if (twin == Q_NONE || q_session_param(a->session, p, &t[0], NULL) != Q_OK ||
            q_session_param(b->session, twin, &t[1], NULL) != Q_OK ||
            memcmp(t[0].data, t[1].data, (size_t)t[0].ne[2] * t[0].ne[3] * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

static inline bool training_print(void *user, const char *piece, size_t n)
{
    (void)user;
    return fwrite(piece, 1, n, stdout) == n;
}

/* Prints what a language model writes behind n tokens. config: how; on_text is training_print. */
static inline q_error_code training_write(const training *t, const q_tokenizer *tokenizer, const q_generate_config *config,
                                          const int32_t *ids, size_t n, q_diag *d)
{
    q_generator *generator;
    q_stop_reason reason;
    size_t bytes = 0;
    q_error_code e = q_generator_size(t->session, tokenizer, config, &bytes, d);
    e = e == Q_OK ? q_generator_init(&generator, training_block(bytes), t->session, tokenizer, config, d) : e;
    e = e == Q_OK ? q_generator_feed(generator, ids, n, d) : e;
    return e == Q_OK ? q_generator_run(generator, &reason, d) : e;
}

static inline int training_failed(const q_diag *d)
{
    printf("%s: %s: %s (need %llu, have %llu)\n", q_strerror(d->code), d->what, d->field, (unsigned long long)d->need,
           (unsigned long long)d->have);
    return 1;
}

#endif /* EXAMPLES_TRAINING_H */
