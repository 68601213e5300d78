/* SPDX-License-Identifier: MIT */
/*
 * target_tokenizer.c: a tokenizer section of any bytes and, behind it, a text. What opens encodes the text under
 * every flag with exactly the memory it asks for, and gives it back where every byte has a token.
 *
 * The section's own length (word 14 of its header) says where the text begins; where it does not lie in the
 * input, all of it is section.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "qorus/tokenizer.h"

enum { AT_SECTION_BYTES = 56, HEADER_WORDS = 32, TABLES = 10, MAX_TEXT = 4096 };

/* ---- Using what opened ------------------------------------------------------------------------------------- */

static bool all_bytes_known(const q_tokenizer *t)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint8_t byte = (uint8_t)b;
        int32_t id;
        const uint8_t *bytes;
        uint32_t n;
        q_token_type type;
        if (!q_tokenizer_find(t, &byte, 1, &id) || !q_tokenizer_token(t, id, &bytes, &n, &type) ||
            type != Q_TOKEN_BYTE) {
            return false;
        }
    }
    return true;
}

/* Decodes ids whole and as a stream, which must agree; returns whether that is the text. */
static bool decoded(const q_tokenizer *t, const int32_t *ids, size_t n, uint32_t flags, const uint8_t *text,
                    size_t n_text)
{
    size_t n_out = 0;
    q_error_code e = q_tokenizer_decode(t, ids, n, flags, NULL, 0, &n_out, NULL);
    char *out = (char *)fuzz_memory(n_out);
    char *piece = (char *)fuzz_memory(q_tokenizer_max_token(t) + 3u);
    q_utf8_stream s;
    size_t at = 0;
    size_t m = 0;
    bool same;
    fuzz_must(e == Q_OK, "the room for a text is told");
    fuzz_must(q_tokenizer_decode(t, ids, n, flags, out, n_out, &m, NULL) == Q_OK && m == n_out,
              "a text fits into the room it asked for");
    q_utf8_stream_init(&s);
    for (size_t i = 0; i <= n; i++) {
        e = i < n ? q_tokenizer_stream(t, &s, ids[i], flags, piece, q_tokenizer_max_token(t) + 3u, &m, NULL)
                  : q_utf8_stream_flush(&s, piece, 3, &m);
        fuzz_must(e == Q_OK && m <= n_out - at, "a stream takes every token");
        fuzz_must(memcmp(out + at, piece, m) == 0, "a stream gives the same bytes");
        at += m;
    }
    fuzz_must(at == n_out, "a stream gives every byte");
    same = n_out == n_text && (n_text == 0 || memcmp(out, text, n_text) == 0);
    free(out);
    free(piece);
    return same;
}

static void encode(const q_tokenizer *t, const char *text, size_t n, uint32_t flags, bool exact)
{
    size_t need = q_tokenizer_encode_work_need(t, text, n, flags);
    void *work = need != 0 ? fuzz_memory(need) : NULL;
    size_t n_ids = 0;
    size_t again = 0;
    int32_t *ids;
    q_diag d;
    q_error_code e = q_tokenizer_encode(t, text, n, flags, work, need, NULL, 0, &n_ids, &d);
    fuzz_must(need <= q_tokenizer_encode_work_size(t, n), "no text needs more than the bound");
    fuzz_must(e == Q_OK || e == Q_ERR_NOT_FOUND, "a text becomes ids, or what has no token is named");
    if (e == Q_ERR_NOT_FOUND) {
        fuzz_must((flags & (Q_ENCODE_ADD_BOS | Q_ENCODE_ADD_EOS)) != 0 || ((flags & Q_ENCODE_STRICT) != 0 && !exact),
                  "every byte has a token");
        free(work);
        return;
    }
    ids = (int32_t *)fuzz_memory(n_ids * sizeof(*ids));
    e = q_tokenizer_encode(t, text, n, flags, work, need, ids, n_ids, &again, &d);
    fuzz_must(e == Q_OK && again == n_ids, "ids fit into the room they asked for");
    for (size_t i = 0; i < n_ids; i++) {
        fuzz_must(ids[i] >= 0 && (uint32_t)ids[i] < q_tokenizer_n_vocab(t), "every id has a token");
    }
    fuzz_must(decoded(t, ids, n_ids, 0, (const uint8_t *)text, n) ||
                  !exact || (flags & (Q_ENCODE_ADD_BOS | Q_ENCODE_ADD_EOS)) != 0,
              "decoding gives the text back");
    (void)decoded(t, ids, n_ids, Q_DECODE_SKIP_SPECIAL, NULL, 0);
    free(ids);
    free(work);
}

