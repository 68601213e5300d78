/* SPDX-License-Identifier: MIT */
/* cpu.c: what a processor does in ring 0, before it leaves it: tables and vector state. */
#include "internal.h"

enum {
    CPUID1_C_XSAVE = 1u << 26,
    CPUID1_D_APIC = 1u << 9,
    CPUID_EXT_D_NX = 1u << 20,
    CPUID_EXT_D_GIB_PAGES = 1u << 26,
    LEAF_CRYSTAL = 0x15,
    EFER_NXE = 1u << 11
};

#define MSR_EFER 0xC0000080u
#define CPUID1_C_HYPERVISOR 0x80000000u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_HYPERVISOR_TSC 0x40000010u

bare_cpu_facts q_bare_cpu;
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
    __asm__ volatile("xsetbv"
                     :
                     : "a"((uint32_t)wanted), "d"((uint32_t)(wanted >> 32)), "c"(0u)
                     : "memory");
}

static void cpu_enable(void)
{
    if ((read_cpuid(1, 0).c & CPUID1_C_XSAVE) != 0 && read_cpuid(0, 0).a >= 0xD) {
        cpu_enable_xsave();
    }
}

static uint64_t tsc_hz_from_crystal(void)
{
    if (read_cpuid(0, 0).a < LEAF_CRYSTAL) {
        return 0;
    }
    const bare_cpuid r = read_cpuid(LEAF_CRYSTAL, 0);
    return r.a != 0 ? (uint64_t)r.c * r.b / r.a : 0;
}

static uint64_t tsc_hz_from_hypervisor(void)
{
    if ((read_cpuid(1, 0).c & CPUID1_C_HYPERVISOR) == 0) {
        return 0;
    }
    const uint32_t highest = read_cpuid(LEAF_HYPERVISOR, 0).a;
    if (highest < LEAF_HYPERVISOR_TSC || highest > LEAF_HYPERVISOR + 0xFFFF) {
        return 0;
    }
    return (uint64_t)read_cpuid(LEAF_HYPERVISOR_TSC, 0).a * 1000;
}

static void cpu_gather_facts(void)
{
    const uint32_t extended = read_cpuid(0x80000001u, 0).d;
    q_cpu_read_leaves(&q_bare_cpu.leaves);
    q_bare_cpu.nx = (extended & CPUID_EXT_D_NX) != 0 ? 1ull << 63 : 0;
    q_bare_cpu.gib_pages = (extended & CPUID_EXT_D_GIB_PAGES) != 0;
    q_bare_cpu.apic = (read_cpuid(1, 0).d & CPUID1_D_APIC) != 0;
    q_bare_cpu.tsc_hz = tsc_hz_from_crystal();
    q_bare_cpu.tsc_source = "CPUID";
    if (q_bare_cpu.tsc_hz == 0) {
        q_bare_cpu.tsc_hz = tsc_hz_from_hypervisor();
        q_bare_cpu.tsc_source = "hypervisor";
    }
}

void q_bare_prepare_first(void)
{
    q_bare_trap_init();
    q_bare_trap_load(0, (uint64_t)(uintptr_t)first_stacks);
    cpu_enable();
    cpu_gather_facts();
    if (q_bare_cpu.nx != 0) {
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
