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

    /*
     * What a device whose memory the CPU cannot touch does besides kernels (all of them, or none: NULL on CPUs, where
     * buffers are plain memory). Work of a device is done in the order in which it is asked for. Kernels may return
     * before they are done; what went wrong in them is the result of the next finish or download. Sizes in bytes, n >= 1.
     */
    /* From host to device; `from` may be changed once it returns. */
    Q_NODISCARD q_error_code (*upload)(void *state, void *to, const void *from, size_t n);
    /* From device to host; all earlier work and the bytes themselves are there once it returns. */
    Q_NODISCARD q_error_code (*download)(void *state, void *to, const void *from, size_t n);
    Q_NODISCARD q_error_code (*fill_zero)(void *state, void *to, size_t n);
    /* All work done, or the first error since the last finish; forgets that error. */
    Q_NODISCARD q_error_code (*finish)(void *state);
    /* The run block of the kernels that follow, in host memory that stays until finish. */
    Q_NODISCARD q_error_code (*begin)(void *state, const q_run *run);
    /* Bytes a parameter takes on the device, in the layout its kernels read. host: a view whose data is not looked at;
       n: bytes from its first to its last. */
    Q_NODISCARD q_error_code (*prepare_size)(void *state, const q_tensor *host, size_t n, size_t *bytes);
    /* Lays the parameter at host->data out at `to`, which has the bytes prepare_size told. */
    Q_NODISCARD q_error_code (*prepare)(void *state, void *to, const q_tensor *host, size_t n);
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
