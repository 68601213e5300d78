/* SPDX-License-Identifier: MIT */
/* A vocabulary as the bytes of a tokenizer section. */
#include "vocabulary_inner.h"

/* Sizes of the tables, their places, and counts of the header. */
typedef struct section_plan {
    tok_header h;
    size_t start[TOK_TABLE_COUNT];
    size_t bytes; /* of the section */
} section_plan;

static void plan_bytes(section_plan *p)
{
    p->h.n_vocab = 259;
    p->h.bos = 256;
    p->h.eos = p->h.eog[0] = 257;
    p->h.n_eog = 1;
    p->h.pad = 258;
    p->h.max_token = p->h.max_special = 5;
    p->bytes = Q_TOKENIZER_HEADER;
}

static void plan_tables(const vocabulary *v, section_plan *p)
{
    tok_header *h = &p->h;
    size_t sizes[TOK_TABLE_COUNT];
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        const vocabulary_token *t = &v->tokens[i];
        bool special = t->type == Q_TOKEN_CONTROL;
        h->n_special += special ? 1u : 0u;
        h->text_bytes += t->length;
        h->max_token = t->length > h->max_token ? t->length : h->max_token;
        h->max_special = special && t->length > h->max_special ? t->length : h->max_special;
    }
    h->n_vocab = v->n_tokens;
    h->n_merges = v->n_merges;
    h->n_plain = v->n_tokens - h->n_special;
    h->pre_tokenizer = v->config.pretokenizer;
    h->chat_format = v->config.chat_format;
    if (v->config.end != Q_TOKEN_NONE) {
        h->bos = h->eos = h->eog[0] = v->config.end;
        h->n_eog = 1;
    }
    sizes[TOK_TABLE_OFFSETS] = sizes[TOK_TABLE_MERGE_STARTS] = ((size_t)v->n_tokens + 1) * 4;
    sizes[TOK_TABLE_TEXT] = h->text_bytes;
    sizes[TOK_TABLE_TYPES] = v->n_tokens;
    sizes[TOK_TABLE_BYTE_IDS] = (size_t)256 * 4;
    sizes[TOK_TABLE_PLAIN] = (size_t)h->n_plain * 4;
    sizes[TOK_TABLE_SPECIAL] = (size_t)h->n_special * 4;
    sizes[TOK_TABLE_MERGES] = (size_t)v->n_merges * sizeof(q_merge);
    sizes[TOK_TABLE_MERGE_ORDER] = (size_t)v->n_merges * 4;
    sizes[TOK_TABLE_SYSTEM] = 0;
    p->bytes = Q_TOKENIZER_HEADER;
    for (uint32_t i = 0; i < TOK_TABLE_COUNT; i++) {
        p->start[i] = p->bytes;
        p->bytes = (p->bytes + sizes[i] + (Q_ALIGN - 1)) & ~(size_t)(Q_ALIGN - 1);
    }
}

static void section_layout(const vocabulary *v, section_plan *p)
{
    memset(p, 0, sizeof(*p));
    memcpy(p->h.magic, "QTOK", 4);
    p->h.version = Q_TOKENIZER_VERSION;
    p->h.kind = v->config.kind == VOCABULARY_BYTES ? Q_TOKENIZER_BYTE : Q_TOKENIZER_BPE;
    p->h.bos = p->h.eos = p->h.pad = p->h.unk = Q_TOKEN_NONE;
    memset(p->h.eog, 0xff, sizeof(p->h.eog));
    if (v->config.kind == VOCABULARY_BYTES) {
        plan_bytes(p);
    } else {
        plan_tables(v, p);
    }
    p->h.section_bytes = (uint32_t)p->bytes;
}

size_t vocabulary_section_size(const vocabulary *v)
{
    section_plan p;
    section_layout(v, &p);
    return p.bytes;
}

static bool token_less(const void *user, uint32_t a, uint32_t b)
{
    const vocabulary_token *t = ((const vocabulary *)user)->tokens;
    return vocabulary_bytes_less(t[a].bytes, t[a].length, t[b].bytes, t[b].length);
}

