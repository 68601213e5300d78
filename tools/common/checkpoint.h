/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.h: all that a training must remember to go on to the same bits: slots of parameters (running statistics among
 * them), moments, the number of steps (which random numbers and the order of samples follow from), what early stopping
 * knows, and the settings it ran with. Needs no libc; the bytes go to a writer of the caller and come from memory.
 *
 * The file: a checkpoint_head, the settings' text, then for every slot of the model in order its values, for every trained
 * one its moments, and the best slots; numbers are of this machine, which must be little-endian. A SHA-256 of all the rest
 * ends it.
 */
#ifndef QORUS_TOOLS_CHECKPOINT_H
#define QORUS_TOOLS_CHECKPOINT_H

#include "qorus/train.h"

typedef struct checkpoint {
    q_session *session;
    uint64_t steps;
    uint64_t log_bytes;  /* of the metrics file */
    double seconds;      /* that the training took so far */
    q_fit_state state;   /* best_slots: q_fit_best_size bytes, or NULL */
    const char *settings; /* settings_bytes of text */
    size_t settings_bytes;
} checkpoint;

typedef q_error_code (*checkpoint_write)(void *user, uint64_t offset, const void *bytes, size_t n);

/* Hands the bytes to `write`, in order. Errors: those of `write`. */
Q_NODISCARD q_error_code checkpoint_save(const checkpoint *c, checkpoint_write write, void *user);

/*
 * Checks a file and puts its values into c->session, whose model and plan must be those it was saved from; fills the rest of
 * *c, with pointers into bytes. Nothing is changed on an error: Q_ERR_NOT_QORUS (no checkpoint), VERSION, TRUNCATED, CORRUPT
 * (its hash), MISMATCH (another model).
 */
Q_NODISCARD q_error_code checkpoint_load(checkpoint *c, const void *bytes, size_t n, q_diag *diag);
/* The settings' text alone, after the same checks of the bytes. */
Q_NODISCARD q_error_code checkpoint_settings(const void *bytes, size_t n, const char **text, size_t *length, q_diag *diag);

#endif /* QORUS_TOOLS_CHECKPOINT_H */
