/* SPDX-License-Identifier: MIT */
/* bad_tokens.c: the table of bad sections, and the defects that are more than one word. */
#include "bad_tokens.h"

#include "bad_cases.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"

/* The section under test, where its tables begin, and where the lines go. */
typedef struct bad_section {
    uint8_t *data;
    size_t n;
    uint32_t table[10];
    uint32_t n_vocab, n_merges;
    uint8_t *end; /* of the work memory */
    bad_tokens_print print;
    void *user;
    bad_tokens_counts *counts;
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
        const uint8_t *text = s->data + s->table[T_TEXT];
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

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void report_case(const bad_section *s, bool good, const char *id, q_error_code code, const q_diag *diag)
{
    char line[200];
    q_text text;
    q_text_init(&text, line, sizeof(line));
    q_text_str(&text, good ? "ok   " : "FAIL ");
    q_text_left(&text, id, 46);
    q_text_str(&text, " ");
    q_text_i64(&text, code, 0);
    if (code != Q_OK && diag != NULL) {
        q_text_str(&text, " ");
        q_text_str(&text, diag->field);
        q_text_str(&text, " at byte ");
        q_text_u64(&text, diag->offset, 0);
    }
    s->print(s->user, line, text.length < sizeof(line) ? text.length : sizeof(line) - 1);
    s->counts->passed += good ? 1u : 0u;
    s->counts->failed += good ? 0u : 1u;
}

/* Opens the section as it stands; on failure the output must stay as it was. */
static q_error_code open_section(const bad_section *s, q_diag *diag, bool *untouched)
{
    q_tokenizer t;
    q_tokenizer before;
    q_error_code code;
    memset(&t, 0xA5, sizeof(t));
    memset(&before, 0xA5, sizeof(before));
    memset(diag, 0, sizeof(*diag));
    code = q_tokenizer_open(&t, s->data, s->n, diag);
    *untouched = code == Q_OK || memcmp(&t, &before, sizeof(t)) == 0;
    return code;
}

static void expect_case(const bad_section *s, const char *id, q_error_code code, const char *field, uint64_t place)
{
    q_diag diag;
    bool good;
    q_error_code got = open_section(s, &diag, &good);
    good = good && got == code;
    if (code != Q_OK) {
        good = good && diag.code == code && same_text(diag.field, field) && diag.offset == place;
    }
    report_case(s, good, id, got, &diag);
}

static void run_case(bad_section *s, const bad_case *c)
{
    uint32_t index = patch_index(s, c);
    size_t at = (c->table == T_HEADER ? 0 : s->table[c->table]) + (size_t)index * c->width + c->member;
    uint32_t old;
    uint32_t value;
    uint64_t place;
    if (index == 0xFFFFFFFFu) { /* the byte before the next table */
        at = s->table[c->table + 1] - 1;
    }
    old = word_at(s, at / 4 * 4);
    value = patch_value(s, c, index, at);
    place = expected_place(s, c, at);
    if (c->size == 4) {
        put_word(s, at, value);
    } else {
        s->data[at] = (uint8_t)value;
    }
    expect_case(s, c->name, c->code, c->field, place);
    put_word(s, at / 4 * 4, old);
}

/* ---- Defects of more than one word ----------------------------------------------------------- */

/* One token's text becomes that of its neighbour in order. */
static void run_duplicate_text(bad_section *s)
{
    uint32_t k = equal_length_neighbour(s);
    uint32_t a = word_at(s, s->table[T_PLAIN] + 4 * (k - 1));
    uint32_t b = word_at(s, s->table[T_PLAIN] + 4 * k);
    uint32_t from = word_at(s, s->table[T_OFFSETS] + 4 * a);
    uint32_t to = word_at(s, s->table[T_OFFSETS] + 4 * b);
    uint32_t n = word_at(s, s->table[T_OFFSETS] + 4 * a + 4) - from;
    uint8_t old[64];
    memcpy(old, s->data + s->table[T_TEXT] + to, n);
    memcpy(s->data + s->table[T_TEXT] + to, s->data + s->table[T_TEXT] + from, n);
    expect_case(s, "T05_duplicate_token_text", Q_ERR_CORRUPT, "plain_ids", s->table[T_PLAIN] + 4 * k);
    memcpy(s->data + s->table[T_TEXT] + to, old, n);
}

/* Defined results: accepted. */
static void run_accepted(bad_section *s)
{
    static const struct {
        const char *name;
        size_t at;
        uint32_t value;
    } accepted[] = {{"T26_bos_is_eos_accepted", H_BOS, 2},
                    {"T27_no_unk_accepted", H_UNK, Q_TOKEN_NONE},
                    {"T25_no_pad_accepted", H_PAD, Q_TOKEN_NONE},
                    {"section_pre-tokenizer_none_accepted", H_PRE, 0},
                    {"section_pre-tokenizer_gpt-2_accepted", H_PRE, 1},
                    {"section_adds_bos_and_eos_accepted", H_FLAGS, 3}};
    uint8_t *last; /* the text of the last token, which is unused and called "unused" */
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        uint32_t old = word_at(s, accepted[i].at);
        put_word(s, accepted[i].at, accepted[i].value);
        expect_case(s, accepted[i].name, Q_OK, "", 0);
        put_word(s, accepted[i].at, old);
    }
    last = s->data + s->table[T_TEXT] + word_at(s, s->table[T_OFFSETS] + 4 * (s->n_vocab - 1));
    memset(last, 0xFF, 6);
    expect_case(s, "T10_token_of_0xFF_bytes_accepted", Q_OK, "", 0);
    memcpy(last, "\xED\xA0\x80" "bad", 6);
    expect_case(s, "T10_token_with_a_lone_surrogate_accepted", Q_OK, "", 0);
    memcpy(last, "unused", 6);
}

