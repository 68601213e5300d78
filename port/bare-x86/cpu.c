/* SPDX-License-Identifier: MIT */
/* cpu.c: what a processor does in ring 0, before it leaves it: tables and vector state. */
#include "internal.h"

enum {
    CPUID1_C_XSAVE = 1u << 26,
    CPUID_EXT_D_NX = 1u << 20,
    EFER_NXE = 1u << 11
};

#define MSR_EFER 0xC0000080u

static char first_stacks[3 * RING0_STACK_BYTES] Q_ALIGNED(16);

/* x87, SSE, AVX; AVX-512 (three parts); AMX (two parts). Each group goes on whole or not at all. */
static const uint64_t XCR0_GROUPS[] = {0x3, 0x4, 0xE0, 0x60000};

static void cpu_enable_xsave(void)
{
    uint64_t cr4 = 0;
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("movq %0, %%cr4" : : "r"(cr4 | 1u << 18) : "memory");
    const bare_cpuid r = read_cpuid(0xD, 0);
    const uint64_t supported = (uint64_t)r.d << 32 | r.a;
    uint64_t wanted = 0;
    for (size_t i = 0; i < sizeof(XCR0_GROUPS) / sizeof(XCR0_GROUPS[0]); i++) {
        /* AVX-512 state without AVX state would be refused. */
        const bool whole = (supported & XCR0_GROUPS[i]) == XCR0_GROUPS[i];
        const bool allowed = XCR0_GROUPS[i] != 0xE0 || (wanted & 0x4) != 0;
        wanted |= whole && allowed ? XCR0_GROUPS[i] : 0;
    }
    __asm__ volatile("xsetbv" : : "a"((uint32_t)wanted), "d"((uint32_t)(wanted >> 32)), "c"(0u) : "memory");
}

static void cpu_enable(void)
{
    if ((read_cpuid(1, 0).c & CPUID1_C_XSAVE) != 0 && read_cpuid(0, 0).a >= 0xD) {
        cpu_enable_xsave();
    }
}

uint64_t q_bare_cpu_nx(void)
{
    return (read_cpuid(0x80000001u, 0).d & CPUID_EXT_D_NX) != 0 ? 1ull << 63 : 0;
}

void q_bare_prepare_first(void)
{
    q_bare_trap_init();
    q_bare_trap_load(0, (uint64_t)(uintptr_t)first_stacks);
    cpu_enable();
    if (q_bare_cpu_nx() != 0) {
        /* The other processors set the same bits before they turn paging on. */
        q_bare_efer_bits = EFER_NXE;
        write_msr_ring0(MSR_EFER, read_msr_ring0(MSR_EFER) | EFER_NXE);
    }
}

void q_bare_prepare_other(uint32_t cpu)
{
    q_bare_trap_load(cpu, q_bare_smp_stacks(cpu));
    cpu_enable();
}
