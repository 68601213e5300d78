/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h: the state of a session (for a language model its KV cache) saved to a file and put
 * back.
 *
 * The file (docs/FORMAT.md, "Snapshot") belongs to one model, precision and graph, but not to a
 * capacity: it holds what the position needs and goes into any session with room for it. A file is
 * not trusted: every length follows from what the session itself says, and nothing of the session
 * changes before the whole file has been read, hashed and checked. What the state bytes *say* is
 * not checked and cannot be: whoever writes a snapshot decides what the model remembers, including
 * NaN, but reaches nothing else.
 */
#ifndef QORUS_SNAPSHOT_H
#define QORUS_SNAPSHOT_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    Q_SNAPSHOT_VERSION = 1,
    Q_SNAPSHOT_HEADER = 128,   /* bytes of the header */
    Q_SNAPSHOT_HASH = 32,      /* bytes of the SHA-256 at the end and of a model's hash */
    Q_SNAPSHOT_WORK = 4096,    /* least bytes of work; 64 KiB read a file faster */
    Q_SNAPSHOT_MAX_PATH = 4000 /* longest path, terminator not counted */
};

/* While a snapshot is being saved to P it is called P followed by this. */
#define Q_SNAPSHOT_TEMP ".qsnap-new"

/* What goes into a snapshot beside the state. */
typedef struct q_snapshot_info {
    int32_t *ids;      /* [n_ids] tokens that were read, oldest first; only read when saving */
    uint32_t capacity; /* loading: elements at ids; may be 0 with ids NULL for a file without ids */
    uint32_t n_ids;    /* 0 or the sequence's position */
    uint64_t counter;  /* the caller's, for example how many random numbers were drawn */
    uint32_t sequence; /* of the session, given: whose state is saved, or where it goes */
    uint32_t reserved;
} q_snapshot_info;

/* Bytes of the file q_snapshot_save would write now of info->sequence, with info->n_ids ids. */
Q_NODISCARD q_error_code q_snapshot_size(const q_session *session, const q_snapshot_info *info,
                                         uint64_t *bytes, q_diag *diag);

/*
 * Writes the sequence's state at its present position. `model` are the 32 bytes of tables_sha256 in
 * the header of the model's file, or whatever else names a model. The file appears under `path`
 * when it is complete and on the medium (file_replace); until then, and after any failure, what
 * stood there is untouched, unless the port reports the failure of a replacement that happened.
 * A leftover of an earlier attempt under the temporary name is removed.
 *
 * work: Q_SNAPSHOT_WORK bytes or more. Errors: Q_ERR_INVALID_ARG, INVALID_STATE (called from a callback, while a step is
 * running), NOT_SUPPORTED (port NULL or without files), INVALID_SIZE (path empty or too long), NO_SPACE (work), UNSUPPORTED
 * (host not little-endian), those of the port. Cost: one pass over the state.
 */
Q_NODISCARD q_error_code q_snapshot_save(const q_session *session, const q_port *port,
                                         const char *path, const uint8_t model[Q_SNAPSHOT_HASH],
                                         const q_snapshot_info *info, q_block work, q_diag *diag);

/*
 * Reads the file twice: once to hash and check everything, once to put it into STATE.
 *
 *   info  ids, capacity and sequence are given, n_ids and counter received. Of ids[0, capacity) everything
 *         is undefined after a failure
 *   work  as above
 *
 * The sequence afterwards stands at the position of the file; its outputs are gone until the next
 * step. Errors of the first reading leave the session as it was:
 *
 *   Q_ERR_NOT_QORUS, VERSION, TRUNCATED   no snapshot, another version, cut short
 *   Q_ERR_HASH, CORRUPT                   damaged; breaks a rule of the format
 *   Q_ERR_MISMATCH                        another model, precision, KV type or
 *                                         graph ("model", "precision", "kv type", "layout")
 *   Q_ERR_CONTEXT_FULL                    the session has fewer positions (need, have)
 *   Q_ERR_INVALID_TOKEN                   an id outside the model's vocabulary
 *   Q_ERR_NO_SPACE                        ids or work too small (need, have)
 *   Q_ERR_NOT_FOUND, IO, ...              those of the port
 *
 * If the second reading fails or gives other bytes (the file changed in between), the sequence is
 * reset to position 0 with empty state: the port's error or Q_ERR_HASH, diag.field "session reset".
 */
Q_NODISCARD q_error_code q_snapshot_load(q_session *session, const q_port *port, const char *path,
                                         const uint8_t model[Q_SNAPSHOT_HASH],
                                         q_snapshot_info *info, q_block work, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_SNAPSHOT_H */
