/* SPDX-License-Identifier: MIT */
/* A text to train on: its vocabulary, its tokens, and windows of them. */
#include "../common/vocabulary.h"
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_VOCABULARY = 512, FEW = 20 /* one in so many bytes of a text may be strange */ };

static bool vocabulary_of(const train_settings *s, vocabulary_config *c)
{
    uint64_t size = DEFAULT_VOCABULARY;
    memset(c, 0, sizeof(*c));
    c->end = Q_TOKEN_NONE;
    c->pretokenizer = Q_PRETOKENIZER_GPT2;
    if (s->vocab != NULL && (strcmp(s->vocab, "char") == 0 || strcmp(s->vocab, "byte") == 0)) {
        c->kind = *s->vocab == 'c' ? VOCABULARY_CHARACTERS : VOCABULARY_BYTES;
        c->pretokenizer = Q_PRETOKENIZER_NONE;
        return true;
    }
    if (s->vocab != NULL && (!options_u64(s->vocab, &size) || size < 256 || size > 1 << 20)) {
        return train_complain(s, "vocab", "'%s' is neither char nor byte nor a number of tokens from 256", s->vocab);
    }
    c->size = (uint32_t)size;
    return true;
}

/* The section of the model's file, in memory of the host; work is freed. */
static bool make_vocabulary(train_data *d, host *h, const train_settings *s, const char *text, size_t n)
{
    vocabulary_config c;
    vocabulary v;
    size_t bytes = 0;
    void *words = NULL;
    void *work = NULL;
    void *section;
    bool ok = vocabulary_of(s, &c);
    if (!ok) {
        return false;
    }
    ok = vocabulary_words_size(&c, text, n, &bytes, &h->diag) == Q_OK && (words = aligned_alloc(64, (bytes + 63) / 64 * 64)) != NULL &&
         vocabulary_words(&v, &c, text, n, words, bytes, &h->diag) == Q_OK;
    bytes = ok ? vocabulary_train_size(&v) : 0;
    ok = ok && (work = aligned_alloc(64, (bytes + 64) / 64 * 64)) != NULL && vocabulary_train(&v, work, bytes, &h->diag) == Q_OK;
    d->tokenizer_size = ok ? vocabulary_section_size(&v) : 0;
    d->tokenizer = section = ok ? host_take(h, d->tokenizer_size, "vocabulary") : NULL;
    ok = section != NULL && vocabulary_section(&v, section, d->tokenizer_size, &h->diag) == Q_OK;
    free(words);
    free(work);
    return ok || (say_failure("vocabulary", &h->diag), false);
}

/* That of the model, or one made from the text. */
static bool find_vocabulary(train_data *d, host *h, const train_settings *s, const char *text, size_t n)
{
    if (s->model == NULL) {
        return make_vocabulary(d, h, s, text, n);
    }
    d->base = &h->engine.file;
    d->tokenizer = q_file_section_data(d->base, Q_SECTION_TOKENIZER, &d->tokenizer_size);
    return true;
}

static bool encode(train_data *d, host *h, const train_settings *s, const char *text, size_t n, int32_t **ids)
{
    q_tokenizer t;
    size_t work_size;
    size_t n_ids = 0;
    void *work;
    bool ok;
    if (q_tokenizer_open(&t, d->tokenizer, d->tokenizer_size, &h->diag) != Q_OK) {
        return say_failure("vocabulary", &h->diag) == EXIT_DONE;
    }
    work_size = q_tokenizer_encode_work_need(&t, text, n, 0);
    work = aligned_alloc(64, (work_size + 63) / 64 * 64);
    *ids = (int32_t *)host_take(h, (n + 2) * sizeof(int32_t), "tokens");
    ok = work != NULL && *ids != NULL && q_tokenizer_encode(&t, text, n, 0, work, work_size, *ids, n + 2, &n_ids, &h->diag) == Q_OK;
    free(work);
    if (!ok) {
        return say_failure(s->data, &h->diag) == EXIT_DONE;
    }
    d->tokens = n_ids;
    d->classes = q_tokenizer_n_vocab(&t);
    return true;
}

