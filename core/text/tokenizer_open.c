/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_open.c: checks every byte of a tokenizer section once and forms the pointers into it.
 *
 * Order of the checks: magic and version, caps, sizes (from there on every table lies inside the section),
 * padding, special ids, tokens, lookup tables, merges, chat format. A check uses only what those before it
 * have established.
 */
#include "tokenizer_inner.h"

/* ---- The header as it lies in the file ----------------------------------------------------------------- */

typedef struct section_header {
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
} section_header;

_Static_assert(sizeof(section_header) == Q_TOKENIZER_HEADER, "the header is a record of the file");
_Static_assert(offsetof(section_header, eog) == 80, "the header is a record of the file");

enum section_table {
    TABLE_OFFSETS,
    TABLE_TEXT,
    TABLE_TYPES,
    TABLE_BYTE_IDS,
    TABLE_PLAIN,
    TABLE_SPECIAL,
    TABLE_MERGE_STARTS,
    TABLE_MERGES,
    TABLE_MERGE_ORDER,
    TABLE_SYSTEM,
    TABLE_COUNT
};

/* Names are arrays, not pointers: constant data without relocations. */
static const char table_names[TABLE_COUNT][16] = {
    "token_offsets", "token_text",   "token_types", "byte_ids",    "plain_ids",
    "special_ids",   "merge_starts", "merges",      "merge_order", "system_text"};

/* The section under check; `diag` may be NULL. */
typedef struct section_check {
    const uint8_t *base;
    const section_header *h;
    q_diag *diag;
    uint32_t start[TABLE_COUNT];
    uint32_t bytes[TABLE_COUNT];
    q_tokenizer t; /* what q_tokenizer_open will return */
} section_check;

#define HEADER_AT(member) ((uint64_t)offsetof(section_header, member))
#define PLAIN_TYPES (1u << Q_TOKEN_NORMAL | 1u << Q_TOKEN_BYTE)
#define SPECIAL_TYPES (1u << Q_TOKEN_CONTROL | 1u << Q_TOKEN_USER)

/* Q_ERR_CORRUPT at element `index`, of `width` bytes, of a table. */
static q_error_code table_corrupt(const section_check *s, enum section_table table, uint32_t index, uint32_t width,
                                  uint64_t need, uint64_t have)
{
    uint64_t at = (uint64_t)s->start[table] + (uint64_t)index * width;
    return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, table_names[table], at, need, have);
}

/* ---- Header -------------------------------------------------------------------------------------------- */

static q_error_code check_identity(const section_check *s)
{
    const section_header *h = s->h;
    if (h->magic[0] != 'Q' || h->magic[1] != 'T' || h->magic[2] != 'O' || h->magic[3] != 'K') {
        return q_tokenizer_fail(s->diag, Q_ERR_NOT_QORUS, "magic", 0, 0, 0);
    }
    if (h->version != Q_TOKENIZER_VERSION) {
        return q_tokenizer_fail(s->diag, Q_ERR_VERSION, "version", HEADER_AT(version), Q_TOKENIZER_VERSION,
                                h->version);
    }
    return Q_OK;
}

/* A header field that may be at most `most`, or the call fails with `code`. */
typedef struct field_limit {
    char name[16];
    uint32_t offset;
    uint32_t most;
    q_error_code code;
} field_limit;

#define LIMIT(member, most, code) {#member, (uint32_t)offsetof(section_header, member), (most), (code)}

static const field_limit field_limits[] = {
    LIMIT(kind, Q_TOKENIZER_BPE, Q_ERR_UNSUPPORTED),
    LIMIT(pre_tokenizer, Q_PRETOKENIZER_SMOLLM, Q_ERR_UNSUPPORTED),
    LIMIT(chat_format, Q_CHAT_CHATML, Q_ERR_UNSUPPORTED),
    LIMIT(flags, Q_TOKENIZER_ADD_BOS | Q_TOKENIZER_ADD_EOS | Q_TOKENIZER_UNK_BYTES, Q_ERR_UNSUPPORTED),
    LIMIT(n_vocab, Q_TOKENIZER_MAX_VOCAB, Q_ERR_LIMIT),
    LIMIT(n_merges, Q_TOKENIZER_MAX_MERGES, Q_ERR_LIMIT),
    LIMIT(max_token, Q_TOKENIZER_MAX_TOKEN, Q_ERR_LIMIT),
    LIMIT(max_special, Q_TOKENIZER_MAX_SPECIAL, Q_ERR_LIMIT),
    LIMIT(system_bytes, Q_TOKENIZER_MAX_SYSTEM, Q_ERR_LIMIT),
    LIMIT(section_bytes, Q_TOKENIZER_MAX_SECTION, Q_ERR_LIMIT),
    LIMIT(n_eog, Q_TOKENIZER_MAX_EOG, Q_ERR_LIMIT)};

