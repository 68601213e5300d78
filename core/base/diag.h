/* SPDX-License-Identifier: MIT */
/* diag.h: filling a caller's q_diag; private to the core. */
#ifndef QORUS_CORE_BASE_DIAG_H
#define QORUS_CORE_BASE_DIAG_H

#include "qorus_types.h"

/*
 * Records a failure and returns its code: `return q_fail(diag, Q_ERR_NO_SPACE, "SCRATCH", "region", need, have);`
 * diag may be NULL; what and field may be NULL (empty) and are cut to fit, never inside a UTF-8 character.
 * offset becomes 0.
 */
q_error_code q_fail(q_diag *diag, q_error_code code, const char *what, const char *field,
                                uint64_t need, uint64_t have);

/* Puts the name of a node or tensor into a failure that was recorded without one. Returns code. */
q_error_code q_diag_node(q_diag *diag, q_error_code code, const char *name);

/* True if two terminated names are the same. */
bool q_names_equal(const char *a, const char *b);

#endif /* QORUS_CORE_BASE_DIAG_H */
