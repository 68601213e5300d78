/* SPDX-License-Identifier: MIT */
/* The generation loop: what ends it, what text comes out, what a full context does; and the words of a chat. */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 4096 };

typedef struct talk {
    flow f;
    q_tokenizer tokenizer;
    q_generator *generator;
    q_generate_config config;
    char text[TEXT];
    size_t n;
    int32_t tokens[FLOW_CONTEXT * 4];
    uint32_t n_tokens;
    uint32_t pieces;
    bool broken_utf8;
} talk;

/* Every piece of text must begin and end at character boundaries of valid UTF-8, where the bytes are valid at all. */
static bool keep_text(void *user, const char *text, size_t n)
{
    talk *t = (talk *)user;
    t->pieces++;
    t->broken_utf8 = t->broken_utf8 || n == 0;
    if (t->n + n < TEXT) {
        memcpy(t->text + t->n, text, n);
        t->n += n;
        t->text[t->n] = '\0';
    }
    return true;
}

static bool keep_token(void *user, int32_t token)
{
    talk *t = (talk *)user;
    if (t->n_tokens < sizeof(t->tokens) / sizeof(t->tokens[0])) {
        t->tokens[t->n_tokens++] = token;
    }
    return true;
}

static void open_talk(talk *t, const char *file, uint32_t max_tokens, q_full_policy full)
{
    flow_setup s = flow_defaults(file);
    const void *section;
    size_t n;
    memset(t, 0, sizeof(*t));
    flow_open(&t->f, &s, &flow_heap);
    section = q_file_section_data(&t->f.file, Q_SECTION_TOKENIZER, &n);
    check(q_tokenizer_open(&t->tokenizer, section, n, &t->f.diag) == Q_OK, "the tokenizer opens");
    q_generate_defaults(&t->config);
    t->config.max_tokens = max_tokens;
    t->config.full = full;
    t->config.ignore_eog = 1;
    t->config.on_text = keep_text;
    t->config.on_token = keep_token;
    t->config.user = t;
}

static void begin(talk *t)
{
    size_t n = 0;
    check(q_generator_size(t->f.session, &t->tokenizer, &t->config, &n, &t->f.diag) == Q_OK, "size of a generator (%s)",
          t->f.diag.field);
    check(q_generator_init(&t->generator, (q_block){flow_heap.take(NULL, n, "generator"), n - 1}, t->f.session,
                           &t->tokenizer, &t->config, &t->f.diag) == Q_ERR_NO_SPACE && t->f.diag.need == n,
          "R01 generator with one byte less");
    check(q_generator_init(&t->generator, (q_block){flow_heap.take(NULL, n, "generator"), n}, t->f.session,
                           &t->tokenizer, &t->config, &t->f.diag) == Q_OK,
          "a generator");
}

static q_stop_reason say(talk *t, const char *prompt)
{
    size_t n = strlen(prompt);
    size_t work = q_generator_text_work(t->generator, n);
    q_stop_reason reason = Q_STOP_NONE;
    t->n = 0;
    t->n_tokens = 0;
    t->text[0] = '\0';
    check(q_generator_text(t->generator, prompt, n, 0, flow_heap.take(NULL, work, "work"), work, &t->f.diag) == Q_OK,
          "the prompt is read (%s %s)", t->f.diag.what, t->f.diag.field);
    check(q_generator_run(t->generator, &reason, &t->f.diag) == Q_OK, "a run (%s)", t->f.diag.field);
    return reason;
}