static uint32_t header_word(const section_check *s, uint32_t offset)
{
    return ((const uint32_t *)(const void *)s->base)[offset / 4];
}

static q_error_code check_limits(const section_check *s)
{
    for (uint32_t i = 0; i < sizeof field_limits / sizeof field_limits[0]; i++) {
        const field_limit *f = &field_limits[i];
        uint32_t value = header_word(s, f->offset);
        if (value > f->most) {
            return q_tokenizer_fail(s->diag, f->code, f->name, f->offset, f->most, value);
        }
    }
    if (s->h->kind == 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_UNSUPPORTED, "kind", HEADER_AT(kind), Q_TOKENIZER_BYTE, 0);
    }
    if (s->h->n_vocab == 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "n_vocab", HEADER_AT(n_vocab), 1, 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        if (s->h->reserved[i] != 0) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "reserved", HEADER_AT(reserved) + 4u * i, 0,
                                    s->h->reserved[i]);
        }
    }
    return Q_OK;
}

/* Whether size is that of the header, and the header's that of the tables; places the tables. */
static q_error_code check_sizes(section_check *s, size_t size)
{
    const section_header *h = s->h;
    uint64_t bytes[TABLE_COUNT] = {
        4u * ((uint64_t)h->n_vocab + 1), h->text_bytes,
        h->n_vocab,                      256u * 4u,
        4u * (uint64_t)h->n_plain,       4u * (uint64_t)h->n_special,
        4u * ((uint64_t)h->n_vocab + 1), sizeof(q_merge) * (uint64_t)h->n_merges,
        4u * (uint64_t)h->n_merges,      h->system_bytes};
    uint64_t at = Q_TOKENIZER_HEADER;
    /* Each size is below 2^35 and there are ten, so `at` cannot wrap. */
    for (uint32_t i = 0; h->kind == Q_TOKENIZER_BPE && i < TABLE_COUNT; i++) {
        s->start[i] = (uint32_t)at;
        s->bytes[i] = (uint32_t)bytes[i];
        at = (at + bytes[i] + (Q_ALIGN - 1)) & ~(uint64_t)(Q_ALIGN - 1);
    }
    if (at != h->section_bytes) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "section_bytes", HEADER_AT(section_bytes), at,
                                h->section_bytes);
    }
    if (size < at) {
        return q_tokenizer_fail(s->diag, Q_ERR_TRUNCATED, "section_bytes", HEADER_AT(section_bytes), at, size);
    }
    if (size > at) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "section_bytes", HEADER_AT(section_bytes), at, size);
    }
    return Q_OK;
}

static q_error_code check_padding(const section_check *s)
{
    for (uint32_t i = 0; i < TABLE_COUNT; i++) {
        uint32_t at = s->start[i] + s->bytes[i];
        uint32_t end = i + 1 < TABLE_COUNT ? s->start[i + 1] : s->h->section_bytes;
        for (; at < end; at++) {
            if (s->base[at] != 0) {
                return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "padding", at, 0, s->base[at]);
            }
        }
    }
    return Q_OK;
}

static q_error_code check_special_id(const section_check *s, const char *name, uint64_t offset, uint32_t id,
                                     uint32_t flag)
{
    if (id == Q_TOKEN_NONE && (s->h->flags & flag) != 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, name, offset, s->h->n_vocab, id);
    }
    if (id != Q_TOKEN_NONE && id >= s->h->n_vocab) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, name, offset, s->h->n_vocab, id);
    }
    return Q_OK;
}

