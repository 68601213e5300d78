/* SPDX-License-Identifier: MIT */
/*
 * boot.S: from 32-bit protected mode (PVH, multiboot2) or a start-up interrupt to C in ring 3.
 *
 * Ring 0 lasts for a few hundred instructions: tables, control registers, vector state. All else,
 * the application included, runs in ring 3, with an I/O permission map for the ports it needs and
 * INT3 for the few privileged things it ever asks for. The processor does not care, but some
 * hypervisors do: KVM without hardware virtualisation (kvm-pvm) interprets ring 0, knows no SSE
 * there, and runs ring 3 at full speed.
 *
 * Both loaders enter with paging off, flat segments and EBX pointing at their information.
 * Addresses are physical throughout: the image is linked where it is loaded, and every mapping is
 * one to one.
 */

    .set CODE64, 0x08
    .set DATA, 0x10
    .set CODE32, 0x18
    .set USER_DATA, 0x20 + 3
    .set USER_CODE, 0x28 + 3
    .set USER_FLAGS, 0x0002            /* interrupts off */
    .set MAX_CPUS, 64
    .set CR0_BITS, 0x80010033          /* PG WP NE ET MP PE; EM, TS, CD and NW clear */
    .set CR4_BITS, 0x620               /* OSXMMEXCPT OSFXSR PAE */
    .set MSR_EFER, 0xC0000080
    .set STACK_BYTES, 262144

/* ---- How a loader finds the entry ------------------------------------------------------------ */

    .section .note.Xen, "a", @note
    .balign 4
    .long 4                            /* bytes of the name */
    .long 8                            /* bytes of the value */
    .long 18                           /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad q_bare_start_pvh

    .section .boot.header, "a"
    .balign 8
mb2_header:
    .long 0xE85250D6                   /* multiboot2; QEMU refuses a 64-bit multiboot1 */
    .long 0                            /* 32-bit protected mode */
    .long mb2_header_end - mb2_header
    .long -(0xE85250D6 + (mb2_header_end - mb2_header))
    .balign 8
    .short 3, 0                        /* entry address */
    .long 12
    .long q_bare_start_mb2
    .balign 8
    .short 6, 0                        /* modules aligned to pages */
    .long 8
    .balign 8
    .short 0, 0
    .long 8
mb2_header_end:

/* ---- Boot processor -------------------------------------------------------------------------- */

    .section .text.boot, "ax"
    .code32
    .globl q_bare_start_pvh
q_bare_start_pvh:
    xorl %esi, %esi
    jmp start32

    .globl q_bare_start_mb2
q_bare_start_mb2:
    movl %eax, %esi

start32:
    cli
    cld
    movl %ebx, %edi
    movl $q_bare_boot_stack_top, %esp
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    testl $(1 << 29), %edx
    jz no_long_mode

    /* Four page directories of 512 pages of 2 MiB: the low 4 GiB, one to one. */
    movl $q_bare_pd, %ebx
    movl $0x87, %eax                   /* present, writable, user, large */
    movl $2048, %ecx
1:  movl %eax, (%ebx)
    movl $0, 4(%ebx)
    addl $0x200000, %eax
    addl $8, %ebx
    loop 1b
    movl $(q_bare_pd + 0x0007), q_bare_pdpt
    movl $(q_bare_pd + 0x1007), q_bare_pdpt + 8
    movl $(q_bare_pd + 0x2007), q_bare_pdpt + 16
    movl $(q_bare_pd + 0x3007), q_bare_pdpt + 24
    movl $(q_bare_pdpt + 7), pml4

    movl $start64, %ebp
    jmp enter_long_mode

/* EBP: where to go in 64-bit mode. EDI and ESI survive. */
enter_long_mode:
    lgdt gdt_pointer
    movl $CR4_BITS, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $0x100, %eax                   /* LME */
    orl q_bare_efer_bits, %eax
    wrmsr
    movl $CR0_BITS, %eax
    movl %eax, %cr0
    ljmpl $CODE64, $in_long_mode

    .code64
