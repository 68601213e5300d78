/* SPDX-License-Identifier: MIT */
/*
 * test_bad.c: sections with one defect, and calls with one. Each differs from an accepted twin by that defect
 * and must give the code and the place of the table. Ids in names are those of the catalogue of bad inputs.
 */
#include "tok_test.h"

#include <stdlib.h>
#include <string.h>

enum {
    H_VERSION = 4,
    H_KIND = 8,
    H_PRE = 12,
    H_CHAT = 16,
    H_FLAGS = 20,
    H_VOCAB = 24,
    H_MERGES = 28,
    H_PLAIN = 32,
    H_SPECIAL = 36,
    H_TEXT = 40,
    H_MAX_TOKEN = 44,
    H_MAX_SPECIAL = 48,
    H_SYSTEM = 52,
    H_SECTION = 56,
    H_N_EOG = 60,
    H_BOS = 64,
    H_EOS = 68,
    H_PAD = 72,
    H_UNK = 76,
    H_EOG = 80,
    H_RESERVED = 112
};

enum { T_HEADER = -1, T_OFFSETS, T_TEXT, T_TYPES, T_BYTES, T_PLAIN, T_SPECIAL, T_STARTS, T_MERGES, T_ORDER, T_SYSTEM };

/* The section under test, in memory of its own, and where its tables begin. */
typedef struct bad_section {
    unsigned char *data;
    size_t n;
    uint32_t table[10];
    uint32_t n_vocab, n_merges;
} bad_section;

static uint32_t word_at(const bad_section *s, size_t at)
{
    uint32_t v;
    memcpy(&v, s->data + at, 4);
    return v;
}

static void put_word(bad_section *s, size_t at, uint32_t v)
{
    memcpy(s->data + at, &v, 4);
}

static void place_tables(bad_section *s)
{
    uint32_t vocab = word_at(s, H_VOCAB);
    uint32_t merges = word_at(s, H_MERGES);
    uint32_t bytes[10] = {4 * (vocab + 1), word_at(s, H_TEXT), vocab, 1024, 4 * word_at(s, H_PLAIN),
                          4 * word_at(s, H_SPECIAL), 4 * (vocab + 1), 12 * merges, 4 * merges,
                          word_at(s, H_SYSTEM)};
    uint32_t at = Q_TOKENIZER_HEADER;
    for (int i = 0; i < 10; i++) {
        s->table[i] = at;
        at = (at + bytes[i] + 63) / 64 * 64;
    }
    s->n_vocab = vocab;
    s->n_merges = merges;
}

/* ---- Values that depend on the section ----------------------------------------------------------------- */

/* Merge table index of the first merge whose left token has a second one, after that first one. */
static uint32_t second_merge(const bad_section *s)
{
    for (uint32_t left = 0;; left++) {
        uint32_t start = word_at(s, s->table[T_STARTS] + 4 * left);
        if (word_at(s, s->table[T_STARTS] + 4 * left + 4) >= start + 2) {
            return start + 1;
        }
    }
}

static uint32_t left_of_merge(const bad_section *s, uint32_t e)
{
    uint32_t left = 0;
    while (word_at(s, s->table[T_STARTS] + 4 * left + 4) <= e) {
        left++;
    }
    return left;
}

/* A merge whose right token was itself made by a merge, so that giving it as a result closes a cycle. */
static uint32_t composed_merge(const bad_section *s)
{
    for (uint32_t e = 0;; e++) {
        uint32_t right = word_at(s, s->table[T_MERGES] + 12 * e);
        if (s->data[s->table[T_TYPES] + right] == Q_TOKEN_NORMAL) {
            return e;
        }
    }
}

/* The n-th id whose token has this type. */
static uint32_t nth_of_type(const bad_section *s, unsigned type, uint32_t n)
{
    for (uint32_t id = 0;; id++) {
        if (s->data[s->table[T_TYPES] + id] == type && n-- == 0) {
            return id;
        }
    }
}

/* Index in plain_ids of a token as long as the one before it. */
static uint32_t equal_length_neighbour(const bad_section *s)
{
    for (uint32_t k = 1;; k++) {
        uint32_t a = word_at(s, s->table[T_PLAIN] + 4 * (k - 1));
        uint32_t b = word_at(s, s->table[T_PLAIN] + 4 * k);
        uint32_t na = word_at(s, s->table[T_OFFSETS] + 4 * a + 4) - word_at(s, s->table[T_OFFSETS] + 4 * a);
        uint32_t nb = word_at(s, s->table[T_OFFSETS] + 4 * b + 4) - word_at(s, s->table[T_OFFSETS] + 4 * b);
        if (na == nb && na >= 2) {
            return k;
        }
    }
}

/* ---- The table ----------------------------------------------------------------------------------------- */

/* What a patch writes: a number, or one that the section decides. */
typedef enum bad_value {
    V_IS,        /* value */
    V_VOCAB,     /* n_vocab + value */
    V_PLUS,      /* what is there + value */
    V_ENTRY_LEFT /* the left token of the merge patched */
} bad_value;

