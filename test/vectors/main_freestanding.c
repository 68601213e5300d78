/* SPDX-License-Identifier: MIT */
/*
 * main_freestanding.c: golden vectors as a static Linux program without any libc, for qemu-user.
 *
 * start.S calls vectors_start(); pack.S carries the packs. Two system calls are used: write to stdout, and
 * exit with 0 if everything was right, else 1. Link with the runner, the scalar backend and core/base/mem.c.
 * With Q_VECTORS_AVX2 the AVX2 backend runs instead, on a processor that has it (qemu-x86_64 -cpu max).
 */
#include "runner.h"

#if defined(__x86_64__)
enum { SYS_WRITE = 1, SYS_EXIT = 231 };
#elif defined(__i386__)
enum { SYS_WRITE = 4, SYS_EXIT = 252 };
#elif defined(__arm__)
enum { SYS_WRITE = 4, SYS_EXIT = 248 };
#elif defined(__aarch64__) || defined(__riscv)
enum { SYS_WRITE = 64, SYS_EXIT = 94 };
#else
#error "no system calls for this processor"
#endif

extern const unsigned char vectors_pack[];
extern const unsigned char vectors_pack_end[];

static unsigned char vectors_work[4 << 20] Q_ALIGNED(64);

void vectors_start(void);

static long vectors_syscall(long number, long a, long b, long c)
{
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
#elif defined(__i386__)
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#elif defined(__arm__)
    register long r7 __asm__("r7") = number;
    register long r0 __asm__("r0") = a;
    register long r1 __asm__("r1") = b;
    register long r2 __asm__("r2") = c;
    __asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
#else
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
#endif
}

static void vectors_write(const char *text, size_t n)
{
    while (n != 0) {
        long done = vectors_syscall(SYS_WRITE, 1, (long)(uintptr_t)text, (long)n);
        if (done <= 0) {
            return;
        }
        text += done;
        n -= (size_t)done;
    }
}

static void vectors_line(void *user, const char *line, size_t n)
{
    (void)user;
    vectors_write(line, n);
    vectors_write("\n", 1);
}

void vectors_start(void)
{
    static q_vectors_result result;
    static q_backend b;
    bool fine;
    q_backend_scalar(&b);
#ifdef Q_VECTORS_AVX2
    if (!q_backend_avx2(&b, Q_CPU_AVX2)) {
        (void)vectors_syscall(SYS_EXIT, 2, 0, 0);
    }
#endif
    q_vectors_run(&b, vectors_pack, (size_t)((uintptr_t)vectors_pack_end - (uintptr_t)vectors_pack), vectors_work,
                  sizeof(vectors_work), vectors_line, NULL, &result);
    fine = q_vectors_finish(vectors_line, NULL, &result);
    (void)vectors_syscall(SYS_EXIT, fine ? 0 : 1, 0, 0);
}
