/* SPDX-License-Identifier: MIT */
/* qorus tokenize: text to token ids on one line, or ids back to text. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

/* The bytes to work on: -p, -f, or standard input. NULL after saying what is wrong; free it. */
static char *read_input(const options *o, size_t *n)
{
    char *copy;
    if (o->prompt == NULL) {
        return host_read(o->file != NULL ? o->file : "-", n);
    }
    *n = strlen(o->prompt);
    copy = (char *)malloc(*n + 1);
    if (copy == NULL) {
        say("out of memory");
        return NULL;
    }
    memcpy(copy, o->prompt, *n + 1);
    return copy;
}

static int finish(bool ok)
{
    if (!ok || fflush(stdout) != 0 || ferror(stdout)) {
        say("cannot write the result");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* ---- Text to ids ------------------------------------------------------------------------------------------ */

static int print_ids(host *h, const options *o, const char *text, size_t n)
{
    const q_tokenizer *t = &h->engine.tokenizer;
    uint32_t flags = q_tokenizer_encode_flags(t) | (o->special ? (uint32_t)Q_ENCODE_PARSE_SPECIAL : 0u);
    size_t work_size = q_tokenizer_encode_work_need(t, text, n, flags);
    void *work = host_take(h, work_size, "tokenizer work");
    int32_t *ids = (int32_t *)host_take(h, (n + 2) * sizeof(int32_t), "token ids");
    size_t n_ids = 0;
    if (work == NULL || ids == NULL) {
        return EXIT_FAILED;
    }
    if (q_tokenizer_encode(t, text, n, flags, work, work_size, ids, n + 2, &n_ids, &h->diag) != Q_OK) {
        return say_failure("text", &h->diag);
    }
    for (size_t i = 0; i < n_ids; i++) {
        (void)printf(i == 0 ? "%d" : " %d", (int)ids[i]);
    }
    return finish(putchar('\n') != EOF);
}

/* ---- Ids to text ------------------------------------------------------------------------------------------ */

static bool is_gap(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',';
}

/* The next id of text[*at, n): 1, or 0 at the end, or -1 after saying what is wrong. */
static int next_id(const q_tokenizer *t, const char *text, size_t n, size_t *at, size_t count, int32_t *id)
{
    char word[24];
    size_t length = 0;
    uint64_t value;
    while (*at < n && is_gap(text[*at])) {
        ++*at;
    }
    if (*at == n) {
        return 0;
    }
    while (*at + length < n && !is_gap(text[*at + length])) {
        length++;
    }
    (void)snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : sizeof(word) - 1), text + *at);
    *at += length;
    if (length >= sizeof(word) || !options_u64(word, &value)) {
        say("--decode: '%s%s', word %zu, is no token id", word, length >= sizeof(word) ? "..." : "", count + 1);
        return -1;
    }
    if (value >= q_tokenizer_n_vocab(t)) {
        say("--decode: id %s, word %zu, is not in the vocabulary (0 to %u)", word, count + 1,
            q_tokenizer_n_vocab(t) - 1);
        return -1;
    }
    *id = (int32_t)value;
    return 1;
}

/* All ids are read before the first byte of text is written. */
static bool read_ids(host *h, const char *text, size_t n, int32_t *ids, size_t *n_ids)
{
    size_t at = 0;
    int more;
    *n_ids = 0;
    while ((more = next_id(&h->engine.tokenizer, text, n, &at, *n_ids, &ids[*n_ids])) > 0) {
        ++*n_ids;
    }
    return more == 0;
}

static int print_text(host *h, const options *o, const char *text, size_t n)
{
    const q_tokenizer *t = &h->engine.tokenizer;
    uint32_t flags = o->special ? 0u : (uint32_t)Q_DECODE_SKIP_SPECIAL;
    int32_t *ids = (int32_t *)host_take(h, (n / 2 + 2) * sizeof(int32_t), "token ids");
    char *out;
    size_t n_ids = 0;
    size_t bytes = 0;
    if (ids == NULL || !read_ids(h, text, n, ids, &n_ids)) {
        return EXIT_FAILED;
    }
    if (q_tokenizer_decode(t, ids, n_ids, flags, NULL, 0, &bytes, &h->diag) != Q_OK) {
        return say_failure("ids", &h->diag);
    }
    out = (char *)host_take(h, bytes, "text");
    if (out == NULL || (bytes != 0 && q_tokenizer_decode(t, ids, n_ids, flags, out, bytes, &bytes, &h->diag) != Q_OK)) {
        return out == NULL ? EXIT_FAILED : say_failure("ids", &h->diag);
    }
    return finish(fwrite(out, 1, bytes, stdout) == bytes);
}

/* ---- The command ------------------------------------------------------------------------------------------ */

static int tokenize(host *h, const options *o)
{
    char *text;
    size_t n = 0;
    int status;
    if (!host_open_any(h, o->args[0])) {
        return EXIT_FAILED;
    }
    if (!h->engine.has_tokenizer) {
        say("%s has no tokenizer", o->args[0]);
        return EXIT_FAILED;
    }
    text = read_input(o, &n);
    if (text == NULL) {
        return EXIT_FAILED;
    }
    status = o->decode ? print_text(h, o, text, n) : print_ids(h, o, text, n);
    free(text);
    return status;
}

int command_tokenize(const char *const *words, uint32_t n)
{
    static host h;
    options o;
    char error[256];
    int status;
    if (!options_parse(&o, FOR_TOKENIZE, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (o.n_args != 1 || (o.prompt != NULL && o.file != NULL)) {
        say(o.n_args != 1 ? "tokenize takes one file: qorus tokenize MODEL -p TEXT" : "-p and -f exclude each other");
        return EXIT_USAGE;
    }
    o.threads = 1;
    if (!host_start(&h, &o)) {
        return EXIT_FAILED;
    }
    status = tokenize(&h, &o);
    host_stop(&h);
    return status;
}