/* Which element of the table is patched. */
typedef enum bad_index {
    I_IS,         /* index */
    I_SECOND,     /* second_merge() */
    I_COMPOSED,   /* composed_merge() */
    I_LAST_VOCAB, /* n_vocab */
    I_NORMAL,     /* first normal token */
    I_EMPTY       /* first unused token, which is empty in the small section */
} bad_index;

typedef struct bad_case {
    const char *name;
    q_error_code code;
    const char *field;
    int table;        /* T_HEADER: index is the byte offset in the header */
    bad_index index_of;
    uint32_t index;
    uint32_t width;   /* bytes of an element */
    uint32_t member;  /* byte within the element */
    uint32_t size;    /* bytes written: 1 or 4 */
    bad_value value_of;
    uint32_t value;
    int64_t at;       /* expected diag.offset; -1: where the patch is */
} bad_case;

#define HEADER(name, code, field, offset, value) \
    {name, code, field, T_HEADER, I_IS, offset, 1, 0, 4, V_IS, value, offset}
#define HEADER_OF(name, code, field, offset, of, value) \
    {name, code, field, T_HEADER, I_IS, offset, 1, 0, 4, of, value, offset}

static const bad_case bad_cases[] = {
    HEADER("T01 vocabulary 0", Q_ERR_CORRUPT, "n_vocab", H_VOCAB, 0),
    HEADER("T03 vocabulary cap + 1", Q_ERR_LIMIT, "n_vocab", H_VOCAB, Q_TOKENIZER_MAX_VOCAB + 1),
    HEADER("T04 vocabulary 2^31 + 1", Q_ERR_LIMIT, "n_vocab", H_VOCAB, 0x80000001u),
    HEADER("T04 vocabulary 2^32 - 1", Q_ERR_LIMIT, "n_vocab", H_VOCAB, 0xFFFFFFFFu),
    {"T06 duplicate id", Q_ERR_CORRUPT, "plain_ids", T_PLAIN, I_IS, 1, 4, 0, 4, V_PLUS, 0, -1},
    {"T07 id past the vocabulary", Q_ERR_CORRUPT, "plain_ids", T_PLAIN, I_IS, 3, 4, 0, 4, V_VOCAB, 0, -1},
    {"T07 special id past the vocabulary", Q_ERR_CORRUPT, "special_ids", T_SPECIAL, I_IS, 0, 4, 0, 4, V_VOCAB, 0, -1},
    {"T08 empty normal token", Q_ERR_CORRUPT, "token_types", T_TYPES, I_EMPTY, 0, 1, 0, 1, V_IS, Q_TOKEN_NORMAL, -1},
    {"T08 empty control token", Q_ERR_CORRUPT, "token_types", T_TYPES, I_EMPTY, 0, 1, 0, 1, V_IS, Q_TOKEN_CONTROL, -1},
    HEADER("T09 longest token cap + 1", Q_ERR_LIMIT, "max_token", H_MAX_TOKEN, Q_TOKENIZER_MAX_TOKEN + 1),
    {"T09 token longer than max_token", Q_ERR_CORRUPT, "token_offsets", T_OFFSETS, I_IS, 9, 4, 0, 4, V_PLUS, 100, -1},
    {"T09 token of 2^32 - 1 bytes", Q_ERR_CORRUPT, "token_offsets", T_OFFSETS, I_IS, 9, 4, 0, 4, V_IS, 0xFFFFFFFFu, -1},
    {"T09 token of negative length", Q_ERR_CORRUPT, "token_offsets", T_OFFSETS, I_IS, 9, 4, 0, 4, V_IS, 1, -1},
    HEADER_OF("T09 max_token too large", Q_ERR_CORRUPT, "max_token", H_MAX_TOKEN, V_PLUS, 1),
    HEADER("T09 longest special cap + 1", Q_ERR_LIMIT, "max_special", H_MAX_SPECIAL, Q_TOKENIZER_MAX_SPECIAL + 1),
    HEADER_OF("T09 max_special too large", Q_ERR_CORRUPT, "max_special", H_MAX_SPECIAL, V_PLUS, 1),
    {"T11 byte without its token", Q_ERR_CORRUPT, "token_types", T_BYTES, I_IS, 'a', 4, 0, 4, V_IS, Q_TOKEN_NONE, -2},
    {"T12 token for two bytes", Q_ERR_CORRUPT, "byte_ids", T_BYTES, I_IS, 0x04, 4, 0, 4, V_IS, 17, -1},
    {"T12 byte token past the vocabulary", Q_ERR_CORRUPT, "byte_ids", T_BYTES, I_IS, 0x04, 4, 0, 4, V_VOCAB, 0, -1},
    {"T12 normal token as a byte", Q_ERR_CORRUPT, "token_types", T_TYPES, I_NORMAL, 0, 1, 0, 1, V_IS, Q_TOKEN_BYTE, -1},
    {"T13 type unknown", Q_ERR_CORRUPT, "token_types", T_TYPES, I_IS, 30, 1, 0, 1, V_IS, 5, -1},
    {"T13 type 255", Q_ERR_CORRUPT, "token_types", T_TYPES, I_IS, 0, 1, 0, 1, V_IS, 255, -1},
    {"T14 right token = vocabulary", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 0, 4, V_VOCAB, 0, -1},
    {"T14 right token 2^31", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 0, 4, V_IS, 0x80000000u, -1},
    {"T14 result = vocabulary", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_VOCAB, 0, -1},
    {"T15 result absent", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_IS, Q_TOKEN_NONE, -1},
    {"T15 result is a control token", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_IS, 1, -1},
    {"T16 result is its own left token", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_ENTRY_LEFT, 0, -1},
    {"T17 result closes a cycle", Q_ERR_CORRUPT, "merges", T_MERGES, I_COMPOSED, 0, 12, 8, 4, V_ENTRY_LEFT, 0, -1},
    {"T18 the same pair twice", Q_ERR_CORRUPT, "merges", T_MERGES, I_SECOND, 0, 12, 0, 4, V_PLUS, 0, -1},
    {"T19 two merges of one rank", Q_ERR_CORRUPT, "merge_order", T_MERGES, I_IS, 3, 12, 4, 4, V_PLUS, 1, -1},
    {"T19 rank = n_merges", Q_ERR_CORRUPT, "merge_order", T_MERGES, I_IS, 3, 12, 4, 4, V_IS, 640, -1},
    {"T19 rank 2^32 - 1", Q_ERR_CORRUPT, "merge_order", T_MERGES, I_IS, 3, 12, 4, 4, V_IS, 0xFFFFFFFFu, -1},
    {"T19 order disagrees", Q_ERR_CORRUPT, "merge_order", T_ORDER, I_IS, 5, 4, 0, 4, V_PLUS, 1, -3},
    HEADER("T20 merges cap + 1", Q_ERR_LIMIT, "n_merges", H_MERGES, Q_TOKENIZER_MAX_MERGES + 1),
    HEADER("T20 merges whose bytes wrap 32 bits", Q_ERR_LIMIT, "n_merges", H_MERGES, 0x15555556u),
    HEADER("T20 merges 2^32 - 1", Q_ERR_LIMIT, "n_merges", H_MERGES, 0xFFFFFFFFu),
    {"T20 one merge more than the table", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_MERGES, 1, 0, 4, V_PLUS, 64,
     H_SECTION},
    {"T20 merge starts fall", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_IS, 40, 4, 0, 4, V_IS, 0xFFFFFFF0u, -1},
    {"T20 merge starts not from 0", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_IS, 0, 4, 0, 4, V_IS, 1, -1},
    {"T20 merge starts end early", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_LAST_VOCAB, 0, 4, 0, 4, V_PLUS, 0xFFFFFFFFu,
     -1},
    {"T21 result longer than left and right", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 0, 12, 8, 4, V_VOCAB, (uint32_t)-6,
     -1},
    HEADER_OF("T25 bos = vocabulary", Q_ERR_CORRUPT, "bos", H_BOS, V_VOCAB, 0),
    HEADER_OF("T25 eos = vocabulary", Q_ERR_CORRUPT, "eos", H_EOS, V_VOCAB, 0),
    HEADER_OF("T25 pad = vocabulary", Q_ERR_CORRUPT, "pad", H_PAD, V_VOCAB, 0),
    HEADER_OF("T25 unk = vocabulary", Q_ERR_CORRUPT, "unk", H_UNK, V_VOCAB, 0),
    HEADER("T25 bos -2", Q_ERR_CORRUPT, "bos", H_BOS, 0xFFFFFFFEu),
    HEADER_OF("T25 bos is an unused token", Q_ERR_CORRUPT, "bos", H_BOS, V_VOCAB, (uint32_t)-1),
    HEADER_OF("T25 end of generation = vocabulary", Q_ERR_CORRUPT, "eog", H_EOG + 4, V_VOCAB, 0),
    HEADER("T25 end of generation twice", Q_ERR_CORRUPT, "eog", H_EOG + 4, 0),
    HEADER("T25 word past the ends of generation", Q_ERR_CORRUPT, "eog", H_EOG + 8, 5),
    {"T25 eos is no end of generation", Q_ERR_CORRUPT, "eog", T_HEADER, I_IS, H_EOS, 1, 0, 4, V_IS, 1, H_EOG},
    HEADER("T25 9 ends of generation", Q_ERR_LIMIT, "n_eog", H_N_EOG, 9),
    {"magic", Q_ERR_NOT_QORUS, "magic", T_HEADER, I_IS, 0, 1, 0, 1, V_IS, 'q', 0},
    HEADER("version 0", Q_ERR_VERSION, "version", H_VERSION, 0),
    HEADER("version 2", Q_ERR_VERSION, "version", H_VERSION, 2),
    HEADER("version 1 of the other byte order", Q_ERR_VERSION, "version", H_VERSION, 0x01000000u),
    HEADER("kind 0", Q_ERR_UNSUPPORTED, "kind", H_KIND, 0),
    HEADER("kind 3", Q_ERR_UNSUPPORTED, "kind", H_KIND, 3),
    {"kind byte with tables", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_KIND, 1, 0, 4, V_IS, 1, H_SECTION},
    HEADER("pre-tokenizer 3", Q_ERR_UNSUPPORTED, "pre_tokenizer", H_PRE, 3),
    HEADER("chat format 2", Q_ERR_UNSUPPORTED, "chat_format", H_CHAT, 2),
    {"system message without a chat format", Q_ERR_CORRUPT, "system_bytes", T_HEADER, I_IS, H_CHAT, 1, 0, 4, V_IS, 0,
     H_SYSTEM},
    {"chat format without its token", Q_ERR_CORRUPT, "chat_format", T_TYPES, I_IS, 1, 1, 0, 1, V_IS, Q_TOKEN_USER, H_CHAT},
    {"system message not UTF-8", Q_ERR_CORRUPT, "system_text", T_SYSTEM, I_IS, 0, 1, 0, 1, V_IS, 0xFF, -1},
    HEADER("system message cap + 1", Q_ERR_LIMIT, "system_bytes", H_SYSTEM, Q_TOKENIZER_MAX_SYSTEM + 1),
    HEADER("flag unknown", Q_ERR_UNSUPPORTED, "flags", H_FLAGS, 8),
    HEADER_OF("section cap + 1", Q_ERR_LIMIT, "section_bytes", H_SECTION, V_IS, Q_TOKENIZER_MAX_SECTION + 1),
    HEADER_OF("section 64 bytes more", Q_ERR_CORRUPT, "section_bytes", H_SECTION, V_PLUS, 64),
    HEADER_OF("section 1 byte less", Q_ERR_CORRUPT, "section_bytes", H_SECTION, V_PLUS, 0xFFFFFFFFu),
    {"text 2^32 - 1 bytes", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_TEXT, 1, 0, 4, V_IS, 0xFFFFFFFFu, H_SECTION},
    {"plain tokens 2^32 - 1", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_PLAIN, 1, 0, 4, V_IS, 0xFFFFFFFFu,
     H_SECTION},
    {"plain tokens one more", Q_ERR_CORRUPT, "n_plain", T_HEADER, I_IS, H_PLAIN, 1, 0, 4, V_PLUS, 1, H_PLAIN},
    {"special tokens one more", Q_ERR_CORRUPT, "n_special", T_HEADER, I_IS, H_SPECIAL, 1, 0, 4, V_PLUS, 1, H_SPECIAL},
    HEADER("reserved word", Q_ERR_CORRUPT, "reserved", H_RESERVED + 8, 1),
    {"padding after a table", Q_ERR_CORRUPT, "padding", T_TEXT, I_IS, 0xFFFFFFFFu, 1, 0, 1, V_IS, 1, -1}};

