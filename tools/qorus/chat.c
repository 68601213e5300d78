/* SPDX-License-Identifier: MIT */
/* qorus chat: a conversation, in a terminal or through a pipe. */
#define _POSIX_C_SOURCE 200809L
#include "../common/conversation.h"
#include "host.h"
#include "line.h"
#include "qorus/snapshot.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { SNAPSHOT_WORK = 1 << 16 };

typedef struct chat_state {
    host h;
    options o;
    q_generate_config gc;
    q_generator *generator;
    conversation talk;
    void *work;   /* [SNAPSHOT_WORK] */
    int32_t *ids; /* [context] of a loaded conversation */
    bool editing; /* a person at a terminal, not a pipe */
    bool screen;  /* answers go to a terminal */
    bool failed;  /* something asked for did not work */
    char line[CONVERSATION_LINE];
} chat_state;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* Without SA_RESTART: a read waiting for a line ends too. */
static void watch_interrupts(void)
{
    struct sigaction a;
    memset(&a, 0, sizeof(a));
    a.sa_handler = on_interrupt;
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGINT, &a, NULL);
}

static bool should_stop(void *user)
{
    (void)user;
    return interrupted != 0;
}

/* What a model says may hold control characters; a terminal must not obey them. */
static bool print_text(void *user, const char *text, size_t n)
{
    const chat_state *s = (const chat_state *)user;
    for (size_t i = 0; s->screen && i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool control = (c < ' ' && c != '\n' && c != '\t') || c == 127;
        if (putchar(control ? '?' : c) == EOF) {
            return false;
        }
    }
    return (s->screen || fwrite(text, 1, n, stdout) == n) && fflush(stdout) == 0;
}

/* ---- Opening ----------------------------------------------------------------------------------
 */

static bool open_chat(chat_state *s)
{
    q_session_config sc;
    const q_tokenizer *t = &s->h.engine.tokenizer;
    memset(&sc, 0, sizeof(sc));
    sc.struct_size = sizeof(sc);
    sc.flags = s->o.check_finite ? Q_SESSION_CHECK_FINITE : 0;
    sc.should_stop = should_stop;
    if (!host_session(&s->h, s->o.args[0], &s->o, 1, &sc)) {
        return false;
    }
    if (!s->h.engine.has_tokenizer || q_tokenizer_chat_format(t) == Q_CHAT_NONE) {
        say("%s is not a model for chat: it names no chat format; qorus run continues a text with "
            "it",
            s->o.args[0]);
        return false;
    }
    q_generate_defaults(&s->gc);
    s->gc.on_text = print_text;
    s->gc.user = s;
    if (engine_generator(&s->h.engine, &s->o, &s->gc, &s->h.memory, &s->generator, &s->h.diag) !=
        Q_OK) {
        (void)say_failure(s->o.args[0], &s->h.diag);
        return false;
    }
    s->work = host_take(&s->h, SNAPSHOT_WORK, "snapshot work");
    s->ids =
        (int32_t *)host_take(&s->h, q_plan_maxima(s->h.engine.plan).kv * sizeof(int32_t), "ids");
    return s->work != NULL && s->ids != NULL;
}

/* The system message is what --shift keeps, unless --keep says more. */
static bool begin(chat_state *s)
{
    uint32_t n;
    if (conversation_begin(&s->talk, &s->h.engine, s->generator, s->o.system, &s->h.memory,
                           &s->h.diag) != Q_OK) {
        if (s->h.diag.code == Q_ERR_CONTEXT_FULL) {
            say("the system message does not fit into the context of %u positions: give a larger "
                "--ctx",
                q_plan_maxima(s->h.engine.plan).kv);
        } else {
            (void)say_failure("chat", &s->h.diag);
        }
        return false;
    }
    (void)q_generator_history(s->generator, &n);
    s->gc.keep = s->gc.keep > n ? s->gc.keep : n;
    return q_generator_configure(s->generator, &s->gc, &s->h.diag) == Q_OK;
}

/* ---- Commands ---------------------------------------------------------------------------------
 */

/* A failure: in a terminal a person sees it and goes on, a script learns it at the end. */
static void trouble(chat_state *s, const char *subject)
{
    s->failed = true;
    (void)say_failure(subject, &s->h.diag);
}

static void reset(chat_state *s)
{
    if (conversation_reset(&s->talk, &s->h.diag) != Q_OK) {
        trouble(s, "/reset");
    } else if (s->editing) {
        say("the conversation begins anew");
    }
}

static void save(chat_state *s, const char *path)
{
    q_snapshot_info info;
    q_block work = {s->work, SNAPSHOT_WORK};
    const uint8_t *model = q_file_get_header(&s->h.engine.file)->tables_sha256;
    const int32_t *ids;
    uint64_t bytes = 0;
    memset(&info, 0, sizeof(info));
    if (conversation_settle(&s->talk, &s->h.diag) != Q_OK) {
        trouble(s, "/save");
        return;
    }
    ids = q_generator_history(s->generator, &info.n_ids);
    memcpy(s->ids, ids, info.n_ids * sizeof(*ids));
    info.ids = s->ids;
    info.counter = q_generator_counter(s->generator);
    if (q_snapshot_save(s->h.engine.session, s->h.port, path, model, &info, work, &s->h.diag) !=
        Q_OK) {
        trouble(s, "/save");
        return;
    }
    if (s->editing && q_snapshot_size(s->h.engine.session, &info, &bytes, NULL) == Q_OK) {
        say("saved %u tokens in %.1f MB", info.n_ids, (double)bytes * 1e-6);
    }
}

