/* SPDX-License-Identifier: MIT */
/* flow.h: a language model put together in memory a test chooses piece by piece. */
#ifndef QORUS_TEST_MODEL_FLOW_H
#define QORUS_TEST_MODEL_FLOW_H

#include "qorus/generate.h"

enum { FLOW_CONTEXT = 128, FLOW_TOKENS = 48, FLOW_REGIONS = Q_REGION_KINDS * Q_MAX_PLACES };

/* Gives every object and region of a flow its memory. */
typedef struct flow_memory {
    void *(*take)(void *user, size_t size, const char *what);
    void *user;
} flow_memory;

typedef struct flow_setup {
    const char *file;      /* path of the model */
    const q_port *port;    /* NULL: memory only */
    const char *backend;   /* a name of tools/common/backends.h */
    uint32_t precision;
    uint32_t chunk;
    uint32_t selected;
    uint32_t workers;
    uint32_t plan_flags;
    uint32_t kv_type;   /* q_kv_type */
    uint32_t context;   /* 0: FLOW_CONTEXT */
    uint32_t sequences; /* 0: 1 */
    uint8_t (*tag)(void *user, q_region_kind kind, const char *name);
    const q_devices *devices;
    const q_class_swap *swaps;
    size_t n_swaps;
    const q_decoder_build *decoder; /* builds the model instead of q_build_from_file */
    q_session_config session;
} flow_setup;

typedef struct flow {
    const void *bytes;
    size_t size;
    q_file file;
    q_backend backend;
    q_context context;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_needs needs;
    size_t model_size;
    size_t plan_size;
    size_t session_size;
    q_region regions[FLOW_REGIONS];
    size_t n_regions;
    q_diag diag;
} flow;

/* Fast, scalar, chunk 16, one row of logits, one worker. */
flow_setup flow_defaults(const char *file);

/* The parts of flow_open, one by one. Each returns the library's code. */
q_error_code flow_load(flow *f, const flow_setup *s);
q_error_code flow_model(flow *f, const flow_setup *s, q_block memory);
q_error_code flow_plan(flow *f, const flow_setup *s, q_block memory);
q_error_code flow_session(flow *f, const flow_setup *s, q_block memory);

/* All of it, with memory of exactly the sizes asked for. Ends the program with a message if something fails. */
void flow_open(flow *f, const flow_setup *s, const flow_memory *memory);

/* malloc'd memory, aligned to 4096, never given back. */
extern const flow_memory flow_heap;

/* FNV-1a over the logits of all rows of tokens[0, n), read in one step; *code receives what forward returned. */
uint64_t flow_hash(flow *f, const int32_t *tokens, uint32_t n, q_error_code *code);

/* Deterministic tokens below the vocabulary. */
void flow_tokens(const flow *f, int32_t *tokens, uint32_t n, uint32_t seed);

/* Counts and prints. */
void check(bool ok, const char *format, ...) Q_PRINTF(2, 3);
int check_summary(void);
void check_skip(const char *what);

void test_memory(const char *file);
void test_session(const char *file);
void test_layers(const char *file);
void test_decoder(const char *file);
void test_generate(const char *file);
void test_files(const char *file); /* the sample files beside it */
void test_sequences(const char *file, bool brief);
void test_sequences_large(const char *file, const char *backend);
void test_recurrent(void);
void test_image(void);
void test_shape(void);
void test_drop(void);
void test_hostile(const char *file); /* graphs and calls nobody should make */
void test_large(const char *file);

#endif /* QORUS_TEST_MODEL_FLOW_H */