static uint32_t patch_index(const bad_section *s, const bad_case *c)
{
    switch (c->index_of) {
    case I_SECOND:
        return second_merge(s);
    case I_COMPOSED:
        return composed_merge(s);
    case I_LAST_VOCAB:
        return s->n_vocab;
    case I_NORMAL:
        return nth_of_type(s, Q_TOKEN_NORMAL, 0);
    case I_EMPTY:
        return nth_of_type(s, Q_TOKEN_UNUSED, 0);
    default:
        return c->index;
    }
}

static uint32_t patch_value(const bad_section *s, const bad_case *c, uint32_t index, size_t at)
{
    switch (c->value_of) {
    case V_VOCAB:
        return s->n_vocab + c->value;
    case V_PLUS:
        return c->value == 0 ? word_at(s, at - c->width) : word_at(s, at) + c->value;
    case V_ENTRY_LEFT:
        return left_of_merge(s, index);
    default:
        return c->value;
    }
}

/* The offset the diagnosis must name. */
static uint64_t expected_place(const bad_section *s, const bad_case *c, size_t at)
{
    if (c->at == -2) { /* the type of the token that the byte had */
        int32_t id = 0;
        q_tokenizer t;
        if (q_tokenizer_open(&t, s->data, s->n, NULL) == Q_OK) {
            (void)q_tokenizer_find(&t, "a", 1, &id);
        }
        return s->table[T_TYPES] + (uint64_t)(uint32_t)id;
    }
    if (c->at == -3) { /* the rank of the merge that the order no longer leads to */
        return s->table[T_MERGES] + 12u * (uint64_t)word_at(s, at) + 4;
    }
    return c->at < 0 ? at : (uint64_t)c->at;
}