static void test_count_and_stops(const char *file)
{
    static talk t;
    static talk u;
    static char stop[64];
    const char *stops[1];
    size_t at;
    open_talk(&t, file, 40, Q_FULL_STOP);
    begin(&t);
    check(say(&t, "ab cd") == Q_STOP_COUNT && t.n_tokens == 40, "max_tokens ends a run");
    check(!t.broken_utf8 && t.n > 20, "text comes");
    /* a stop string from the middle of that very text */
    at = t.n / 2;
    memcpy(stop, t.text + at, 5);
    stop[5] = '\0';
    stops[0] = stop;
    open_talk(&u, file, 40, Q_FULL_STOP);
    u.config.stops = stops;
    u.config.n_stops = 1;
    begin(&u);
    check(say(&u, "ab cd") == Q_STOP_STRING, "a stop string ends a run");
    check(strstr(u.text, stop) == NULL && strncmp(u.text, t.text, u.n) == 0 && u.n <= at,
          "the text before it comes, the stop string does not");
}

/* Greedy tokens of two runs in a row are those of one run twice as long. */
static void test_continue(const char *file)
{
    static talk once;
    static talk twice;
    q_stop_reason reason;
    open_talk(&once, file, 30, Q_FULL_STOP);
    begin(&once);
    (void)say(&once, "hello");
    open_talk(&twice, file, 15, Q_FULL_STOP);
    begin(&twice);
    (void)say(&twice, "hello");
    check(q_generator_run(twice.generator, &reason, &twice.f.diag) == Q_OK && twice.n_tokens == 30 &&
              memcmp(once.tokens, twice.tokens, 30 * sizeof(int32_t)) == 0,
          "a run goes on where the last one ended");
}

static void test_full(const char *file)
{
    static talk t;
    static talk u;
    const int32_t *history;
    uint32_t n;
    q_stop_reason reason;
    open_talk(&t, file, 0, Q_FULL_STOP);
    begin(&t);
    check(say(&t, "full") == Q_STOP_CONTEXT, "A12 a full context ends a run");
    check(q_session_position(t.f.session) == FLOW_CONTEXT, "every position was used");
    check(q_generator_feed(t.generator, (const int32_t[]){1}, 1, &t.f.diag) == Q_ERR_CONTEXT_FULL, "A12 one more is refused");

    open_talk(&t, file, FLOW_CONTEXT + 40, Q_FULL_SHIFT);
    t.config.keep = 4;
    begin(&t);
    check(say(&t, "shift me") == Q_STOP_COUNT && t.n_tokens == FLOW_CONTEXT + 40, "with shift a run outlives the context");
    history = q_generator_history(t.generator, &n);
    check(n <= FLOW_CONTEXT && n > FLOW_CONTEXT / 4, "history stays within the context");
    /* the same history in a fresh session goes on alike */
    open_talk(&u, file, 20, Q_FULL_SHIFT);
    u.config.keep = 4;
    begin(&u);
    check(q_generator_feed(u.generator, history, n, &u.f.diag) == Q_OK, "the history is read anew");
    t.config.max_tokens = 20;
    check(q_generator_configure(t.generator, &t.config, &t.f.diag) == Q_OK, "limits change between runs");
    t.n_tokens = 0;
    check(q_generator_run(t.generator, &reason, &t.f.diag) == Q_OK, "the run goes on");
    check(q_generator_feed(u.generator, history + n, 0, &u.f.diag) == Q_OK, "nothing to read is no error");
    {
        /* the shifted one still has its last token to read: feed it here too */
        int32_t last[1];
        last[0] = t.n_tokens != 0 ? history[n] : 0;
        check(q_generator_feed(u.generator, last, 1, &u.f.diag) == Q_OK, "its last token");
    }
    check(q_generator_run(u.generator, &reason, &u.f.diag) == Q_OK && memcmp(t.tokens, u.tokens, 20 * sizeof(int32_t)) == 0,
          "after a shift: the tokens of a fresh session fed with what was kept");
}

typedef struct countdown {
    const q_session *session;
    uint32_t farthest; /* position ever seen */
    uint32_t asked;    /* questions, or only those asked while a shift reads again */
    uint32_t stop_at;
    bool shifts;
} countdown;

