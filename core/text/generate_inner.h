/* SPDX-License-Identifier: MIT */
/* generate_inner.h: what a generator consists of; private to core/text/generate*.c. */
#ifndef QORUS_CORE_TEXT_GENERATE_INNER_H
#define QORUS_CORE_TEXT_GENERATE_INNER_H

#include "../core.h"
#include "qorus/generate.h"

struct q_generator {
    q_session *session;
    const q_tokenizer *tokenizer;
    q_generate_config config;
    int32_t *history;  /* [capacity] tokens in the KV cache */
    uint32_t n;
    uint32_t capacity; /* positions of the KV cache */
    uint32_t n_vocab;
    uint32_t count;    /* tokens of this run */
    uint64_t step;     /* tokens sampled in this generator's life: picks the random number */
    uint8_t *work;     /* sampler's */
    size_t work_size;
    char *held;        /* text not handed out yet */
    size_t n_held;
    size_t held_size;
    q_utf8_stream utf8;
    bool has_logits;   /* the session's output is of the last token of history */
    bool running;      /* in q_generator_run: its callbacks may only look */
    bool has_pending;  /* the last run's last token is text already, but not in the KV cache yet */
    int32_t pending;
};

/* Bytes of a stop string, at most Q_GENERATE_MAX_STOP_BYTES + 1. */
size_t q_generate_stop_bytes(const char *s);

/* Hands out the text of a sampled token, except what may still become a stop string. */
q_stop_reason q_generate_emit(q_generator *g, int32_t token);

/* Hands out what is held back, when nothing more can follow. */
void q_generate_flush(q_generator *g);

#endif /* QORUS_CORE_TEXT_GENERATE_INNER_H */
