/* SPDX-License-Identifier: MIT */
/*
 * cpu_detect.h: which vector extensions this x86 processor has and this system keeps across a task
 * switch.
 *
 * Shared by the POSIX and the bare x86 port. Built without any ISA flag, so that it runs on every
 * x86.
 */
#ifndef QORUS_PORT_X86_CPU_DETECT_H
#define QORUS_PORT_X86_CPU_DETECT_H

#include <stdint.h>

/*
 * Q_CPU_* bits of qorus/port.h. A bit is set only where CPUID reports the feature, CR4.OSXSAVE is
 * set and XCR0 enables its registers (AVX: bits 1 and 2; AVX-512: 5 to 7 as well; AMX: 17 and 18).
 * On Linux the AMX bits mean that the kernel manages the tiles; a process still has to ask for
 * permission before use. 0 on processors that are not x86. O(1); no memory is written. Source:
 * Intel SDM volume 1, chapters 13 to 15 and 18; volume 2, CPUID.
 */
uint64_t q_cpu_detect(void);

/* The CPUID registers that the decision rests on; zero where the processor has no such leaf. */
typedef struct q_cpu_leaves {
    uint32_t leaf1_c;
    uint32_t leaf7_b;
    uint32_t leaf7_c;
    uint32_t leaf7_d;
    uint32_t leaf7_1_a;
} q_cpu_leaves;

/*
 * q_cpu_detect() in two steps, for a port that runs them in different privilege rings: the first
 * executes only CPUID (which a hypervisor may answer differently per ring), the second only XGETBV.
 */
void q_cpu_read_leaves(q_cpu_leaves *out);
uint64_t q_cpu_decode(const q_cpu_leaves *leaves);

#endif /* QORUS_PORT_X86_CPU_DETECT_H */