void fuzz_use_tokenizer(const struct q_tokenizer *t, const uint8_t *text, size_t n)
{
    bool exact = all_bytes_known(t);
    uint32_t left, right, result, length;
    int32_t id;
    const uint8_t *bytes;
    char *copy = (char *)fuzz_memory(n);
    if (n != 0) {
        memcpy(copy, text, n);
    }
    for (uint32_t flags = 0; flags < 16; flags++) {
        encode(t, copy, n, flags, exact);
    }
    free(copy);
    for (uint32_t rank = 0; rank < 64 && q_tokenizer_merge(t, rank, &left, &right, &result); rank++) {
        fuzz_must(left < t->n_vocab && right < t->n_vocab && result < t->n_vocab, "a merge has its tokens");
    }
    for (int32_t i = 0; i < 64 && q_tokenizer_token(t, i, &bytes, &length, NULL); i++) {
        if (length != 0 && q_tokenizer_find(t, bytes, length, &id)) {
            const uint8_t *found;
            uint32_t m;
            fuzz_must(q_tokenizer_token(t, id, &found, &m, NULL) && m == length && memcmp(found, bytes, m) == 0,
                      "what is found has these bytes");
        }
        (void)q_tokenizer_is_eog(t, i);
    }
    (void)q_tokenizer_is_eog(t, -1);
}

/* What no bytes can be. */
static void open_nothing(const uint8_t *section, size_t n)
{
    q_tokenizer t;
    q_diag d;
    fuzz_must(q_tokenizer_open(NULL, section, n, &d) == Q_ERR_INVALID_ARG, "no object");
    fuzz_must(q_tokenizer_open(&t, NULL, n, &d) == Q_ERR_INVALID_ARG, "no section");
    fuzz_must(q_tokenizer_open(&t, section + 1, n, &d) == Q_ERR_MISALIGNED, "a section between addresses");
}

static void tokenizer_run(const uint8_t *bytes, size_t size, q_diag *diag)
{
    uint64_t section = size >= Q_TOKENIZER_HEADER ? fuzz_get(bytes + AT_SECTION_BYTES, 4) : size;
    size_t n = section <= size ? (size_t)section : size;
    uint8_t *exact = (uint8_t *)fuzz_memory(n);
    size_t text = size - n < MAX_TEXT ? size - n : MAX_TEXT;
    q_tokenizer t;
    q_tokenizer twin;
    q_error_code e;
    if (n != 0) {
        memcpy(exact, bytes, n);
    }
    memset(diag, 0, sizeof(*diag));
    memset(&t, 0x5a, sizeof(t));
    twin = t;
    open_nothing(exact, n);
    e = q_tokenizer_open(&t, exact, n, diag);
    fuzz_must(q_tokenizer_open(&twin, exact, n, NULL) == e, "a verdict does not depend on who asks");
    if (e == Q_OK) {
        fuzz_use_tokenizer(&t, bytes + n, text);
    } else {
        fuzz_must(diag->code == e && diag->field[0] != '\0', "an error has a diagnosis");
        fuzz_must(memcmp(&t, &twin, sizeof(t)) == 0, "a refused section leaves the object alone");
    }
    free(exact);
}

/* ---- Changing a section ------------------------------------------------------------------------------------ */

/* Where the tables lie by the counts of the header: start[i] to start[i + 1]. */
static bool tables_of(const uint8_t *bytes, size_t size, uint64_t start[TABLES + 1], uint64_t used[TABLES])
{
    uint64_t vocab = fuzz_get(bytes + 24, 4);
    uint64_t merges = fuzz_get(bytes + 28, 4);
    const uint64_t n[TABLES] = {4 * (vocab + 1),
                                fuzz_get(bytes + 40, 4),
                                vocab,
                                1024,
                                4 * fuzz_get(bytes + 32, 4),
                                4 * fuzz_get(bytes + 36, 4),
                                4 * (vocab + 1),
                                12 * merges,
                                4 * merges,
                                fuzz_get(bytes + 52, 4)};
    start[0] = Q_TOKENIZER_HEADER;
    for (uint32_t i = 0; i < TABLES; i++) {
        used[i] = n[i];
        start[i + 1] = start[i] + (n[i] + 63) / 64 * 64;
    }
    return start[TABLES] <= size;
}

