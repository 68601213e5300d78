/* SPDX-License-Identifier: MIT */
/* trap.c: exceptions print what happened and end the run; interrupts only end a sleep. */
#include "internal.h"

typedef struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
} trap_frame;

Q_STATIC_ASSERT(sizeof(trap_frame) == 22 * 8, "boot.S pushes 22 words");

typedef struct trap_gate {
    uint16_t offset_0;
    uint16_t selector;
    uint8_t stack; /* entry of the task segment's table of stacks; 0: the running stack */
    uint8_t type;
    uint16_t offset_16;
    uint32_t offset_32;
    uint32_t zero;
} trap_gate;

/* The task segment of 64-bit mode (104 bytes, 64-bit fields at odd multiples of 4), then one bit
   for each of the ports 0 to 0x3FF, zero for "allowed", then the ones that end the map. */
typedef struct Q_ALIGNED(16) task_segment {
    uint32_t words[26];
    uint8_t ports[128];
    uint8_t end[8];
} task_segment;

Q_STATIC_ASSERT(sizeof(trap_gate) == 16, "a gate is 16 bytes");
Q_STATIC_ASSERT(sizeof(task_segment) == 240, "104 bytes and the permission map");

enum {
    GATE_INTERRUPT = 0x8E,
    GATE_SERVICE = 0xEE, /* ring 3 may call it */
    STACK_TRAP = 1,
    STACK_DOUBLE_FAULT = 2,
    VECTOR_DOUBLE_FAULT = 8,
    VECTOR_PAGE_FAULT = 14,
    TASK_STACK_RING0 = 1, /* word of the stack pointer taken on the way from ring 3 */
    TASK_STACKS = 9       /* word of the first pointer in the table of stacks */
};

typedef struct table_pointer {
    uint16_t words[5]; /* limit, then the base, lowest half first */
} table_pointer;

static trap_gate trap_gates[256];
static task_segment trap_tasks[Q_MAX_WORKERS];
static uint32_t trap_entered;
/* GS points at a processor's own entry. */
static uint32_t trap_cpu_index[Q_MAX_WORKERS];

#define MSR_GS_BASE 0xC0000101u

static const char *const TRAP_NAMES[] = {
    "divide error", "debug", "non-maskable interrupt", "breakpoint", "overflow", "bound range",
    "invalid opcode", "device not available", "double fault", "coprocessor overrun", "invalid TSS",
    "segment not present", "stack fault", "general protection", "page fault", "vector 15",
    "x87 floating point", "alignment check", "machine check", "SIMD floating point",
    "virtualization", "control protection"};

/* Called by boot.S. */
Q_NORETURN void q_bare_trap(const trap_frame *frame);

Q_NORETURN void q_bare_trap(const trap_frame *frame)
{
    if (__atomic_exchange_n(&trap_entered, 1u, __ATOMIC_SEQ_CST) != 0) {
        for (;;) {
            __asm__ volatile("cli\n\thlt");
        }
    }
    uint64_t cr2 = 0;
    __asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
    const uint64_t names = sizeof(TRAP_NAMES) / sizeof(TRAP_NAMES[0]);
    q_bare_serial_break_lock();
    q_bare_say(
        "\nqorus: exception %lu (%s) on processor %lu: error code 0x%lx, RIP 0x%lx, CR2 0x%lx, "
        "RSP 0x%lx, RFLAGS 0x%lx, CS 0x%lx, SS 0x%lx\n",
        frame->vector, frame->vector < names ? TRAP_NAMES[frame->vector] : "reserved",
        (uint64_t)q_bare_cpu_index(), frame->error, frame->rip, cr2, frame->rsp, frame->rflags,
        frame->cs, frame->ss);
    q_bare_say("RAX 0x%lx RBX 0x%lx RCX 0x%lx RDX 0x%lx RSI 0x%lx RDI 0x%lx RBP 0x%lx\n",
               frame->rax, frame->rbx, frame->rcx, frame->rdx, frame->rsi, frame->rdi, frame->rbp);
    q_bare_say("R8 0x%lx R9 0x%lx R10 0x%lx R11 0x%lx R12 0x%lx R13 0x%lx R14 0x%lx R15 0x%lx\n",
               frame->r8, frame->r9, frame->r10, frame->r11, frame->r12, frame->r13, frame->r14,
               frame->r15);
    q_bare_exit(Q_BARE_EXIT_EXCEPTION);
}

