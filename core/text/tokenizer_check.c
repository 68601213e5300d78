/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_check.c: checks the tables of a tokenizer section. A check uses only what those before
 * it have established: offsets, types, byte ids, orders, merges, chat format.
 */
#include "tokenizer_section.h"

/* Names are arrays, not pointers: constant data without relocations. */
static const char table_names[TOK_TABLE_COUNT][16] = {
    "token_offsets", "token_text",   "token_types", "byte_ids",    "plain_ids",
    "special_ids",   "merge_starts", "merges",      "merge_order", "system_text"};

/* Q_ERR_CORRUPT at element `index`, of `width` bytes, of a table. */
static q_error_code table_corrupt(const tok_check *s, enum tok_table table, uint32_t index,
                                  uint32_t width, uint64_t need, uint64_t have)
{
    uint64_t at = (uint64_t)s->start[table] + (uint64_t)index * width;
    return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, table_names[table], at, need, have);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static q_error_code check_offsets(const tok_check *s)
{
    const tok_header *h = s->h;
    const uint32_t *offsets = tok_table_u32(s, TOK_TABLE_OFFSETS);
    uint32_t longest = 0;
    if (offsets[0] != 0) {
        return table_corrupt(s, TOK_TABLE_OFFSETS, 0, 4, 0, offsets[0]);
    }
    for (uint32_t i = 0; i < h->n_vocab; i++) {
        uint32_t length = offsets[i + 1] - offsets[i];
        if (offsets[i + 1] < offsets[i] || length > h->max_token) {
            return table_corrupt(s, TOK_TABLE_OFFSETS, i + 1, 4,
                                 (uint64_t)offsets[i] + h->max_token, offsets[i + 1]);
        }
        longest = length > longest ? length : longest;
    }
    if (offsets[h->n_vocab] != h->text_bytes) {
        return table_corrupt(s, TOK_TABLE_OFFSETS, h->n_vocab, 4, h->text_bytes,
                             offsets[h->n_vocab]);
    }
    if (longest != h->max_token) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "max_token", TOK_HEADER_AT(max_token),
                                longest, h->max_token);
    }
    return Q_OK;
}

/* Whether a token of this type may have this text. Byte tokens are those byte_ids leads to. */
static bool token_fits_type(const q_tokenizer *t, uint32_t id)
{
    uint32_t n;
    const uint8_t *bytes = q_token_bytes(t, id, &n);
    switch (t->types[id]) {
    case Q_TOKEN_NORMAL:
        return n >= 2;
    case Q_TOKEN_CONTROL:
    case Q_TOKEN_USER:
        return n >= 1 && n <= t->max_special;
    case Q_TOKEN_BYTE:
        return n == 1 && t->byte_ids[bytes[0]] == id;
    default:
        return t->types[id] == Q_TOKEN_UNUSED;
    }
}

static q_error_code check_types(const tok_check *s)
{
    const tok_header *h = s->h;
    uint32_t n_plain = 0;
    uint32_t n_special = 0;
    for (uint32_t id = 0; id < h->n_vocab; id++) {
        if (!token_fits_type(&s->t, id)) {
            return table_corrupt(s, TOK_TABLE_TYPES, id, 1, Q_TOKEN_UNUSED, s->t.types[id]);
        }
        n_plain += TOK_PLAIN_TYPES >> s->t.types[id] & 1u;
        n_special += TOK_SPECIAL_TYPES >> s->t.types[id] & 1u;
    }
    if (n_plain != h->n_plain) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "n_plain", TOK_HEADER_AT(n_plain), n_plain,
                                h->n_plain);
    }
    if (n_special != h->n_special) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "n_special", TOK_HEADER_AT(n_special),
                                n_special, h->n_special);
    }
    return Q_OK;
}

static q_error_code check_byte_ids(const tok_check *s)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t id = s->t.byte_ids[b];
        uint32_t n;
        if (id == Q_TOKEN_NONE) {
            continue;
        }
        if (id >= s->h->n_vocab || s->t.types[id] != Q_TOKEN_BYTE ||
            q_token_bytes(&s->t, id, &n)[0] != b) {
            return table_corrupt(s, TOK_TABLE_BYTE_IDS, b, 4, s->h->n_vocab, id);
        }
    }
    return Q_OK;
}

/* The ids ascend strictly by their bytes and are of these types; with the right count, all such. */
static q_error_code check_sorted(const tok_check *s, enum tok_table table, uint32_t count,
                                 uint32_t types, uint32_t *longest)
{
    const uint32_t *ids = tok_table_u32(s, table);
    const uint8_t *before = NULL;
    uint32_t n_before = 0;
    *longest = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n;
        const uint8_t *bytes;
        if (ids[i] >= s->h->n_vocab || (types >> s->t.types[ids[i]] & 1u) == 0) {
            return table_corrupt(s, table, i, 4, s->h->n_vocab, ids[i]);
        }
        bytes = q_token_bytes(&s->t, ids[i], &n);
        if (i > 0 && q_bytes_order(before, n_before, bytes, n) >= 0) {
            return table_corrupt(s, table, i, 4, ids[i - 1], ids[i]);
        }
        before = bytes;
        n_before = n;
        *longest = n > *longest ? n : *longest;
    }
    return Q_OK;
}

