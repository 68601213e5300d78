/* SPDX-License-Identifier: MIT */
/*
 * The qorus command without an operating system: the kernel command line holds the words, boot module 0 the model; without one
 * it is the model that lies in the image.
 *
 *   run -p "TEXT" [options of qorus run]     chat [options of qorus chat]     conform [options]
 */
#include "../../port/bare-x86/bare.h"
#include "../common/conversation.h"
#include "../common/fingerprint.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"

enum { MAX_WORDS = 128, MEMORY_ALIGN = 4096, DEFAULT_TOKENS = 64, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* model.S */
extern const uint8_t q_bare_model[];
extern const uint8_t q_bare_model_end[];

typedef struct bare_state {
    const q_bare_boot *boot;
    options o;
    engine e;
    engine_memory memory;
    q_generator *generator;
    conversation talk;
    q_diag diag;
    char line[CONVERSATION_LINE];
    char words_store[CONVERSATION_LINE];
    const char *words[MAX_WORDS];
} bare_state;

static int complain(bare_state *s, const char *what)
{
    char line[256];
    engine_explain(&s->diag, line, sizeof(line));
    q_bare_say("qorus: %s: %s\n", what, line);
    return EXIT_FAILED;
}

/* Ends the run with the bytes that are missing if there is too little RAM. */
static q_error_code take(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    (void)user;
    (void)what;
    (void)diag;
    *base = q_bare_memory_take(size != 0 ? size : 1, MEMORY_ALIGN);
    return Q_OK;
}

static bool print_text(void *user, const char *text, size_t n)
{
    (void)user;
    q_bare_write(text, n);
    return true;
}

static bool should_stop(void *user)
{
    (void)user;
    return q_bare_interrupted();
}

static bool open_session(bare_state *s)
{
    const void *model = q_bare_model;
    size_t size = (size_t)((uintptr_t)q_bare_model_end - (uintptr_t)q_bare_model);
    q_session_config config;
    if (s->boot->n_modules != 0) {
        model = s->boot->modules[0].base;
        size = (size_t)s->boot->modules[0].size;
    }
    memset(&config, 0, sizeof(config));
    config.struct_size = sizeof(config);
    config.should_stop = should_stop;
    if (s->o.threads == 0) {
        s->o.threads = s->boot->n_cpus;
    }
    if (engine_open(&s->e, model, size, false, &s->memory, &s->diag) != Q_OK ||
        engine_plan(&s->e, s->boot->port, &s->o, 1, &s->memory, &s->diag) != Q_OK ||
        engine_start(&s->e, &config, &s->memory, &s->diag) != Q_OK) {
        (void)complain(s, "model");
        return false;
    }
    return true;
}

static bool open_generator(bare_state *s, uint32_t max_tokens)
{
    q_generate_config config;
    q_generate_defaults(&config);
    config.max_tokens = max_tokens;
    config.on_text = print_text;
    config.user = s;
    if (engine_generator(&s->e, &s->o, &config, &s->memory, &s->generator, &s->diag) != Q_OK) {
        (void)complain(s, "model");
        return false;
    }
    return true;
}

static void report(const bare_state *s, uint64_t begin, uint64_t fed, uint64_t end)
{
    const q_port *port = s->boot->port;
    char line[160];
    q_text t;
    double unit = port->ticks != NULL ? (double)port->ns_num / (double)port->ns_den * 1e-9 : 0;
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, "[");
    q_text_str(&t, s->e.backend.name);
    q_text_str(&t, ", ");
    q_text_u64(&t, q_session_workers(s->e.session), 0);
    q_text_str(&t, " processors: prompt in ");
    q_text_fixed(&t, (double)(fed - begin) * unit, 4, 0);
    q_text_str(&t, " s, ");
    q_text_u64(&t, q_generator_count(s->generator), 0);
    q_text_str(&t, " tokens in ");
    q_text_fixed(&t, (double)(end - fed) * unit, 4, 0);
    q_text_str(&t, " s]\n");
    q_bare_say("%s", line);
}

static uint64_t ticks(const bare_state *s)
{
    const q_port *port = s->boot->port;
    return port->ticks != NULL ? port->ticks(port->user) : 0;
}

