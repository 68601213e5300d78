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

static q_error_code turn(conversation *c, q_chat_role role, const char *text, size_t n, bool open,
                         q_diag *diag)
{
    size_t n_ids = 0;
    q_error_code e = q_chat_turn(c->tokenizer, role, text, n, open, c->work, c->work_size, c->ids,
                                 c->cap, &n_ids, diag);
    return e == Q_OK ? q_generator_feed(c->generator, c->ids, n_ids, diag) : e;
}

static q_error_code read_system(conversation *c, q_diag *diag)
{
    return c->n_system != 0 ? turn(c, Q_CHAT_SYSTEM, c->system, c->n_system, false, diag) : Q_OK;
}

q_error_code conversation_begin(conversation *c, engine *e, q_generator *generator,
                                const char *system, const engine_memory *memory, q_diag *diag)
{
    uint32_t n = 0;
    size_t longest;
    void *ids = NULL;
    q_error_code code;
    memset(c, 0, sizeof(*c));
    c->tokenizer = &e->tokenizer;
    c->generator = generator;
    c->system = system != NULL ? system : q_tokenizer_system(&e->tokenizer, &n);
    c->n_system = system != NULL ? bytes_of(system) : n;
    longest = c->n_system > CONVERSATION_LINE ? c->n_system : CONVERSATION_LINE;
    c->cap = q_chat_turn_cap(longest);
    c->work_size = q_tokenizer_encode_work_size(&e->tokenizer, longest);
    code = memory->take(memory->user, c->work_size, "chat work", &c->work, diag);
    if (code == Q_OK) {
        code = memory->take(memory->user, c->cap * sizeof(int32_t), "chat ids", &ids, diag);
    }
    c->ids = (int32_t *)ids;
    return code == Q_OK ? read_system(c, diag) : code;
}

q_error_code conversation_settle(conversation *c, q_diag *diag)
{
    size_t n_ids = 0;
    q_error_code e = Q_OK;
    if (c->open) {
        e = q_chat_close(c->tokenizer, c->ids, c->cap, &n_ids, diag);
        if (e == Q_OK) {
            e = q_generator_feed(c->generator, c->ids, n_ids, diag);
        }
        c->open = e != Q_OK;
    }
    return e;
}

/* Reads the user's turn and the beginning of the answer's; takes back what was read if that fails.
   Where the context was shifted meanwhile there is nothing to go back to. */
static q_error_code ask(conversation *c, const char *text, size_t n, q_diag *diag)
{
    uint32_t before;
    uint32_t now;
    q_error_code e;
    (void)q_generator_history(c->generator, &before);
    e = turn(c, Q_CHAT_USER, text, n, false, diag);
    if (e == Q_OK) {
        e = turn(c, Q_CHAT_ASSISTANT, NULL, 0, true, diag);
    }
    (void)q_generator_history(c->generator, &now);
    if (e != Q_OK && now > before) {
        q_error_code back = q_generator_rewind(c->generator, before, NULL);
        (void)back; /* a model whose state cannot go back keeps what it has read */
    }
    return e;
}

q_error_code conversation_say(conversation *c, const char *text, size_t n, q_stop_reason *reason,
                              q_diag *diag)
{
    q_error_code e = conversation_settle(c, diag);
    if (e == Q_OK) {
        e = ask(c, text, n, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    c->open = true;
    e = q_generator_run(c->generator, reason, diag);
    return e == Q_OK && *reason != Q_STOP_CONTEXT ? conversation_settle(c, diag) : e;
}

q_error_code conversation_reset(conversation *c, q_diag *diag)
{
    q_error_code e = q_generator_rewind(c->generator, 0, diag);
    c->open = false;
    q_generator_set_counter(c->generator, 0);
    return e == Q_OK ? read_system(c, diag) : e;
}
