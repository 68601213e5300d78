/* SPDX-License-Identifier: MIT */
/* snapshot_inner.h: what saving and loading a snapshot share; private to core/model. */
#ifndef QORUS_CORE_MODEL_SNAPSHOT_INNER_H
#define QORUS_CORE_MODEL_SNAPSHOT_INNER_H

#include "qorus/snapshot.h"

#include "../base/port_call.h"
#include "session.h"

/* The header as it stands in the file, little-endian. */
typedef struct snapshot_header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t header_size;
    uint64_t file_size;
    uint64_t state_bytes;
    uint64_t counter;
    uint32_t precision;
    uint32_t position;
    uint32_t n_ids;
    uint32_t n_states;
    uint8_t model[Q_SNAPSHOT_HASH];
    uint8_t layout[Q_SNAPSHOT_HASH];
    uint32_t kv_type; /* q_kv_type; 0 where it is the precision's */
    uint8_t reserved[4];
} snapshot_header;

Q_STATIC_ASSERT(sizeof(snapshot_header) == Q_SNAPSHOT_HEADER, "on-disk layout");
Q_STATIC_ASSERT(Q_SNAPSHOT_HASH == (int)Q_SHA256_BYTES, "a hash is a SHA-256");

#define SNAPSHOT_MAGIC "QSNAP\x1A\r\n"

/* Bytes of the states at a position. */
q_error_code q_snapshot_total(const q_session *s, uint32_t position, uint64_t *bytes, q_diag *diag);

/* The header this session would write at a position; model NULL: zeros. */
q_error_code q_snapshot_describe(const q_session *s, const uint8_t *model, uint32_t position,
                               uint32_t n_ids, uint64_t counter, snapshot_header *h, q_diag *diag);

/* Q_OK if all state lies in host memory, else Q_ERR_UNSUPPORTED naming the first step whose state does not. */
q_error_code q_snapshot_host_states(const q_session *s, q_diag *diag);

/* Arguments that saving and loading have in common. */
q_error_code q_snapshot_args(const char *who, const q_session *s, const q_port *port,
                           const char *path, const uint8_t *model, const q_snapshot_info *info,
                           q_block work, q_diag *diag);

#endif /* QORUS_CORE_MODEL_SNAPSHOT_INNER_H */
