/* SPDX-License-Identifier: MIT */
/*
 * test_bad.c: sections with one defect. Each differs from an accepted twin by
 * that defect and must give the code and the place of the table. Ids in names are those of the
 * catalogue of bad inputs.
 */
#include "tok_test.h"

#include "bad_cases.h"

#include <stdlib.h>
#include <string.h>

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
    uint32_t bytes[10] = {4 * (vocab + 1),
                          word_at(s, H_TEXT),
                          vocab,
                          1024,
                          4 * word_at(s, H_PLAIN),
                          4 * word_at(s, H_SPECIAL),
                          4 * (vocab + 1),
                          12 * merges,
                          4 * merges,
                          word_at(s, H_SYSTEM)};
    uint32_t at = Q_TOKENIZER_HEADER;
    for (int i = 0; i < 10; i++) {
        s->table[i] = at;
        at = (at + bytes[i] + 63) / 64 * 64;
    }
    s->n_vocab = vocab;
    s->n_merges = merges;
}

/* ---- Values that depend on the section ------------------------------------------------------- */

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

/* A merge whose right token was itself made by a merge, so that giving it as a result closes a
 * cycle. */
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
        uint32_t na =
            word_at(s, s->table[T_OFFSETS] + 4 * a + 4) - word_at(s, s->table[T_OFFSETS] + 4 * a);
        uint32_t nb =
            word_at(s, s->table[T_OFFSETS] + 4 * b + 4) - word_at(s, s->table[T_OFFSETS] + 4 * b);
        if (na == nb && na >= 2) {
            return k;
        }
    }
}

/* ---- One case -------------------------------------------------------------------------------- */

/* A normal token that begins with the result of a merge and is longer; 0 if there is none. */
static uint32_t longer_than_result(const bad_section *s, uint32_t e)
{
    uint32_t result = word_at(s, s->table[T_MERGES] + 12 * e + 8);
    uint32_t at = word_at(s, s->table[T_OFFSETS] + 4 * result);
    uint32_t n = word_at(s, s->table[T_OFFSETS] + 4 * result + 4) - at;
    for (uint32_t id = 0; id < s->n_vocab; id++) {
        uint32_t other = word_at(s, s->table[T_OFFSETS] + 4 * id);
        uint32_t length = word_at(s, s->table[T_OFFSETS] + 4 * id + 4) - other;
        const unsigned char *text = s->data + s->table[T_TEXT];
        if (s->data[s->table[T_TYPES] + id] == Q_TOKEN_NORMAL && length > n &&
            memcmp(text + other, text + at, n) == 0) {
            return id;
        }
    }
    return 0;
}

static uint32_t longer_merge(const bad_section *s)
{
    uint32_t e = 0;
    while (longer_than_result(s, e) == 0) {
        e++;
    }
    return e;
}

/* The left token after one whose merges start past 0. */
static uint32_t falling_start(const bad_section *s)
{
    uint32_t left = 0;
    while (word_at(s, s->table[T_STARTS] + 4 * left) == 0) {
        left++;
    }
    return left + 1;
}

static uint32_t patch_index(const bad_section *s, const bad_case *c)
{
    switch (c->index_of) {
    case I_SECOND:
        return second_merge(s);
    case I_COMPOSED:
        return composed_merge(s);
    case I_LONGER:
        return longer_merge(s);
    case I_FALL:
        return falling_start(s);
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
    case V_NEIGHBOUR:
        return word_at(s, at - c->width) - (c->index_of == I_FALL);
    case V_LONGER:
        return longer_than_result(s, index);
    case V_EXCLAMATION:
        return nth_of_type(s, Q_TOKEN_BYTE, 0);
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
    size_t at =
        (c->table == T_HEADER ? 0 : s->table[c->table]) + (size_t)index * c->width + c->member;
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
    CHECK(code == c->code && strcmp(diag.field, c->field) == 0 && diag.offset == place &&
              diag.code == c->code,
          "%s: code %d, field %s, offset %llu (expected %d, %s, %llu)", c->name, code, diag.field,
          (unsigned long long)diag.offset, c->code, c->field, (unsigned long long)place);
    CHECK(memcmp(&t, &untouched, sizeof t) == 0, "%s: the output was written", c->name);
    printf("  %-42s %-14s @%-6llu %d\n", c->name, diag.field, (unsigned long long)diag.offset,
           code);
}

/* ---- Defects of more than one word ----------------------------------------------------------- */

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
    CHECK(code == Q_ERR_CORRUPT && strcmp(diag.field, "plain_ids") == 0 &&
              diag.offset == s->table[T_PLAIN] + 4 * k,
          "T05 duplicate token text: code %d, field %s", code, diag.field);
}

