/* SPDX-License-Identifier: MIT */
/* conversation.h: turns of a chat over one generator; shared by the hosted chat and the bare x86
 * image. */
#ifndef QORUS_TOOLS_CONVERSATION_H
#define QORUS_TOOLS_CONVERSATION_H

#include "engine.h"

enum { CONVERSATION_LINE = 16384 /* bytes of the longest turn */ };

typedef struct conversation {
    const q_tokenizer *tokenizer;
    q_generator *generator;
    void *work;
    size_t work_size;
    int32_t *ids;
    size_t cap;
    const char *system;
    size_t n_system;
    bool open; /* an answer has begun and its turn is not closed yet */
} conversation;

/* Takes its memory and reads the system message: `system`, or the one the model brings if NULL. */
q_error_code conversation_begin(conversation *c, engine *e, q_generator *generator,
                                const char *system, const engine_memory *memory, q_diag *diag);

/*
 * One user turn: reads it, generates the answer through the generator's callbacks, closes the
 * answer's turn. An error while the turn is read takes the turn back: it was never said. After an
 * error in the answer (Q_ERR_CANCELLED) what was answered so far stays, and its turn is closed by
 * whatever comes next; so it is when *reason is Q_STOP_CONTEXT, for which there was no room.
 */
q_error_code conversation_say(conversation *c, const char *text, size_t n, q_stop_reason *reason,
                              q_diag *diag);

/* Closes a turn that was left open, so that the KV cache holds whole turns. */
q_error_code conversation_settle(conversation *c, q_diag *diag);

/* Back to the system message: the bits of a fresh start. */
q_error_code conversation_reset(conversation *c, q_diag *diag);

#endif /* QORUS_TOOLS_CONVERSATION_H */
