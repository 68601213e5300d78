/* SPDX-License-Identifier: MIT */
/*
 * runner.h: runs golden vectors (vectors/README.md) on a backend, with no libc, files, or allocation.
 *
 * A pack is one blob used in place: mapped from a file, linked into an image, or passed as a boot module.
 * Several packs may follow one another; their concatenation is again an input of q_vectors_run().
 */
#ifndef QORUS_TEST_VECTORS_RUNNER_H
#define QORUS_TEST_VECTORS_RUNNER_H

#include "qorus/backend.h"

#ifdef Q_REAL_DOUBLE
#error "golden vectors hold F32 outputs: build the runner with q_real = float"
#endif

/* Index of every kernel, in the order of kernels.inc. */
typedef enum q_vectors_kernel {
#define Q_KERNEL(slot, args) Q_VECTORS_KERNEL_##slot,
#include "qorus/kernels.inc"
#undef Q_KERNEL
    Q_VECTORS_KERNELS
} q_vectors_kernel;

/* Totals over any number of q_vectors_run() calls; starts as zeros. */
typedef struct q_vectors_result {
    uint32_t passed;                    /* cases right with 1 and with 3 workers */
    uint32_t failed;                    /* cases wrong, packs malformed, kernels without vectors */
    uint32_t skipped;                   /* always 0: a backend's table has no holes */
    uint32_t cases[Q_VECTORS_KERNELS];  /* cases met per kernel */
} q_vectors_result;

/* One line of n bytes, without its newline. */
typedef void (*q_vectors_print)(void *user, const char *line, size_t n);

/*
 * Runs every case of the packs at [pack, pack + size). Prints one line per pack (cases, largest distance in
 * ULP, largest error as a share of its gate, worst case) and one per failing case. pack and work are multiples
 * of 64. A pack that does not fit its own bounds, or work memory too small for a case, counts as a failure.
 * Needs work_size >= 1 MiB + 3 * b->workspace_size for the committed packs. Stack: below 4 KiB.
 */
void q_vectors_run(const q_backend *b, const void *pack, size_t size, void *work, size_t work_size,
                   q_vectors_print print, void *user, q_vectors_result *result);

/* After the last pack: every kernel of kernels.inc that met no case is a failure and gets a line; then prints
   "N passed, N failed, N skipped". Returns true if nothing failed and something passed. */
bool q_vectors_finish(q_vectors_print print, void *user, q_vectors_result *result);

#endif /* QORUS_TEST_VECTORS_RUNNER_H */