static void run_case(bad_section *s, const bad_case *c)
{
    uint32_t index = patch_index(s, c);
    size_t at = (c->table == T_HEADER ? 0 : s->table[c->table]) + (size_t)index * c->width + c->member;
    q_tokenizer t;
    q_tokenizer untouched;
    q_diag diag = {0};
    uint32_t old, value;
    uint64_t place;
    q_error_code code;
    if (index == 0xFFFFFFFFu) { /* the byte before the next table */
        at = s->table[c->table + 1] - 1;
    }
    old = word_at(s, at / 4 * 4);
    value = patch_value(s, c, index, at);
    place = expected_place(s, c, at);
    if (c->size == 4) {
        put_word(s, at, value);
    } else {
        s->data[at] = (unsigned char)value;
    }
    memset(&t, 0xA5, sizeof t);
    untouched = t;
    code = q_tokenizer_open(&t, s->data, s->n, &diag);
    put_word(s, at / 4 * 4, old);
    CHECK(code == c->code && strcmp(diag.field, c->field) == 0 && diag.offset == place && diag.code == c->code,
          "%s: code %d, field %s, offset %llu (expected %d, %s, %llu)", c->name, code, diag.field,
          (unsigned long long)diag.offset, c->code, c->field, (unsigned long long)place);
    CHECK(memcmp(&t, &untouched, sizeof t) == 0, "%s: the output was written", c->name);
    printf("  %-42s %-14s @%-6llu %d\n", c->name, diag.field, (unsigned long long)diag.offset, code);
}

