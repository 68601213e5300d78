/* SPDX-License-Identifier: MIT */
/* internal.h: what the files of the bare x86 port share; not for applications. */
#ifndef QORUS_PORT_BARE_INTERNAL_H
#define QORUS_PORT_BARE_INTERNAL_H

#include "bare.h"

#include "../x86/cpu_detect.h"

enum {
    PAGE_BYTES = 4096,
    VECTOR_SERVICE = 3,  /* INT3 from ring 3 */
    VECTOR_WAKE = 0xF0,  /* sent to a processor asleep in q_bare_wait() */
    VECTOR_TIMER = 0xF1, /* local timer, while waiting for input */
    VECTOR_SPURIOUS = 0xFF,
    SELECTOR_TSS = 0x30,     /* of processor 0; 16 bytes more for each further one */
    RING0_STACK_BYTES = 4096 /* each processor has three: services, exceptions, double faults */
};

/* Everything below this is mapped one to one before any C runs. */
#define LOW_LIMIT 0x100000000ull

/* ---- Instructions ---------------------------------------------------------------------------- */

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value = 0;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint64_t read_msr_ring0(uint32_t msr)
{
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void write_msr_ring0(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
                     : "memory");
}

/* ---- Services of ring 0 (boot.S); from ring 3 only ------------------------------------------- */

enum { SERVICE_SLEEP = 0, SERVICE_FLUSH = 1, SERVICE_WRITE_MSR = 2, SERVICE_READ_MSR = 3 };

/* Runs a service; the result is that of SERVICE_READ_MSR. */
uint64_t q_bare_ask_ring0(uint64_t service, uint64_t msr, uint64_t value);

/* Until an interrupt, one already pending included. */
static inline void cpu_sleep(void)
{
    (void)q_bare_ask_ring0(SERVICE_SLEEP, 0, 0);
}

/* ---- More instructions ----------------------------------------------------------------------- */

/* The fence keeps the counter from being read before earlier instructions are done. */
static inline uint64_t read_tsc(void)
{
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

typedef struct bare_cpuid {
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
} bare_cpuid;

static inline bare_cpuid read_cpuid(uint32_t leaf, uint32_t subleaf)
{
    bare_cpuid r = {0, 0, 0, 0};
    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "0"(leaf), "2"(subleaf));
    return r;
}

/* ---- Symbols of boot.S and image.ld ---------------------------------------------------------- */

extern const char q_bare_image_start[];
extern const char q_bare_text_start[];
extern const char q_bare_text_end[];
extern const char q_bare_rodata_end[];
extern const char q_bare_image_end[];
extern char q_bare_boot_stack[]; /* first byte is that of a guard page */
extern char q_bare_boot_stack_top[];
extern const char q_bare_trampoline[];
extern const char q_bare_trampoline_end[];
extern const char q_bare_trap_stubs[]; /* 32 of 16 bytes each */
extern const char q_bare_service_stub[];
extern const char q_bare_irq_stub[];
extern const char q_bare_irq_spurious[];
extern uint64_t q_bare_gdt[];
extern uint64_t q_bare_pdpt[512];
extern uint64_t q_bare_pd[2048]; /* 2 MiB each: the low 4 GiB */

/* Read by the start code of the other processors. */
extern uint32_t q_bare_efer_bits;
extern uint32_t q_bare_ap_arrived;
extern uint32_t q_bare_ap_expected;
extern uint64_t q_bare_ap_stack_tops[Q_MAX_WORKERS];
/* Read by the interrupt stub. */
extern uint64_t q_bare_lapic_base;
extern uint32_t q_bare_x2apic;

/* ---- boot.c ---------------------------------------------------------------------------------- */

/* Called by boot.S on the boot processor, in ring 3. kind: 0 PVH, else the magic number of
   multiboot2. */
Q_NORETURN void q_bare_enter(uint64_t info, uint32_t kind);

/* ---- cpu.c ----------------------------------------------------------------------------------- */

/* Both called by boot.S in ring 0. Tables, then every vector state this CPU has; x87 and MXCSR come
   later. */
void q_bare_prepare_first(void);
void q_bare_prepare_other(uint32_t cpu);
/* What CPUID says in ring 0. Ring 3 does not ask it: a hypervisor need not answer there as it does
   here. */
typedef struct bare_cpu_facts {
    q_cpu_leaves leaves; /* for q_cpu_decode() */
    uint64_t nx;         /* the no-execute bit of a page table entry; 0 where there is none */
    uint64_t tsc_hz;     /* 0 if CPUID does not say */
    const char *tsc_source;
    bool gib_pages;
    bool apic;
} bare_cpu_facts;

