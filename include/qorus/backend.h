/* SPDX-License-Identifier: MIT */
/*
 * backend.h: how the library computes: a table of kernels for one device and instruction set.
 *
 * A q_backend lies in caller memory. q_backend_scalar() fills every slot with plain C; an overlay such as
 * q_backend_avx2() then replaces the slots it is better at, or says that this machine cannot run it. So the
 * table a context is given is always complete.
 */
#ifndef QORUS_BACKEND_H
#define QORUS_BACKEND_H

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_backend {
    uint32_t struct_size;    /* sizeof(q_backend) */
    uint32_t device;         /* q_device_type */
    const char *name;        /* "scalar", "avx2", "avx2vnni", "avx512" */
    uint64_t needs;          /* Q_CPU_* bits without which the kernels may not run */
    size_t workspace_size;   /* bytes every worker needs; multiple of Q_ALIGN, 0 allowed */
    void *state;             /* a device's own, NULL on CPUs */
    q_kernels kernels;

    /* Buffer operations of a device whose memory the CPU cannot touch (optional as a group; NULL on CPUs, where
       buffers are plain memory). Offsets and sizes in bytes. */
    Q_NODISCARD q_error_code (*upload)(void *state, void *to, const void *from, size_t n);
    Q_NODISCARD q_error_code (*download)(void *state, void *to, const void *from, size_t n);
    Q_NODISCARD q_error_code (*fill_zero)(void *state, void *to, size_t n);
    Q_NODISCARD q_error_code (*finish)(void *state); /* all work done, or the first error */
} q_backend;

/* Plain C: complete, runs anywhere, defines what is right. */
void q_backend_scalar(q_backend *out);

/* AVX2, FMA and F16C over scalar; where features has Q_CPU_AVX_VNNI, its 8-bit products too, and the name is "avx2vnni".
   Returns false, out untouched, if features lacks Q_CPU_AVX2. x86-64 only. */
Q_NODISCARD bool q_backend_avx2(q_backend *out, uint64_t features);

/* AVX-512 (F, BW, VL, DQ, VNNI) over AVX2. Returns false, out untouched, if features lacks Q_CPU_AVX2, Q_CPU_AVX512 or
   Q_CPU_AVX512_VNNI. x86-64 only. */
Q_NODISCARD bool q_backend_avx512(q_backend *out, uint64_t features);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_BACKEND_H */