/* ---- Defects of more than one word --------------------------------------------------------------------- */

/* T05: one token's text becomes that of its neighbour in order. */
static void test_duplicate_text(bad_section *s)
{
    uint32_t k = equal_length_neighbour(s);
    uint32_t a = word_at(s, s->table[T_PLAIN] + 4 * (k - 1));
    uint32_t b = word_at(s, s->table[T_PLAIN] + 4 * k);
    uint32_t from = word_at(s, s->table[T_OFFSETS] + 4 * a);
    uint32_t to = word_at(s, s->table[T_OFFSETS] + 4 * b);
    uint32_t n = word_at(s, s->table[T_OFFSETS] + 4 * a + 4) - from;
    unsigned char old[64];
    q_tokenizer t;
    q_diag diag = {0};
    q_error_code code;
    memcpy(old, s->data + s->table[T_TEXT] + to, n);
    memcpy(s->data + s->table[T_TEXT] + to, s->data + s->table[T_TEXT] + from, n);
    code = q_tokenizer_open(&t, s->data, s->n, &diag);
    memcpy(s->data + s->table[T_TEXT] + to, old, n);
    CHECK(code == Q_ERR_CORRUPT && strcmp(diag.field, "plain_ids") == 0 && diag.offset == s->table[T_PLAIN] + 4 * k,
          "T05 duplicate token text: code %d, field %s", code, diag.field);
}

/* Defined results: accepted, and what they mean. */
static void test_accepted(bad_section *s)
{
    static const struct {
        const char *name;
        size_t at;
        uint32_t value;
    } accepted[] = {{"T26 bos == eos", H_BOS, 2},
                    {"T27 no unk", H_UNK, Q_TOKEN_NONE},
                    {"T25 no pad", H_PAD, Q_TOKEN_NONE},
                    {"pre-tokenizer none", H_PRE, 0},
                    {"pre-tokenizer gpt-2", H_PRE, 1},
                    {"adds bos and eos", H_FLAGS, 3}};
    q_tokenizer t;
    uint32_t at;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        uint32_t old = word_at(s, accepted[i].at);
        put_word(s, accepted[i].at, accepted[i].value);
        CHECK(q_tokenizer_open(&t, s->data, s->n, NULL) == Q_OK, "%s", accepted[i].name);
        put_word(s, accepted[i].at, old);
    }
    /* The last token is unused and called "unused". */
    at = s->table[T_TEXT] + word_at(s, s->table[T_OFFSETS] + 4 * (s->n_vocab - 1));
    memset(s->data + at, 0xFF, 6);
    CHECK(q_tokenizer_open(&t, s->data, s->n, NULL) == Q_OK, "T10 token of 0xFF bytes");
    memcpy(s->data + at, "\xED\xA0\x80" "bad", 6);
    CHECK(q_tokenizer_open(&t, s->data, s->n, NULL) == Q_OK, "T10 token with a lone surrogate");
    memcpy(s->data + at, "unused", 6);
}

static void test_flag_needs_id(bad_section *s)
{
    static const size_t ids[] = {H_BOS, H_EOS, H_UNK};
    static const char *const names[] = {"bos", "eos", "unk"};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t old = word_at(s, ids[i]);
        q_tokenizer t;
        q_diag diag = {0};
        put_word(s, ids[i], Q_TOKEN_NONE);
        put_word(s, H_FLAGS, 1u << i);
        CHECK(q_tokenizer_open(&t, s->data, s->n, &diag) == Q_ERR_CORRUPT && diag.offset == ids[i] &&
                  strcmp(diag.field, names[i]) == 0,
              "T25 flag %u without its id", 1u << i);
        put_word(s, ids[i], old);
        put_word(s, H_FLAGS, 0);
    }
}