static void trap_set_gate(uint32_t vector, const char *handler, uint8_t stack)
{
    const uint64_t at = (uint64_t)(uintptr_t)handler;
    trap_gates[vector] = (trap_gate){
        (uint16_t)at, 0x08, stack, GATE_INTERRUPT, (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

/* The legacy controllers' lines move to vectors 32 to 47, away from the exceptions, and are all
   masked. */
static void trap_mask_legacy(void)
{
    static const uint8_t SETUP[][2] = {{0x20, 0x11}, {0xA0, 0x11}, {0x21, 0x20}, {0xA1, 0x28},
                                       {0x21, 0x04}, {0xA1, 0x02}, {0x21, 0x01}, {0xA1, 0x01},
                                       {0x21, 0xFF}, {0xA1, 0xFF}};
    for (size_t i = 0; i < sizeof(SETUP) / sizeof(SETUP[0]); i++) {
        out8(SETUP[i][0], SETUP[i][1]);
    }
}

void q_bare_trap_init(void)
{
    trap_mask_legacy();
    for (uint32_t v = 0; v < 32; v++) {
        const uint8_t stack = v == VECTOR_DOUBLE_FAULT ? STACK_DOUBLE_FAULT : STACK_TRAP;
        trap_set_gate(v, q_bare_trap_stubs + 16 * v, stack);
    }
    for (uint32_t v = 32; v < 256; v++) {
        trap_set_gate(v, q_bare_irq_spurious, 0);
    }
    trap_set_gate(VECTOR_SERVICE, q_bare_service_stub, 0);
    trap_gates[VECTOR_SERVICE].type = GATE_SERVICE;
    trap_set_gate(VECTOR_WAKE, q_bare_irq_stub, 0);
    trap_set_gate(VECTOR_TIMER, q_bare_irq_stub, 0);
}

static void task_set_stack(task_segment *task, uint32_t word, uint64_t top)
{
    task->words[word] = (uint32_t)top;
    task->words[word + 1] = (uint32_t)(top >> 32);
}

static void trap_load_task(uint32_t cpu)
{
    const uint64_t base = (uint64_t)(uintptr_t)&trap_tasks[cpu];
    uint64_t *descriptor = &q_bare_gdt[SELECTOR_TSS / 8 + 2 * cpu];
    descriptor[0] = (base & 0xFFFFFF) << 16 | (base >> 24 & 0xFF) << 56 | 0x89ull << 40
                    | (sizeof(task_segment) - 1);
    descriptor[1] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS + 16 * cpu) : "memory");
}

void q_bare_trap_load(uint32_t cpu, uint64_t stacks)
{
    task_segment *task = &trap_tasks[cpu];
    task_set_stack(task, TASK_STACK_RING0, stacks + RING0_STACK_BYTES);
    task_set_stack(task, TASK_STACKS + 2 * (STACK_TRAP - 1), stacks + 2 * RING0_STACK_BYTES);
    task_set_stack(task, TASK_STACKS + 2 * (STACK_DOUBLE_FAULT - 1),
                   stacks + 3 * RING0_STACK_BYTES);
    task->words[25] = (uint32_t)offsetof(task_segment, ports) << 16;
    for (uint32_t i = 0; i < sizeof(task->end); i++) {
        task->end[i] = 0xFF;
    }
    trap_load_task(cpu);

    const uint64_t gates = (uint64_t)(uintptr_t)trap_gates;
    const table_pointer idt = {{sizeof(trap_gates) - 1, (uint16_t)gates, (uint16_t)(gates >> 16),
                                (uint16_t)(gates >> 32), (uint16_t)(gates >> 48)}};
    __asm__ volatile("lidt %0" : : "m"(idt));
    trap_cpu_index[cpu] = cpu;
    write_msr_ring0(MSR_GS_BASE, (uint64_t)(uintptr_t)&trap_cpu_index[cpu]);
}

uint32_t q_bare_cpu_index(void)
{
    uint32_t index = 0;
    __asm__ volatile("movl %%gs:0, %0" : "=r"(index));
    return index;
}
