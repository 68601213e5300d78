/* SPDX-License-Identifier: MIT */
/*
 * rig.h: a language model put together from a .qorus file in one block of memory, and calls of the API whose
 * arguments lie in a struct, so that a table can put one defect into them. Needs no libc, files or allocation.
 */
#ifndef QORUS_TEST_PROOF_RIG_H
#define QORUS_TEST_PROOF_RIG_H

#include "proof.h"

#include "qorus/generate.h"

enum { RIG_KV = 128, RIG_REGIONS = 2, RIG_IDS = RIG_KV + 4, RIG_TEXT_WORK = 16384, RIG_GAP = 256 };

/* What the calls write; compared with what it was before where a call fails. */
typedef struct rig_out {
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_generator *generator;
    size_t bytes;
    size_t n;
    q_stop_reason reason;
    int32_t token;
    int32_t ids[64];
    char text[64];
    q_tensor tensor;
} rig_out;

/* Arguments of all calls: a twin, then one member changed. Pointers refer to members of the same struct. */
typedef struct rig_args {
    q_model **model_out;
    q_block model_memory;
    q_build_fn build;

    q_plan **plan_out;
    q_block plan_memory;
    const q_model *model;
    const q_plan_config *plan_config;
    q_plan_config plan_value;

    q_session **session_out;
    q_block session_memory;
    const q_plan *plan;
    const q_context *context;
    q_context context_value;
    q_backend backend;
    q_port port;
    const q_region *regions;
    q_region region[RIG_REGIONS];
    size_t n_regions;
    const q_session_config *session_config;
    q_session_config session_value;

    q_session *session;
    uint32_t start; /* position before a call */
    uint32_t fed;   /* tokens the generator has read before a call */
    const q_step *step;
    q_step step_value;
    const void *inputs[1];
    uint32_t selected[2];
    q_error_code rows_code; /* what the callback for rows returns */
    uint32_t n;
    int32_t ids[RIG_IDS];
    const int32_t *ids_in;
    size_t n_ids;

    size_t *bytes_out;
    size_t *n_out;
    q_tensor *tensor_out;
    q_generator **generator_out;
    q_block generator_memory;
    const q_tokenizer *tokenizer;
    q_tokenizer tokenizer_value;
    const q_generate_config *generate;
    q_generate_config generate_value;
    q_generator *generator;
    q_stop_reason *reason_out;

    const char *text;
    size_t n_text;
    uint32_t flags;
    void *text_work;
    size_t text_work_size;
    int32_t *ids_out;
    size_t cap;
    char *text_out;

    q_sampler_config sampler;
    const q_sampler_config *sampler_in;
    float logits[4];
    uint32_t n_logits;
    int32_t history[2];
    int32_t *token_out;
} rig_args;

typedef struct rig {
    proof_host *host;
    const uint8_t *blob;
    size_t blob_size;
    uint8_t *memory; /* what is not handed out yet */
    size_t memory_size;

    q_file file;
    q_file_build build;
    q_tokenizer tokenizer;
    q_backend backend;
    q_plan_config plan_config;
    uint32_t n_vocab;
    q_needs needs;
    size_t model_size;
    size_t plan_size;
    size_t session_size;
    size_t generator_size;

    /* alive */
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_generator *generator;
    q_region region[RIG_REGIONS];
    /* the same sizes again, where the calls under test put theirs */
    void *spare_model;
    void *spare_plan;
    void *spare_session;
    void *spare_generator;
    void *text_work;

    rig_args args;
    rig_out out;
    q_diag diag;
} rig;

/* One function of the API, called with r->args. */
typedef enum rig_call {
    RIG_MODEL,
    RIG_PLAN,
    RIG_SESSION,
    RIG_CONFIGURE,
    RIG_FORWARD,
    RIG_REWIND,
    RIG_SET_POSITION,
    RIG_OUTPUT,
    RIG_PARAM,
    RIG_GENERATOR,
    RIG_GENERATOR_CONFIGURE,
    RIG_FEED,
    RIG_TEXT,
    RIG_RUN,
    RIG_GENERATOR_REWIND,
    RIG_RESTORE,
    RIG_ENCODE,
    RIG_DECODE,
    RIG_CHAT,
    RIG_SAMPLE,
    RIG_CALLS
} rig_call;

/* Puts model, plan, session and generator together in memory, a multiple of 4096 of at least PROOF_WORK bytes. The
   rig itself lies at its beginning. NULL, and a line that says so: the file is not one for it. */
rig *rig_open(proof_host *host, const void *blob, size_t size, void *memory, size_t memory_size);

/* A piece of the rig's memory, 128-byte aligned, with a gap behind it; NULL if none is left. */
void *rig_take(rig *r, size_t size);

/* r->args becomes the accepted twin of every call. */
void rig_reset(rig *r);

/* Brings session and generator where the arguments say and calls. r->out holds 0xA5 before the call. */
q_error_code rig_run(rig *r, rig_call call);

/* True if every byte of r->out is still 0xA5. */
bool rig_untouched(const rig *r);

/* FNV-1a over the logits of all rows of n tokens from position 0; tokens are the twin's. */
uint64_t rig_hash(rig *r, q_session *session, uint32_t n, q_error_code *code);

/* Prints "ok   ID  code what: field ..." and counts. diag may be NULL. */
void rig_report(rig *r, bool good, const char *id, q_error_code code, const q_diag *diag);
bool rig_same_text(const char *a, const char *b);

/* The table, and what no table can hold. */
void rig_cases(rig *r);
void rig_checks(rig *r);
void rig_check_reentry(rig *r);
/* Numbers at their edges; what computes; trainings; their data; their checkpoints; saves that are cut; faults of a port; texts
   and sessions side by side. */
void rig_numbers(rig *r);
void rig_devices(rig *r);
void rig_training(rig *r);
void rig_data(rig *r);
void rig_checkpoint(rig *r);
void rig_saves(rig *r);
void rig_faults(rig *r);
void rig_texts(rig *r);

#endif /* QORUS_TEST_PROOF_RIG_H */
