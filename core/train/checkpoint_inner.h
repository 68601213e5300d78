/* SPDX-License-Identifier: MIT */
/* checkpoint_inner.h: the form of a checkpoint, and what saving and loading share; private to core/train. */
#ifndef QORUS_CORE_TRAIN_CHECKPOINT_INNER_H
#define QORUS_CORE_TRAIN_CHECKPOINT_INNER_H

#include "qorus/checkpoint.h"

#include "../base/port_call.h"
#include "trainer.h"

/* ---- Form, little-endian ----------------------------------------------------------------------------------- */

enum {
    CHECKPOINT_NAME = 4096,         /* bytes of work for a name; the rest holds a part of the payload */
    CHECKPOINT_SECTOR = 512,        /* the payload is written in multiples of it */
    CHECKPOINT_PAD = 8,             /* every part of the payload is padded with zeros to a multiple of it */
    CHECKPOINT_MAX_BLOCK = 64 << 20
};

/* What makes a payload count. */
typedef struct checkpoint_record {
    uint8_t magic[8];
    uint32_t version;
    uint32_t block;    /* of the medium; the payload begins so many bytes behind the record's first */
    uint64_t sequence;
    uint64_t bytes;    /* of the payload */
    uint8_t model[Q_CHECKPOINT_HASH];
    uint8_t hash[Q_CHECKPOINT_HASH]; /* of the payload */
    uint8_t reserved[412];
    uint32_t crc;      /* CRC-32 of all before it */
} checkpoint_record;

/* The payload's first bytes. Note, values, best slots and states follow. */
typedef struct checkpoint_head {
    uint64_t steps;
    uint64_t seed;
    uint64_t note_bytes;
    uint64_t values_bytes; /* of slots and moments, padding included */
    uint64_t best_bytes;
    uint64_t best_step;
    double best;
    uint32_t evaluations;
    uint32_t waiting;
    uint32_t n_params;
    uint32_t n_moments;
    uint32_t real_bytes;
    uint32_t reserved;
    char optimizer[24];    /* filled up with zeros */
    uint64_t states_bytes; /* of sequences that go on, padding included; 0: every step begins them anew */
    uint8_t reserved_bytes[16];
} checkpoint_head;

Q_STATIC_ASSERT(sizeof(checkpoint_record) == Q_CHECKPOINT_RECORD, "on-disk layout");
Q_STATIC_ASSERT(sizeof(checkpoint_head) == 128, "on-disk layout");
Q_STATIC_ASSERT(Q_CHECKPOINT_HASH == (int)Q_SHA256_BYTES, "a hash is a SHA-256");

/* ---- Payload: checkpoint.c --------------------------------------------------------------------------------- */

static inline uint64_t checkpoint_padded(uint64_t n)
{
    return (n + CHECKPOINT_PAD - 1) / CHECKPOINT_PAD * CHECKPOINT_PAD;
}

/* Bytes that a payload of n takes on the medium. */
static inline uint64_t checkpoint_sectors(uint64_t n)
{
    return (n + CHECKPOINT_SECTOR - 1) / CHECKPOINT_SECTOR * CHECKPOINT_SECTOR;
}

static inline uint64_t checkpoint_payload(const checkpoint_head *h)
{
    return sizeof(*h) + checkpoint_padded(h->note_bytes) + h->values_bytes + checkpoint_padded(h->best_bytes) + h->states_bytes;
}

/* Head and model's hash of what is to be saved. */
void q_checkpoint_describe(const q_checkpoint *c, checkpoint_head *h, uint8_t model[Q_CHECKPOINT_HASH]);

/* A payload on its way to a file or from there, a part of it in a buffer. */
typedef struct checkpoint_stream {
    const q_port *port;
    q_port_file file;
    uint64_t at;   /* of the payload in the file */
    uint64_t done; /* bytes of it before the buffer's */
    uint64_t end;  /* reading: bytes of the payload */
    uint8_t *buffer;
    size_t size;
    size_t have;   /* reading: bytes in the buffer */
    size_t used;
    q_sha256 sha;  /* of all that was written, or that LOAD read */
} checkpoint_stream;

checkpoint_stream q_checkpoint_stream(const q_port *port, q_port_file file, uint64_t at, uint64_t bytes, q_block work);
/* At least one and at most n bytes that come next. */
q_error_code q_checkpoint_take(checkpoint_stream *s, uint64_t n, const uint8_t **bytes, size_t *got);

typedef enum checkpoint_pass {
    CHECKPOINT_PUT,     /* memory to the file, hashed; numbers checked */
    CHECKPOINT_COMPARE, /* the file with memory; Q_ERR_HASH */
    CHECKPOINT_CHECK,   /* numbers of the file */
    CHECKPOINT_LOAD     /* the file to memory, hashed */
} checkpoint_pass;

/* The whole payload of head h, part by part; note and best slots are, or go, there. */
q_error_code q_checkpoint_run(checkpoint_stream *s, checkpoint_pass pass, const q_session *session, const checkpoint_head *h,
                              void *note, void *best, q_diag *diag);

/* ---- Places: checkpoint_place.c ---------------------------------------------------------------------------- */

typedef struct checkpoint_slot {
    q_error_code code; /* OK: the record holds; NOT_FOUND: no file, a blank slot */
    bool open;
    bool counted;      /* record.sequence can be believed */
    q_port_file file;
    uint64_t at;
    uint64_t room;     /* bytes from there on */
    checkpoint_record record;
} checkpoint_slot;

typedef struct checkpoint_choice {
    checkpoint_slot slots[2];
    uint32_t block;
    uint32_t newest;       /* whole one, or one of another version; 2: none */
    q_error_code why;      /* of none, or VERSION; else OK */
    uint64_t next;         /* sequence after all that are there */
} checkpoint_choice;

/* Checks place and work, looks at both slots or files and chooses. Errors are of the arguments and of the port; that
   nothing is whole is choice->why. In any case q_checkpoint_leave follows. */
q_error_code q_checkpoint_choose(q_checkpoint_place *p, q_block work, checkpoint_choice *choice, q_diag *diag);
void q_checkpoint_leave(const q_checkpoint_place *p, checkpoint_choice *choice);

/* PATH with a suffix, in work. */
const char *q_checkpoint_name(const q_checkpoint_place *p, const char *suffix, q_block work);
uint32_t q_checkpoint_crc(const checkpoint_record *r);
q_error_code q_checkpoint_fail(const q_checkpoint_place *p, q_error_code e, const char *field, uint64_t need, uint64_t have,
                               q_diag *diag);
/* A block for the record on a medium with these facts, NULL: none; 0: no powers of two, or too large. */
uint32_t q_checkpoint_block(const q_block_facts *facts);
/* The trainer may be saved and loaded now. */
q_error_code q_checkpoint_ready(const q_checkpoint *c, const char *who, q_diag *diag);

#endif /* QORUS_CORE_TRAIN_CHECKPOINT_INNER_H */