static q_error_code check_tokens(const tok_check *s)
{
    const tok_header *h = s->h;
    uint32_t longest;
    q_error_code code = check_offsets(s);
    code = code != Q_OK ? code : check_types(s);
    code = code != Q_OK ? code : check_byte_ids(s);
    code = code != Q_OK ? code
                        : check_sorted(s, TOK_TABLE_PLAIN, h->n_plain, TOK_PLAIN_TYPES, &longest);
    code = code != Q_OK
               ? code
               : check_sorted(s, TOK_TABLE_SPECIAL, h->n_special, TOK_SPECIAL_TYPES, &longest);
    if (code == Q_OK && longest != h->max_special) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "max_special", TOK_HEADER_AT(max_special),
                                longest, h->max_special);
    }
    return code;
}

/* ---- Merges ---------------------------------------------------------------------------------- */

static bool is_joined(const q_tokenizer *t, uint32_t left, uint32_t right, uint32_t result)
{
    uint32_t nl, nr, n;
    const uint8_t *a = q_token_bytes(t, left, &nl);
    const uint8_t *b = q_token_bytes(t, right, &nr);
    const uint8_t *c = q_token_bytes(t, result, &n);
    return n == nl + nr && q_bytes_order(a, nl, c, nl) == 0 &&
           q_bytes_order(b, nr, c + nl, nr) == 0;
}

static bool is_plain(const q_tokenizer *t, uint32_t id)
{
    return id < t->n_vocab && (TOK_PLAIN_TYPES >> t->types[id] & 1u) != 0;
}

static q_error_code check_merges_of(const tok_check *s, uint32_t left)
{
    const q_tokenizer *t = &s->t;
    for (uint32_t e = t->merge_starts[left]; e < t->merge_starts[left + 1]; e++) {
        const q_merge *m = &t->merges[e];
        if (!is_plain(t, left)) {
            return table_corrupt(s, TOK_TABLE_MERGE_STARTS, left, 4, e, t->merge_starts[left + 1]);
        }
        if (!is_plain(t, m->right) || (e > t->merge_starts[left] && m->right <= m[-1].right)) {
            return table_corrupt(s, TOK_TABLE_MERGES, e, sizeof *m, t->n_vocab, m->right);
        }
        if (m->rank >= t->n_merges || t->merge_order[m->rank] != e) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "merge_order",
                                    (uint64_t)s->start[TOK_TABLE_MERGES] + (uint64_t)e * sizeof *m +
                                        4,
                                    t->n_merges, m->rank);
        }
        if (!is_plain(t, m->result) || !is_joined(t, left, m->right, m->result)) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, table_names[TOK_TABLE_MERGES],
                                    (uint64_t)s->start[TOK_TABLE_MERGES] + (uint64_t)e * sizeof *m +
                                        8,
                                    t->n_vocab, m->result);
        }
    }
    return Q_OK;
}

static q_error_code check_merges(const tok_check *s)
{
    const uint32_t *starts = s->t.merge_starts;
    const uint32_t n = s->h->n_vocab;
    if (starts[0] != 0 || starts[n] != s->h->n_merges) {
        uint32_t index = starts[0] != 0 ? 0 : n;
        return table_corrupt(s, TOK_TABLE_MERGE_STARTS, index, 4, index == 0 ? 0 : s->h->n_merges,
                             starts[index]);
    }
    for (uint32_t left = 0; left < n; left++) {
        q_error_code code;
        if (starts[left + 1] < starts[left] || starts[left + 1] > s->h->n_merges) {
            return table_corrupt(s, TOK_TABLE_MERGE_STARTS, left + 1, 4, starts[left],
                                 starts[left + 1]);
        }
        code = check_merges_of(s, left);
        if (code != Q_OK) {
            return code;
        }
    }
    return Q_OK;
}

/* ---- Chat ------------------------------------------------------------------------------------ */

static q_error_code check_chat(const tok_check *s)
{
    static const char names[2][16] = {"<|im_start|>", "<|im_end|>"};
    static const uint32_t lengths[] = {12, 10};
    if (s->h->chat_format == Q_CHAT_NONE && s->h->system_bytes != 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "system_bytes", TOK_HEADER_AT(system_bytes),
                                0, s->h->system_bytes);
    }
    for (uint32_t i = 0; s->h->chat_format == Q_CHAT_CHATML && i < 2; i++) {
        int32_t id;
        if (!q_tokenizer_find(&s->t, names[i], lengths[i], &id) ||
            s->t.types[id] != Q_TOKEN_CONTROL) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "chat_format",
                                    TOK_HEADER_AT(chat_format), lengths[i], 0);
        }
    }
    for (uint32_t i = 0; i < s->h->system_bytes; i++) {
        if (s->t.system[i] == 0) {
            return table_corrupt(s, TOK_TABLE_SYSTEM, i, 1, ' ', 0);
        }
    }
    if (!q_utf8_valid(s->t.system, s->h->system_bytes)) {
        return table_corrupt(s, TOK_TABLE_SYSTEM, 0, 1, 0, 0);
    }
    return Q_OK;
}

/* ---- All tables ------------------------------------------------------------------------------ */

q_error_code q_tokenizer_check_tables(const tok_check *s)
{
    q_error_code code = check_tokens(s);
    code = code != Q_OK ? code : check_merges(s);
    return code != Q_OK ? code : check_chat(s);
}
