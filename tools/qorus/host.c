/* SPDX-License-Identifier: MIT */
/* Messages, memory, port and model opening for the commands of a hosted system. */
#define _POSIX_C_SOURCE 200809L
#include "host.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("qorus: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

int say_failure(const char *subject, const q_diag *diag)
{
    char line[256];
    if (diag->code == Q_ERR_NOT_FOUND && strcmp(diag->what, subject) == 0) { /* the port's words say it all */
        say("%s: %s", subject, diag->field);
        return EXIT_FAILED;
    }
    engine_explain(diag, line, sizeof(line));
    say("%s: %s", subject, line);
    return EXIT_FAILED;
}

#define HUGE_PAGE ((size_t)2 << 20)

/*
 * Page-aligned memory; the program's end gives it back. It comes at once, in huge pages where it fills at least half of
 * one: a page that comes at its first use costs more. Not so the KV cache, which fills little by little from one place
 * in each layer.
 */
static q_error_code take(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    uint32_t flags = Q_POSIX_TOUCH;
    (void)user;
    if (strcmp(what, "state") == 0) {
        flags = 0;
    } else if (size >= HUGE_PAGE / 2 && size <= SIZE_MAX - HUGE_PAGE) {
        size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        flags = Q_POSIX_HUGE;
    }
    return q_posix_region_alloc(size != 0 ? size : 1, flags, base, diag);
}

bool host_start(host *h, options *o)
{
    memset(h, 0, sizeof(*h));
    h->no_mmap = o->no_mmap;
    if (o->threads > Q_MAX_WORKERS) {
        say("-t: at most %d threads", (int)Q_MAX_WORKERS);
        return false;
    }
    if (o->threads == 0) {
        uint32_t cpus = q_posix_cpus();
        o->threads = cpus < Q_MAX_WORKERS ? cpus : Q_MAX_WORKERS;
    }
    if (q_posix_init(&h->posix, o->threads, &h->diag) != Q_OK) {
        (void)say_failure("threads", &h->diag);
        return false;
    }
    h->port = q_posix_port(&h->posix);
    h->memory.user = h;
    h->memory.take = take;
    h->memory.zeroed = true;
    return true;
}

void host_stop(host *h)
{
    if (h->mapped) {
        q_posix_close_model(&h->posix, &h->file);
    }
    if (h->adapters_mapped) {
        q_posix_close_model(&h->posix, &h->adapters);
    }
    q_posix_close(&h->posix);
}

static bool looks_like_gguf(const void *base, size_t size)
{
    return size >= 4 && memcmp(base, "GGUF", 4) == 0;
}

static bool map_file(host *h, const char *path, q_posix_model *file, bool *mapped)
{
    q_error_code code = h->no_mmap ? q_posix_read_model(&h->posix, path, file, &h->diag)
                                   : q_posix_open_model(&h->posix, path, NULL, file, &h->diag);
    *mapped = code == Q_OK;
    return code == Q_OK || say_failure(path, &h->diag) == EXIT_DONE;
}

bool host_map(host *h, const char *path)
{
    if (!map_file(h, path, &h->file, &h->mapped)) {
        return false;
    }
    if (looks_like_gguf(h->file.base, h->file.size)) {
        say("%s is a GGUF file: convert it first with tools/convert_model.py %s model.qorus", path, path);
        return false;
    }
    return true;
}

static bool open_model(host *h, const char *path)
{
    if (engine_open(&h->engine, h->file.base, h->file.size, true, &h->memory, &h->diag) != Q_OK) {
        char line[256];
        engine_explain(&h->diag, line, sizeof(line));
        say("%s: %s%s", path, line,
            h->diag.code == Q_ERR_TRUNCATED || h->diag.code == Q_ERR_NOT_QORUS
                ? "; is the file complete? make model fetches and converts the default model"
                : "");
        return false;
    }
    return true;
}

bool host_open(host *h, const char *path)
{
    return host_map(h, path) && open_model(h, path);
}