/* After a failure the conversation is the one before, or, if the file changed while it was read, a
   fresh one. */
static void load(chat_state *s, const char *path)
{
    q_snapshot_info info = {s->ids, q_plan_maxima(s->h.engine.plan).kv, 0, 0, 0, 0};
    q_block work = {s->work, SNAPSHOT_WORK};
    const uint8_t *model = q_file_get_header(&s->h.engine.file)->tables_sha256;
    uint32_t n;
    q_error_code e =
        q_snapshot_load(s->h.engine.session, s->h.port, path, model, &info, work, &s->h.diag);
    if (e == Q_OK) {
        e = q_generator_restore(s->generator, s->ids, info.n_ids, &s->h.diag);
        s->talk.open = false;
        q_generator_set_counter(s->generator, info.counter);
    }
    if (e == Q_OK) {
        if (s->editing) {
            say("loaded %u tokens", info.n_ids);
        }
        return;
    }
    trouble(s, "/load");
    if (e == Q_ERR_CONTEXT_FULL) {
        say("start with --ctx %llu or more", (unsigned long long)s->h.diag.need);
    }
    (void)q_generator_history(s->generator, &n);
    if (q_session_position(s->h.engine.session) != n) {
        reset(s);
    }
}

static void help(void)
{
    (void)fputs("/reset      begin anew\n"
                "/save FILE  keep the conversation\n"
                "/load FILE  go on with a kept one\n"
                "/help       this text\n"
                "/quit       end; so does Ctrl-D\n"
                "Ctrl-C stops an answer. A line that begins with a space is never a command.\n",
                stderr);
}

/* The word behind a command's name; NULL if it is another command. "" where there is no word. */
static const char *argument(const char *line, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0 || (line[n] != '\0' && !isspace((unsigned char)line[n]))) {
        return NULL;
    }
    line += n;
    while (isspace((unsigned char)*line)) {
        line++;
    }
    return line;
}

/* False: the conversation ends. */
static bool command(chat_state *s)
{
    const char *file = NULL;
    for (size_t n = strlen(s->line); n != 0 && isspace((unsigned char)s->line[n - 1]); n--) {
        s->line[n - 1] = '\0';
    }
    if (argument(s->line, "/quit") != NULL) {
        return false;
    }
    if (argument(s->line, "/reset") != NULL) {
        reset(s);
    } else if (argument(s->line, "/help") != NULL) {
        help();
    } else if ((file = argument(s->line, "/save")) != NULL ||
               (file = argument(s->line, "/load")) != NULL) {
        if (*file == '\0') {
            say("%s needs a file", s->line);
            s->failed = true;
        } else if (s->line[1] == 's') {
            save(s, file);
        } else {
            load(s, file);
        }
    } else {
        say("unknown command %s; /help lists them", s->line);
        s->failed = true;
    }
    return true;
}

/* ---- Talking ----------------------------------------------------------------------------------
 */

static void say_full(chat_state *s)
{
    s->failed = true;
    say("the context of %u positions is full: /reset begins anew, --ctx N makes it larger, --shift "
        "drops "
        "the older half",
        q_plan_maxima(s->h.engine.plan).kv);
}

/* False: nobody reads the answers any more, or a script was interrupted. */
static bool answer(chat_state *s, size_t n)
{
    q_stop_reason reason = Q_STOP_NONE;
    q_error_code e = conversation_say(&s->talk, s->line, n, &reason, &s->h.diag);
    bool written = putchar('\n') != EOF && fflush(stdout) == 0;
    if (e == Q_ERR_CANCELLED) {
        s->failed = !s->editing;
        say("interrupted");
        return s->editing;
    }
    if (e == Q_ERR_CONTEXT_FULL || (e == Q_OK && reason == Q_STOP_CONTEXT)) {
        say_full(s);
    } else if (e != Q_OK) {
        trouble(s, "chat");
    }
    if (!written || reason == Q_STOP_CALLER) {
        say("cannot write the answer");
        s->failed = true;
        return false;
    }
    return true;
}

static void talk(chat_state *s)
{
    bool go_on = true;
    while (go_on) {
        size_t n = 0;
        line_result r = line_read("> ", s->line, sizeof(s->line), &n);
        if (r == LINE_END || (r == LINE_INTERRUPT && !s->editing)) {
            s->failed = s->failed || r == LINE_INTERRUPT;
            break;
        }
        interrupted = 0;
        if (r == LINE_TOO_LONG) {
            say("the line is longer than %d bytes and was left out", CONVERSATION_LINE - 1);
            s->failed = true;
        } else if (r == LINE_DONE && n != 0) {
            go_on = s->line[0] == '/' ? command(s) : answer(s, n);
        }
    }
}

int command_chat(const char *const *words, uint32_t n)
{
    static chat_state s;
    char error[256];
    bool ready;
    if (!options_parse(&s.o, FOR_CHAT, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (s.o.n_args != 1) {
        say("chat takes one model: qorus chat MODEL");
        return EXIT_USAGE;
    }
    if (!host_start(&s.h, &s.o)) {
        return EXIT_FAILED;
    }
    s.editing = isatty(STDIN_FILENO) != 0;
    s.screen = isatty(STDOUT_FILENO) != 0;
    watch_interrupts();
    ready = open_chat(&s) && begin(&s);
    if (ready) {
        if (s.editing) {
            say("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the conversation");
        }
        talk(&s);
    }
    host_stop(&s.h);
    return ready && (s.editing || !s.failed) ? EXIT_DONE : EXIT_FAILED;
}
