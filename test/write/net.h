/* SPDX-License-Identifier: MIT */
/* net.h: small models and what runs them: memory, a plan, a session; and a place for the files that are written. */
#ifndef QORUS_TEST_WRITE_NET_H
#define QORUS_TEST_WRITE_NET_H

#include "qorus/write.h"

enum { NET_BATCH = 4, NET_IN = 7, NET_OUT = 5, NET_TOKENS = 6, NET_VOCAB = 48 };

typedef struct net {
    q_model *model;
    q_plan *plan;
    q_session *session;
    void *memory[12];
    uint32_t n_memory;
} net;

/* Networks described by qorus/net.h (built.c). */
void test_built(void);

void check(bool ok, const char *what);
void must(q_error_code e, const q_diag *d);

/* A model by any builder, planned for training or inference; parameters in slots get the same numbers every time. */
void net_open(net *n, q_build_fn build, const void *user, uint32_t mode);
void net_close(net *n);

/* x -> linear (bias) -> layer of the test's own (scale by a vector) -> linear -> "y"; with a target "loss". */
void build_mlp(q_graph *g, const void *unused);
extern const q_layer_class net_scale_class;

/* A decoder of two layers with its parameters in slots; `decoder_arch` says the same. */
void build_slots_decoder(q_graph *g, const void *unused);
q_file_arch decoder_arch(void);
extern const uint8_t decoder_kinds[2];

/* Where a file goes. */
typedef struct sink {
    uint8_t *bytes;
    uint8_t *seen; /* how often each byte was written */
    uint64_t size;
    uint32_t calls;
    uint32_t fail_at; /* call that fails; 0: none */
    uint32_t done;
    uint32_t all;
    bool outside;
} sink;

q_write write_of(const net *n, sink *s);
/* Writes it, checking size, work and that every byte is written once. False: refused, *d says why. */
bool net_write(q_write *w, sink *s, q_diag *d);
void sink_free(sink *s);

#endif /* QORUS_TEST_WRITE_NET_H */
