/* SPDX-License-Identifier: MIT */
/*
 * helpers32.c: the compiler helpers that code for 32-bit ARM and i386 calls, for test images without a compiler
 * library. Nothing on other processors.
 */
#include <stdint.h>

typedef struct helper_pair {
    uint64_t quotient;
    uint64_t remainder;
} helper_pair;

#if defined(__arm__) || defined(__i386__)

/* Long division by shift and subtract; by zero gives 0 and the dividend. */
static helper_pair helper_divide(uint64_t a, uint64_t b)
{
    helper_pair r = {0, 0};
    if (b == 0) {
        r.remainder = a;
        return r;
    }
    for (uint32_t i = 0; i < 64; i++) {
        uint64_t carry = r.remainder >> 63;
        r.remainder = (r.remainder << 1) | (a >> 63);
        a <<= 1;
        r.quotient <<= 1;
        if (carry != 0 || r.remainder >= b) {
            r.remainder -= b;
            r.quotient |= 1u;
        }
    }
    return r;
}

#endif

#if defined(__i386__)

uint64_t __udivdi3(uint64_t a, uint64_t b);
uint64_t __umoddi3(uint64_t a, uint64_t b);

uint64_t __udivdi3(uint64_t a, uint64_t b)
{
    return helper_divide(a, b).quotient;
}

uint64_t __umoddi3(uint64_t a, uint64_t b)
{
    return helper_divide(a, b).remainder;
}

#elif defined(__arm__)

#define HELPER_ABI __attribute__((pcs("aapcs"), used))

HELPER_ABI uint32_t __aeabi_uidiv(uint32_t a, uint32_t b);
HELPER_ABI uint64_t __aeabi_uidivmod(uint32_t a, uint32_t b);
HELPER_ABI double __aeabi_ul2d(uint64_t a);
HELPER_ABI void helper_uldivmod(uint64_t a, uint64_t b, helper_pair *out);
void __aeabi_uldivmod(void);

/* Both of 32 bits, without the 64-bit loop. */
static uint64_t helper_divide32(uint32_t a, uint32_t b)
{
    uint32_t quotient = 0;
    uint32_t remainder = 0;
    for (uint32_t i = 0; i < 32 && b != 0; i++) {
        uint32_t carry = remainder >> 31;
        remainder = (remainder << 1) | (a >> 31);
        a <<= 1;
        quotient <<= 1;
        if (carry != 0 || remainder >= b) {
            remainder -= b;
            quotient |= 1u;
        }
    }
    return (uint64_t)remainder << 32 | quotient;
}

uint32_t __aeabi_uidiv(uint32_t a, uint32_t b)
{
    return (uint32_t)helper_divide32(a, b);
}

/* Quotient in r0, remainder in r1. */
uint64_t __aeabi_uidivmod(uint32_t a, uint32_t b)
{
    return helper_divide32(a, b);
}

/* The high product is exact; the sum is the one rounding. */
double __aeabi_ul2d(uint64_t a)
{
    return (double)(uint32_t)(a >> 32) * 4294967296.0 + (double)(uint32_t)a;
}

void helper_uldivmod(uint64_t a, uint64_t b, helper_pair *out)
{
    *out = helper_divide(a, b);
}

/* Quotient in r0:r1, remainder in r2:r3. */
__attribute__((naked)) void __aeabi_uldivmod(void)
{
    __asm__ volatile("push {r4, lr}\n\t"
                     "sub sp, sp, #24\n\t"
                     "add r4, sp, #8\n\t"
                     "str r4, [sp]\n\t"
                     "bl helper_uldivmod\n\t"
                     "ldrd r0, r1, [sp, #8]\n\t"
                     "ldrd r2, r3, [sp, #16]\n\t"
                     "add sp, sp, #24\n\t"
                     "pop {r4, pc}");
}

#endif
