/* SPDX-License-Identifier: MIT */
/* cpu_detect.c: CPUID and XGETBV, read into the Q_CPU_* bits of the port contract. */
#include "cpu_detect.h"

#include "../../include/qorus/port.h"

#if defined(__x86_64__) || defined(__i386__)

typedef struct cpuid_regs {
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
} cpuid_regs;

enum {
    XCR0_AVX = 0x6u,     /* SSE and upper halves of YMM */
    XCR0_AVX512 = 0xE6u, /* mask registers, upper halves of ZMM0-15, ZMM16-31 */
    XCR0_AMX = 0x60000u, /* tile configuration and tile data */
    CPUID1_C_FMA = 1u << 12,
    CPUID1_C_OSXSAVE = 1u << 27,
    CPUID1_C_AVX = 1u << 28,
    CPUID1_C_F16C = 1u << 29,
    CPUID7_B_AVX2 = 1u << 5,
    CPUID7_C_AVX512_VNNI = 1u << 11,
    CPUID7_D_AMX_BF16 = 1u << 22,
    CPUID7_D_AVX512_FP16 = 1u << 23,
    CPUID7_D_AMX_TILE = 1u << 24,
    CPUID7_D_AMX_INT8 = 1u << 25,
    CPUID71_A_AVX_VNNI = 1u << 4,
    CPUID71_A_AVX512_BF16 = 1u << 5
};

/* F 16, DQ 17, BW 30, VL 31 of CPUID(7,0).EBX. */
#define CPUID7_B_AVX512 0xC0030000u

/* A leaf above the highest one of its processor reads as zero here. */
static cpuid_regs cpu_leaf(uint32_t leaf, uint32_t subleaf)
{
    cpuid_regs r = {0, 0, 0, 0};
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "0"(0u), "2"(0u));
    if (r.a < leaf) {
        return (cpuid_regs){0, 0, 0, 0};
    }
    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "0"(leaf), "2"(subleaf));
    return r;
}

/* Low half of XCR0. Legal only where CPUID(1).ECX has OSXSAVE: XGETBV is an invalid opcode
   otherwise. */
static uint32_t cpu_xcr0(void)
{
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0u));
    return low;
}

static bool cpu_has(uint32_t reg, uint32_t mask)
{
    return (reg & mask) == mask;
}

static uint64_t cpu_bits_avx512(const q_cpu_leaves *l)
{
    if (!cpu_has(l->leaf7_b, CPUID7_B_AVX512)) {
        return 0;
    }
    uint64_t bits = Q_CPU_AVX512;
    bits |= cpu_has(l->leaf7_c, CPUID7_C_AVX512_VNNI) ? Q_CPU_AVX512_VNNI : 0u;
    bits |= cpu_has(l->leaf7_1_a, CPUID71_A_AVX512_BF16) ? Q_CPU_AVX512_BF16 : 0u;
    bits |= cpu_has(l->leaf7_d, CPUID7_D_AVX512_FP16) ? Q_CPU_AVX512_FP16 : 0u;
    return bits;
}

static uint64_t cpu_bits_amx(const q_cpu_leaves *l)
{
    if (!cpu_has(l->leaf7_d, CPUID7_D_AMX_TILE)) {
        return 0;
    }
    uint64_t bits = 0;
    bits |= cpu_has(l->leaf7_d, CPUID7_D_AMX_INT8) ? Q_CPU_AMX_INT8 : 0u;
    bits |= cpu_has(l->leaf7_d, CPUID7_D_AMX_BF16) ? Q_CPU_AMX_BF16 : 0u;
    return bits;
}

void q_cpu_read_leaves(q_cpu_leaves *out)
{
    const cpuid_regs l7 = cpu_leaf(7, 0);
    out->leaf1_c = cpu_leaf(1, 0).c;
    out->leaf7_b = l7.b;
    out->leaf7_c = l7.c;
    out->leaf7_d = l7.d;
    out->leaf7_1_a = l7.a >= 1 ? cpu_leaf(7, 1).a : 0;
}

uint64_t q_cpu_decode(const q_cpu_leaves *l)
{
    if (!cpu_has(l->leaf1_c, CPUID1_C_OSXSAVE)) {
        return 0;
    }
    const uint32_t xcr0 = cpu_xcr0();
    const bool avx2 = cpu_has(l->leaf1_c, CPUID1_C_AVX | CPUID1_C_FMA | CPUID1_C_F16C)
                      && cpu_has(l->leaf7_b, CPUID7_B_AVX2) && cpu_has(xcr0, XCR0_AVX);
    uint64_t bits = 0;
    if (avx2) {
        bits |= Q_CPU_AVX2;
        bits |= cpu_has(l->leaf7_1_a, CPUID71_A_AVX_VNNI) ? Q_CPU_AVX_VNNI : 0u;
        bits |= cpu_has(xcr0, XCR0_AVX512) ? cpu_bits_avx512(l) : 0u;
    }
    bits |= cpu_has(xcr0, XCR0_AMX) ? cpu_bits_amx(l) : 0u;
    return bits;
}

#else

void q_cpu_read_leaves(q_cpu_leaves *out)
{
    *out = (q_cpu_leaves){0, 0, 0, 0, 0};
}

uint64_t q_cpu_decode(const q_cpu_leaves *l)
{
    (void)l;
    return 0;
}

#endif

uint64_t q_cpu_detect(void)
{
    q_cpu_leaves leaves;
    q_cpu_read_leaves(&leaves);
    return q_cpu_decode(&leaves);
}
