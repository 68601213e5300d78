/* SPDX-License-Identifier: MIT */
/*
 * rewrite.h: a .qorus file again, with its matrices in another weight type.
 *
 * Every PANEL16 matrix [rows, k] becomes `dtype`: its values are read as q_dequantize() gives them and quantised
 * by q_quantize(); one that has this dtype already keeps its bytes. Everything else stays as it is (vectors,
 * architecture, graph, tokenizer, names, order), save that a matrix which is no longer F32 cannot be trainable, and
 * that META gets one more line. The result is what the Python writer makes of the same tensors, byte for byte.
 */
#ifndef QORUS_REWRITE_H
#define QORUS_REWRITE_H

#include "format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a rewrite changes besides types; all three must say the same each time they are asked. */
typedef struct q_rewrite_change {
    void *user;
    uint32_t (*type)(void *user, uint32_t tensor); /* of matrix `tensor`, instead of q_rewrite.dtype */
    bool (*adjusts)(void *user, uint32_t tensor);  /* do the values of the matrix change? */
    /* Changes rows row .. row + rows - 1 of it: values [rows][columns], before they are put into their type. */
    void (*adjust)(void *user, uint32_t tensor, size_t row, size_t rows, float *values);
} q_rewrite_change;

typedef struct q_rewrite {
    uint32_t struct_size; /* sizeof(q_rewrite) */
    uint32_t dtype;       /* Q_F32, Q_Q8_0, Q_Q4_0, Q_Q4_1, Q_F16 or Q_BF16 */
    const q_file *file;   /* open; its bytes stay while the rewrite runs */
    const q_rewrite_change *change; /* (optional) */
    const char *note;     /* (optional) line for META: UTF-8, terminated, no control characters */
    void *user;
    /* Takes n bytes of the new file. The calls cover it without gap or overlap; the tables come last. An error
       ends the rewrite and is returned. */
    Q_NODISCARD q_error_code (*write)(void *user, uint64_t offset, const void *bytes, size_t n);
    /* (optional) Called before each tensor and at the end, done = all. */
    void (*progress)(void *user, uint32_t done, uint32_t all);
} q_rewrite;

/*
 * Bytes of the new file, and of work that q_rewrite_run needs: the new tables and 16 rows of the widest matrix in
 * four forms. Either pointer may be NULL.
 * Errors: Q_ERR_INVALID_ARG; INVALID_DTYPE; INVALID_SIZE (a matrix whose k does not fit the type, named); LIMIT
 * (META); OVERFLOW. Cost: O(tensors).
 */
Q_NODISCARD q_error_code q_rewrite_size(const q_rewrite *rewrite, uint64_t *file_bytes, size_t *work_bytes,
                                        q_diag *diag);

/*
 * Writes it. work: work_bytes at a multiple of Q_ALIGN. The hashes of the source are checked on the way, so that a
 * damaged file does not come out with good ones.
 * Errors: those above; MISALIGNED, NO_SPACE (work); HASH, CORRUPT (source); NON_FINITE (a value that does not fit
 * the type); what `write` returns. Cost: O(bytes).
 */
Q_NODISCARD q_error_code q_rewrite_run(const q_rewrite *rewrite, void *work, size_t work_size, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_REWRITE_H */
