/* SPDX-License-Identifier: MIT */
/*
 * test_bad.c: the table of bad sections between guard pages, and every byte of a section changed.
 */
#include "tok_test.h"

#include "bad_tokens.h"

#include <string.h>

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
static void test_every_byte(const tok_bytes *s, bool thorough)
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

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    printf("%.*s\n", (int)n, line);
}

void tok_test_bad(const tok_bytes *section, bool thorough)
{
    tok_bytes copy = {(unsigned char *)guard_new(section->n, true), section->n};
    bad_tokens_counts counts = {0, 0};
    bad_tokens_run(section->data, section->n, copy.data, copy.n, print_line, NULL, &counts);
    tally.passed += counts.passed;
    tally.failed += counts.failed;
    CHECK(counts.passed > 90, "%u bad sections judged", counts.passed);
    memcpy(copy.data, section->data, copy.n);
    test_every_byte(&copy, thorough);
    guard_free(copy.data, copy.n);
}
