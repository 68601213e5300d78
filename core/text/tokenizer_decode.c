/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_decode.c: ids to bytes, at once or token by token without cutting a UTF-8 character.
 */
#include "qorus/base/mem.h"

#include "tokenizer_inner.h"

/* ---- At once --------------------------------------------------------------------------------- */

/* Bytes a token gives under these flags. */
static const uint8_t *decoded_bytes(const q_tokenizer *t, uint32_t id, uint32_t flags, uint32_t *n)
{
    const uint8_t *bytes = q_token_bytes(t, id, n);
    if ((flags & Q_DECODE_SKIP_SPECIAL) != 0 && q_token_kind(t, id) == Q_TOKEN_CONTROL) {
        *n = 0;
    }
    return bytes;
}

static q_error_code decode_total(const q_tokenizer *t, const int32_t *ids, size_t n, uint32_t flags,
                                 size_t *total, q_diag *diag)
{
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t length;
        if (ids[i] < 0 || (uint32_t)ids[i] >= t->n_vocab) {
            return q_tokenizer_fail(diag, Q_ERR_INVALID_TOKEN, "ids", i, t->n_vocab,
                                    (uint64_t)(int64_t)ids[i]);
        }
        (void)decoded_bytes(t, (uint32_t)ids[i], flags, &length);
        if (!q_add_size(*total, length, total)) {
            return q_tokenizer_fail(diag, Q_ERR_OVERFLOW, "ids", i, 0, length);
        }
    }
    return Q_OK;
}

static q_error_code decode_check(const q_tokenizer *t, const int32_t *ids, size_t n, uint32_t flags,
                                 const char *out, size_t cap, const size_t *n_out, q_diag *diag)
{
    if (t == NULL || n_out == NULL || (ids == NULL && n != 0) || (out == NULL && cap != 0)) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_ARG, "NULL", 0, 0, 0);
    }
    if ((flags & ~(uint32_t)Q_DECODE_SKIP_SPECIAL) != 0) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_ARG, "flags", 0, Q_DECODE_SKIP_SPECIAL, flags);
    }
    if (t->kind == 0) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_STATE, "t", 0, 0, 0);
    }
    if (n > SIZE_MAX / sizeof(int32_t) || n * sizeof(int32_t) > UINTPTR_MAX - (uintptr_t)ids) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_SIZE, "n", 0, SIZE_MAX / sizeof(int32_t), n);
    }
    if (cap > UINTPTR_MAX - (uintptr_t)out) {
        return q_tokenizer_fail(diag, Q_ERR_INVALID_SIZE, "cap", 0, UINTPTR_MAX - (uintptr_t)out,
                                cap);
    }
    if (q_overlaps(ids, n * sizeof(int32_t), out, cap)) {
        return q_tokenizer_fail(diag, Q_ERR_ALIASING, "out", 0, 0, 0);
    }
    return Q_OK;
}

q_error_code q_tokenizer_decode(const q_tokenizer *t, const int32_t *ids, size_t n, uint32_t flags,
                                char *out, size_t cap, size_t *n_out, q_diag *diag)
{
    size_t total;
    size_t at = 0;
    q_error_code code = decode_check(t, ids, n, flags, out, cap, n_out, diag);
    code = code != Q_OK ? code : decode_total(t, ids, n, flags, &total, diag);
    if (code != Q_OK) {
        return code;
    }
    if (out != NULL && total > cap) {
        return q_tokenizer_fail(diag, Q_ERR_NO_SPACE, "out", 0, total, cap);
    }
    for (size_t i = 0; out != NULL && i < n; i++) {
        uint32_t length;
        const uint8_t *bytes = decoded_bytes(t, (uint32_t)ids[i], flags, &length);
        memcpy(out + at, bytes, length);
        at += length;
    }
    *n_out = total;
    return Q_OK;
}

/* ---- Streaming ------------------------------------------------------------------------------- */

/* True if n bytes, 1 to 3, begin a valid character without completing it. */
static bool utf8_incomplete(const uint8_t *p, size_t n)
{
    if (q_utf8_length(p[0]) <= n) {
        return false;
    }
    if (n >= 2 && !q_utf8_second_ok(p[0], p[1])) {
        return false;
    }
    return n < 3 || (p[2] & 0xC0u) == 0x80u;
}

/* How many of the last bytes of `held` followed by n `bytes` must wait for more: 0 to 3. */
static size_t utf8_tail(const q_utf8_stream *s, const uint8_t *bytes, size_t n)
{
    size_t all = s->n + n;
    uint8_t last[3];
    size_t count = all < 3 ? all : 3;
    for (size_t i = 0; i < count; i++) {
        size_t at = all - count + i;
        last[i] = at < s->n ? s->held[at] : bytes[at - s->n];
    }
    for (size_t i = 0; i < count; i++) {
        if (utf8_incomplete(last + i, count - i)) {
            return count - i;
        }
    }
    return 0;
}

q_error_code q_utf8_stream_push(q_utf8_stream *s, const void *bytes, size_t n, char *out,
                                size_t cap, size_t *n_out)
{
    const uint8_t *from = (const uint8_t *)bytes;
    uint8_t kept[3];
    size_t tail;
    size_t give;
    if (s == NULL || s->n > 3 || n_out == NULL || (bytes == NULL && n != 0) ||
        (out == NULL && cap != 0) || n > SIZE_MAX - 3) {
        return Q_ERR_INVALID_ARG;
    }
    tail = utf8_tail(s, from, n);
    give = s->n + n - tail;
    if (give > cap) {
        return Q_ERR_NO_SPACE;
    }
    for (size_t i = 0; i < tail; i++) {
        kept[i] = give + i < s->n ? s->held[give + i] : from[give + i - s->n];
    }
    for (size_t i = 0; i < give; i++) {
        out[i] = (char)(i < s->n ? s->held[i] : from[i - s->n]);
    }
    for (size_t i = 0; i < tail; i++) {
        s->held[i] = kept[i];
    }
    s->n = (uint8_t)tail;
    *n_out = give;
    return Q_OK;
}

q_error_code q_utf8_stream_flush(q_utf8_stream *s, char *out, size_t cap, size_t *n_out)
{
    if (s == NULL || s->n > 3 || n_out == NULL || (out == NULL && cap != 0)) {
        return Q_ERR_INVALID_ARG;
    }
    if (s->n > cap) {
        return Q_ERR_NO_SPACE;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        out[i] = (char)s->held[i];
    }
    *n_out = s->n;
    q_utf8_stream_init(s);
    return Q_OK;
}

q_error_code q_tokenizer_stream(const q_tokenizer *t, q_utf8_stream *s, int32_t id, uint32_t flags,
                                char *out, size_t cap, size_t *n_out, q_diag *diag)
{
    const uint8_t *bytes;
    uint32_t n;
    size_t total;
    q_error_code code = decode_check(t, &id, 1, flags, out, cap, n_out, diag);
    code = code != Q_OK ? code : decode_total(t, &id, 1, flags, &total, diag);
    if (code != Q_OK) {
        return code;
    }
    bytes = decoded_bytes(t, (uint32_t)id, flags, &n);
    code = q_utf8_stream_push(s, bytes, n, out, cap, n_out);
    if (code == Q_ERR_NO_SPACE) {
        return q_tokenizer_fail(diag, code, "out", 0, (uint64_t)n + 3, cap);
    }
    return code == Q_OK ? Q_OK : q_tokenizer_fail(diag, code, "stream", 0, 0, 0);
}
