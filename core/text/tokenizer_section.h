/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_section.h: the records of a tokenizer section, and the state of its check.
 */
#ifndef QORUS_CORE_TEXT_TOKENIZER_SECTION_H
#define QORUS_CORE_TEXT_TOKENIZER_SECTION_H

#include "tokenizer_inner.h"

/* ---- The header as it lies in the file ------------------------------------------------------- */

typedef struct tok_header {
    uint8_t magic[4];
    uint32_t version;
    uint32_t kind;
    uint32_t pre_tokenizer;
    uint32_t chat_format;
    uint32_t flags;
    uint32_t n_vocab;
    uint32_t n_merges;
    uint32_t n_plain;
    uint32_t n_special;
    uint32_t text_bytes;
    uint32_t max_token;
    uint32_t max_special;
    uint32_t system_bytes;
    uint32_t section_bytes;
    uint32_t n_eog;
    uint32_t bos;
    uint32_t eos;
    uint32_t pad;
    uint32_t unk;
    uint32_t eog[Q_TOKENIZER_MAX_EOG];
    uint32_t reserved[4];
} tok_header;

_Static_assert(sizeof(tok_header) == Q_TOKENIZER_HEADER, "the header is a record of the file");
_Static_assert(offsetof(tok_header, eog) == 80, "the header is a record of the file");

enum tok_table {
    TOK_TABLE_OFFSETS,
    TOK_TABLE_TEXT,
    TOK_TABLE_TYPES,
    TOK_TABLE_BYTE_IDS,
    TOK_TABLE_PLAIN,
    TOK_TABLE_SPECIAL,
    TOK_TABLE_MERGE_STARTS,
    TOK_TABLE_MERGES,
    TOK_TABLE_MERGE_ORDER,
    TOK_TABLE_SYSTEM,
    TOK_TABLE_COUNT
};

/* The section under check; `diag` may be NULL. */
typedef struct tok_check {
    const uint8_t *base;
    const tok_header *h;
    q_diag *diag;
    uint32_t start[TOK_TABLE_COUNT];
    uint32_t bytes[TOK_TABLE_COUNT];
    q_tokenizer t; /* what q_tokenizer_open will return */
} tok_check;

#define TOK_HEADER_AT(member) ((uint64_t)offsetof(tok_header, member))
#define TOK_PLAIN_TYPES (1u << Q_TOKEN_NORMAL | 1u << Q_TOKEN_BYTE)
#define TOK_SPECIAL_TYPES (1u << Q_TOKEN_CONTROL | 1u << Q_TOKEN_USER)

static inline const uint32_t *tok_table_u32(const tok_check *s, enum tok_table table)
{
    return (const uint32_t *)(const void *)(s->base + s->start[table]);
}

/* Checks the contents of all tables, which lie inside the section: tokens, lookup tables, merges,
   chat format. s->t is bound to the tables. */
q_error_code q_tokenizer_check_tables(const tok_check *s);

#endif /* QORUS_CORE_TEXT_TOKENIZER_SECTION_H */
