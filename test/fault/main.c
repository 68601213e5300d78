/* SPDX-License-Identifier: MIT */
/*
 * test_faults MODEL [-v]: every call a program makes of its port, from opening a model to saving a conversation, broken
 * in every way a port can fail. A fault must give a clear code or change nothing, leak nothing, and leave what is
 * open usable. Prints how many faults were visited.
 */
#define _POSIX_C_SOURCE 200809L
#include "fault_suite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

check_state check_now;
const char *suite_model;
uint64_t suite_points;

enum { POOL = 48 << 20 };

static uint8_t *pool;
static size_t pool_used;

static q_error_code take_from_pool(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    size_t whole = (size + 4095) / 4096 * 4096;
    (void)user;
    (void)what;
    (void)diag;
    if (whole > POOL - pool_used) {
        return Q_ERR_NO_SPACE;
    }
    *base = pool + pool_used;
    pool_used += whole;
    return Q_OK;
}

void suite_start(suite_chat *c, uint32_t threads)
{
    const char *const no_words[] = {""};
    char error[128];
    memset(c, 0, sizeof(*c));
    CHECK(options_parse(&c->o, FOR_CHAT, no_words, 0, error, sizeof(error)));
    c->o.threads = threads;
    c->o.ctx = 160;
    c->o.chunk = 16;
    CHECK(host_start(&c->h, &c->o));
    pool_used = 0;
    c->h.memory.take = take_from_pool; /* which hands out what the one before wrote to */
    c->h.memory.zeroed = false;
    c->inner = c->h.posix.port;
    q_fault_init(&c->faults, &c->inner);
    c->h.posix.port = c->faults.port;
}

static bool keep_text(void *user, const char *text, size_t n)
{
    suite_chat *c = (suite_chat *)user;
    for (size_t i = 0; i < n && c->n_made + 1 < sizeof(c->made); i++) {
        c->made[c->n_made++] = text[i];
    }
    return true;
}

bool suite_open(suite_chat *c, const char *path, bool chat)
{
    c->h.no_mmap = c->o.no_mmap;
    if (!host_session(&c->h, path, &c->o, 1, NULL)) {
        return false;
    }
    q_generate_defaults(&c->config);
    c->o.n = SUITE_MADE;
    c->o.sampler.temperature = 0.7;
    c->config.ignore_eog = 1;
    c->config.on_text = keep_text;
    c->config.user = c;
    if (engine_generator(&c->h.engine, &c->o, &c->config, &c->h.memory, &c->generator, &c->h.diag) != Q_OK) {
        return false;
    }
    return !chat || conversation_begin(&c->talk, &c->h.engine, c->generator, NULL, &c->h.memory, &c->h.diag) == Q_OK;
}

q_error_code suite_talk(suite_chat *c)
{
    static Q_ALIGNED(64) uint8_t work[65536];
    q_stop_reason reason = Q_STOP_NONE;
    q_error_code e = q_generator_text(c->generator, "ab ba", 5, 0, work, sizeof(work), &c->h.diag);
    c->n_made = 0;
    memset(c->made, 0, sizeof(c->made));
    return e == Q_OK ? q_generator_run(c->generator, &reason, &c->h.diag) : e;
}

void suite_stop(suite_chat *c)
{
    host_stop(&c->h);
    CHECK_EQ(c->faults.opened, 0);
    CHECK_EQ(c->faults.mapped, 0);
}

void suite_walk(uint32_t ops, uint64_t dense, uint64_t (*visit)(void *arg, const suite_fault *fault), void *arg)
{
    for (uint32_t forever = 0; forever < 2; forever++) {
        for (uint32_t kind = 0; kind < SUITE_KINDS; kind++) {
            if (forever != 0 && kind == Q_FAULT_INTERRUPT) {
                continue; /* a close that is interrupted for ever never closes */
            }
            for (uint64_t at = 1;; at += at < dense ? 1 : 23) {
                const suite_fault fault = {ops, (q_fault_kind)kind, at, forever != 0};
                uint64_t fired = visit(arg, &fault);
                suite_points += fired != 0 ? 1u : 0u;
                if (fired == 0) {
                    break;
                }
            }
        }
    }
}

/* The tools explain every fault on stderr: only what the checks said of it is shown again. */
static void show_checks(FILE *said)
{
    char line[512];
    rewind(said);
    while (fgets(line, sizeof(line), said) != NULL) {
        if (strstr(line, "test/fault/") != NULL) {
            (void)fputs(line, stdout);
        }
    }
}

int main(int argc, char **argv)
{
    void *memory = NULL;
    FILE *said = tmpfile();
    bool verbose = argc > 2;
    suite_model = argc > 1 ? argv[1] : "vectors/files/llama.qorus";
    if (posix_memalign(&memory, 4096, POOL) != 0) {
        return 1;
    }
    pool = (uint8_t *)memory;
    if (said == NULL || (!verbose && dup2(fileno(said), STDERR_FILENO) < 0)) {
        return 1;
    }
    suite_files();
    suite_running();
    suite_memory();
    suite_under_the_map();
    (void)printf("%llu faults visited\n", (unsigned long long)suite_points);
    free(memory);
    if (check_now.failed != 0) {
        show_checks(said);
    }
    return check_summary();
}
