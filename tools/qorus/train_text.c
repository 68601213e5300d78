/* SPDX-License-Identifier: MIT */
/* Text a language model makes while it is trained: a session of its own, into which the weights are copied first. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_TOKENS = 8, POSITIONS = 65536, MAX_PROMPT = 4096 };

/* How it begins. */
static int32_t prompt[MAX_PROMPT];
static size_t n_prompt;

static bool print_text(void *user, const char *text, size_t n)
{
    (void)user;
    return fwrite(text, 1, n, stderr) == n;
}

static bool make_prompt(train_run *r)
{
    const q_tokenizer *t = &r->writer.tokenizer;
    size_t n = r->s.sample != NULL ? strlen(r->s.sample) : 0;
    size_t work_size;
    void *work;
    bool ok;
    if (r->s.sample == NULL) {
        n_prompt = r->data.tokens < FIRST_TOKENS ? (size_t)r->data.tokens : FIRST_TOKENS;
        memcpy(prompt, r->data.windows[0].text, n_prompt * sizeof(int32_t));
        return true;
    }
    work_size = q_tokenizer_encode_work_need(t, r->s.sample, n, 0);
    work = aligned_alloc(64, (work_size + 64) / 64 * 64);
    ok = work != NULL &&
         q_tokenizer_encode(t, r->s.sample, n, 0, work, work_size, prompt, MAX_PROMPT, &n_prompt, &r->h.diag) == Q_OK;
    free(work);
    return ok && n_prompt != 0 ? true : train_complain(&r->s, "sample", "none of it is in the vocabulary, or it is too long");
}

static bool make_generator(train_run *r)
{
    q_generate_config g;
    q_diag *d = &r->h.diag;
    size_t n = 0;
    void *memory;
    q_generate_defaults(&g);
    g.max_tokens = r->s.sample_tokens;
    g.full = r->network.is_decoder ? Q_FULL_SHIFT : Q_FULL_STOP;
    g.sampler.temperature = r->s.sample_temperature;
    g.sampler.seed = r->s.seed;
    g.on_text = print_text;
    if (q_generator_size(r->writer.session, &r->writer.tokenizer, &g, &n, d) != Q_OK) {
        return say_failure("sample", d) == EXIT_DONE;
    }
    memory = train_take(r, n, "sample");
    return memory != NULL && (q_generator_init(&r->generator, (q_block){memory, n}, r->writer.session, &r->writer.tokenizer, &g,
                                               d) == Q_OK || say_failure("sample", d) == EXIT_DONE);
}

bool text_open(train_run *r)
{
    engine *e = &r->writer;
    q_plan_config c;
    if (r->data.form != FORM_TEXT) {
        return train_complain(&r->s, "sample_every", "only what learns a text writes one");
    }
    memset(&c, 0, sizeof(c));
    c.mode = Q_PLAN_INFER;
    c.precision = Q_PRECISION_EXACT;
    c.max = (q_maxima){1, r->data.rows, 1, r->network.is_decoder ? r->data.rows : POSITIONS, 1};
    c.kv_type = Q_KV_REAL;
    e->backend = r->h.engine.backend;
    r->writer_network = r->network;
    r->writer_network.answers = true;
    return train_engine(r, e, &r->writer_network, &c) &&
           (engine_start(e, NULL, &r->h.memory, &r->h.diag) == Q_OK || say_failure("sample", &r->h.diag) == EXIT_DONE) &&
           (q_tokenizer_open(&e->tokenizer, r->data.tokenizer, r->data.tokenizer_size, &r->h.diag) == Q_OK ||
            say_failure("sample", &r->h.diag) == EXIT_DONE) &&
           make_prompt(r) && make_generator(r);
}

void text_show(train_run *r, uint64_t step)
{
    q_stop_reason reason = Q_STOP_NONE;
    char begin[512];
    size_t n = 0;
    q_diag *d = &r->h.diag;
    report_pause(r);
    (void)fprintf(stderr, "--- step %llu: ", (unsigned long long)step);
    if (q_tokenizer_decode(&r->writer.tokenizer, prompt, n_prompt, 0, begin, sizeof(begin), &n, d) == Q_OK) {
        (void)fwrite(begin, 1, n, stderr);
    }
    q_generator_set_counter(r->generator, 0);
    if (!train_copy_weights(r, &r->writer) || q_generator_rewind(r->generator, 0, d) != Q_OK ||
        q_generator_feed(r->generator, prompt, n_prompt, d) != Q_OK || q_generator_run(r->generator, &reason, d) != Q_OK) {
        (void)fputc('\n', stderr);
        (void)say_failure("sample", d);
        return;
    }
    (void)fprintf(stderr, "\n---\n");
}