/* T02: a vocabulary of one token, built by hand, is a tokenizer. */
static void test_one_token(void)
{
    size_t n = 128 + 64 + 64 + 64 + 1024 + 64 + 0 + 64;
    bad_section s = {(unsigned char *)guard_new(n, true), n, {0}, 0, 0};
    static const uint32_t header[] = {1, 2, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0};
    q_tokenizer t;
    int32_t ids[8];
    size_t count;
    memset(s.data, 0, n);
    memcpy(s.data, "QTOK", 4);
    memcpy(s.data + 4, header, sizeof header);
    put_word(&s, H_SECTION, (uint32_t)n);
    for (size_t at = H_BOS; at < H_RESERVED; at += 4) {
        put_word(&s, at, Q_TOKEN_NONE);
    }
    put_word(&s, 128 + 4, 1);
    s.data[192] = 'a';
    s.data[256] = Q_TOKEN_BYTE;
    memset(s.data + 320, 0xFF, 1024);
    put_word(&s, 320 + 4 * 'a', 0);
    CHECK(q_tokenizer_open(&t, s.data, n, NULL) == Q_OK, "T02 vocabulary 1");
    CHECK(q_tokenizer_encode(&t, "abab", 4, 0, NULL, 0, ids, 8, &count, NULL) == Q_OK && count == 2 && ids[1] == 0,
          "T02 encodes, T11 and T27 leave a byte out");
    CHECK(q_tokenizer_encode(&t, "a", 1, Q_ENCODE_ADD_BOS, NULL, 0, ids, 8, &count, NULL) == Q_ERR_NOT_FOUND,
          "T25 bos asked for and absent");
    CHECK(q_tokenizer_encode(&t, "a", 1, Q_ENCODE_ADD_EOS, NULL, 0, ids, 8, &count, NULL) == Q_ERR_NOT_FOUND,
          "T25 eos asked for and absent");
    guard_free(s.data, n);
}

/* ---- Sizes and places ---------------------------------------------------------------------------------- */

/* Every shorter length, alone in memory, and a longer one. */
static void test_cut(const tok_bytes *section)
{
    q_tokenizer t;
    for (size_t n = 0; n < section->n; n += 64) {
        unsigned char *copy = (unsigned char *)guard_new(n, true);
        q_diag diag = {0};
        q_error_code code;
        memcpy(copy, section->data, n);
        code = q_tokenizer_open(&t, copy, n, &diag);
        CHECK(code == Q_ERR_TRUNCATED, "cut to %zu bytes: code %d", n, code);
        guard_free(copy, n);
    }
    for (size_t less = 1; less < 64; less++) {
        CHECK(q_tokenizer_open(&t, section->data, section->n - less, NULL) == Q_ERR_TRUNCATED, "%zu bytes less", less);
    }
    CHECK(q_tokenizer_open(&t, section->data, section->n + 64, NULL) == Q_ERR_CORRUPT, "64 bytes more");
    CHECK(q_tokenizer_open(&t, section->data, SIZE_MAX, NULL) == Q_ERR_CORRUPT, "SIZE_MAX bytes");
    for (size_t off = 1; off < 64; off++) {
        CHECK(q_tokenizer_open(&t, section->data + off, section->n - off, NULL) == Q_ERR_MISALIGNED,
              "R05 misaligned by %zu", off);
    }
}

/* Uses everything a section that was accepted offers; must not leave it. */
static void use_everything(const q_tokenizer *t)
{
    static const char text[] = "<|im_start|>It's a test: 12, the\n\n  end\xff\xf0\x9f\x98\x80<|im_end|><user> in on er at";
    int32_t ids[128];
    char out[8192];
    size_t n = 0, n_out;
    q_diag diag;
    for (uint32_t flags = 0; flags < 16; flags += 4) {
        if (q_tokenizer_encode(t, text, sizeof text - 1, flags, NULL, 0, ids, 128, &n, &diag) == Q_OK) {
            CHECK(q_tokenizer_decode(t, ids, n, 0, out, sizeof out, &n_out, &diag) == Q_OK, "decode of what was encoded");
        }
    }
    for (uint32_t id = 0; id < t->n_vocab; id += 7) {
        const uint8_t *bytes;
        uint32_t length;
        int32_t found;
        if (q_tokenizer_token(t, (int32_t)id, &bytes, &length, NULL)) {
            (void)q_tokenizer_find(t, bytes, length, &found);
        }
    }
}

/* Every byte changed, one at a time: refused with a place inside the section, or safe to use. */
static void test_every_byte(bad_section *s, bool thorough)
{
    unsigned accepted = 0, refused = 0;
    bool placed = true;
    for (size_t at = 0; at < s->n; at++) {
        unsigned char old = s->data[at];
        for (unsigned k = 1; k < 256; k = thorough ? k + 1 : k * 13) { /* 1, 13, 169 */
            q_tokenizer t;
            q_diag diag = {0};
            s->data[at] = (unsigned char)(old ^ k);
            if (q_tokenizer_open(&t, s->data, s->n, &diag) == Q_OK) {
                accepted++;
                use_everything(&t);
            } else {
                refused++;
                placed = placed && diag.offset < s->n && diag.field[0] != '\0';
            }
        }
        s->data[at] = old;
    }
    CHECK(placed, "a refusal without a field or with a place outside the section");
    CHECK(refused > accepted, "most changes are refused");
    printf("  every byte changed: %u refused, %u accepted and used\n", refused, accepted);
}

/* ---- Bad calls ----------------------------------------------------------------------------------------- */

typedef struct call_args {
    const q_tokenizer *t;
    const char *text;
    size_t n;
    uint32_t flags;
    void *work;
    size_t work_size;
    int32_t *ids;
    size_t cap;
} call_args;

/* The call fails with this code and field and leaves the outputs alone. */
static void refuse_encode(const char *name, call_args a, q_error_code code, const char *field)
{
    size_t n_ids = 12345;
    q_diag diag = {0};
    q_error_code got =
        q_tokenizer_encode(a.t, a.text, a.n, a.flags, a.work, a.work_size, a.ids, a.cap, &n_ids, &diag);
    CHECK(got == code && strcmp(diag.field, field) == 0 && n_ids == 12345, "%s: code %d, field %s", name, got,
          diag.field);
}

