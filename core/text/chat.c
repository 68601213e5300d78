/* SPDX-License-Identifier: MIT */
/* The words of a conversation: turns in the chat format of a tokenizer. */
#include "../core.h"
#include "qorus/generate.h"

/* Control tokens and headers around a turn's text. */
enum { TURN_EXTRA = 16 };

/* Ids collected into a caller's array, or only counted: ids is then NULL. */
typedef struct id_list {
    const q_tokenizer *tokenizer;
    void *work;
    size_t work_size;
    int32_t *ids;
    size_t cap;
    size_t n;
    q_diag *diag;
} id_list;

static size_t text_bytes(const char *text)
{
    size_t n = 0;
    while (text[n] != '\0') {
        n++;
    }
    return n;
}

static q_error_code append_text(id_list *list, const char *text, size_t n)
{
    size_t more = 0;
    q_error_code e;
    if (n == 0) {
        return Q_OK;
    }
    e = q_tokenizer_encode(list->tokenizer, text, n, 0, list->work, list->work_size,
                           list->ids != NULL ? list->ids + list->n : NULL, list->ids != NULL ? list->cap - list->n : 0,
                           &more, list->diag);
    list->n += e == Q_OK ? more : 0;
    return e;
}

static q_error_code append_control(id_list *list, const char *name)
{
    int32_t id;
    if (!q_tokenizer_find(list->tokenizer, name, text_bytes(name), &id)) {
        return q_fail(list->diag, Q_ERR_NOT_FOUND, "tokenizer", name, 1, 0);
    }
    if (list->ids != NULL) {
        list->ids[list->n] = id;
    }
    list->n++;
    return Q_OK;
}

size_t q_chat_turn_cap(size_t n)
{
    return n > SIZE_MAX - TURN_EXTRA ? SIZE_MAX : n + TURN_EXTRA;
}

static const char *role_header(q_chat_role role)
{
    switch (role) {
    case Q_CHAT_SYSTEM:
        return "system\n";
    case Q_CHAT_USER:
        return "user\n";
    default:
        return "assistant\n";
    }
}

static q_error_code chat_check(const q_tokenizer *tokenizer, const size_t *n_ids, q_diag *diag)
{
    if (tokenizer == NULL || n_ids == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_chat", tokenizer == NULL ? "tokenizer" : "n_ids", 1, 0);
    }
    if (q_tokenizer_chat_format(tokenizer) != Q_CHAT_CHATML) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, "tokenizer", "chat format", Q_CHAT_CHATML,
                      (uint64_t)q_tokenizer_chat_format(tokenizer));
    }
    return Q_OK;
}

/* What is said before, in and behind a turn. */
typedef struct turn_parts {
    const char *header; /* NULL: neither control token nor header */
    const char *text;
    size_t n;
    bool open;
} turn_parts;

static q_error_code append_turn(id_list *list, const turn_parts *turn)
{
    q_error_code e = Q_OK;
    if (turn->header != NULL) {
        e = append_control(list, "<|im_start|>");
        if (e == Q_OK) {
            e = append_text(list, turn->header, text_bytes(turn->header));
        }
    }
    if (e == Q_OK) {
        e = append_text(list, turn->text, turn->n);
    }
    if (e == Q_OK && !turn->open) {
        e = append_control(list, "<|im_end|>");
    }
    if (e == Q_OK && !turn->open) {
        e = append_text(list, "\n", 1);
    }
    return e;
}

/* Counts, then writes: a turn that does not fit leaves the caller's ids alone. */
static q_error_code write_turn(const id_list *into, const turn_parts *turn, size_t *n_ids)
{
    id_list count = *into;
    id_list list = *into;
    q_error_code e;
    count.ids = NULL;
    e = append_turn(&count, turn);
    if (e == Q_OK && (list.ids == NULL || count.n > list.cap)) {
        e = q_fail(list.diag, list.ids == NULL ? Q_ERR_INVALID_ARG : Q_ERR_NO_SPACE, "q_chat", "ids", count.n, list.cap);
    }
    if (e == Q_OK) {
        e = append_turn(&list, turn);
    }
    if (e == Q_OK) {
        *n_ids = list.n;
    }
    return e;
}

q_error_code q_chat_turn(const q_tokenizer *tokenizer, q_chat_role role, const char *text, size_t n, bool open,
                         void *work, size_t work_size, int32_t *ids, size_t cap, size_t *n_ids, q_diag *diag)
{
    const id_list into = {tokenizer, work, work_size, ids, cap, 0, diag};
    const turn_parts turn = {role_header(role), text, n, open};
    q_error_code e = chat_check(tokenizer, n_ids, diag);
    return e == Q_OK ? write_turn(&into, &turn, n_ids) : e;
}

q_error_code q_chat_close(const q_tokenizer *tokenizer, int32_t *ids, size_t cap, size_t *n_ids, q_diag *diag)
{
    const id_list into = {tokenizer, NULL, 0, ids, cap, 0, diag};
    const turn_parts turn = {NULL, NULL, 0, false};
    q_error_code e = chat_check(tokenizer, n_ids, diag);
    return e == Q_OK ? write_turn(&into, &turn, n_ids) : e;
}