in_long_mode:
    movl $DATA, %eax
    movl %eax, %ss
    movl $USER_DATA, %eax              /* these four stay as they are on the way to ring 3 */
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %ebp, %eax
    jmp *%rax

start64:
    movl $q_bare_boot_stack_top, %esp
    pushq %rdi
    pushq %rsi
    call q_bare_prepare_first
    popq %rsi
    popq %rdi
    movl %edi, %edi
    movl $q_bare_enter, %eax
    jmp enter_user

/* RAX: a function that never returns; RDI, RSI: its arguments; the stack stays. */
enter_user:
    movq %rsp, %rcx
    pushq $USER_DATA
    pushq %rcx
    pushq $USER_FLAGS
    pushq $USER_CODE
    pushq $in_user
    iretq
in_user:
    fninit
    ldmxcsr mxcsr_default
    xorl %ebp, %ebp
    call *%rax
    ud2

    .code32
no_long_mode:
    movl $no_long_mode_text, %esi
1:  movb (%esi), %al
    testb %al, %al
    jz 2f
    movw $0x3F8, %dx
    outb %al, %dx
    incl %esi
    jmp 1b
2:  movw $0xF4, %dx
    movl $(32 + 16), %eax              /* Q_BARE_EXIT_BOOT */
    outl %eax, %dx
3:  hlt
    jmp 3b

/* ---- Other processors ------------------------------------------------------------------------ */

/* Copied to a page below 1 MiB. A start-up interrupt begins there in real mode, CS = page / 16. */
    .section .rodata.boot, "a"
    .code16
    .balign 16
    .globl q_bare_trampoline, q_bare_trampoline_end
q_bare_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt - q_bare_trampoline
    movl $0x11, %eax                   /* ET PE, caches on */
    movl %eax, %cr0
    ljmpl $CODE32, $ap_start32
    .balign 4
trampoline_gdt:
    .word gdt_end - q_bare_gdt - 1
    .long q_bare_gdt
q_bare_trampoline_end:

    .balign 4
mxcsr_default:
    .long 0x1F80
no_long_mode_text:
    .asciz "qorus: this processor has no 64-bit mode\n"

    .section .text.boot, "ax"
    .code32
ap_start32:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %ss
    movl $ap_start64, %ebp
    jmp enter_long_mode

    .code64
ap_start64:
    movl $1, %edi
    lock xaddl %edi, q_bare_ap_arrived
    incl %edi                          /* index of this processor; the first one is 0 */
    cmpl q_bare_ap_expected, %edi
    jae 1f
    movq q_bare_ap_stack_tops(, %rdi, 8), %rsp
    pushq %rdi
    pushq %rdi
    call q_bare_prepare_other
    popq %rdi
    popq %rdi
    movl $q_bare_smp_enter, %eax
    jmp enter_user
1:  cli
    hlt
    jmp 1b

/* ---- Exceptions and interrupts --------------------------------------------------------------- */

    .text
    .balign 16
    .globl q_bare_trap_stubs
q_bare_trap_stubs:
/* One stub of 16 bytes for each vector; zero stands in for an error code not pushed. */
    .macro trap_stub vector, has_error
    .balign 16, 0xCC
    .ifeq \has_error
    pushq $0
    .endif
    pushq $\vector
    jmp trap_common
    .endm
    .irp vector, 0, 1, 2, 3, 4, 5, 6, 7
    trap_stub \vector, 0
    .endr
    trap_stub 8, 1
    trap_stub 9, 0
    .irp vector, 10, 11, 12, 13, 14
    trap_stub \vector, 1
    .endr
    trap_stub 15, 0
    trap_stub 16, 0
    trap_stub 17, 1
    trap_stub 18, 0
    trap_stub 19, 0
    trap_stub 20, 0
    trap_stub 21, 1
    .irp vector, 22, 23, 24, 25, 26, 27, 28
    trap_stub \vector, 0
    .endr
    trap_stub 29, 1
    trap_stub 30, 1
    trap_stub 31, 0