static q_error_code check_eog(const section_check *s)
{
    const section_header *h = s->h;
    bool eos_found = h->eos == Q_TOKEN_NONE;
    for (uint32_t i = 0; i < Q_TOKENIZER_MAX_EOG; i++) {
        uint32_t id = h->eog[i];
        bool ok = i < h->n_eog ? id < h->n_vocab && (i == 0 || id > h->eog[i - 1]) : id == Q_TOKEN_NONE;
        if (!ok) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "eog", HEADER_AT(eog) + 4u * i, h->n_vocab, id);
        }
        eos_found = eos_found || (i < h->n_eog && id == h->eos);
    }
    if (!eos_found) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "eog", HEADER_AT(eog), h->eos, Q_TOKEN_NONE);
    }
    return Q_OK;
}

static q_error_code check_special_ids(const section_check *s)
{
    const section_header *h = s->h;
    q_error_code code = check_special_id(s, "bos", HEADER_AT(bos), h->bos, Q_TOKENIZER_ADD_BOS);
    code = code != Q_OK ? code : check_special_id(s, "eos", HEADER_AT(eos), h->eos, Q_TOKENIZER_ADD_EOS);
    code = code != Q_OK ? code : check_special_id(s, "pad", HEADER_AT(pad), h->pad, 0);
    code = code != Q_OK ? code : check_special_id(s, "unk", HEADER_AT(unk), h->unk, Q_TOKENIZER_UNK_BYTES);
    return code != Q_OK ? code : check_eog(s);
}

/* A section of kind 1 says what q_tokenizer_init_byte() does, except for its flags. */
static q_error_code check_byte_kind(const section_check *s)
{
    static const uint32_t same[] = {offsetof(section_header, pre_tokenizer), offsetof(section_header, chat_format),
                                    offsetof(section_header, n_merges),      offsetof(section_header, n_plain),
                                    offsetof(section_header, n_special),     offsetof(section_header, text_bytes),
                                    offsetof(section_header, system_bytes)};
    const section_header *h = s->h;
    const q_tokenizer *t = &s->t;
    for (uint32_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        if (header_word(s, same[i]) != 0) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "kind", same[i], 0, header_word(s, same[i]));
        }
    }
    if (h->n_vocab != t->n_vocab || h->max_token != t->max_token || h->max_special != t->max_special ||
        h->bos != t->bos || h->eos != t->eos || h->pad != t->pad || h->unk != t->unk || h->n_eog != t->n_eog ||
        h->eog[0] != t->eog[0]) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "kind", HEADER_AT(kind), t->n_vocab, h->n_vocab);
    }
    return Q_OK;
}

/* ---- Tokens -------------------------------------------------------------------------------------------- */

static const uint32_t *table_u32(const section_check *s, enum section_table table)
{
    return (const uint32_t *)(const void *)(s->base + s->start[table]);
}

static q_error_code check_offsets(const section_check *s)
{
    const section_header *h = s->h;
    const uint32_t *offsets = table_u32(s, TABLE_OFFSETS);
    uint32_t longest = 0;
    if (offsets[0] != 0) {
        return table_corrupt(s, TABLE_OFFSETS, 0, 4, 0, offsets[0]);
    }
    for (uint32_t i = 0; i < h->n_vocab; i++) {
        uint32_t length = offsets[i + 1] - offsets[i];
        if (offsets[i + 1] < offsets[i] || length > h->max_token) {
            return table_corrupt(s, TABLE_OFFSETS, i + 1, 4, (uint64_t)offsets[i] + h->max_token, offsets[i + 1]);
        }
        longest = length > longest ? length : longest;
    }
    if (offsets[h->n_vocab] != h->text_bytes) {
        return table_corrupt(s, TABLE_OFFSETS, h->n_vocab, 4, h->text_bytes, offsets[h->n_vocab]);
    }
    if (longest != h->max_token) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "max_token", HEADER_AT(max_token), longest, h->max_token);
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

static q_error_code check_types(const section_check *s)
{
    const section_header *h = s->h;
    uint32_t n_plain = 0;
    uint32_t n_special = 0;
    for (uint32_t id = 0; id < h->n_vocab; id++) {
        if (!token_fits_type(&s->t, id)) {
            return table_corrupt(s, TABLE_TYPES, id, 1, Q_TOKEN_UNUSED, s->t.types[id]);
        }
        n_plain += PLAIN_TYPES >> s->t.types[id] & 1u;
        n_special += SPECIAL_TYPES >> s->t.types[id] & 1u;
    }
    if (n_plain != h->n_plain) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "n_plain", HEADER_AT(n_plain), n_plain, h->n_plain);
    }
    if (n_special != h->n_special) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "n_special", HEADER_AT(n_special), n_special,
                                h->n_special);
    }
    return Q_OK;
}

