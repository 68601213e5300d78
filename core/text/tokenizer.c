/* SPDX-License-Identifier: MIT */
/*
 * tokenizer.c: what a tokenizer knows of its tokens: bytes, types, lookup by text, special ids,
 * merges.
 */
#include "../base/diag.h"

#include "tokenizer_inner.h"

#include "qorus/base/mem.h"

/* ---- The byte tokenizer's tokens ------------------------------------------------------------- */

enum {
    BYTE_VOCAB = 259,
    BYTE_BOS = 256,
    BYTE_EOS = 257,
    BYTE_PAD = 258,
    BYTE_SPECIAL_BYTES = 5
};

#define BYTE_TOKENS_4(b) (b), (b) + 1, (b) + 2, (b) + 3
#define BYTE_TOKENS_16(b) \
    BYTE_TOKENS_4(b), BYTE_TOKENS_4((b) + 4), BYTE_TOKENS_4((b) + 8), BYTE_TOKENS_4((b) + 12)
#define BYTE_TOKENS_64(b) \
    BYTE_TOKENS_16(b), BYTE_TOKENS_16((b) + 16), BYTE_TOKENS_16((b) + 32), BYTE_TOKENS_16((b) + 48)

/* Token id is its own byte, so that a pointer to its bytes can be given. */
static const uint8_t byte_token_bytes[256] = {BYTE_TOKENS_64(0), BYTE_TOKENS_64(64),
                                              BYTE_TOKENS_64(128), BYTE_TOKENS_64(192)};
static const uint8_t byte_token_specials[3][BYTE_SPECIAL_BYTES] = {
    {'<', 'b', 'o', 's', '>'}, {'<', 'e', 'o', 's', '>'}, {'<', 'p', 'a', 'd', '>'}};

q_error_code q_tokenizer_init_byte(q_tokenizer *t)
{
    if (t == NULL) {
        return Q_ERR_INVALID_ARG;
    }
    /* an object of its own: clang -O0 puts the bytes of a compound literal into .data */
    static const q_tokenizer byte_tokenizer = {.kind = Q_TOKENIZER_BYTE,
                                               .n_vocab = BYTE_VOCAB,
                                               .n_special = 3,
                                               .max_token = BYTE_SPECIAL_BYTES,
                                               .max_special = BYTE_SPECIAL_BYTES,
                                               .n_eog = 1,
                                               .bos = BYTE_BOS,
                                               .eos = BYTE_EOS,
                                               .pad = BYTE_PAD,
                                               .unk = Q_TOKEN_NONE,
                                               .eog = {BYTE_EOS, Q_TOKEN_NONE, Q_TOKEN_NONE,
                                                       Q_TOKEN_NONE, Q_TOKEN_NONE,
                                                       Q_TOKEN_NONE, Q_TOKEN_NONE, Q_TOKEN_NONE}};
    *t = byte_tokenizer;
    q_tokenizer_mark_specials(t);
    return Q_OK;
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

const uint8_t *q_token_bytes(const q_tokenizer *t, uint32_t id, uint32_t *n)
{
    if (t->offsets != NULL) {
        *n = t->offsets[id + 1] - t->offsets[id];
        return t->text + t->offsets[id];
    }
    if (id < BYTE_BOS) {
        *n = 1;
        return &byte_token_bytes[id];
    }
    *n = BYTE_SPECIAL_BYTES;
    return byte_token_specials[id - BYTE_BOS];
}

q_token_type q_token_kind(const q_tokenizer *t, uint32_t id)
{
    if (t->types != NULL) {
        return (q_token_type)t->types[id];
    }
    return id < BYTE_BOS ? Q_TOKEN_BYTE : Q_TOKEN_CONTROL;
}

uint32_t q_token_special(const q_tokenizer *t, uint32_t k)
{
    return t->special_ids != NULL ? t->special_ids[k] : BYTE_BOS + k;
}

int q_bytes_order(const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);
    return order != 0 ? order : na == nb ? 0 : na < nb ? -1 : 1;
}

