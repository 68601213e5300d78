/* SPDX-License-Identifier: MIT */
/* A chat: system message once, then user turns and answers. */
#include "conversation.h"

#include "qorus/base/mem.h"

static size_t bytes_of(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
    }
    return n;
}

static q_error_code turn(conversation *c, q_chat_role role, const char *text, size_t n, bool open, q_diag *diag)
{
    size_t n_ids = 0;
    q_error_code e = q_chat_turn(c->tokenizer, role, text, n, open, c->work, c->work_size, c->ids, c->cap, &n_ids, diag);
    return e == Q_OK ? q_generator_feed(c->generator, c->ids, n_ids, diag) : e;
}

static q_error_code read_system(conversation *c, q_diag *diag)
{
    q_error_code e = c->n_system != 0 ? turn(c, Q_CHAT_SYSTEM, c->system, c->n_system, false, diag) : Q_OK;
    (void)q_generator_history(c->generator, &c->n_begin);
    return e;
}

q_error_code conversation_begin(conversation *c, engine *e, q_generator *generator, const char *system,
                                const engine_memory *memory, q_diag *diag)
{
    uint32_t n = 0;
    void *ids = NULL;
    q_error_code code;
    memset(c, 0, sizeof(*c));
    c->tokenizer = &e->tokenizer;
    c->generator = generator;
    c->system = system != NULL ? system : q_tokenizer_system(&e->tokenizer, &n);
    c->n_system = system != NULL ? bytes_of(system) : n;
    c->cap = q_chat_turn_cap(CONVERSATION_LINE);
    c->work_size = q_tokenizer_encode_work_size(&e->tokenizer, CONVERSATION_LINE);
    code = memory->take(memory->user, c->work_size, "chat work", &c->work, diag);
    if (code == Q_OK) {
        code = memory->take(memory->user, c->cap * sizeof(int32_t), "chat ids", &ids, diag);
    }
    c->ids = (int32_t *)ids;
    return code == Q_OK ? read_system(c, diag) : code;
}

q_error_code conversation_say(conversation *c, const char *text, size_t n, q_stop_reason *reason, q_diag *diag)
{
    size_t n_ids = 0;
    q_error_code e = turn(c, Q_CHAT_USER, text, n, false, diag);
    if (e == Q_OK) {
        e = turn(c, Q_CHAT_ASSISTANT, NULL, 0, true, diag);
    }
    if (e == Q_OK) {
        e = q_generator_run(c->generator, reason, diag);
    }
    if (e == Q_OK && *reason != Q_STOP_CONTEXT && q_chat_close(c->tokenizer, c->ids, c->cap, &n_ids, diag) == Q_OK) {
        e = q_generator_feed(c->generator, c->ids, n_ids, diag);
    }
    return e;
}

q_error_code conversation_reset(conversation *c, q_diag *diag)
{
    return q_generator_rewind(c->generator, c->n_begin, diag);
}
