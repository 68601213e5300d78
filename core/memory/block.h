/* SPDX-License-Identifier: MIT */
/* block.h: checking a caller's memory for an object; private to the core. */
#ifndef QORUS_CORE_MEMORY_BLOCK_H
#define QORUS_CORE_MEMORY_BLOCK_H

#include "qorus/memory.h"

/*
 * Q_OK if memory has an address that is a multiple of align, does not run past the last address, and holds need
 * bytes. Errors, with `who` and field "memory": Q_ERR_INVALID_ARG, Q_ERR_MISALIGNED, Q_ERR_OVERFLOW, Q_ERR_NO_SPACE.
 */
q_error_code q_block_check(q_block memory, size_t align, size_t need, const char *who, q_diag *diag);

#endif /* QORUS_CORE_MEMORY_BLOCK_H */
