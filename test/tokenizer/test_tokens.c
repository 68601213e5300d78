/* SPDX-License-Identifier: MIT */
/*
 * test_tokens.c: tokens, lookup, merges, special tokens, the byte tokenizer, and streaming.
 */
#include "tok_test.h"

#include <stdlib.h>
#include <string.h>

/* ---- Tokens and merges ----------------------------------------------------------------------- */

static void check_token(const q_tokenizer *t, int32_t id)
{
    const uint8_t *bytes;
    uint32_t n;
    q_token_type type;
    int32_t found = -1;
    bool ok = q_tokenizer_token(t, id, &bytes, &n, &type);
    CHECK(ok && n <= q_tokenizer_max_token(t), "token %d", id);
    if (ok && type == Q_TOKEN_UNUSED) {
        CHECK(!q_tokenizer_find(t, bytes, n, &found) || found != id, "unused token %d is found",
              id);
    } else if (ok) {
        CHECK(q_tokenizer_find(t, bytes, n, &found) && found == id, "token %d found as %d", id,
              found);
    }
}

static void check_merges(const q_tokenizer *t)
{
    uint32_t left, right, result;
    for (uint32_t rank = 0; rank < t->n_merges; rank++) {
        const uint8_t *a, *b, *c;
        uint32_t na, nb, nc;
        bool ok = q_tokenizer_merge(t, rank, &left, &right, &result) &&
                  q_tokenizer_token(t, (int32_t)left, &a, &na, NULL) &&
                  q_tokenizer_token(t, (int32_t)right, &b, &nb, NULL) &&
                  q_tokenizer_token(t, (int32_t)result, &c, &nc, NULL);
        CHECK(ok && nc == na + nb && memcmp(c, a, na) == 0 && memcmp(c + na, b, nb) == 0,
              "merge %u", rank);
    }
    CHECK(!q_tokenizer_merge(t, t->n_merges, &left, &right, &result), "merge past the last");
}

static void check_special_values(const q_tokenizer *t)
{
    uint32_t n;
    const char *system = q_tokenizer_system(t, &n);
    int32_t id;
    CHECK(q_tokenizer_bos(t) == 1 && q_tokenizer_eos(t) == 2 && q_tokenizer_pad(t) == 2 &&
              q_tokenizer_unk(t) == 0,
          "special ids");
    CHECK(q_tokenizer_is_eog(t, 0) && q_tokenizer_is_eog(t, 2), "ends of generation");
    CHECK(!q_tokenizer_is_eog(t, 1) && !q_tokenizer_is_eog(t, -1) &&
              !q_tokenizer_is_eog(t, INT32_MAX),
          "no end of generation");
    CHECK(q_tokenizer_chat_format(t) == Q_CHAT_CHATML && q_tokenizer_encode_flags(t) == 0,
          "chat format, flags");
    CHECK(n > 20 && memcmp(system, "You are a helpful AI", 20) == 0, "system message");
    CHECK(!q_tokenizer_find(t, "", 0, &id) && !q_tokenizer_find(t, "no such token", 13, &id),
          "absent tokens");
}

/* T30: special-token text stays text unless the caller asks; user-defined tokens are found always.
 */
static void check_special_text(const q_tokenizer *t)
{
    static const char text[] = "<|im_start|>user<user><user><|im_end|>";
    int32_t ids[64];
    size_t n, plain_n;
    int32_t start, user, both;
    char back[64];
    size_t n_back;
    CHECK(q_tokenizer_find(t, "<|im_start|>", 12, &start) &&
              q_tokenizer_find(t, "<user>", 6, &user) &&
              q_tokenizer_find(t, "<user><user>", 12, &both),
          "special tokens are found");
    CHECK(q_tokenizer_encode(t, text, sizeof text - 1, Q_ENCODE_PARSE_SPECIAL, NULL, 0, ids, 64, &n,
                             NULL) == Q_OK &&
              ids[0] == start && ids[n - 2] == both && ids[n - 1] == 2,
          "T30 parsed");
    CHECK(q_tokenizer_decode(t, ids, n, Q_DECODE_SKIP_SPECIAL, back, 64, &n_back, NULL) == Q_OK &&
              n_back == 16 && memcmp(back, "user<user><user>", 16) == 0,
          "control tokens skipped, user tokens kept");
    CHECK(q_tokenizer_encode(t, text, sizeof text - 1, 0, NULL, 0, ids, 64, &plain_n, NULL) == Q_OK,
          "T30 plain");
    for (size_t i = 0; i < plain_n; i++) {
        const uint8_t *bytes;
        uint32_t length;
        q_token_type type;
        CHECK(q_tokenizer_token(t, ids[i], &bytes, &length, &type) && type != Q_TOKEN_CONTROL,
              "T30 control token from text");
    }
}

