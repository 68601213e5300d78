/* SPDX-License-Identifier: MIT */
/*
 * fpenv.h: the floating-point control word that the library's bits rest on; private to the core.
 *
 * Round to nearest even, subnormals kept, no default NaN, every exception masked. A worker enters before its
 * first kernel and leaves after its last one, which puts the caller's word back, flags included; so does every
 * function of the core that calculates on its own. Arithmetic between the two calls must read and write memory that
 * others can reach, or be called through a pointer: no compiler then moves it across either. On processors not named
 * here, and where there is no FP unit, both do nothing.
 */
#ifndef QORUS_CORE_BASE_FPENV_H
#define QORUS_CORE_BASE_FPENV_H

#include <stdint.h>

typedef struct q_fp_state {
    uint64_t word;
} q_fp_state;

#if defined(__SSE__)

static inline uint64_t q_fp_read(void)
{
    return __builtin_ia32_stmxcsr();
}

static inline void q_fp_write(uint64_t word)
{
    uint32_t mxcsr = (uint32_t)word;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr) : "memory");
}

#define Q_FP_WORD 0x1f80u

#elif defined(__aarch64__)

static inline uint64_t q_fp_read(void)
{
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
}

static inline void q_fp_write(uint64_t word)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(word) : "memory");
}

#define Q_FP_WORD 0u

#elif defined(__arm__) && defined(__ARM_FP)

static inline uint64_t q_fp_read(void)
{
    uint32_t word;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(word));
    return word;
}

static inline void q_fp_write(uint64_t word)
{
    __asm__ volatile("vmsr fpscr, %0" : : "r"((uint32_t)word) : "memory");
}

#define Q_FP_WORD 0u

#elif defined(__riscv_flen)

static inline uint64_t q_fp_read(void)
{
    unsigned long word;
    __asm__ volatile("frcsr %0" : "=r"(word));
    return word;
}

static inline void q_fp_write(uint64_t word)
{
    __asm__ volatile("fscsr %0" : : "r"((unsigned long)word) : "memory");
}

#define Q_FP_WORD 0u

#else

static inline uint64_t q_fp_read(void)
{
    return 0;
}

static inline void q_fp_write(uint64_t word)
{
    (void)word;
}

#define Q_FP_WORD 0u

#endif

/* The two halves of q_fp_enter(): the caller's control word, slow to read; the library's in its place. */
static inline q_fp_state q_fp_save(void)
{
    q_fp_state caller;
    caller.word = q_fp_read();
    return caller;
}

static inline void q_fp_use(void)
{
    q_fp_write(Q_FP_WORD);
}

/* Sets the library's control word; returns the caller's. */
static inline q_fp_state q_fp_enter(void)
{
    q_fp_state caller = q_fp_save();
    q_fp_use();
    return caller;
}

static inline void q_fp_leave(q_fp_state caller)
{
    q_fp_write(caller.word);
}

#endif /* QORUS_CORE_BASE_FPENV_H */