static void run_flag_needs_id(bad_section *s)
{
    static const size_t ids[] = {H_BOS, H_EOS, H_UNK};
    static const char *const fields[] = {"bos", "eos", "unk"};
    static const char *const names[] = {"T25_adds_bos_without_one", "T25_adds_eos_without_one",
                                        "T25_unk_bytes_without_unk"};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t old = word_at(s, ids[i]);
        put_word(s, ids[i], Q_TOKEN_NONE);
        put_word(s, H_FLAGS, 1u << i);
        expect_case(s, names[i], Q_ERR_CORRUPT, fields[i], ids[i]);
        put_word(s, ids[i], old);
        put_word(s, H_FLAGS, 0);
    }
}

static void expect_encoding(const bad_section *s, const q_tokenizer *t, const char *id, const char *text, size_t n,
                            uint32_t flags, q_error_code code, size_t count)
{
    int32_t ids[8];
    size_t n_ids = 99;
    q_diag diag;
    q_error_code got;
    memset(&diag, 0, sizeof(diag));
    got = q_tokenizer_encode(t, text, n, flags, NULL, 0, ids, 8, &n_ids, &diag);
    report_case(s, got == code && n_ids == (code == Q_OK ? count : 99), id, got, &diag);
}

/* A vocabulary of one token, built by hand, is a tokenizer. */
static void run_one_token(const bad_section *from)
{
    enum { BYTES = 128 + 64 + 64 + 64 + 1024 + 64 + 64 };
    static const uint32_t header[] = {1, 2, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0};
    bad_section s = *from;
    q_tokenizer t;
    s.data = s.end - BYTES;
    s.n = BYTES;
    memset(s.data, 0, BYTES);
    memcpy(s.data, "QTOK", 4);
    memcpy(s.data + 4, header, sizeof(header));
    put_word(&s, H_SECTION, BYTES);
    for (size_t at = H_BOS; at < H_RESERVED; at += 4) {
        put_word(&s, at, Q_TOKEN_NONE);
    }
    put_word(&s, 128 + 4, 1);
    s.data[192] = 'a';
    s.data[256] = Q_TOKEN_BYTE;
    memset(s.data + 320, 0xFF, 1024);
    put_word(&s, 320 + 4 * 'a', 0);
    expect_case(&s, "T02_vocabulary_1_accepted", Q_OK, "", 0);
    if (q_tokenizer_open(&t, s.data, s.n, NULL) == Q_OK) {
        expect_encoding(&s, &t, "T11_byte_without_token_left_out", "abab", 4, 0, Q_OK, 2);
        expect_encoding(&s, &t, "T27_no_unk_strict", "ab", 2, Q_ENCODE_STRICT, Q_ERR_NOT_FOUND, 0);
        expect_encoding(&s, &t, "T25_bos_asked_for_and_absent", "a", 1, Q_ENCODE_ADD_BOS, Q_ERR_NOT_FOUND, 0);
        expect_encoding(&s, &t, "T25_eos_asked_for_and_absent", "a", 1, Q_ENCODE_ADD_EOS, Q_ERR_NOT_FOUND, 0);
    }
}