/* A byte without a token becomes unk where the section says so. */
static void check_unk_bytes(const tok_bytes *section)
{
    unsigned char *copy = (unsigned char *)guard_new(section->n, true);
    q_tokenizer t;
    int32_t ids[8];
    size_t n;
    memcpy(copy, section->data, section->n);
    copy[20] |= Q_TOKENIZER_UNK_BYTES;
    CHECK(q_tokenizer_open(&t, copy, section->n, NULL) == Q_OK, "unk flag accepted");
    CHECK(q_tokenizer_encode(&t,
                             "a\x04"
                             "b\xff",
                             4, 0, NULL, 0, ids, 8, &n, NULL) == Q_OK &&
              n == 4 && ids[1] == 0 && ids[3] == 0,
          "missing bytes become unk");
    CHECK(q_tokenizer_encode(&t, "a\x04", 2, Q_ENCODE_STRICT, NULL, 0, ids, 8, &n, NULL) ==
              Q_ERR_NOT_FOUND,
          "strict refuses them");
    guard_free(copy, section->n);
}

/* ---- The byte tokenizer ---------------------------------------------------------------------- */

static void check_byte_tokenizer(const q_tokenizer *t)
{
    int32_t ids[300];
    unsigned char all[256], back[300];
    size_t n;
    for (size_t i = 0; i < 256; i++) {
        all[i] = (unsigned char)i;
    }
    CHECK(t->n_vocab == 259 && t->bos == 256 && t->eos == 257 && t->pad == 258, "D2 ids");
    CHECK(q_tokenizer_encode_work_size(t, 1 << 20) == 0, "the byte tokenizer needs no work");
    CHECK(q_tokenizer_encode(t, (char *)all, 256,
                             Q_ENCODE_ADD_BOS | Q_ENCODE_ADD_EOS | Q_ENCODE_STRICT, NULL, 0, ids,
                             258, &n, NULL) == Q_OK &&
              n == 258 && ids[0] == 256 && ids[257] == 257,
          "bos, bytes, eos");
    for (int32_t i = 0; i < 256; i++) {
        CHECK(ids[i + 1] == i, "byte %d", i);
    }
    CHECK(q_tokenizer_decode(t, ids, 258, Q_DECODE_SKIP_SPECIAL, (char *)back, 256, &n, NULL) ==
                  Q_OK &&
              n == 256 && memcmp(all, back, 256) == 0,
          "bytes back");
    CHECK(q_tokenizer_decode(t, ids, 258, 0, (char *)back, 300, &n, NULL) == Q_OK && n == 266 &&
              memcmp(back, "<bos>", 5) == 0 && memcmp(back + 261, "<eos>", 5) == 0,
          "special text back");
    CHECK(q_tokenizer_encode(t, "a<eos><pad", 10, Q_ENCODE_PARSE_SPECIAL, NULL, 0, ids, 300, &n,
                             NULL) == Q_OK &&
              n == 6 && ids[0] == 'a' && ids[1] == 257 && ids[2] == '<',
          "special text parsed");
    CHECK(q_tokenizer_encode(t, "<eos>", 5, 0, NULL, 0, ids, 300, &n, NULL) == Q_OK && n == 5,
          "text stays text");
    CHECK(q_tokenizer_is_eog(t, 257) && !q_tokenizer_is_eog(t, 0), "eos ends");
    for (int32_t id = 0; id < 259; id++) {
        check_token(t, id);
    }
}

void tok_test_tokens(const q_tokenizer *t, const tok_bytes *section, const char *byte_path)
{
    q_tokenizer byte;
    tok_bytes byte_section;
    const uint8_t *bytes;
    uint32_t n;
    for (uint32_t id = 0; id < q_tokenizer_n_vocab(t); id++) {
        check_token(t, (int32_t)id);
    }
    CHECK(!q_tokenizer_token(t, (int32_t)t->n_vocab, &bytes, &n, NULL) &&
              !q_tokenizer_token(t, -1, &bytes, &n, NULL),
          "tokens outside the vocabulary");
    check_merges(t);
    check_special_values(t);
    check_special_text(t);
    check_unk_bytes(section);
    CHECK(q_tokenizer_init_byte(&byte) == Q_OK && q_tokenizer_init_byte(NULL) == Q_ERR_INVALID_ARG,
          "init_byte");
    check_byte_tokenizer(&byte);
    if (tok_open_file(byte_path, &byte, &byte_section)) {
        check_byte_tokenizer(&byte);
    }
}

/* ---- Streaming ------------------------------------------------------------------------------- */

