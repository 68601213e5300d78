/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_open.c: checks every byte of a tokenizer section once and forms the pointers into it.
 *
 * Order of the checks: magic and version, caps, sizes (from there on every table lies inside the
 * section), special ids, padding, tables. A check uses only what those before it have established.
 */
#include "tokenizer_section.h"

/* ---- Header ---------------------------------------------------------------------------------- */

static q_error_code check_identity(const tok_check *s)
{
    const tok_header *h = s->h;
    if (h->magic[0] != 'Q' || h->magic[1] != 'T' || h->magic[2] != 'O' || h->magic[3] != 'K') {
        return q_tokenizer_fail(s->diag, Q_ERR_NOT_QORUS, "magic", 0, 0, 0);
    }
    if (h->version != Q_TOKENIZER_VERSION) {
        return q_tokenizer_fail(s->diag, Q_ERR_VERSION, "version", TOK_HEADER_AT(version),
                                Q_TOKENIZER_VERSION, h->version);
    }
    return Q_OK;
}

/* A header field that may be at most `most`, or the call fails with `code`. */
typedef struct tok_limit {
    char name[16];
    uint32_t offset;
    uint32_t most;
    q_error_code code;
} tok_limit;

#define TOK_LIMIT(member, most, code)                                   \
    {                                                                   \
#member, (uint32_t)offsetof(tok_header, member), (most), (code) \
    }

static const tok_limit tok_limits[] = {
    TOK_LIMIT(kind, Q_TOKENIZER_BPE, Q_ERR_UNSUPPORTED),
    TOK_LIMIT(pre_tokenizer, Q_PRETOKENIZER_SMOLLM, Q_ERR_UNSUPPORTED),
    TOK_LIMIT(chat_format, Q_CHAT_CHATML, Q_ERR_UNSUPPORTED),
    TOK_LIMIT(flags, Q_TOKENIZER_ADD_BOS | Q_TOKENIZER_ADD_EOS | Q_TOKENIZER_UNK_BYTES,
              Q_ERR_UNSUPPORTED),
    TOK_LIMIT(n_vocab, Q_TOKENIZER_MAX_VOCAB, Q_ERR_LIMIT),
    TOK_LIMIT(n_merges, Q_TOKENIZER_MAX_MERGES, Q_ERR_LIMIT),
    TOK_LIMIT(max_token, Q_TOKENIZER_MAX_TOKEN, Q_ERR_LIMIT),
    TOK_LIMIT(max_special, Q_TOKENIZER_MAX_SPECIAL, Q_ERR_LIMIT),
    TOK_LIMIT(system_bytes, Q_TOKENIZER_MAX_SYSTEM, Q_ERR_LIMIT),
    TOK_LIMIT(section_bytes, Q_TOKENIZER_MAX_SECTION, Q_ERR_LIMIT),
    TOK_LIMIT(n_eog, Q_TOKENIZER_MAX_EOG, Q_ERR_LIMIT)};

static uint32_t header_word(const tok_check *s, uint32_t offset)
{
    return ((const uint32_t *)(const void *)s->base)[offset / 4];
}

static q_error_code check_limits(const tok_check *s)
{
    for (uint32_t i = 0; i < sizeof tok_limits / sizeof tok_limits[0]; i++) {
        const tok_limit *f = &tok_limits[i];
        uint32_t value = header_word(s, f->offset);
        if (value > f->most) {
            return q_tokenizer_fail(s->diag, f->code, f->name, f->offset, f->most, value);
        }
    }
    if (s->h->kind == 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_UNSUPPORTED, "kind", TOK_HEADER_AT(kind),
                                Q_TOKENIZER_BYTE, 0);
    }
    if (s->h->n_vocab == 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "n_vocab", TOK_HEADER_AT(n_vocab), 1, 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        if (s->h->reserved[i] != 0) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "reserved",
                                    TOK_HEADER_AT(reserved) + 4u * i, 0, s->h->reserved[i]);
        }
    }
    return Q_OK;
}

