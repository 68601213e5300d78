/* SPDX-License-Identifier: MIT */
/*
 * test_vocabulary                              small texts, by hand; what is refused
 * test_vocabulary bpe|characters|bytes SIZE none|gpt-2|smollm IN.txt OUT.qtok     makes a tokenizer, for comparison
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/common/vocabulary.h"

enum { CANARY = 64, CANARY_BYTE = 0x5a };

static int passed;
static int failed;

static void check(bool ok, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s\n", what);
    }
}

/* A tokenizer made; free what it holds by done(). */
typedef struct made {
    uint8_t *memory[3];
    size_t section_bytes;
    vocabulary v;
    q_tokenizer t;
} made;

static uint8_t *take(size_t n)
{
    uint8_t *p = (uint8_t *)aligned_alloc(64, (n + CANARY + 63) / 64 * 64);
    if (p == NULL) {
        exit(1);
    }
    memset(p, 0xee, n);
    memset(p + n, CANARY_BYTE, CANARY);
    return p;
}

static bool intact(const uint8_t *canary)
{
    for (int i = 0; i < CANARY; i++) {
        if (canary[i] != CANARY_BYTE) {
            return false;
        }
    }
    return true;
}

static void done(made *m)
{
    for (int i = 0; i < 3; i++) {
        free(m->memory[i]);
    }
}

static q_error_code make(made *m, const vocabulary_config *c, const char *text, size_t n, q_diag *d)
{
    size_t a = 0;
    size_t b;
    q_error_code e;
    memset(m, 0, sizeof(*m));
    e = vocabulary_words_size(c, text, n, &a, d);
    if (e != Q_OK) {
        return e;
    }
    m->memory[0] = take(a);
    e = vocabulary_words(&m->v, c, text, n, m->memory[0], a, d);
    b = e == Q_OK ? vocabulary_train_size(&m->v) : 0;
    m->memory[1] = take(b);
    e = e == Q_OK ? vocabulary_train(&m->v, m->memory[1], b, d) : e;
    m->section_bytes = e == Q_OK ? vocabulary_section_size(&m->v) : 0;
    m->memory[2] = take(m->section_bytes);
    e = e == Q_OK ? vocabulary_section(&m->v, m->memory[2], m->section_bytes, d) : e;
    if (e == Q_OK) {
        check(intact(m->memory[0] + a) && intact(m->memory[1] + b) && intact(m->memory[2] + m->section_bytes),
              "no byte behind the memory is touched");
        e = q_tokenizer_open(&m->t, m->memory[2], m->section_bytes, d);
    }
    return e;
}

static vocabulary_config config_of(uint32_t kind, uint32_t size, uint32_t pretokenizer)
{
    static const char *const specials[] = {"<|endoftext|>"};
    vocabulary_config c;
    memset(&c, 0, sizeof(c));
    c.kind = kind;
    c.size = size;
    c.pretokenizer = pretokenizer;
    c.n_specials = kind == VOCABULARY_BYTES ? 0 : 1;
    c.specials = specials;
    c.end = kind == VOCABULARY_BYTES ? Q_TOKEN_NONE : 0;
    return c;
}

static bool token_is(const made *m, int32_t id, const char *text)
{
    const uint8_t *bytes;
    uint32_t n;
    return q_tokenizer_token(&m->t, id, &bytes, &n, NULL) && n == strlen(text) && memcmp(bytes, text, n) == 0;
}

/* Ids of a text; returns how many. */
static size_t encode(const made *m, const char *text, size_t n, int32_t *ids, size_t cap)
{
    size_t work = q_tokenizer_encode_work_size(&m->t, n);
    void *p = aligned_alloc(64, (work + 127) / 64 * 64);
    size_t found = 0;
    q_diag d;
    if (q_tokenizer_encode(&m->t, text, n, 0, p, work, ids, cap, &found, &d) != Q_OK) {
        check(false, "the text is encoded");
    }
    free(p);
    return found;
}