/* ---- Sizes and places ------------------------------------------------------------------------ */

/* Every length that is a multiple of 64, alone at the end of the memory. */
static bool cuts_refused(const bad_section *s, const uint8_t *section)
{
    bool good = true;
    for (size_t n = 0; n < s->n; n += 64) {
        q_tokenizer t;
        q_diag diag;
        memcpy(s->end - n, section, n);
        good = q_tokenizer_open(&t, s->end - n, n, &diag) == Q_ERR_TRUNCATED && diag.code == Q_ERR_TRUNCATED && good;
    }
    for (size_t less = 1; less < 64; less++) {
        q_tokenizer t;
        good = q_tokenizer_open(&t, section, s->n - less, NULL) == Q_ERR_TRUNCATED && good;
    }
    return good;
}

static bool misaligned_refused(const bad_section *s, const uint8_t *section)
{
    bool good = true;
    for (size_t by = 1; by < 64; by++) {
        q_tokenizer t;
        q_diag diag;
        good = q_tokenizer_open(&t, section + by, s->n - by, &diag) == Q_ERR_MISALIGNED && diag.have == by && good;
    }
    return good;
}

static void run_places(const bad_section *s, const uint8_t *section)
{
    q_tokenizer t;
    q_error_code code;
    report_case(s, cuts_refused(s, section), "M03_section_cut_at_every_row", Q_ERR_TRUNCATED, NULL);
    report_case(s, misaligned_refused(s, section), "R05_section_misaligned_by_1_to_63", Q_ERR_MISALIGNED, NULL);
    code = q_tokenizer_open(&t, section, s->n + 64, NULL);
    report_case(s, code == Q_ERR_CORRUPT, "M05_section_64_bytes_behind_it", code, NULL);
    code = q_tokenizer_open(&t, section, SIZE_MAX, NULL);
    report_case(s, code == Q_ERR_CORRUPT, "R10_section_of_SIZE_MAX_bytes", code, NULL);
    code = q_tokenizer_open(NULL, section, s->n, NULL);
    report_case(s, code == Q_ERR_INVALID_ARG, "A01_open_without_a_tokenizer", code, NULL);
    code = q_tokenizer_open(&t, NULL, s->n, NULL);
    report_case(s, code == Q_ERR_INVALID_ARG, "A01_open_without_a_section", code, NULL);
}

void bad_tokens_run(const void *section, size_t size, void *work, size_t work_size,
                    bad_tokens_print print, void *user, bad_tokens_counts *counts)
{
    bad_section s;
    memset(&s, 0, sizeof(s));
    s.print = print;
    s.user = user;
    s.counts = counts;
    if (work_size < size || size % 64 != 0) {
        report_case(&s, false, "twin_does_not_fit_the_work_memory", Q_ERR_NO_SPACE, NULL);
        return;
    }
    s.end = (uint8_t *)work + work_size / 64 * 64;
    s.data = s.end - size;
    s.n = size;
    memcpy(s.data, section, size);
    place_tables(&s);
    expect_case(&s, "section_accepted_twin", Q_OK, "", 0);
    for (size_t i = 0; i < sizeof bad_cases / sizeof bad_cases[0]; i++) {
        run_case(&s, &bad_cases[i]);
    }
    run_duplicate_text(&s);
    run_accepted(&s);
    run_flag_needs_id(&s);
    report_case(&s, memcmp(s.data, section, size) == 0, "section_every_defect_was_taken_back", Q_OK, NULL);
    run_one_token(&s);
    run_places(&s, (const uint8_t *)section);
}