static q_error_code check_byte_ids(const section_check *s)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t id = s->t.byte_ids[b];
        uint32_t n;
        if (id == Q_TOKEN_NONE) {
            continue;
        }
        if (id >= s->h->n_vocab || s->t.types[id] != Q_TOKEN_BYTE || q_token_bytes(&s->t, id, &n)[0] != b) {
            return table_corrupt(s, TABLE_BYTE_IDS, b, 4, s->h->n_vocab, id);
        }
    }
    return Q_OK;
}

/* The ids are in strictly ascending order of their bytes and of these types: with the right count, all of them. */
static q_error_code check_sorted(const section_check *s, enum section_table table, uint32_t count, uint32_t types,
                                 uint32_t *longest)
{
    const uint32_t *ids = table_u32(s, table);
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

static q_error_code check_tokens(const section_check *s)
{
    const section_header *h = s->h;
    uint32_t longest;
    q_error_code code = check_offsets(s);
    code = code != Q_OK ? code : check_types(s);
    code = code != Q_OK ? code : check_byte_ids(s);
    code = code != Q_OK ? code : check_sorted(s, TABLE_PLAIN, h->n_plain, PLAIN_TYPES, &longest);
    code = code != Q_OK ? code : check_sorted(s, TABLE_SPECIAL, h->n_special, SPECIAL_TYPES, &longest);
    if (code == Q_OK && longest != h->max_special) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "max_special", HEADER_AT(max_special), longest,
                                h->max_special);
    }
    return code;
}

static q_error_code check_usable(const section_check *s)
{
    const uint32_t first = offsetof(section_header, bos);
    static const char names[4][4] = {"bos", "eos", "pad", "unk"};
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t id = header_word(s, first + 4 * i);
        if (id != Q_TOKEN_NONE && s->t.types[id] == Q_TOKEN_UNUSED) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, names[i], first + 4 * i, s->h->n_vocab, id);
        }
    }
    return Q_OK;
}

/* ---- Merges -------------------------------------------------------------------------------------------- */

static bool is_joined(const q_tokenizer *t, uint32_t left, uint32_t right, uint32_t result)
{
    uint32_t nl, nr, n;
    const uint8_t *a = q_token_bytes(t, left, &nl);
    const uint8_t *b = q_token_bytes(t, right, &nr);
    const uint8_t *c = q_token_bytes(t, result, &n);
    return n == nl + nr && q_bytes_order(a, nl, c, nl) == 0 && q_bytes_order(b, nr, c + nl, nr) == 0;
}

static bool is_plain(const q_tokenizer *t, uint32_t id)
{
    return id < t->n_vocab && (PLAIN_TYPES >> t->types[id] & 1u) != 0;
}

static q_error_code check_merges_of(const section_check *s, uint32_t left)
{
    const q_tokenizer *t = &s->t;
    for (uint32_t e = t->merge_starts[left]; e < t->merge_starts[left + 1]; e++) {
        const q_merge *m = &t->merges[e];
        if (!is_plain(t, left)) {
            return table_corrupt(s, TABLE_MERGE_STARTS, left, 4, e, t->merge_starts[left + 1]);
        }
        if (!is_plain(t, m->right) || (e > t->merge_starts[left] && m->right <= m[-1].right)) {
            return table_corrupt(s, TABLE_MERGES, e, sizeof *m, t->n_vocab, m->right);
        }
        if (m->rank >= t->n_merges || t->merge_order[m->rank] != e) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "merge_order",
                                    (uint64_t)s->start[TABLE_MERGES] + (uint64_t)e * sizeof *m + 4, t->n_merges,
                                    m->rank);
        }
        if (!is_plain(t, m->result) || !is_joined(t, left, m->right, m->result)) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, table_names[TABLE_MERGES],
                                    (uint64_t)s->start[TABLE_MERGES] + (uint64_t)e * sizeof *m + 8, t->n_vocab,
                                    m->result);
        }
    }
    return Q_OK;
}