static bool make_windows(train_data *d, host *h, const train_settings *s, const int32_t *ids, uint64_t n_train)
{
    uint32_t batch = s->micro_batch != 0 ? s->micro_batch : s->batch;
    size_t n = (size_t)batch * d->rows;
    int32_t *tokens = (int32_t *)host_take(h, 2 * n * sizeof(int32_t), "batch");
    d->spans = (q_step_span *)host_take(h, batch * sizeof(q_step_span), "spans");
    if (tokens == NULL || d->spans == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        q_windows *w = &d->windows[i];
        w->text = ids + (i == 0 ? 0 : n_train);
        w->n = i == 0 ? n_train : d->tokens - n_train;
        w->window = d->rows;
        w->stride = i == 0 && s->stride != 0 ? s->stride : d->rows;
        w->batch = batch;
        w->tokens = tokens;
        w->targets = tokens + n;
        w->spans = d->spans;
        d->set[i] = q_windows_dataset(w);
    }
    d->n_train = d->set[0].n;
    d->n_validate = d->set[1].n;
    return true;
}

/* META of the model's file: that of the model it begins from, if that has one. */
static bool note_origin(train_data *d, host *h)
{
    size_t n = 0;
    const void *text = d->base != NULL ? q_file_section_data(d->base, Q_SECTION_META, &n) : NULL;
    char *copy;
    d->meta = "source: qorus train\ntask: text\n";
    if (text == NULL || n == 0) {
        return true;
    }
    d->meta = copy = (char *)host_take(h, n + 1, "meta");
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    return true;
}

/* Not a picture or an archive, which would be learnt without a word. */
static bool is_text(const train_settings *s, const char *text, size_t n)
{
    size_t first = 0;
    size_t strange;
    if (s->format == FORMAT_TEXT || (s->vocab != NULL && strcmp(s->vocab, "byte") == 0)) {
        return true;
    }
    strange = dataset_strange_bytes(text, n, &first);
    return strange <= n / FEW ||
           train_complain(s, "data", "%s is no text, it seems: %zu of %zu bytes are 0 or no UTF-8, the first at %zu; format = text "
                          "takes it for one all the same%s", s->data, strange, n, first,
                          s->model == NULL ? ", vocab = byte learns bytes of any kind" : "");
}

bool train_load_text(train_data *d, host *h, const train_settings *s, uint32_t window)
{
    dataset_why why;
    const char *text;
    size_t size = 0;
    size_t n = 0;
    int32_t *ids = NULL;
    char *bytes;
    uint64_t held;
    bool ok;
    if (s->validate_data != NULL) {
        return train_complain(s, "validate_data", "of a text the end is held out: give validate = SHARE");
    }
    bytes = host_read(s->data, &size);
    if (bytes == NULL) {
        return false;
    }
    if (dataset_text(&text, &n, s->data, bytes, size, &why) != Q_OK) {
        say("%s", why.text);
        free(bytes);
        return false;
    }
    d->rows = window;
    ok = is_text(s, text, n) && find_vocabulary(d, h, s, text, n) && encode(d, h, s, text, n, &ids);
    free(bytes);
    if (!ok) {
        return false;
    }
    held = (uint64_t)(s->validate * (double)d->tokens + 0.5);
    if (!make_windows(d, h, s, ids, d->tokens - held)) {
        return false;
    }
    if (d->n_train == 0 || (s->validate != 0 && d->n_validate == 0)) {
        return train_complain(s, s->window != 0 ? "window" : "data",
                              "%llu tokens%s hold no window of %u and the token behind it: give more text%s or a smaller window",
                              (unsigned long long)(d->n_train == 0 ? d->tokens - held : held),
                              d->n_train == 0 ? "" : " held out", window, d->n_train == 0 ? "" : ", hold out more");
    }
    return note_origin(d, h);
}