/* Length of the valid character at p, 0 if none: by decoding and encoding again. */
static size_t char_length(const unsigned char *p, size_t n)
{
    uint32_t cp;
    if (p[0] < 0x80) {
        return 1;
    }
    if (n >= 2 && p[0] >> 5 == 6 && p[1] >> 6 == 2) {
        cp = (p[0] & 31u) << 6 | (p[1] & 63u);
        return cp >= 0x80 ? 2 : 0;
    }
    if (n >= 3 && p[0] >> 4 == 14 && p[1] >> 6 == 2 && p[2] >> 6 == 2) {
        cp = (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
        return cp >= 0x800 && (cp < 0xD800 || cp > 0xDFFF) ? 3 : 0;
    }
    if (n >= 4 && p[0] >> 3 == 30 && p[1] >> 6 == 2 && p[2] >> 6 == 2 && p[3] >> 6 == 2) {
        cp = (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
        return cp >= 0x10000 && cp <= 0x10FFFF ? 4 : 0;
    }
    return 0;
}

/* inside[i] = 1 if a cut before byte i would split a character. */
static void mark_inside(const unsigned char *text, size_t n, unsigned char *inside)
{
    memset(inside, 0, n + 1);
    for (size_t i = 0; i < n;) {
        size_t length = char_length(text + i, n - i);
        for (size_t k = 1; k < length; k++) {
            inside[i + k] = 1;
        }
        i += length != 0 ? length : 1;
    }
}

/* True if some bytes after these n, 1 to 3, would complete a character that p begins. */
static bool can_complete(const unsigned char *p, size_t n)
{
    static const unsigned char edges[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    for (size_t total = n + 1; total <= 4; total++) {
        for (size_t k = 0; k < 6; k++) { /* only the second byte has bounds of its own */
            unsigned char whole[4] = {0x80, edges[k], 0x80, 0x80};
            memcpy(whole, p, n);
            if (char_length(whole, total) == total) {
                return true;
            }
        }
    }
    return false;
}

/* How many bytes a stream must hold back after these n. */
static size_t expected_hold(const unsigned char *text, size_t n)
{
    for (size_t hold = n < 3 ? n : 3; hold > 0; hold--) {
        if (text[n - hold] >= 0x80 && can_complete(text + n - hold, hold)) {
            return hold;
        }
    }
    return 0;
}

/* Pushes bytes and checks that what came out so far is a beginning of the text that splits nothing.
 */
static bool push_checked(q_utf8_stream *s, const unsigned char *bytes, size_t n,
                         const unsigned char *text, const unsigned char *inside, size_t *done)
{
    char *out = (char *)guard_new(n + s->n, true);
    size_t room = n + s->n;
    size_t got = 0;
    bool ok = q_utf8_stream_push(s, bytes, n, out, room, &got) == Q_OK && got + s->n == room &&
              memcmp(out, text + *done, got) == 0;
    *done += got;
    guard_free(out, room);
    return ok && !inside[*done] && s->n == expected_hold(text, *done + s->n);
}

static bool stream_split(const unsigned char *text, size_t n, size_t first, size_t step,
                         const unsigned char *inside)
{
    q_utf8_stream s;
    size_t done = 0;
    size_t got = 0;
    char rest[3];
    bool ok = true;
    size_t at = 0;
    q_utf8_stream_init(&s);
    while (ok && at < n) {
        size_t size = at == 0 && first != 0 ? first : step;
        size = size < n - at ? size : n - at;
        ok = push_checked(&s, text + at, size, text, inside, &done);
        at += size;
    }
    ok =
        ok && q_utf8_stream_flush(&s, rest, 3, &got) == Q_OK && memcmp(rest, text + done, got) == 0;
    return ok && done + got == n && s.n == 0;
}

/* Token by token, as generation prints it. */
static bool stream_tokens(const q_tokenizer *t, const int32_t *ids, size_t count,
                          unsigned char *inside)
{
    unsigned char whole[4096];
    char out[256];
    size_t n = 0;
    size_t done = 0;
    size_t got;
    q_utf8_stream s;
    if (q_tokenizer_decode(t, ids, count, 0, (char *)whole, sizeof whole, &n, NULL) != Q_OK) {
        return false;
    }
    mark_inside(whole, n, inside);
    q_utf8_stream_init(&s);
    for (size_t i = 0; i < count; i++) {
        if (q_tokenizer_stream(t, &s, ids[i], 0, out, sizeof out, &got, NULL) != Q_OK ||
            memcmp(out, whole + done, got) != 0 || inside[done + got]) {
            return false;
        }
        done += got;
    }
    return q_utf8_stream_flush(&s, out, sizeof out, &got) == Q_OK &&
           memcmp(out, whole + done, got) == 0 && done + got == n;
}

void tok_test_stream(const q_tokenizer *t, const tok_strings *s, const tok_ids *ids)
{
    unsigned char inside[8192];
    for (uint32_t i = 0; i < s->n; i++) {
        const unsigned char *text = s->text[i];
        size_t n = s->length[i];
        bool ok = true;
        mark_inside(text, n, inside);
        for (size_t first = 0; ok && first <= n && first < 40; first++) {
            ok = stream_split(text, n, first, n + 1, inside);
        }
        CHECK(ok && stream_split(text, n, 0, 1, inside) && stream_split(text, n, 1, 2, inside) &&
                  stream_split(text, n, 0, 3, inside),
              "T33 stream of string %u", i);
        CHECK(stream_tokens(t, ids->ids[i], ids->count[i], inside), "T33 tokens of string %u", i);
    }
}