/* Whether size is that of the header, and the header's that of the tables; places the tables. */
static q_error_code check_sizes(tok_check *s, size_t size)
{
    const tok_header *h = s->h;
    uint64_t bytes[TOK_TABLE_COUNT] = {4u * ((uint64_t)h->n_vocab + 1),
                                       h->text_bytes,
                                       h->n_vocab,
                                       256u * 4u,
                                       4u * (uint64_t)h->n_plain,
                                       4u * (uint64_t)h->n_special,
                                       4u * ((uint64_t)h->n_vocab + 1),
                                       sizeof(q_merge) * (uint64_t)h->n_merges,
                                       4u * (uint64_t)h->n_merges,
                                       h->system_bytes};
    uint64_t at = Q_TOKENIZER_HEADER;
    /* Each size is below 2^35 and there are ten, so `at` cannot wrap. */
    for (uint32_t i = 0; h->kind == Q_TOKENIZER_BPE && i < TOK_TABLE_COUNT; i++) {
        s->start[i] = (uint32_t)at;
        s->bytes[i] = (uint32_t)bytes[i];
        at = (at + bytes[i] + (Q_ALIGN - 1)) & ~(uint64_t)(Q_ALIGN - 1);
    }
    if (at != h->section_bytes) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "section_bytes",
                                TOK_HEADER_AT(section_bytes), at, h->section_bytes);
    }
    if (size < at) {
        return q_tokenizer_fail(s->diag, Q_ERR_TRUNCATED, "section_bytes",
                                TOK_HEADER_AT(section_bytes), at, size);
    }
    if (size > at) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "section_bytes",
                                TOK_HEADER_AT(section_bytes), at, size);
    }
    return Q_OK;
}

static q_error_code check_padding(const tok_check *s)
{
    for (uint32_t i = 0; i < TOK_TABLE_COUNT; i++) {
        uint32_t at = s->start[i] + s->bytes[i];
        uint32_t end = i + 1 < TOK_TABLE_COUNT ? s->start[i + 1] : s->h->section_bytes;
        for (; at < end; at++) {
            if (s->base[at] != 0) {
                return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "padding", at, 0, s->base[at]);
            }
        }
    }
    return Q_OK;
}

static q_error_code check_special_id(const tok_check *s, const char *name, uint64_t offset,
                                     uint32_t id, uint32_t flag)
{
    if (id == Q_TOKEN_NONE && (s->h->flags & flag) != 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, name, offset, s->h->n_vocab, id);
    }
    if (id != Q_TOKEN_NONE && id >= s->h->n_vocab) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, name, offset, s->h->n_vocab, id);
    }
    return Q_OK;
}

static q_error_code check_eog(const tok_check *s)
{
    const tok_header *h = s->h;
    bool eos_found = h->eos == Q_TOKEN_NONE;
    for (uint32_t i = 0; i < Q_TOKENIZER_MAX_EOG; i++) {
        uint32_t id = h->eog[i];
        bool ok =
            i < h->n_eog ? id < h->n_vocab && (i == 0 || id > h->eog[i - 1]) : id == Q_TOKEN_NONE;
        if (!ok) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "eog", TOK_HEADER_AT(eog) + 4u * i,
                                    h->n_vocab, id);
        }
        eos_found = eos_found || (i < h->n_eog && id == h->eos);
    }
    if (!eos_found) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "eog", TOK_HEADER_AT(eog), h->eos,
                                Q_TOKEN_NONE);
    }
    return Q_OK;
}

static q_error_code check_special_ids(const tok_check *s)
{
    const tok_header *h = s->h;
    q_error_code code = check_special_id(s, "bos", TOK_HEADER_AT(bos), h->bos, Q_TOKENIZER_ADD_BOS);
    code = code != Q_OK
               ? code
               : check_special_id(s, "eos", TOK_HEADER_AT(eos), h->eos, Q_TOKENIZER_ADD_EOS);
    code = code != Q_OK ? code : check_special_id(s, "pad", TOK_HEADER_AT(pad), h->pad, 0);
    code = code != Q_OK
               ? code
               : check_special_id(s, "unk", TOK_HEADER_AT(unk), h->unk, Q_TOKENIZER_UNK_BYTES);
    return code != Q_OK ? code : check_eog(s);
}

/* A section of kind 1 says what q_tokenizer_init_byte() does, except for its flags. */
static q_error_code check_byte_kind(const tok_check *s)
{
    static const uint32_t same[] = {
        offsetof(tok_header, pre_tokenizer), offsetof(tok_header, chat_format),
        offsetof(tok_header, n_merges),      offsetof(tok_header, n_plain),
        offsetof(tok_header, n_special),     offsetof(tok_header, text_bytes),
        offsetof(tok_header, system_bytes)};
    const tok_header *h = s->h;
    const q_tokenizer *t = &s->t;
    for (uint32_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        if (header_word(s, same[i]) != 0) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "kind", same[i], 0,
                                    header_word(s, same[i]));
        }
    }
    if (h->n_vocab != t->n_vocab || h->max_token != t->max_token ||
        h->max_special != t->max_special || h->bos != t->bos || h->eos != t->eos ||
        h->pad != t->pad || h->unk != t->unk || h->n_eog != t->n_eog) { /* eos is among eog */
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "kind", TOK_HEADER_AT(kind), t->n_vocab,
                                h->n_vocab);
    }
    return Q_OK;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Special ids name tokens that can be used; types are checked already. */