static bool stop_at(void *user)
{
    countdown *c = (countdown *)user;
    uint32_t position = q_session_position(c->session);
    c->farthest = position > c->farthest ? position : c->farthest;
    if (c->shifts && position == c->farthest) {
        return false;
    }
    return c->asked++ == c->stop_at;
}

static void count_questions(talk *t, countdown *c, uint32_t at, bool shifts)
{
    q_session_config sc;
    c->session = t->f.session;
    c->farthest = 0;
    c->shifts = shifts;
    memset(&sc, 0, sizeof(sc));
    sc.struct_size = sizeof(sc);
    sc.should_stop = stop_at;
    sc.user = c;
    c->asked = 0;
    c->stop_at = at;
    check(q_session_configure(t->f.session, &sc, &t->f.diag) == Q_OK, "a session's configuration changes between steps");
}

enum { STOPPED_TOKENS = FLOW_CONTEXT + 10 };

/* Stops at that question and runs again: the tokens must be those of `whole`. */
static void stop_once(talk *t, const talk *whole, uint32_t at, bool shifts)
{
    countdown c;
    char memory[1024];
    void *work = (void *)(((uintptr_t)memory + 63) / 64 * 64);
    q_stop_reason reason = Q_STOP_NONE;
    q_error_code e;
    check(q_generator_rewind(t->generator, 0, &t->f.diag) == Q_OK, "rewind");
    q_generator_set_counter(t->generator, 0);
    count_questions(t, &c, at, shifts);
    t->n_tokens = 0;
    e = q_generator_text(t->generator, "shift me", 8, 0, work, sizeof(memory) - 64, &t->f.diag);
    if (e == Q_OK) {
        e = q_generator_run(t->generator, &reason, &t->f.diag);
    }
    check(e == Q_ERR_CANCELLED, "stopped at question %u (%d)", at, (int)e);
    check(q_generator_run(t->generator, &reason, &t->f.diag) == Q_OK && t->n_tokens >= STOPPED_TOKENS &&
              memcmp(t->tokens, whole->tokens, STOPPED_TOKENS * sizeof(int32_t)) == 0,
          "stopped at question %u%s: another run goes on with the same tokens", at, shifts ? " of a shift" : "");
}

static void test_cancelled(const char *file)
{
    static talk whole;
    static talk t;
    countdown c;
    uint32_t questions;
    uint32_t in_shifts;
    open_talk(&whole, file, STOPPED_TOKENS, Q_FULL_SHIFT);
    whole.config.keep = 4;
    whole.config.sampler.temperature = 1.5; /* so that every logit matters */
    begin(&whole);
    count_questions(&whole, &c, UINT32_MAX, false);
    check(say(&whole, "shift me") == Q_STOP_COUNT, "a run with a shift");
    questions = c.asked;
    open_talk(&t, file, STOPPED_TOKENS, Q_FULL_SHIFT);
    t.config = whole.config;
    t.config.user = &t;
    begin(&t);
    count_questions(&t, &c, UINT32_MAX, true);
    check(say(&t, "shift me") == Q_STOP_COUNT && c.asked > 20, "questions while a shift reads again: %u", c.asked);
    in_shifts = c.asked;
    for (uint32_t at = 40; at < questions; at += 301) {
        stop_once(&t, &whole, at, false);
    }
    for (uint32_t at = 0; at < in_shifts; at += 1 + in_shifts / 12) {
        stop_once(&t, &whole, at, true);
    }
}

static bool forbid(void *user, float *logits, uint32_t n)
{
    (void)user;
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = i == 65 ? 1.0f : 0.0f;
    }
    return true;
}

static void test_hook(const char *file)
{
    static talk t;
    open_talk(&t, file, 5, Q_FULL_STOP);
    t.config.on_logits = forbid;
    begin(&t);
    (void)say(&t, "x");
    check(t.n_tokens == 5 && t.tokens[0] == 65 && t.tokens[4] == 65, "the hook on logits decides");
}

