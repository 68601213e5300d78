/* SPDX-License-Identifier: MIT */
/* tiny_model.h: a language model small enough to save and load thousands of times. */
#ifndef QORUS_TEST_TINY_MODEL_H
#define QORUS_TEST_TINY_MODEL_H

#include "qorus/model.h"

enum { VOCAB = 16 };

typedef struct tiny_kind {
    bool with_sum; /* a stateful layer of the caller's own, which cannot go back */
    float scale;   /* of attention: makes another model */
    bool by_span;  /* that layer knows of sequences */
    uint32_t sequences;
    uint32_t kv_type;
} tiny_kind;

/* A session of kv positions over memory that lives until tiny_end. */
q_session *tiny_session(const tiny_kind *kind, uint32_t kv, uint32_t precision);

/* Its plan; what q_plan_init says. */
q_error_code tiny_plan(const tiny_kind *kind, uint32_t kv, uint32_t precision, q_plan **plan, q_diag *d);

/* Feeds n tokens that follow from the position; the last one's logits go to out. */
void tiny_feed(q_session *s, uint32_t n, q_real out[VOCAB]);

void tiny_feed_sequence(q_session *s, uint32_t sequence, uint32_t n, q_real out[VOCAB]);

/* Gives the memory of all sessions back. */
void tiny_end(void);

/* Ends the test program if e is an error. */
void tiny_must(q_error_code e, const q_diag *d);

#endif /* QORUS_TEST_TINY_MODEL_H */
