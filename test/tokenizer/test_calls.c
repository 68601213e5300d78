/* SPDX-License-Identifier: MIT */
/*
 * test_calls.c: calls with one bad argument, each beside an accepted twin; capacities one short and
 * exact.
 */
#include "tok_test.h"

#include <string.h>

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
    q_error_code got = q_tokenizer_encode(a.t, a.text, a.n, a.flags, a.work, a.work_size, a.ids,
                                          a.cap, &n_ids, &diag);
    CHECK(got == code && strcmp(diag.field, field) == 0 && n_ids == 12345, "%s: code %d, field %s",
          name, got, diag.field);
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
    CHECK(q_tokenizer_encode(t, text, 25, 0, work, sizeof work, ids, 104, &n, NULL) == Q_OK,
          "the good twin");
    CHECK(q_tokenizer_encode(t, text, 25, 0, work, sizeof work, ids, 104, NULL, NULL) ==
              Q_ERR_INVALID_ARG,
          "A01 n_ids");
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
    refuse_encode("A24 ids over work", WITH(ids, (int32_t *)(void *)work + 8), Q_ERR_ALIASING,
                  "ids");
    refuse_encode("A24 text over ids", WITH(text, (char *)ids), Q_ERR_ALIASING, "ids");
    refuse_encode("T31 capacity 0", WITH(cap, 0), Q_ERR_NO_SPACE, "ids");
    refuse_encode("T31 capacity n - 1", WITH(cap, n - 1), Q_ERR_NO_SPACE, "ids");
#undef WITH
    CHECK(q_tokenizer_encode(t, text, 25, 0, work, sizeof work, ids, n, &n, NULL) == Q_OK,
          "T31 capacity n");
    CHECK(q_tokenizer_encode(t, NULL, 0, 0, NULL, 0, NULL, 0, &n, NULL) == Q_OK && n == 0,
          "T35 NULL with 0");
    CHECK(q_tokenizer_encode(t, text, 0, 3, NULL, 0, ids, 2, &n, NULL) == Q_OK && n == 2 &&
              ids[0] == 1 && ids[1] == 2,
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
    CHECK(need == 6400 && q_tokenizer_encode_work_size(t, sizeof text) == 6400,
          "work for one piece of 200: %zu", need);
    CHECK(q_tokenizer_encode(t, text, sizeof text, 0, work, need - 1, ids, 202, &n, &diag) ==
                  Q_ERR_NO_SPACE &&
              strcmp(diag.field, "work") == 0 && diag.need == need && diag.have == need - 1 &&
              n == 777 && ids[0] == 0x55555555,
          "R01 one byte of work less");
    CHECK(q_tokenizer_encode(t, text, sizeof text, 0, work, need, ids, 202, &n, &diag) == Q_OK,
          "R02 exact work");
    CHECK(q_tokenizer_encode_work_size(t, 32) == 0 &&
              q_tokenizer_encode_work_size(t, 33) == 33 * 32 &&
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
    CHECK(q_tokenizer_decode(t, ids, 3, 0, out, sizeof out, &n, &diag) == Q_ERR_INVALID_TOKEN &&
              diag.offset == 1 && diag.need == t->n_vocab && n == 777 && out[0] == 0x55,
          "%s", name);
    CHECK(q_tokenizer_stream(t, &s, bad, 0, out, sizeof out, &n, &diag) == Q_ERR_INVALID_TOKEN &&
              n == 777,
          "%s, stream", name);
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
    CHECK(q_tokenizer_decode(t, ids, 2, 0, out, 12, &n, &diag) == Q_ERR_NO_SPACE &&
              diag.need == 13 && n == 13,
          "T31 decode capacity n - 1");
    CHECK(q_tokenizer_decode(t, ids, 2, 0, out, 13, &n, NULL) == Q_OK &&
              memcmp(out, "<|im_start|>", 12) == 0,
          "T31 decode capacity n");
    CHECK(q_tokenizer_decode(t, NULL, 0, 0, out, 64, &n, NULL) == Q_OK && n == 0, "T35 no ids");
    CHECK(q_tokenizer_decode(t, NULL, 1, 0, out, 64, &n, NULL) == Q_ERR_INVALID_ARG, "A01 ids");
    CHECK(q_tokenizer_decode(NULL, ids, 1, 0, out, 64, &n, NULL) == Q_ERR_INVALID_ARG,
          "A01 tokenizer");
    CHECK(q_tokenizer_decode(t, ids, 1, 0, out, 64, NULL, NULL) == Q_ERR_INVALID_ARG, "A01 n_out");
    CHECK(q_tokenizer_decode(t, ids, 1, 2, out, 64, &n, NULL) == Q_ERR_INVALID_ARG, "A06 flags");
    CHECK(q_tokenizer_decode(t, ids, SIZE_MAX / 2, 0, out, 64, &n, NULL) == Q_ERR_INVALID_SIZE,
          "ids past memory");
    CHECK(q_tokenizer_decode(t, ids, 2, 0, (char *)(uintptr_t)ids, 64, &n, NULL) == Q_ERR_ALIASING,
          "A24 out over ids");
    CHECK(q_utf8_stream_push(&s, "\xAC", 1, out, 2, &n) == Q_ERR_NO_SPACE && s.n == 2,
          "stream room 2 of 3");
    CHECK(q_utf8_stream_push(&s, "\xAC", 1, out, 3, &n) == Q_OK && n == 3 && s.n == 0,
          "stream room 3 of 3");
    CHECK(q_utf8_stream_push(&broken, "a", 1, out, 9, &n) == Q_ERR_INVALID_ARG,
          "stream never initialised");
    CHECK(q_utf8_stream_push(NULL, "a", 1, out, 9, &n) == Q_ERR_INVALID_ARG, "A01 stream");
}

void tok_test_calls(const q_tokenizer *t)
{
    test_encode_calls(t);
    test_work_short(t);
    test_decode_calls(t);
}