static void test_refused(const char *file)
{
    static talk t;
    size_t n;
    q_stop_reason reason;
    const char *stops[] = {""};
    open_talk(&t, file, 5, Q_FULL_STOP);
    begin(&t);
    check(q_generator_run(t.generator, &reason, &t.f.diag) == Q_ERR_INVALID_STATE, "a run before anything was fed");
    check(q_generator_feed(t.generator, (const int32_t[]){-1}, 1, &t.f.diag) == Q_ERR_INVALID_TOKEN, "A09 token -1");
    check(q_generator_feed(t.generator, (const int32_t[]){0, 1 << 20}, 2, &t.f.diag) == Q_ERR_INVALID_TOKEN &&
              t.f.diag.offset == 1,
          "A09 token beyond the vocabulary, by index");
    check(q_generator_feed(t.generator, NULL, 1, &t.f.diag) == Q_ERR_INVALID_ARG, "A01 no ids");
    check(q_generator_rewind(t.generator, 1, &t.f.diag) == Q_ERR_INVALID_ARG, "A13 rewind ahead");
    t.config.stops = stops;
    t.config.n_stops = 1;
    check(q_generator_size(t.f.session, &t.tokenizer, &t.config, &n, &t.f.diag) == Q_ERR_INVALID_ARG &&
              strcmp(t.f.diag.field, "stops") == 0,
          "an empty stop string");
    t.config.n_stops = 0;
    t.config.struct_size--;
    check(q_generator_size(t.f.session, &t.tokenizer, &t.config, &n, &t.f.diag) == Q_ERR_INVALID_ARG, "A05 struct_size");
    t.config.struct_size++;
    t.config.sampler.temperature = -1;
    check(q_generator_size(t.f.session, &t.tokenizer, &t.config, &n, &t.f.diag) == Q_ERR_INVALID_ARG &&
              strcmp(t.f.diag.field, "temperature") == 0,
          "A14 negative temperature");
}

static void test_chat(const char *file)
{
    static talk t;
    int32_t ids[256];
    char text[256];
    size_t n = 0;
    size_t bytes = 0;
    void *work;
    size_t work_size;
    open_talk(&t, file, 5, Q_FULL_STOP);
    work_size = q_tokenizer_encode_work_size(&t.tokenizer, 64);
    work = flow_heap.take(NULL, work_size, "work");
    if (q_tokenizer_chat_format(&t.tokenizer) != Q_CHAT_CHATML) {
        check(q_chat_turn(&t.tokenizer, Q_CHAT_USER, "hi", 2, false, work, work_size, ids, 256, &n, &t.f.diag) ==
                  Q_ERR_UNSUPPORTED,
              "no chat format is said so");
        return;
    }
    check(q_chat_turn(&t.tokenizer, Q_CHAT_USER, "hi <|im_end|>", 13, false, work, work_size, ids, 256, &n,
                      &t.f.diag) == Q_OK,
          "a user's turn");
    check(q_tokenizer_decode(&t.tokenizer, ids, n, 0, text, sizeof(text) - 1, &bytes, &t.f.diag) == Q_OK, "it decodes");
    text[bytes] = '\0';
    check(strcmp(text, "<|im_start|>user\nhi <|im_end|><|im_end|>\n") == 0, "ChatML: %s", text);
    check(!q_tokenizer_is_eog(&t.tokenizer, ids[n - 4]) || ids[n - 3] != ids[n - 2],
          "T30 a control token's text inside user text stays text");
    check(q_chat_turn(&t.tokenizer, Q_CHAT_USER, "hi", 2, false, work, work_size, ids, 3, &n, &t.f.diag) ==
              Q_ERR_NO_SPACE,
          "T31 too few ids");
}

void test_generate(const char *file)
{
    test_count_and_stops(file);
    test_continue(file);
    test_full(file);
    test_cancelled(file);
    test_hook(file);
    test_refused(file);
    test_chat(file);
}