static bool round_trip(const made *m, const char *text, size_t n)
{
    int32_t *ids = (int32_t *)malloc((n + 2) * sizeof(int32_t));
    char *back = (char *)malloc(n + 1);
    size_t found = encode(m, text, n, ids, n + 2);
    size_t got = 0;
    q_diag d;
    bool ok = q_tokenizer_decode(&m->t, ids, found, 0, back, n, &got, &d) == Q_OK && got == n && memcmp(back, text, n) == 0;
    free(ids);
    free(back);
    return ok;
}

static void test_by_hand(void)
{
    /* hug 10, pug 5, pun 12, bun 4, hugs 5: u+g 20, u+n 16, h+ug 15: the known example of BPE */
    static const char text[] = "hug\nhug\nhug\nhug\nhug\nhug\nhug\nhug\nhug\nhug\n"
                               "pug\npug\npug\npug\npug\n"
                               "pun\npun\npun\npun\npun\npun\npun\npun\npun\npun\npun\npun\n"
                               "bun\nbun\nbun\nbun\n"
                               "hugs\nhugs\nhugs\nhugs\nhugs\n";
    vocabulary_config c = config_of(VOCABULARY_BPE, 257 + 3, Q_PRETOKENIZER_GPT2);
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    int32_t ids[8];
    made m;
    c.min_count = 1;
    check(make(&m, &c, text, sizeof(text) - 1, &d) == Q_OK && m.t.n_vocab == 260 && token_is(&m, 0, "<|endoftext|>"), "BPE by hand");
    check(token_is(&m, 257, "ug") && token_is(&m, 258, "un") && token_is(&m, 259, "hug"), "u+g, u+n, h+ug");
    check(encode(&m, "hugs", 4, ids, 8) == 2 && ids[0] == 259, "hugs is hug and s");
    check(q_tokenizer_eos(&m.t) == 0 && q_tokenizer_is_eog(&m.t, 0), "the end of a text");
    done(&m);
    c.size = 4096;
    check(make(&m, &c, text, sizeof(text) - 1, &d) == Q_OK && m.t.n_vocab < 300 && round_trip(&m, text, sizeof(text) - 1),
          "a text without more pairs ends early");
    done(&m);
    c.min_count = 13;
    check(make(&m, &c, text, sizeof(text) - 1, &d) == Q_OK && m.t.n_vocab == 257 + 3, "rare pairs are not joined");
    done(&m);
    c = config_of(VOCABULARY_BPE, 300, Q_PRETOKENIZER_NONE);
    check(make(&m, &c, "aaaaaaaaaaaaaaaaab", 18, &d) == Q_OK && token_is(&m, 257, "aa") && token_is(&m, 258, "aaaa") &&
              round_trip(&m, "aaaaaaaaaaaaaaaaab", 18), "a run of one character");
    done(&m);
}

static void test_characters(void)
{
    static const char text[] = "h\xc3\xa9 \xe2\x82\xac \xe2\x82\xad \xf0\x9f\x98\x80\xff!";
    const vocabulary_config c = config_of(VOCABULARY_CHARACTERS, 0, Q_PRETOKENIZER_NONE);
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    int32_t ids[32];
    made m;
    check(make(&m, &c, text, sizeof(text) - 1, &d) == Q_OK && round_trip(&m, text, sizeof(text) - 1), "characters");
    check(encode(&m, text, sizeof(text) - 1, ids, 32) == 10, "one token for each, a stray byte too");
    check(token_is(&m, ids[1], "\xc3\xa9") && token_is(&m, ids[7], "\xf0\x9f\x98\x80"), "those of several bytes are whole");
    check(m.t.n_vocab == 1 + 14 + 1 + 2 + 1 + 3, "bytes that occur, characters, their beginnings once");
    check(encode(&m, "hx", 2, ids, 32) == 1, "a byte that did not occur is left out");
    done(&m);
}

static void test_bytes(void)
{
    const vocabulary_config c = config_of(VOCABULARY_BYTES, 0, Q_PRETOKENIZER_NONE);
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    made m;
    check(make(&m, &c, "x", 1, &d) == Q_OK && m.section_bytes == 128 && m.t.n_vocab == 259 && round_trip(&m, "any \xff text", 10),
          "the byte tokenizer");
    done(&m);
}