bool host_adapters(host *h, const char *path)
{
    engine *e = &h->engine;
    size_t n = 0;
    void *copy;
    if (path == NULL) {
        return true;
    }
    if (!map_file(h, path, &h->adapters, &h->adapters_mapped)) {
        return false;
    }
    if (q_file_tables_size(h->adapters.base, h->adapters.size, &n, &h->diag) != Q_OK) {
        return say_failure(path, &h->diag) == EXIT_DONE;
    }
    copy = host_take(h, n, "adapters");
    h->merge = (adapter_merge){.model = &e->file, .adapters = &e->adapters, .dtype = ADAPTER_KEEP_TYPES};
    if (copy == NULL) {
        return false;
    }
    if (q_file_open(&e->adapters, h->adapters.base, h->adapters.size, copy, n, &h->diag) != Q_OK ||
        adapter_alpha(&e->adapters, &h->merge.alpha, &h->diag) != Q_OK || adapter_check(&h->merge, &h->diag) != Q_OK) {
        return say_failure(path, &h->diag) == EXIT_DONE;
    }
    e->lora_alpha = h->merge.alpha;
    e->has_adapters = true;
    return true;
}

/* The section is copied first: a file rewritten under its mapping cannot undo the checks. */
static bool open_section(host *h, const char *path)
{
    void *copy = host_take(h, h->file.size, path);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, h->file.base, h->file.size);
    if (q_tokenizer_open(&h->engine.tokenizer, copy, h->file.size, &h->diag) != Q_OK) {
        (void)say_failure(path, &h->diag);
        return false;
    }
    h->engine.has_tokenizer = true;
    return true;
}

bool host_open_any(host *h, const char *path)
{
    if (!host_map(h, path)) {
        return false;
    }
    if (h->file.size >= 4 && memcmp(h->file.base, "QTOK", 4) == 0) {
        return open_section(h, path);
    }
    return open_model(h, path);
}

void host_pin(host *h)
{
    bool ok = h->file.base == NULL || h->port->pin(h->port->user, h->file.base, h->file.size) == Q_OK;
    for (uint32_t i = 0; i < h->engine.n_regions; i++) {
        const q_region *r = &h->engine.regions[i];
        ok = h->port->pin(h->port->user, r->base, r->size) == Q_OK && ok;
    }
    if (!ok) {
        say("--pin: not everything could be pinned: %s %s; see ulimit -l", q_posix_last(&h->posix)->what,
            q_posix_last(&h->posix)->field);
    }
}

bool host_session(host *h, const char *path, const options *o, uint32_t max_selected,
                  const q_session_config *config)
{
    if (!host_open(h, path) || !host_adapters(h, o->adapter)) {
        return false;
    }
    if (engine_plan(&h->engine, h->port, o, max_selected, &h->memory, &h->diag) != Q_OK ||
        engine_start(&h->engine, config, &h->memory, &h->diag) != Q_OK) {
        (void)say_failure(path, &h->diag);
        return false;
    }
    if (o->pin) {
        host_pin(h);
    }
    return true;
}

void *host_take(host *h, size_t size, const char *what)
{
    void *base = NULL;
    if (h->memory.take(h->memory.user, size, what, &base, &h->diag) != Q_OK) {
        (void)say_failure(what, &h->diag);
        return NULL;
    }
    return base;
}

static char *read_stream(FILE *f, const char *path, size_t *n)
{
    size_t cap = 65536;
    char *text = (char *)malloc(cap);
    *n = 0;
    while (text != NULL) {
        size_t got = fread(text + *n, 1, cap - *n - 1, f);
        *n += got;
        if (got == 0) {
            break;
        }
        if (*n + 1 == cap) {
            char *more = (char *)realloc(text, cap * 2);
            if (more == NULL) {
                free(text);
                text = NULL;
                break;
            }
            text = more;
            cap *= 2;
        }
    }
    if (text == NULL || ferror(f)) {
        say("%s: %s", path, text == NULL ? "out of memory" : strerror(errno));
        free(text);
        return NULL;
    }
    text[*n] = '\0';
    return text;
}

char *host_read(const char *path, size_t *n)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *text;
    if (f == NULL) {
        say("%s: %s", path, strerror(errno));
        return NULL;
    }
    text = read_stream(f, path, n);
    if (f != stdin) {
        (void)fclose(f);
    }
    return text;
}

double host_seconds(const host *h)
{
    return (double)h->port->ticks(h->port->user) * (double)h->port->ns_num / (double)h->port->ns_den * 1e-9;
}