static void test_encode_calls(const q_tokenizer *t)
{
    static const q_tokenizer closed;
    static char text[100] = "Hello there, how are you?";
    static int32_t ids[104];
    static uint64_t work[512];
    const call_args good = {t, text, 25, 0, work, sizeof work, ids, 104};
    call_args a;
    size_t n;
#define WITH(member, value) (a = good, a.member = (value), a)
    CHECK(q_tokenizer_encode(t, text, 25, 0, work, sizeof work, ids, 104, &n, NULL) == Q_OK, "the good twin");
    CHECK(q_tokenizer_encode(t, text, 25, 0, work, sizeof work, ids, 104, NULL, NULL) == Q_ERR_INVALID_ARG, "A01 n_ids");
    refuse_encode("A01 tokenizer", WITH(t, NULL), Q_ERR_INVALID_ARG, "NULL");
    refuse_encode("A02 not open", WITH(t, &closed), Q_ERR_INVALID_STATE, "t");
    refuse_encode("T35 text NULL with length", WITH(text, NULL), Q_ERR_INVALID_ARG, "NULL");
    refuse_encode("A01 ids NULL with capacity", WITH(ids, NULL), Q_ERR_INVALID_ARG, "NULL");
    refuse_encode("A01 work NULL with size", WITH(work, NULL), Q_ERR_INVALID_ARG, "NULL");
    refuse_encode("A06 unknown flag", WITH(flags, 16), Q_ERR_INVALID_ARG, "flags");
    refuse_encode("A06 all flags", WITH(flags, 0xFFFFFFFFu), Q_ERR_INVALID_ARG, "flags");
    refuse_encode("T20 text 2^30 + 1", WITH(n, (size_t)Q_TOKENIZER_MAX_TEXT + 1), Q_ERR_LIMIT, "n");
    refuse_encode("T31 text -1", WITH(n, SIZE_MAX), Q_ERR_LIMIT, "n");
    refuse_encode("T31 capacity -1", WITH(cap, SIZE_MAX), Q_ERR_INVALID_SIZE, "cap");
    refuse_encode("T31 capacity past memory", WITH(cap, SIZE_MAX / 4), Q_ERR_INVALID_SIZE, "cap");
    refuse_encode("R05 work misaligned", WITH(work, (char *)work + 4), Q_ERR_MISALIGNED, "work");
    refuse_encode("A24 ids over work", WITH(ids, (int32_t *)(void *)work + 8), Q_ERR_ALIASING, "ids");
    refuse_encode("A24 text over ids", WITH(text, (char *)ids), Q_ERR_ALIASING, "ids");
    refuse_encode("T31 capacity 0", WITH(cap, 0), Q_ERR_NO_SPACE, "ids");
    refuse_encode("T31 capacity n - 1", WITH(cap, n - 1), Q_ERR_NO_SPACE, "ids");
#undef WITH
    CHECK(q_tokenizer_encode(t, text, 25, 0, work, sizeof work, ids, n, &n, NULL) == Q_OK, "T31 capacity n");
    CHECK(q_tokenizer_encode(t, NULL, 0, 0, NULL, 0, NULL, 0, &n, NULL) == Q_OK && n == 0, "T35 NULL with 0");
    CHECK(q_tokenizer_encode(t, text, 0, 3, NULL, 0, ids, 2, &n, NULL) == Q_OK && n == 2 && ids[0] == 1 && ids[1] == 2,
          "T35 length 0 with bos and eos");
}

/* One byte of work less than the text needs; and untouched outputs. */
static void test_work_short(const q_tokenizer *t)
{
    char text[200];
    int32_t ids[202];
    size_t n = 777;
    size_t need;
    q_diag diag = {0};
    uint64_t work[800];
    memset(text, 'a', sizeof text);
    memset(ids, 0x55, sizeof ids);
    need = q_tokenizer_encode_work_need(t, text, sizeof text, 0);
    CHECK(need == 6400 && q_tokenizer_encode_work_size(t, sizeof text) == 6400, "work for one piece of 200: %zu", need);
    CHECK(q_tokenizer_encode(t, text, sizeof text, 0, work, need - 1, ids, 202, &n, &diag) == Q_ERR_NO_SPACE &&
              strcmp(diag.field, "work") == 0 && diag.need == need && diag.have == need - 1 && n == 777 &&
              ids[0] == 0x55555555,
          "R01 one byte of work less");
    CHECK(q_tokenizer_encode(t, text, sizeof text, 0, work, need, ids, 202, &n, &diag) == Q_OK, "R02 exact work");
    CHECK(q_tokenizer_encode_work_size(t, 32) == 0 && q_tokenizer_encode_work_size(t, 33) == 33 * 32 &&
              q_tokenizer_encode_work_size(t, SIZE_MAX) == SIZE_MAX,
          "work sizes");
}

