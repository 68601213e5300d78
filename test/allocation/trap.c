/* SPDX-License-Identifier: MIT */
/* The trap for calls that could get memory: a filter of system calls, and malloc and its kin wrapped by the linker. */
#define _GNU_SOURCE
#include "trap.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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
bool trap_set(void)
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
    allocations = 0;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

void trap_end(bool good, bool provoke)
{
    if (provoke) {
        (void)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    _exit(good && allocations == 0 ? 0 : 1);
}

static int run_child(trap_work work, const char *path, bool provoke)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(work(path, provoke));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

int trap_test(trap_work work, const char *path, const char *what)
{
    int clean = run_child(work, path, false);
    int provoked;
    if (clean == TRAP_NONE) {
        (void)printf("UNAVAILABLE: no seccomp\n0 passed, 0 failed, 2 skipped\n");
        return 0;
    }
    provoked = run_child(work, path, true);
    if (clean != 0) {
        (void)printf("FAIL %s without a call for memory (%d)\n", what, clean);
    }
    if (provoked != 1000 + 31) {
        (void)printf("FAIL a call for memory on purpose is noticed (%d)\n", provoked);
    }
    (void)printf("%d passed, %d failed, 0 skipped\n", (clean == 0) + (provoked == 1031),
                 (clean != 0) + (provoked != 1031));
    return clean != 0 || provoked != 1031;
}