/* Defined results: accepted, and what they mean. */
static void test_accepted(bad_section *s)
{
    static const struct {
        const char *name;
        size_t at;
        uint32_t value;
    } accepted[] = {{"T26 bos == eos", H_BOS, 2},        {"T27 no unk", H_UNK, Q_TOKEN_NONE},
                    {"T25 no pad", H_PAD, Q_TOKEN_NONE}, {"pre-tokenizer none", H_PRE, 0},
                    {"pre-tokenizer gpt-2", H_PRE, 1},   {"adds bos and eos", H_FLAGS, 3}};
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
    memcpy(s->data + at,
           "\xED\xA0\x80"
           "bad",
           6);
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
        CHECK(q_tokenizer_open(&t, s->data, s->n, &diag) == Q_ERR_CORRUPT &&
                  diag.offset == ids[i] && strcmp(diag.field, names[i]) == 0,
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
    CHECK(q_tokenizer_encode(&t, "abab", 4, 0, NULL, 0, ids, 8, &count, NULL) == Q_OK &&
              count == 2 && ids[1] == 0,
          "T02 encodes, T11 and T27 leave a byte out");
    CHECK(q_tokenizer_encode(&t, "a", 1, Q_ENCODE_ADD_BOS, NULL, 0, ids, 8, &count, NULL) ==
              Q_ERR_NOT_FOUND,
          "T25 bos asked for and absent");
    CHECK(q_tokenizer_encode(&t, "a", 1, Q_ENCODE_ADD_EOS, NULL, 0, ids, 8, &count, NULL) ==
              Q_ERR_NOT_FOUND,
          "T25 eos asked for and absent");
    guard_free(s.data, n);
}

/* ---- Sizes and places ------------------------------------------------------------------------ */

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
        CHECK(q_tokenizer_open(&t, section->data, section->n - less, NULL) == Q_ERR_TRUNCATED,
              "%zu bytes less", less);
    }
    CHECK(q_tokenizer_open(&t, section->data, section->n + 64, NULL) == Q_ERR_CORRUPT,
          "64 bytes more");
    CHECK(q_tokenizer_open(&t, section->data, SIZE_MAX, NULL) == Q_ERR_CORRUPT, "SIZE_MAX bytes");
    for (size_t off = 1; off < 64; off++) {
        CHECK(q_tokenizer_open(&t, section->data + off, section->n - off, NULL) == Q_ERR_MISALIGNED,
              "R05 misaligned by %zu", off);
    }
}

/* Uses everything a section that was accepted offers; must not leave it. */
static void use_everything(const q_tokenizer *t)
{
    static const char text[] =
        "<|im_start|>It's a test: 12, the\n\n  end\xff\xf0\x9f\x98\x80<|im_end|><user> in on er at";
    int32_t ids[128];
    char out[8192];
    size_t n = 0, n_out;
    q_diag diag;
    for (uint32_t flags = 0; flags < 16; flags += 4) {
        if (q_tokenizer_encode(t, text, sizeof text - 1, flags, NULL, 0, ids, 128, &n, &diag) ==
            Q_OK) {
            CHECK(q_tokenizer_decode(t, ids, n, 0, out, sizeof out, &n_out, &diag) == Q_OK,
                  "decode of what was encoded");
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

void tok_test_bad(const tok_bytes *section, bool thorough)
{
    bad_section s = {(unsigned char *)guard_new(section->n, true), section->n, {0}, 0, 0};
    q_tokenizer t;
    q_diag diag = {0};
    memcpy(s.data, section->data, s.n);
    place_tables(&s);
    CHECK(q_tokenizer_open(&t, s.data, s.n, NULL) == Q_OK, "the accepted twin");
    CHECK(q_tokenizer_open(NULL, s.data, s.n, &diag) == Q_ERR_INVALID_ARG,
          "A01 open without a tokenizer");
    CHECK(q_tokenizer_open(&t, NULL, s.n, &diag) == Q_ERR_INVALID_ARG,
          "A01 open without a section");
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
    test_every_byte(&s, thorough);
    guard_free(s.data, s.n);
}