extern bare_cpu_facts q_bare_cpu;

/* ---- memory.c -------------------------------------------------------------------------------- */

/* The usable RAM becomes: every Q_BARE_RAM range from 1 MiB up, less every other range. */
void q_bare_memory_init(const q_bare_range *ranges, uint32_t n);
/* Takes [base, base + size) out of what can be handed out. */
void q_bare_memory_reserve(uint64_t base, uint64_t size);
/* One page below 4 GiB, zeroed, for tables. */
void *q_bare_page_take(void);
/* A RAM block that lies below 4 GiB; exits when there is none. */
void *q_bare_memory_take_low(uint64_t size, uint64_t align);

/* ---- paging.c -------------------------------------------------------------------------------- */

/* Maps RAM above 4 GiB (up to 512 GiB), one to one. */
void q_bare_pages_map_high(const q_bare_range *ranges, uint32_t n);
/* Sets the rights of the image and takes page 0 and the stack's guard page away. */
void q_bare_pages_protect_image(void);
/* Maps the whole pages of [base, base + size) read-only; above 4 GiB it does nothing. */
void q_bare_pages_protect_module(uint64_t base, uint64_t size);
/* Takes one page below 4 GiB away. */
void q_bare_pages_guard(uint64_t page);
/* Makes one page of device registers uncached. */
void q_bare_pages_device(uint64_t page);

/* ---- serial.c -------------------------------------------------------------------------------- */

void q_bare_serial_init(void);
void q_bare_serial_drain(void);
/* From now on output takes no lock: for a processor that prints its last words. */
void q_bare_serial_break_lock(void);

/* ---- trap.c ---------------------------------------------------------------------------------- */

/* Fills the shared interrupt table. Ring 0. */
void q_bare_trap_init(void);
/* Gives processor `cpu` its task segment, with three stacks from `stacks` up, its index and the
   interrupt table. Ring 0. */
void q_bare_trap_load(uint32_t cpu, uint64_t stacks);
/* Index of the running processor; valid once q_bare_trap_load() has run on it. */
uint32_t q_bare_cpu_index(void);

/* ---- time.c ---------------------------------------------------------------------------------- */

/* Measures the time-stamp counter; 0 if nothing tells its rate. *source names what did. */
uint64_t q_bare_time_init(const char **source);
/* Nanoseconds since q_bare_time_init(). */
uint64_t q_bare_time_ns(void *user);
void q_bare_time_delay(uint64_t ns);

/* ---- apic.c ---------------------------------------------------------------------------------- */

/* True if there is a local APIC; finds its base and mode. Boot processor, before the members
   below. */
bool q_bare_apic_init(void);
/* Switches this processor's local APIC on, all its own interrupt sources masked. */
void q_bare_apic_enable(void);
uint32_t q_bare_apic_id(void);
void q_bare_apic_send(uint32_t apic_id, uint32_t command);
/* Sleeps for about half a millisecond or until another interrupt; spins briefly without an APIC. */
void q_bare_apic_nap(void);

/* ---- acpi.c ---------------------------------------------------------------------------------- */

/* APIC ids of the enabled processors in the MADT, in its order, at most max. 0 if there is no
   MADT. */
uint32_t q_bare_acpi_cpus(uint64_t rsdp, uint32_t *apic_ids, uint32_t max);

/* ---- port.c ---------------------------------------------------------------------------------- */

void q_bare_log(void *user, q_log_level level, const char *text, size_t n);
void q_bare_panic(void *user, const q_diag *diag);

/* ---- smp.c ----------------------------------------------------------------------------------- */

/* Starts the other processors through a page of RAM below 1 MiB; returns the number running. */
uint32_t q_bare_smp_start(uint64_t rsdp, uint64_t low_page);
/* First byte of the ring 0 stacks of another processor. */
uint64_t q_bare_smp_stacks(uint32_t cpu);
/* Called by boot.S on every other processor, in ring 3. */
Q_NORETURN void q_bare_smp_enter(uint32_t cpu);
uint32_t q_bare_parallel(void *user, uint32_t n_workers, q_parallel_fn fn, void *arg);
void q_bare_wait(void *user, const uint32_t *address, uint32_t expected);
void q_bare_wake(void *user, const uint32_t *address);

#endif /* QORUS_PORT_BARE_INTERNAL_H */