/* Another size of table i, the count of which lies at byte at_count in units of `unit`. */
static size_t resize(uint8_t *bytes, size_t size, size_t max, fuzz_random *r)
{
    static const uint8_t counts[][3] = {{1, 40, 1}, {4, 32, 4}, {5, 36, 4}, {9, 52, 1}};
    const uint8_t *c = counts[fuzz_below(r, 4)];
    uint64_t start[TABLES + 1];
    uint64_t used[TABLES];
    int64_t change = (int64_t)fuzz_below(r, 5) - 2;
    int64_t rows;
    size_t now;
    if (!tables_of(bytes, size, start, used)) {
        return size;
    }
    rows = (int64_t)(used[c[0]] / c[2]) + change;
    if (rows < 0) {
        return size;
    }
    now = fuzz_shift(bytes, size, max, start[c[0]] + ((uint64_t)rows * c[2] + 63) / 64 * 64 <= start[c[0] + 1]
                                           ? start[c[0]] + ((uint64_t)rows * c[2] + 63) / 64 * 64
                                           : start[c[0] + 1],
                     ((rows * c[2] + 63) / 64 - (int64_t)(used[c[0]] + 63) / 64) * 64);
    fuzz_put(bytes + c[1], 4, (uint64_t)rows);
    if (now != size) {
        fuzz_put(bytes + AT_SECTION_BYTES, 4, fuzz_get(bytes + AT_SECTION_BYTES, 4) + now - size);
    }
    return now;
}

static void change_table(uint8_t *bytes, size_t size, fuzz_random *r)
{
    static const uint8_t width[TABLES] = {4, 1, 1, 4, 4, 4, 4, 4, 4, 1};
    uint64_t start[TABLES + 1];
    uint64_t used[TABLES];
    uint32_t i = fuzz_below(r, TABLES);
    uint32_t w = width[i];
    uint64_t at;
    uint64_t other;
    if (!tables_of(bytes, size, start, used) || used[i] < w) {
        return;
    }
    at = start[i] + fuzz_below(r, used[i] / w) * w;
    other = start[i] + fuzz_below(r, used[i] / w) * w;
    switch (fuzz_below(r, 6)) {
    case 0: { /* two elements change places */
        uint64_t value = fuzz_get(bytes + at, w);
        fuzz_put(bytes + at, w, fuzz_get(bytes + other, w));
        fuzz_put(bytes + other, w, value);
        break;
    }
    case 1:
        fuzz_put(bytes + at, w, fuzz_get(bytes + other, w));
        break;
    case 2: /* a byte between the tables, if there is one */
        fuzz_change(r, bytes, size, start[i] + used[i], start[i] + used[i] < start[i + 1] ? 1 : 0);
        break;
    case 3:
        fuzz_put(bytes + at, w, fuzz_once_in(r, 2) ? UINT32_MAX : fuzz_below(r, fuzz_get(bytes + 24, 4) + 1));
        break;
    default:
        fuzz_change(r, bytes, size, at, w);
        break;
    }
}

static size_t tokenizer_mutate(uint8_t *bytes, size_t size, size_t max, fuzz_random *r)
{
    for (uint32_t n = 1 + fuzz_below(r, 3); n > 0 && size >= Q_TOKENIZER_HEADER; n--) {
        uint64_t section = fuzz_get(bytes + AT_SECTION_BYTES, 4);
        switch (fuzz_below(r, 8)) {
        case 0:
            fuzz_change(r, bytes, size, 4u * fuzz_below(r, HEADER_WORDS), 4);
            break;
        case 1: /* flags and special ids: small numbers or none */
            fuzz_put(bytes + 20u + 4u * (fuzz_once_in(r, 4) ? 0 : 10 + fuzz_below(r, 13)), 4,
                     fuzz_once_in(r, 4) ? UINT32_MAX : fuzz_below(r, 10));
            break;
        case 2:
            size = resize(bytes, size, max, r);
            break;
        case 3: /* the text */
            if (section < size) {
                size = (size_t)section + fuzz_bytes(bytes + section, size - (size_t)section, max - (size_t)section, r);
            } else if (section == size && max - size > 8) {
                fuzz_put(bytes + size, 8, (uint64_t)fuzz_next(r) << 32 | 0x20616261u);
                size += 8;
            }
            break;
        case 4:
            size = fuzz_once_in(r, 8) ? fuzz_bytes(bytes, size, max, r) : size;
            break;
        default:
            change_table(bytes, size, r);
            break;
        }
    }
    return size >= Q_TOKENIZER_HEADER ? size : fuzz_bytes(bytes, size, max, r);
}

const fuzz_target fuzz_tokenizer = {"tokenizer", tokenizer_run, tokenizer_mutate};