static int run(bare_state *s)
{
    const char *prompt = s->o.prompt != NULL ? s->o.prompt : "";
    q_stop_reason reason = Q_STOP_NONE;
    size_t n = 0;
    size_t work_size;
    uint64_t begin;
    uint64_t fed;
    void *work;
    q_error_code e;
    while (prompt[n] != '\0') {
        n++;
    }
    if (n == 0) {
        q_bare_say("qorus: the prompt is empty: put -p \"TEXT\" on the kernel command line\n");
        return EXIT_USAGE;
    }
    if (!open_session(s) || !open_generator(s, DEFAULT_TOKENS)) {
        return EXIT_FAILED;
    }
    work_size = q_generator_text_work(s->generator, n);
    work = q_bare_memory_take(work_size, MEMORY_ALIGN);
    begin = ticks(s);
    e = q_generator_text(s->generator, prompt, n, q_tokenizer_encode_flags(&s->e.tokenizer), work, work_size, &s->diag);
    fed = ticks(s);
    if (e == Q_OK) {
        e = q_generator_run(s->generator, &reason, &s->diag);
    }
    q_bare_write("\n", 1);
    if (e != Q_OK) {
        return complain(s, "run");
    }
    report(s, begin, fed, ticks(s));
    return 0;
}

static int chat(bare_state *s)
{
    q_stop_reason reason;
    size_t n;
    if (!open_session(s) || !open_generator(s, 0)) {
        return EXIT_FAILED;
    }
    if (conversation_begin(&s->talk, &s->e, s->generator, s->o.system, &s->memory, &s->diag) != Q_OK) {
        return complain(s, "chat");
    }
    q_bare_say("An empty line or Ctrl-D ends the conversation, /reset begins it anew.\n");
    for (;;) {
        q_bare_write("> ", 2);
        if (q_bare_read_line(s->line, sizeof(s->line), false, &n) != Q_OK || n == 0) {
            return 0;
        }
        if (memcmp(s->line, "/reset", 7) == 0) {
            if (conversation_reset(&s->talk, &s->diag) != Q_OK) {
                return complain(s, "reset");
            }
            continue;
        }
        if (conversation_say(&s->talk, s->line, n, &reason, &s->diag) != Q_OK && s->diag.code != Q_ERR_CANCELLED) {
            return complain(s, "chat");
        }
        q_bare_write("\n", 1);
    }
}

static int conform(bare_state *s)
{
    char hex[65];
    char name[24];
    s->o.ctx = s->o.n_prompt + FINGERPRINT_DECODED;
    if (!open_session(s)) {
        return EXIT_FAILED;
    }
    if (fingerprint_run(&s->e, &s->memory, s->o.n_prompt, hex, &s->diag) != Q_OK) {
        return complain(s, "conform");
    }
    fingerprint_name(s->o.exact, s->o.kv, s->o.n_prompt, name);
    q_bare_print("logits %s %s %s\n", name, hex, s->e.backend.name);
    return 0;
}

static bool is(const char *word, const char *name)
{
    while (*word != '\0' && *word == *name) {
        word++;
        name++;
    }
    return *word == *name;
}

typedef struct bare_command {
    const char *name;
    uint32_t options;
    int (*run)(bare_state *s);
} bare_command;

int q_bare_main(const q_bare_boot *boot)
{
    static const bare_command commands[] = {
        {"run", FOR_RUN, run}, {"chat", FOR_CHAT, chat}, {"conform", FOR_CONFORM, conform}};
    bare_state *s = (bare_state *)q_bare_memory_take(sizeof(*s), MEMORY_ALIGN);
    char error[160];
    uint32_t n = 0;
    memset(s, 0, sizeof(*s));
    s->boot = boot;
    s->memory.take = take;
    if (q_bare_split(boot->cmdline, s->words_store, sizeof(s->words_store), s->words, MAX_WORDS, &n) != Q_OK) {
        q_bare_say("qorus: the command line is too long or a quote is not closed\n");
        return EXIT_USAGE;
    }
    for (size_t i = 0; n != 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!is(s->words[0], commands[i].name)) {
            continue;
        }
        if (!options_parse(&s->o, commands[i].options, s->words + 1, n - 1, error, sizeof(error))) {
            q_bare_say("qorus: %s\n", error);
            return EXIT_USAGE;
        }
        return commands[i].run(s);
    }
    q_bare_say("qorus: the command line begins with run, chat or conform\n");
    return EXIT_USAGE;
}
