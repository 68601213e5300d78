/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_inner.h: what the files of the tokenizer share and nobody else sees.
 *
 * Every function here takes an open tokenizer; ids passed in are below n_vocab.
 */
#ifndef QORUS_CORE_TEXT_TOKENIZER_INNER_H
#define QORUS_CORE_TEXT_TOKENIZER_INNER_H

#include "qorus/base/checked.h"
#include "qorus/tokenizer.h"
#include "unicode.h"

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* Bytes of a token. */
const uint8_t *q_token_bytes(const q_tokenizer *t, uint32_t id, uint32_t *n);

q_token_type q_token_kind(const q_tokenizer *t, uint32_t id);

/* The k-th special token in order of bytes; k < n_special. */
uint32_t q_token_special(const q_tokenizer *t, uint32_t k);

/* Order of two byte strings: below 0, 0 or above 0; a prefix comes first. */
int q_bytes_order(const uint8_t *a, size_t na, const uint8_t *b, size_t nb);

/* Marks the first byte of every control and user-defined token in first_control and first_user. */
void q_tokenizer_mark_specials(q_tokenizer *t);

/* ---- Failure --------------------------------------------------------------------------------- */

/* Fills diag (may be NULL) with what "tokenizer" and returns code. */
q_error_code q_tokenizer_fail(q_diag *diag, q_error_code code, const char *field, uint64_t offset,
                              uint64_t need, uint64_t have);

/* ---- Pieces ---------------------------------------------------------------------------------- */

/* A text being cut: chunks between special tokens, segments between digits, pieces within a
 * segment. */
typedef struct text_cursor {
    const q_tokenizer *t;
    const uint8_t *text;
    size_t n;
    size_t pos;
    size_t segment_end; /* pos <= segment_end <= chunk_end <= n */
    size_t chunk_end;
    uint32_t special; /* token at chunk_end, Q_TOKEN_NONE at the end of the text */
    uint32_t special_bytes;
    bool control; /* control tokens are looked for */
} text_cursor;

/* A piece of text within which merges happen, or a special token. */
typedef struct text_piece {
    size_t begin, end;
    uint32_t special; /* Q_TOKEN_NONE: text */
} text_piece;

void q_text_cursor_init(text_cursor *c, const q_tokenizer *t, const uint8_t *text, size_t n,
                        uint32_t flags);

/* The next piece, never empty; all pieces together are the text. False at the end. */
bool q_text_cursor_next(text_cursor *c, text_piece *piece);

#endif /* QORUS_CORE_TEXT_TOKENIZER_INNER_H */
