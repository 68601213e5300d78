/* SPDX-License-Identifier: MIT */
/*
 * ulp.h: what the files of the elementary function test share.
 */
#ifndef QORUS_TEST_ELEMENTARY_ULP_H
#define QORUS_TEST_ELEMENTARY_ULP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum elementary_fn {
    FN_EXP,
    FN_LOG,
    FN_SIN,
    FN_COS,
    FN_TANH,
    FN_ERF,
    FN_SIGMOID,
    FN_SILU,
    FN_GELU_ERF,
    FN_GELU_TANH,
    FN_COUNT
} elementary_fn;

typedef struct tally {
    unsigned long passed;
    unsigned long failed;
    unsigned long skipped;
} tally;

/* Counts one case; a failed one prints its name. */
void report(tally *t, bool ok, const char *group, const char *name);

/* xorshift64: the next number of a sequence that starts from a fixed or given seed. */
static inline uint64_t random_u64(uint64_t *state)
{
    uint64_t s = *state;
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    *state = s;
    return s;
}

/* eval_avx2.c, compiled with -mavx2 -mfma -mf16c where the compiler can; false: not compiled so. */
bool eval_avx2_compiled(void);
/* The scalar functions with the hardware's fma. */
void eval_scalar_fma(elementary_fn fn, const float *x, float *y, size_t n);
/* The vector functions, n a multiple of 8; false: fn has no vector form. */
bool eval_avx2(elementary_fn fn, const float *x, float *y, size_t n);
float hardware_fma_f32(float a, float b, float c);
double hardware_fma_f64(double a, double b, double c);
uint16_t hardware_f16_from_f32(float x);
float hardware_f32_from_f16(uint16_t h);
/* Reductions of avx2.h against plain loops, on random numbers. */
bool avx2_reductions_ok(uint64_t seed);

/* eval_avx512.c: the same on 16 lanes, any n. */
bool eval_avx512_compiled(void);
bool eval_avx512(elementary_fn fn, const float *x, float *y, size_t n);
/* Reductions of avx512.h against plain loops, on random numbers. */
bool avx512_reductions_ok(uint64_t seed);

/* f64.c: the double functions against long double. */
void test_f64(tally *t, bool full, uint64_t seed);
/* fma_half.c: software fma and square root, conversions of halves. `hardware`: the CPU has FMA
   and F16C. */
void test_fma_half(tally *t, bool full, bool hardware, uint64_t seed);

#endif /* QORUS_TEST_ELEMENTARY_ULP_H */