void q_tokenizer_mark_specials(q_tokenizer *t)
{
    for (uint32_t k = 0; k < t->n_special; k++) {
        uint32_t id = q_token_special(t, k);
        uint32_t n;
        uint8_t first = q_token_bytes(t, id, &n)[0];
        uint32_t *set = q_token_kind(t, id) == Q_TOKEN_USER ? t->first_user : t->first_control;
        set[first >> 5] |= 1u << (first & 31u);
    }
}

/* ---- Public accessors ------------------------------------------------------------------------ */

const char *q_tokenizer_system(const q_tokenizer *t, uint32_t *n)
{
    *n = t->system_bytes;
    return t->system_bytes == 0 ? "" : (const char *)(const void *)t->system;
}

bool q_tokenizer_is_eog(const q_tokenizer *t, int32_t id)
{
    for (uint32_t i = 0; i < t->n_eog; i++) {
        if (id >= 0 && t->eog[i] == (uint32_t)id) {
            return true;
        }
    }
    return false;
}

bool q_tokenizer_token(const q_tokenizer *t, int32_t id, const uint8_t **bytes, uint32_t *n,
                       q_token_type *type)
{
    if (id < 0 || (uint32_t)id >= t->n_vocab) {
        return false;
    }
    *bytes = q_token_bytes(t, (uint32_t)id, n);
    if (type != NULL) {
        *type = q_token_kind(t, (uint32_t)id);
    }
    return true;
}

/* Index of the first of `count` ids, ascending by bytes, whose token is not before `bytes`. */
static uint32_t token_lower_bound(const q_tokenizer *t, const uint32_t *ids, uint32_t count,
                                  const uint8_t *bytes, size_t n)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t length;
        const uint8_t *token = q_token_bytes(t, ids[middle], &length);
        if (q_bytes_order(token, length, bytes, n) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool find_in(const q_tokenizer *t, const uint32_t *ids, uint32_t count, const uint8_t *bytes,
                    size_t n, int32_t *id)
{
    uint32_t at = token_lower_bound(t, ids, count, bytes, n);
    uint32_t length;
    const uint8_t *token;
    if (at == count) {
        return false;
    }
    token = q_token_bytes(t, ids[at], &length);
    if (q_bytes_order(token, length, bytes, n) != 0) {
        return false;
    }
    *id = (int32_t)ids[at];
    return true;
}

bool q_tokenizer_find(const q_tokenizer *t, const void *bytes, size_t n, int32_t *id)
{
    static const uint32_t byte_special_ids[3] = {BYTE_BOS, BYTE_EOS, BYTE_PAD};
    const uint8_t *text = (const uint8_t *)bytes;
    if (n == 0 || n > Q_TOKENIZER_MAX_TOKEN) {
        return false;
    }
    if (t->kind == Q_TOKENIZER_BYTE) {
        if (n == 1) {
            *id = text[0];
            return true;
        }
        return find_in(t, byte_special_ids, 3, text, n, id);
    }
    return find_in(t, t->special_ids, t->n_special, text, n, id) ||
           find_in(t, t->plain_ids, t->n_plain, text, n, id);
}

bool q_tokenizer_merge(const q_tokenizer *t, uint32_t rank, uint32_t *left, uint32_t *right,
                       uint32_t *result)
{
    uint32_t entry;
    uint32_t low = 0;
    uint32_t high = t->n_vocab;
    if (rank >= t->n_merges) {
        return false;
    }
    entry = t->merge_order[rank];
    /* starts[low] <= entry < starts[high]; in the end low is the left token. */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (t->merge_starts[middle] <= entry) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *left = low;
    *right = t->merges[entry].right;
    *result = t->merges[entry].result;
    return true;
}

/* ---- Failure --------------------------------------------------------------------------------- */

q_error_code q_tokenizer_fail(q_diag *diag, q_error_code code, const char *field, uint64_t offset,
                              uint64_t need, uint64_t have)
{
    if (diag != NULL) {
        (void)q_fail(diag, code, "tokenizer", field, need, have);
        diag->offset = offset;
    }
    return code;
}