/* The frame has 22 words below an address that is a multiple of 16, so the call is aligned. */
    .balign 16
trap_common:
    cld
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    xorl %ebp, %ebp
    call q_bare_trap
    ud2

/*
 * q_bare_ask_ring0(RDI service, RSI number of an MSR, RDX value), from ring 3: 0 sleeps until an
 * interrupt, 1 flushes the TLB, 2 writes the MSR, 3 reads it into RAX. Any other INT3 is an
 * exception like the rest.
 */
    .balign 16
    .globl q_bare_ask_ring0, q_bare_service_stub
q_bare_ask_ring0:
    int3
service_return:
    ret
    .balign 16
q_bare_service_stub:
    cmpq $service_return, (%rsp)
    jne q_bare_trap_stubs + 3 * 16
    movl %esi, %ecx
    cmpl $1, %edi
    je 1f
    cmpl $2, %edi
    je 2f
    cmpl $3, %edi
    je 3f
    sti                                /* takes effect once HLT has begun: nothing is missed */
    hlt
    cli
    iretq
1:  movq %cr3, %rax
    movq %rax, %cr3
    iretq
2:  movl %edx, %eax
    shrq $32, %rdx
    wrmsr
    iretq
3:  rdmsr
    shlq $32, %rdx
    orq %rdx, %rax
    iretq

/* Wake-up and timer: acknowledged, nothing else; the sleeper looks for itself. */
    .balign 16
    .globl q_bare_irq_stub
q_bare_irq_stub:
    pushq %rax
    pushq %rcx
    pushq %rdx
    cmpl $0, q_bare_x2apic
    jne 1f
    movq q_bare_lapic_base, %rax
    movl $0, 0xB0(%rax)
    jmp 2f
1:  movl $0x80B, %ecx
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
2:  popq %rdx
    popq %rcx
    popq %rax
    iretq

    .globl q_bare_irq_spurious
q_bare_irq_spurious:
    iretq

/* ---- Tables ---------------------------------------------------------------------------------- */

    .data
    .balign 64
    .globl q_bare_gdt
q_bare_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF           /* 0x08 code, 64-bit */
    .quad 0x00CF93000000FFFF           /* 0x10 data */
    .quad 0x00CF9B000000FFFF           /* 0x18 code, 32-bit */
    .quad 0x00CFF3000000FFFF           /* 0x20 data of ring 3 */
    .quad 0x00AFFB000000FFFF           /* 0x28 code of ring 3 */
    .fill 2 * MAX_CPUS, 8, 0           /* 0x30 task segments, filled at run time */
gdt_end:
gdt_pointer:
    .word gdt_end - q_bare_gdt - 1
    .quad q_bare_gdt

    .balign 8
    .globl q_bare_efer_bits, q_bare_ap_arrived, q_bare_ap_expected
q_bare_efer_bits:
    .long 0
q_bare_ap_arrived:
    .long 0
q_bare_ap_expected:
    .long 0

    .section .bss
    .balign 4096
    .globl q_bare_ap_stack_tops, q_bare_lapic_base, q_bare_x2apic
    .globl q_bare_boot_stack, q_bare_boot_stack_top, q_bare_pdpt, q_bare_pd
q_bare_boot_stack:
    .skip 4096 + STACK_BYTES
q_bare_boot_stack_top:
pml4:
    .skip 4096
q_bare_pdpt:
    .skip 4096
q_bare_pd:
    .skip 4 * 4096
q_bare_ap_stack_tops:
    .skip 8 * MAX_CPUS
q_bare_lapic_base:
    .skip 8
q_bare_x2apic:
    .skip 4

    .section .note.GNU-stack, "", @progbits
