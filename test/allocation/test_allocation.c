/* SPDX-License-Identifier: MIT */
/*
 * Decodes 10,000 tokens with two workers while the kernel kills the process at any call that could get memory (trap.h).
 * A second run calls mmap on purpose and must die, which proves that the trap works.
 *
 *   test_allocation FILE.qorus
 */
#include <stdio.h>
#include <string.h>

#include "../../port/posix/posix.h"
#include "../../tools/common/engine.h"
#include "trap.h"

enum { TOKENS = 10000, WORKERS = 2 };

static q_error_code take(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    (void)user;
    (void)what;
    return q_posix_region_alloc(size != 0 ? size : 1, Q_POSIX_TOUCH, base, diag);
}

static int decode(const char *file, bool provoke)
{
    static q_posix posix;
    static engine e;
    static options o;
    static q_posix_model model;
    const engine_memory memory = {NULL, take, false};
    q_generate_config config;
    q_generator *generator;
    q_stop_reason reason;
    q_diag d;
    char error[64];
    memset(&d, 0, sizeof(d));
    if (!options_parse(&o, FOR_RUN, NULL, 0, error, sizeof(error)) || q_posix_init(&posix, WORKERS, &d) != Q_OK) {
        return 1;
    }
    o.threads = WORKERS;
    o.ctx = 200;
    o.shift = true;
    o.n = TOKENS;
    o.sampler.temperature = 0.8;
    o.sampler.top_p = 0.95;
    o.sampler.repeat_penalty = 1.1;
    q_generate_defaults(&config);
    config.ignore_eog = 1;
    if (q_posix_open_model(&posix, file, NULL, &model, &d) != Q_OK ||
        engine_open(&e, model.base, model.size, true, &memory, &d) != Q_OK ||
        engine_plan(&e, q_posix_port(&posix), &o, 1, &memory, &d) != Q_OK ||
        engine_start(&e, NULL, &memory, &d) != Q_OK ||
        engine_generator(&e, &o, &config, &memory, &generator, &d) != Q_OK) {
        (void)fprintf(stderr, "%s: %s\n", d.what, d.field);
        return 1;
    }
    if (!trap_set()) {
        return TRAP_NONE;
    }
    if (q_generator_feed(generator, (const int32_t[]){1, 2, 3}, 3, &d) != Q_OK ||
        q_generator_run(generator, &reason, &d) != Q_OK || reason != Q_STOP_COUNT ||
        q_generator_count(generator) != TOKENS || q_session_workers(e.session) != WORKERS) {
        return 1;
    }
    trap_end(true, provoke);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: test_allocation FILE.qorus\n");
        return 2;
    }
    return trap_test(decode, argv[1], "10,000 tokens");
}
