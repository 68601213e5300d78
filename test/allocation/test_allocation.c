/* SPDX-License-Identifier: MIT */
/*
 * Decodes 10,000 tokens with two workers while the kernel kills the process at any call that could get memory:
 * brk, mmap, mremap, munmap, madvise, clone. malloc and its kin are wrapped by the linker and counted. A second run
 * calls mmap on purpose and must die, which proves that the trap works.
 *
 *   test_allocation FILE.qorus
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../port/posix/posix.h"
#include "../../tools/common/engine.h"

enum { TOKENS = 10000, WORKERS = 2 };

static unsigned long allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocations++;
    return __real_realloc(p, n);
}

/* Kills the whole process at a call that gets or gives memory, in any thread. */
static bool forbid_memory_calls(void)
{
    static const int calls[] = {SYS_brk, SYS_mmap, SYS_mremap, SYS_munmap, SYS_madvise, SYS_clone, SYS_clone3};
    enum { N = sizeof(calls) / sizeof(calls[0]) };
    struct sock_filter code[2 * N + 2];
    struct sock_fprog program;
    unsigned short n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < N; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = n;
    program.filter = code;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

static q_error_code take(void *user, size_t size, const char *what, void **base, q_diag *diag)
{
    (void)user;
    (void)what;
    return q_posix_region_alloc(size != 0 ? size : 1, Q_POSIX_TOUCH, base, diag);
}

/* In the child: 0 done, 1 it failed, 3 no seccomp here. */
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
    if (!forbid_memory_calls()) {
        return 3;
    }
    allocations = 0;
    if (q_generator_feed(generator, (const int32_t[]){1, 2, 3}, 3, &d) != Q_OK ||
        q_generator_run(generator, &reason, &d) != Q_OK || reason != Q_STOP_COUNT ||
        q_generator_count(generator) != TOKENS || q_session_workers(e.session) != WORKERS) {
        return 1;
    }
    if (provoke) {
        (void)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    _exit(allocations == 0 ? 0 : 1);
}

static int run_child(const char *file, bool provoke)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(decode(file, provoke));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    int clean;
    int provoked;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: test_allocation FILE.qorus\n");
        return 2;
    }
    clean = run_child(argv[1], false);
    if (clean == 3) {
        (void)printf("UNAVAILABLE: no seccomp\n0 passed, 0 failed, 2 skipped\n");
        return 0;
    }
    provoked = run_child(argv[1], true);
    if (clean != 0) {
        (void)printf("FAIL %d tokens without a call for memory (%d)\n", TOKENS, clean);
    }
    if (provoked != 1000 + 31) {
        (void)printf("FAIL a call for memory on purpose is noticed (%d)\n", provoked);
    }
    (void)printf("%d passed, %d failed, 0 skipped\n", (clean == 0) + (provoked == 1031),
                 (clean != 0) + (provoked != 1031));
    return clean != 0 || provoked != 1031;
}