static void refused(vocabulary_config c, const char *text, size_t n, q_error_code code, const char *field)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    made m;
    char what[64];
    q_error_code e = make(&m, &c, text, n, &d);
    (void)snprintf(what, sizeof(what), "refused: %s (was %s)", field, d.field);
    check(e == code && strcmp(d.field, field) == 0, what);
    done(&m);
}

static void test_refusals(void)
{
    static const char *const twice[] = {"<a>", "<a>"};
    static const char *const empty[] = {""};
    vocabulary_config good = config_of(VOCABULARY_BPE, 300, Q_PRETOKENIZER_GPT2);
    vocabulary_config c = good;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    size_t n = 0;
    vocabulary v;
    uint8_t *p;
    c.kind = 3;
    refused(c, "x", 1, Q_ERR_INVALID_ARG, "kind");
    refused(good, "x", 0, Q_ERR_INVALID_ARG, "text");
    refused(good, NULL, 1, Q_ERR_INVALID_ARG, "text");
    c = good;
    c.size = 256;
    refused(c, "x", 1, Q_ERR_INVALID_ARG, "size");
    c.size = Q_TOKENIZER_MAX_VOCAB + 1;
    refused(c, "x", 1, Q_ERR_LIMIT, "size");
    c = good;
    c.pretokenizer = 3;
    refused(c, "x", 1, Q_ERR_INVALID_ARG, "pretokenizer");
    c = good;
    c.end = 1;
    refused(c, "x", 1, Q_ERR_INVALID_ARG, "end");
    c = good;
    c.n_specials = VOCABULARY_MAX_SPECIALS + 1;
    refused(c, "x", 1, Q_ERR_LIMIT, "n_specials");
    c = good;
    c.n_specials = 2;
    c.specials = twice;
    refused(c, "x", 1, Q_ERR_CORRUPT, "special_ids");
    c.n_specials = 1;
    c.specials = empty;
    refused(c, "x", 1, Q_ERR_CORRUPT, "token_types");
    c = good;
    c.chat_format = Q_CHAT_CHATML;
    refused(c, "x", 1, Q_ERR_CORRUPT, "chat_format");
    check(vocabulary_words_size(&good, "a text", 6, &n, &d) == Q_OK, "the twin");
    p = take(n);
    check(vocabulary_words(&v, &good, "a text", 6, p, n - 1, &d) == Q_ERR_NO_SPACE && d.need == n, "a byte too little for words");
    check(vocabulary_words(&v, &good, "a text", 6, p + 4, n, &d) == Q_ERR_MISALIGNED, "words misaligned");
    check(vocabulary_words(&v, &good, "a text", 6, p, n, &d) == Q_OK &&
              vocabulary_train(&v, p, vocabulary_train_size(&v) - 1, &d) == Q_ERR_NO_SPACE, "a byte too little for training");
    free(p);
}

static int tool(char **argv)
{
    static const char *const kinds[] = {"bpe", "characters", "bytes"};
    static const char *const cuts[] = {"none", "gpt-2", "smollm"};
    uint32_t kind = 0;
    uint32_t cut = 0;
    vocabulary_config c;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    made m;
    static char text[64 << 20];
    size_t n;
    FILE *f = fopen(argv[4], "rb");
    while (kind < 2 && strcmp(kinds[kind], argv[1]) != 0) {
        kind++;
    }
    while (cut < 2 && strcmp(cuts[cut], argv[3]) != 0) {
        cut++;
    }
    n = f != NULL ? fread(text, 1, sizeof(text), f) : 0;
    c = config_of(kind, (uint32_t)atoi(argv[2]), cut);
    if (f == NULL || fclose(f) != 0 || make(&m, &c, text, n, &d) != Q_OK) {
        printf("error %d: %s\n", (int)d.code, d.field);
        return 1;
    }
    f = fopen(argv[5], "wb");
    n = f != NULL ? fwrite(m.memory[2], 1, m.section_bytes, f) : 0;
    printf("%u tokens, %u merges, %u pieces, %zu bytes\n", m.t.n_vocab, m.t.n_merges, m.v.n_words, m.section_bytes);
    passed = f != NULL && fclose(f) == 0 && n == m.section_bytes && failed == 0;
    done(&m);
    return passed ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 6) {
        return tool(argv);
    }
    test_by_hand();
    test_characters();
    test_bytes();
    test_refusals();
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
