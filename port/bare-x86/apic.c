/* SPDX-License-Identifier: MIT */
/* apic.c: the local APIC, in its memory-mapped and its x2APIC mode. */
#include "internal.h"

enum {
    MSR_APIC_BASE = 0x1B,
    APIC_ENABLED = 1 << 11,
    APIC_X2 = 1 << 10,
    REG_ID = 0x20,
    REG_SPURIOUS = 0xF0,
    REG_ICR_LOW = 0x300,
    REG_ICR_HIGH = 0x310,
    REG_LVT_TIMER = 0x320,
    REG_LVT_LINT0 = 0x350,
    REG_LVT_LINT1 = 0x360,
    REG_TIMER_START = 0x380,
    REG_TIMER_NOW = 0x390,
    REG_TIMER_DIVIDE = 0x3E0,
    ICR_BUSY = 1 << 12,
    ICR_POLLS = 1000000,
    LVT_MASKED = 1 << 16,
    NAP_NS = 500000
};

static bool apic_present;
static uint32_t apic_nap_ticks;

static uint32_t apic_read(uint32_t reg)
{
    if (q_bare_x2apic != 0) {
        return (uint32_t)q_bare_ask_ring0(SERVICE_READ_MSR, 0x800 + (reg >> 4), 0);
    }
    return *(volatile uint32_t *)(uintptr_t)(q_bare_lapic_base + reg);
}

static void apic_write(uint32_t reg, uint32_t value)
{
    if (q_bare_x2apic != 0) {
        (void)q_bare_ask_ring0(SERVICE_WRITE_MSR, 0x800 + (reg >> 4), value);
    } else {
        *(volatile uint32_t *)(uintptr_t)(q_bare_lapic_base + reg) = value;
    }
}

/* Ticks of the APIC timer in one nap, by the calibrated time-stamp counter. */
static void apic_measure_timer(void)
{
    apic_write(REG_TIMER_DIVIDE, 0x3); /* by 16 */
    apic_write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    apic_write(REG_TIMER_START, UINT32_MAX);
    q_bare_time_delay(NAP_NS);
    apic_nap_ticks = UINT32_MAX - apic_read(REG_TIMER_NOW);
    apic_nap_ticks += apic_nap_ticks == 0 ? 1 : 0;
    apic_write(REG_TIMER_START, 0);
}

bool q_bare_apic_init(void)
{
    if (!q_bare_cpu.apic) {
        return false;
    }
    const uint64_t base = q_bare_ask_ring0(SERVICE_READ_MSR, MSR_APIC_BASE, 0);
    if ((base & APIC_ENABLED) == 0 || (base & 0x000FFFFFFFFFF000ull) >= LOW_LIMIT) {
        return false;
    }
    q_bare_lapic_base = base & 0xFFFFF000u;
    q_bare_x2apic = (base & APIC_X2) != 0 ? 1 : 0;
    q_bare_pages_device(q_bare_lapic_base);
    apic_present = true;
    q_bare_apic_enable();
    apic_measure_timer();
    return true;
}

void q_bare_apic_enable(void)
{
    apic_write(REG_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
    apic_write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    apic_write(REG_LVT_LINT0, LVT_MASKED);
    apic_write(REG_LVT_LINT1, LVT_MASKED);
}

uint32_t q_bare_apic_id(void)
{
    return q_bare_x2apic != 0 ? apic_read(REG_ID) : apic_read(REG_ID) >> 24;
}

void q_bare_apic_send(uint32_t apic_id, uint32_t command)
{
    if (q_bare_x2apic != 0) {
        __asm__ volatile("mfence\n\tlfence" : : : "memory"); /* this WRMSR does not order stores */
        (void)q_bare_ask_ring0(SERVICE_WRITE_MSR, 0x830, (uint64_t)apic_id << 32 | command);
        return;
    }
    apic_write(REG_ICR_HIGH, apic_id << 24);
    apic_write(REG_ICR_LOW, command);
    for (uint32_t i = 0; i < ICR_POLLS && (apic_read(REG_ICR_LOW) & ICR_BUSY) != 0; i++) {
        cpu_pause();
    }
}

void q_bare_apic_nap(void)
{
    if (!apic_present) {
        for (uint32_t i = 0; i < 100; i++) {
            cpu_pause();
        }
        return;
    }
    apic_write(REG_LVT_TIMER, VECTOR_TIMER);
    apic_write(REG_TIMER_START, apic_nap_ticks);
    cpu_sleep();
    apic_write(REG_TIMER_START, 0);
    apic_write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
}
