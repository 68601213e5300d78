/* SPDX-License-Identifier: MIT */
/* The words of a conversation: turns in the chat format of a tokenizer. */
#include "../core.h"
#include "qorus/generate.h"

/* Control tokens and headers around a turn's text. */
enum { TURN_EXTRA = 16 };

/* Ids collected into a caller's array. */
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
    e = q_tokenizer_encode(list->tokenizer, text, n, 0, list->work, list->work_size, list->ids + list->n,
                           list->cap - list->n, &more, list->diag);
    list->n += e == Q_OK ? more : 0;
    return e;
}

static q_error_code append_control(id_list *list, const char *name)
{
    if (list->n == list->cap) {
        return q_fail(list->diag, Q_ERR_NO_SPACE, "q_chat_turn", "ids", list->cap + 1, list->cap);
    }
    if (!q_tokenizer_find(list->tokenizer, name, text_bytes(name), &list->ids[list->n])) {
        return q_fail(list->diag, Q_ERR_NOT_FOUND, "tokenizer", name, 1, 0);
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

q_error_code q_chat_turn(const q_tokenizer *tokenizer, q_chat_role role, const char *text, size_t n, bool open,
                         void *work, size_t work_size, int32_t *ids, size_t cap, size_t *n_ids, q_diag *diag)
{
    id_list list = {tokenizer, work, work_size, ids, cap, 0, diag};
    const char *header = role_header(role);
    q_error_code e = chat_check(tokenizer, n_ids, diag);
    if (e == Q_OK) {
        e = append_control(&list, "<|im_start|>");
    }
    if (e == Q_OK) {
        e = append_text(&list, header, text_bytes(header));
    }
    if (e == Q_OK) {
        e = append_text(&list, text, n);
    }
    if (e == Q_OK && !open) {
        e = append_control(&list, "<|im_end|>");
    }
    if (e == Q_OK && !open) {
        e = append_text(&list, "\n", 1);
    }
    if (e == Q_OK) {
        *n_ids = list.n;
    }
    return e;
}

q_error_code q_chat_close(const q_tokenizer *tokenizer, int32_t *ids, size_t cap, size_t *n_ids, q_diag *diag)
{
    id_list list = {tokenizer, NULL, 0, ids, cap, 0, diag};
    q_error_code e = chat_check(tokenizer, n_ids, diag);
    if (e == Q_OK) {
        e = append_control(&list, "<|im_end|>");
    }
    if (e == Q_OK) {
        e = append_text(&list, "\n", 1);
    }
    if (e == Q_OK) {
        *n_ids = list.n;
    }
    return e;
}