static void refuse_decode(const q_tokenizer *t, const char *name, int32_t bad)
{
    const int32_t ids[3] = {20, bad, 21};
    char out[64];
    size_t n = 777;
    q_diag diag = {0};
    q_utf8_stream s;
    memset(out, 0x55, sizeof out);
    q_utf8_stream_init(&s);
    CHECK(q_tokenizer_decode(t, ids, 3, 0, out, sizeof out, &n, &diag) == Q_ERR_INVALID_TOKEN && diag.offset == 1 &&
              diag.need == t->n_vocab && n == 777 && out[0] == 0x55,
          "%s", name);
    CHECK(q_tokenizer_stream(t, &s, bad, 0, out, sizeof out, &n, &diag) == Q_ERR_INVALID_TOKEN && n == 777, "%s, stream",
          name);
}

static void test_decode_calls(const q_tokenizer *t)
{
    const int32_t ids[2] = {1, 20};
    char out[64];
    size_t n = 777;
    q_diag diag = {0};
    q_utf8_stream s = {{0xE2, 0x82, 0}, 2};
    q_utf8_stream broken = {{0, 0, 0}, 4};
    refuse_decode(t, "T32 id = vocabulary", (int32_t)t->n_vocab);
    refuse_decode(t, "T32 id -1", -1);
    refuse_decode(t, "T32 id 2^31 - 1", INT32_MAX);
    refuse_decode(t, "T32 id -2^31", INT32_MIN);
    CHECK(q_tokenizer_decode(t, ids, 2, 0, NULL, 0, &n, NULL) == Q_OK && n == 13, "size query");
    CHECK(q_tokenizer_decode(t, ids, 2, 0, out, 12, &n, &diag) == Q_ERR_NO_SPACE && diag.need == 13 && n == 13,
          "T31 decode capacity n - 1");
    CHECK(q_tokenizer_decode(t, ids, 2, 0, out, 13, &n, NULL) == Q_OK && memcmp(out, "<|im_start|>", 12) == 0,
          "T31 decode capacity n");
    CHECK(q_tokenizer_decode(t, NULL, 0, 0, out, 64, &n, NULL) == Q_OK && n == 0, "T35 no ids");
    CHECK(q_tokenizer_decode(t, NULL, 1, 0, out, 64, &n, NULL) == Q_ERR_INVALID_ARG, "A01 ids");
    CHECK(q_tokenizer_decode(NULL, ids, 1, 0, out, 64, &n, NULL) == Q_ERR_INVALID_ARG, "A01 tokenizer");
    CHECK(q_tokenizer_decode(t, ids, 1, 0, out, 64, NULL, NULL) == Q_ERR_INVALID_ARG, "A01 n_out");
    CHECK(q_tokenizer_decode(t, ids, 1, 2, out, 64, &n, NULL) == Q_ERR_INVALID_ARG, "A06 flags");
    CHECK(q_tokenizer_decode(t, ids, SIZE_MAX / 2, 0, out, 64, &n, NULL) == Q_ERR_INVALID_SIZE, "ids past memory");
    CHECK(q_tokenizer_decode(t, ids, 2, 0, (char *)(uintptr_t)ids, 64, &n, NULL) == Q_ERR_ALIASING, "A24 out over ids");
    CHECK(q_utf8_stream_push(&s, "\xAC", 1, out, 2, &n) == Q_ERR_NO_SPACE && s.n == 2, "stream room 2 of 3");
    CHECK(q_utf8_stream_push(&s, "\xAC", 1, out, 3, &n) == Q_OK && n == 3 && s.n == 0, "stream room 3 of 3");
    CHECK(q_utf8_stream_push(&broken, "a", 1, out, 9, &n) == Q_ERR_INVALID_ARG, "stream never initialised");
    CHECK(q_utf8_stream_push(NULL, "a", 1, out, 9, &n) == Q_ERR_INVALID_ARG, "A01 stream");
}

void tok_test_bad(const tok_bytes *section, bool thorough)
{
    bad_section s = {(unsigned char *)guard_new(section->n, true), section->n, {0}, 0, 0};
    q_tokenizer t;
    q_diag diag = {0};
    memcpy(s.data, section->data, s.n);
    place_tables(&s);
    CHECK(q_tokenizer_open(&t, s.data, s.n, NULL) == Q_OK, "the accepted twin");
    CHECK(q_tokenizer_open(NULL, s.data, s.n, &diag) == Q_ERR_INVALID_ARG, "A01 open without a tokenizer");
    CHECK(q_tokenizer_open(&t, NULL, s.n, &diag) == Q_ERR_INVALID_ARG, "A01 open without a section");
    for (size_t i = 0; i < sizeof bad_cases / sizeof bad_cases[0]; i++) {
        run_case(&s, &bad_cases[i]);
    }
    test_duplicate_text(&s);
    test_accepted(&s);
    test_flag_needs_id(&s);
    CHECK(memcmp(s.data, section->data, s.n) == 0, "every defect was taken back");
    CHECK(q_tokenizer_open(&t, s.data, s.n, NULL) == Q_OK, "the twin is still accepted");
    test_one_token();
    test_cut(section);
    test_encode_calls(&t);
    test_work_short(&t);
    test_decode_calls(&t);
    test_every_byte(&s, thorough);
    guard_free(s.data, s.n);
}