static bool merge_less(const void *user, uint32_t a, uint32_t b)
{
    const vocabulary_merge *m = ((const vocabulary *)user)->merges;
    return m[a].left != m[b].left ? m[a].left < m[b].left : m[a].right < m[b].right;
}

static uint32_t *words_at(uint8_t *base, const section_plan *p, enum tok_table table)
{
    return (uint32_t *)(void *)(base + p->start[table]);
}

static void put_tokens(const vocabulary *v, const section_plan *p, uint8_t *base)
{
    uint32_t *offsets = words_at(base, p, TOK_TABLE_OFFSETS);
    uint32_t *byte_ids = words_at(base, p, TOK_TABLE_BYTE_IDS);
    uint32_t *plain = words_at(base, p, TOK_TABLE_PLAIN);
    uint32_t *special = words_at(base, p, TOK_TABLE_SPECIAL);
    uint32_t n_plain = 0;
    uint32_t n_special = 0;
    memset(byte_ids, 0xff, (size_t)256 * 4);
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        const vocabulary_token *t = &v->tokens[i];
        memcpy(base + p->start[TOK_TABLE_TEXT] + offsets[i], t->bytes, t->length);
        offsets[i + 1] = offsets[i] + t->length;
        base[p->start[TOK_TABLE_TYPES] + i] = (uint8_t)t->type;
        if (t->type == Q_TOKEN_BYTE) {
            byte_ids[t->bytes[0]] = i;
        }
        if (t->type == Q_TOKEN_CONTROL) {
            special[n_special++] = i;
        } else {
            plain[n_plain++] = i;
        }
    }
    vocabulary_sort(plain, n_plain, token_less, v);
    vocabulary_sort(special, n_special, token_less, v);
}

/* The ranks, sorted by pair, stand in the place of MERGE_ORDER until the merges are written. */
static void put_merges(const vocabulary *v, const section_plan *p, uint8_t *base)
{
    uint32_t *starts = words_at(base, p, TOK_TABLE_MERGE_STARTS);
    uint32_t *order = words_at(base, p, TOK_TABLE_MERGE_ORDER);
    q_merge *merges = (q_merge *)(void *)(base + p->start[TOK_TABLE_MERGES]);
    for (uint32_t i = 0; i < v->n_merges; i++) {
        order[i] = i;
        starts[v->merges[i].left + 1]++;
    }
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        starts[i + 1] += starts[i];
    }
    vocabulary_sort(order, v->n_merges, merge_less, v);
    for (uint32_t i = 0; i < v->n_merges; i++) {
        const vocabulary_merge *m = &v->merges[order[i]];
        merges[i] = (q_merge){m->right, order[i], m->result};
    }
    for (uint32_t i = 0; i < v->n_merges; i++) {
        order[merges[i].rank] = i;
    }
}

q_error_code vocabulary_section(const vocabulary *v, void *out, size_t size, q_diag *diag)
{
    section_plan p;
    q_tokenizer check;
    section_layout(v, &p);
    if (out == NULL || (uintptr_t)out % Q_ALIGN != 0) {
        return vocabulary_fail(diag, out == NULL ? Q_ERR_INVALID_ARG : Q_ERR_MISALIGNED, "out", Q_ALIGN, 0);
    }
    if (size < p.bytes) {
        return vocabulary_fail(diag, Q_ERR_NO_SPACE, "out", p.bytes, size);
    }
    if (p.bytes > Q_TOKENIZER_MAX_SECTION) {
        return vocabulary_fail(diag, Q_ERR_LIMIT, "section_bytes", Q_TOKENIZER_MAX_SECTION, p.bytes);
    }
    memset(out, 0, p.bytes);
    memcpy(out, &p.h, sizeof(p.h));
    if (v->config.kind != VOCABULARY_BYTES) {
        put_tokens(v, &p, (uint8_t *)out);
        put_merges(v, &p, (uint8_t *)out);
    }
    return q_tokenizer_open(&check, out, p.bytes, diag);
}