static q_error_code check_merges(const section_check *s)
{
    const uint32_t *starts = s->t.merge_starts;
    const uint32_t n = s->h->n_vocab;
    if (starts[0] != 0 || starts[n] != s->h->n_merges) {
        uint32_t index = starts[0] != 0 ? 0 : n;
        return table_corrupt(s, TABLE_MERGE_STARTS, index, 4, index == 0 ? 0 : s->h->n_merges, starts[index]);
    }
    for (uint32_t left = 0; left < n; left++) {
        q_error_code code;
        if (starts[left + 1] < starts[left] || starts[left + 1] > s->h->n_merges) {
            return table_corrupt(s, TABLE_MERGE_STARTS, left + 1, 4, starts[left], starts[left + 1]);
        }
        code = check_merges_of(s, left);
        if (code != Q_OK) {
            return code;
        }
    }
    return Q_OK;
}

/* ---- Chat ---------------------------------------------------------------------------------------------- */

static q_error_code check_chat(const section_check *s)
{
    static const char names[2][16] = {"<|im_start|>", "<|im_end|>"};
    static const uint32_t lengths[] = {12, 10};
    if (s->h->chat_format == Q_CHAT_NONE && s->h->system_bytes != 0) {
        return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "system_bytes", HEADER_AT(system_bytes), 0,
                                s->h->system_bytes);
    }
    for (uint32_t i = 0; s->h->chat_format == Q_CHAT_CHATML && i < 2; i++) {
        int32_t id;
        if (!q_tokenizer_find(&s->t, names[i], lengths[i], &id) || s->t.types[id] != Q_TOKEN_CONTROL) {
            return q_tokenizer_fail(s->diag, Q_ERR_CORRUPT, "chat_format", HEADER_AT(chat_format), lengths[i], 0);
        }
    }
    if (!q_utf8_valid(s->base + s->start[TABLE_SYSTEM], s->h->system_bytes)) {
        return table_corrupt(s, TABLE_SYSTEM, 0, 1, 0, 0);
    }
    return Q_OK;
}

/* ---- Opening ------------------------------------------------------------------------------------------- */

/* Everything of the result that is copied from the header or points at a table. */
static void section_bind(section_check *s)
{
    const section_header *h = s->h;
    s->t = (q_tokenizer){.offsets = table_u32(s, TABLE_OFFSETS),
                         .text = s->base + s->start[TABLE_TEXT],
                         .types = s->base + s->start[TABLE_TYPES],
                         .byte_ids = table_u32(s, TABLE_BYTE_IDS),
                         .plain_ids = table_u32(s, TABLE_PLAIN),
                         .special_ids = table_u32(s, TABLE_SPECIAL),
                         .merge_starts = table_u32(s, TABLE_MERGE_STARTS),
                         .merges = (const q_merge *)(const void *)(s->base + s->start[TABLE_MERGES]),
                         .merge_order = table_u32(s, TABLE_MERGE_ORDER),
                         .system = s->base + s->start[TABLE_SYSTEM],
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

static q_error_code check_section(section_check *s, size_t size)
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
    code = code != Q_OK ? code : check_tokens(s);
    code = code != Q_OK ? code : check_usable(s);
    code = code != Q_OK ? code : check_merges(s);
    code = code != Q_OK ? code : check_chat(s);
    if (code == Q_OK) {
        q_tokenizer_mark_specials(&s->t);
    }
    return code;
}

q_error_code q_tokenizer_open(q_tokenizer *t, const void *base, size_t size, q_diag *diag)
{
    section_check s;
    q_error_code code;
    if (t == NULL || base == NULL) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_ARG, t == NULL ? "t" : "base", 0, 0, 0);
    }
    if ((uintptr_t)base % Q_ALIGN != 0) {
        return q_tokenizer_fail(diag, Q_ERR_MISALIGNED, "base", 0, Q_ALIGN, (uintptr_t)base % Q_ALIGN);
    }
    if (size < Q_TOKENIZER_HEADER) {
        return q_tokenizer_fail(diag, Q_ERR_TRUNCATED, "size", 0, Q_TOKENIZER_HEADER, size);
    }
    s.base = (const uint8_t *)base;
    s.h = (const section_header *)base;
    s.diag = diag;
    code = check_section(&s, size);
    if (code == Q_OK) {
        *t = s.t;
    }
    return code;
}
