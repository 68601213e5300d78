/* SPDX-License-Identifier: MIT */
/*
 * memory.h: blocks, regions, the bump arena and the caller's allocator.
 *
 * Nothing here allocates. A region is a block of caller memory with a purpose; an arena hands out pieces of
 * a block; a q_allocator is only a convenience that fills regions before the library runs.
 */
#ifndef QORUS_MEMORY_H
#define QORUS_MEMORY_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A piece of memory. */
typedef struct q_block {
    void *base;
    size_t size;
} q_block;

/* What a region is for. */
typedef enum q_region_kind {
    Q_REGION_FILE = 0,     /* the mapped .qorus file, read-only, used in place */
    Q_REGION_PARAM = 1,    /* parameters that live in memory: F32 masters, running statistics */
    Q_REGION_PREPARED = 2, /* parameters re-laid for a device; 0 bytes on CPUs */
    Q_REGION_STATE = 3,    /* KV cache and recurrent state: persists between steps */
    Q_REGION_SCRATCH = 4,  /* activations of one step */
    Q_REGION_TRAIN = 5,    /* gradients, optimizer moments, saved activations */
    Q_REGION_KINDS = 6
} q_region_kind;

/* A region, or one block of a region that is split by tag over several memories. */
typedef struct q_region {
    void *base;   /* multiple of Q_ALIGN; may be NULL only if size is 0 */
    size_t size;
    uint8_t kind;   /* q_region_kind */
    uint8_t tag;    /* 0 .. Q_MAX_TAGS - 1; 0 unless the plan was told to split. Memory of the plan's device i has
                       tag Q_MAX_TAGS + i */
    uint8_t device; /* q_device_type */
    uint8_t zeroed; /* 1: every byte is 0, as of fresh pages of a system; STATE is then not cleared again */
    uint8_t reserved[4];
} q_region;

/* ---- Bump arena --------------------------------------------------------------------------------------- */

/*
 * Hands out aligned pieces of a block in order; frees nothing singly. With base NULL it only counts: the same
 * code then answers a size query, because every allocation succeeds and `high` grows as it would for real.
 */
typedef struct q_arena {
    uint8_t *base; /* NULL: counting */
    size_t size;   /* bytes at base; SIZE_MAX while counting */
    size_t head;   /* next free byte */
    size_t high;   /* highest value head ever had: the high-water mark */
    size_t short_by; /* bytes missing at the first failure, 0 if none */
} q_arena;

/* Arena over a block; base must be a multiple of Q_ALIGN. base NULL with size 0 starts a counting arena. */
Q_NODISCARD q_error_code q_arena_init(q_arena *arena, void *base, size_t size);

/* A piece of `size` bytes aligned to `align` (a power of two <= Q_ALIGN), or NULL: arena full (short_by tells
   by how much) or counting. O(1). */
void *q_arena_alloc(q_arena *arena, size_t size, size_t align);

/* True if every allocation so far fitted. */
bool q_arena_ok(const q_arena *arena);

/* Forgets everything handed out; the high-water mark stays. O(1). */
void q_arena_reset(q_arena *arena);

/* ---- The caller's allocator --------------------------------------------------------------------------- */

/* For callers who want regions filled from an allocator of theirs. The core never calls it by itself. */
typedef struct q_allocator {
    void *user;
    /* Memory of `size` bytes aligned to `align`, or NULL. */
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*free)(void *user, void *base, size_t size);
} q_allocator;

/*
 * Fills each regions[i].base with regions[i].size bytes from the allocator (size 0: base stays NULL). On
 * failure everything taken is given back, bases are NULL, and Q_ERR_NO_SPACE is returned; Q_ERR_MISALIGNED
 * where the allocator ignored the alignment, Q_ERR_INVALID_ARG where it lacks a function (bases untouched).
 * diag.offset is the index.
 */
Q_NODISCARD q_error_code q_regions_alloc(const q_allocator *allocator, q_region *regions, size_t n, q_diag *diag);
void q_regions_free(const q_allocator *allocator, q_region *regions, size_t n);

/*
 * Checks regions before use: bases aligned, no wrap, no two sharing a byte, kinds and tags known.
 * Errors: Q_ERR_INVALID_ARG, Q_ERR_MISALIGNED, Q_ERR_OVERFLOW, Q_ERR_ALIASING; diag.offset is the index.
 */
Q_NODISCARD q_error_code q_regions_check(const q_region *regions, size_t n, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_MEMORY_H */
