/* SPDX-License-Identifier: MIT */
/*
 * engine.h: from the bytes of a .qorus file to a session that runs, the way every command wants it. Needs no libc;
 * the POSIX command and the bare x86 image share it.
 */
#ifndef QORUS_TOOLS_ENGINE_H
#define QORUS_TOOLS_ENGINE_H

#include "options.h"
#include "qorus/generate.h"

/* Where memory comes from. take: multiple of 128 bytes address. what names it in messages. */
typedef struct engine_memory {
    void *user;
    q_error_code (*take)(void *user, size_t size, const char *what, void **base, q_diag *diag);
    bool zeroed; /* every byte that take gives is 0 */
} engine_memory;

typedef struct engine {
    q_file file;
    q_file adapters;   /* of adapter.h, where has_adapters */
    double lora_alpha; /* theirs */
    bool has_adapters; /* set before engine_plan */
    q_tokenizer tokenizer;
    bool has_tokenizer;
    q_backend backend;
    q_context context;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_needs needs;
    size_t model_bytes;
    size_t plan_bytes;
    size_t session_bytes;
    q_region regions[Q_REGION_KINDS];
    uint32_t n_regions;
    /* (optional, set after engine_open; default: the model of the file, to run) What is planned instead. */
    q_build_fn build;
    const void *build_user;
    uint32_t plan_flags; /* Q_PLAN_*, besides those of the options */
    uint32_t moments;
} engine;

/* Fills a backend by name (NULL: the best this CPU runs). Q_ERR_NO_DEVICE, Q_ERR_NOT_FOUND. */
q_error_code engine_backend(q_backend *out, const char *name, const q_port *port, q_diag *diag);

/* Opens the file and its tokenizer; copy: header and tables are copied first, for sources that can change. */
q_error_code engine_open(engine *e, const void *base, size_t size, bool copy, const engine_memory *memory,
                         q_diag *diag);

/* Positions that a plan of the opened file gets: as asked, or no more than the model was trained for. */
uint32_t engine_context(const engine *e, const options *o);
/* Model and plan; max_selected: rows of logits held at once. */
q_error_code engine_plan(engine *e, const q_port *port, const options *o, uint32_t max_selected,
                         const engine_memory *memory, q_diag *diag);

/* Regions and session. */
q_error_code engine_start(engine *e, const q_session_config *config, const engine_memory *memory, q_diag *diag);

/* Generator with the options' sampling and stops; callbacks come from `base`. */
q_error_code engine_generator(engine *e, const options *o, q_generate_config *base, const engine_memory *memory,
                              q_generator **out, q_diag *diag);

/* One line of text about a failure: "no space: SCRATCH: region (need 1024, have 512)". */
void engine_explain(const q_diag *diag, char *line, size_t size);

#endif /* QORUS_TOOLS_ENGINE_H */