static q_error_code check_usable(const tok_check *s)
{
    const uint32_t first = offsetof(tok_header, bos);
    static const char names[4][4] = {"bos", "eos", "pad", "unk"};
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t id = header_word(s, first + 4 * i);
        if (id != Q_TOKEN_NONE && s->t.types[id] == Q_TOKEN_UNUSED) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, names[i], first + 4 * i, s->h->n_vocab,
                                    id);
        }
    }
    return Q_OK;
}

/* Everything of the result that is copied from the header or points at a table. */
static void section_bind(tok_check *s)
{
    const tok_header *h = s->h;
    s->t = (q_tokenizer){.offsets = tok_table_u32(s, TOK_TABLE_OFFSETS),
                         .text = s->base + s->start[TOK_TABLE_TEXT],
                         .types = s->base + s->start[TOK_TABLE_TYPES],
                         .byte_ids = tok_table_u32(s, TOK_TABLE_BYTE_IDS),
                         .plain_ids = tok_table_u32(s, TOK_TABLE_PLAIN),
                         .special_ids = tok_table_u32(s, TOK_TABLE_SPECIAL),
                         .merge_starts = tok_table_u32(s, TOK_TABLE_MERGE_STARTS),
                         .merges =
                             (const q_merge *)(const void *)(s->base + s->start[TOK_TABLE_MERGES]),
                         .merge_order = tok_table_u32(s, TOK_TABLE_MERGE_ORDER),
                         .system = s->base + s->start[TOK_TABLE_SYSTEM],
                         .kind = h->kind,
                         .pretokenizer = h->pre_tokenizer,
                         .chat_format = h->chat_format,
                         .flags = h->flags,
                         .n_vocab = h->n_vocab,
                         .n_merges = h->n_merges,
                         .n_plain = h->n_plain,
                         .n_special = h->n_special,
                         .max_token = h->max_token,
                         .max_special = h->max_special,
                         .system_bytes = h->system_bytes,
                         .n_eog = h->n_eog,
                         .bos = h->bos,
                         .eos = h->eos,
                         .pad = h->pad,
                         .unk = h->unk};
    for (uint32_t i = 0; i < Q_TOKENIZER_MAX_EOG; i++) {
        s->t.eog[i] = h->eog[i];
    }
}

static q_error_code check_section(tok_check *s, size_t size)
{
    q_error_code code = check_identity(s);
    code = code != Q_OK ? code : check_limits(s);
    code = code != Q_OK ? code : check_sizes(s, size);
    code = code != Q_OK ? code : check_special_ids(s);
    if (code != Q_OK) {
        return code;
    }
    if (s->h->kind == Q_TOKENIZER_BYTE) {
        code = q_tokenizer_init_byte(&s->t);
        s->t.flags = s->h->flags;
        return code != Q_OK ? code : check_byte_kind(s);
    }
    section_bind(s);
    code = check_padding(s);
    code = code != Q_OK ? code : q_tokenizer_check_tables(s);
    code = code != Q_OK ? code : check_usable(s);
    if (code == Q_OK) {
        q_tokenizer_mark_specials(&s->t);
    }
    return code;
}

q_error_code q_tokenizer_open(q_tokenizer *t, const void *base, size_t size, q_diag *diag)
{
    tok_check s;
    q_error_code code;
    if (t == NULL || base == NULL) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_ARG, t == NULL ? "t" : "base", 0, 0, 0);
    }
    if ((uintptr_t)base % Q_ALIGN != 0) {
        return q_tokenizer_fail(diag, Q_ERR_MISALIGNED, "base", 0, Q_ALIGN,
                                (uintptr_t)base % Q_ALIGN);
    }
    if (size < Q_TOKENIZER_HEADER) {
        return q_tokenizer_fail(diag, Q_ERR_TRUNCATED, "size", 0, Q_TOKENIZER_HEADER, size);
    }
    s.base = (const uint8_t *)base;
    s.h = (const tok_header *)base;
    s.diag = diag;
    code = check_section(&s, size);
    if (code == Q_OK) {
        *t = s.t;
    }
    return code;
}
