/* SPDX-License-Identifier: MIT */
/* conversation.h: turns of a chat over one generator; shared by the hosted chat and the bare x86 image. */
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
    uint32_t n_begin; /* tokens of the system turn */
} conversation;

/* Takes its memory and reads the system message: `system`, or the one the model brings if that is NULL. */
q_error_code conversation_begin(conversation *c, engine *e, q_generator *generator, const char *system,
                                const engine_memory *memory, q_diag *diag);

/* One user turn: reads it, generates the answer through the generator's callbacks, closes the answer's turn. */
q_error_code conversation_say(conversation *c, const char *text, size_t n, q_stop_reason *reason, q_diag *diag);

/* Back to the system message. */
q_error_code conversation_reset(conversation *c, q_diag *diag);

#endif /* QORUS_TOOLS_CONVERSATION_H */
