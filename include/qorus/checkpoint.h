/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.h: all that a training must remember to go on to the same bits, saved so that a power cut at any moment leaves
 * the checkpoint before or the new one, with a file system and without.
 *
 * Saved are the slots of parameters (running statistics among them), moments, averages of weights, the trainer's steps and
 * seed (which random numbers and the order of samples follow from), what early stopping knows with the best slots, the states
 * and positions of sequences that go on (Q_TRAIN_KEEP_STATE), and a note: bytes of the caller's. The form of the bytes
 * (docs/FORMAT.md, "Checkpoint") is the same wherever they lie:
 *
 *   slots   two of them, one behind the other, in a file that is open already: a block device, flash, a file made
 *           beforehand. The older or damaged one is overwritten; what makes it count, the record, is written last, at once.
 *           Of the port they need file_size, file_read_at, file_write_at and file_sync, and block_facts where it has it.
 *   files   PATH and, the one before it, PATH Q_CHECKPOINT_PREVIOUS; written as PATH Q_CHECKPOINT_TEMP and renamed.
 *
 * One writer at a time: with two, either may find its own file gone or another (Q_ERR_MISMATCH, Q_ERR_HASH), and what is loaded
 * is whole.
 */
#ifndef QORUS_CHECKPOINT_H
#define QORUS_CHECKPOINT_H

#include "train.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    Q_CHECKPOINT_VERSION = 1,
    Q_CHECKPOINT_RECORD = 512,    /* bytes of the record, and least bytes of the block it has for itself */
    Q_CHECKPOINT_WORK = 8192,     /* least bytes of work; 64 KiB and more are faster */
    Q_CHECKPOINT_MAX_PATH = 4000, /* longest path, terminator not counted */
    Q_CHECKPOINT_HASH = 32
};

#define Q_CHECKPOINT_MAGIC "QCKPT\x1A\r\n"
#define Q_CHECKPOINT_TEMP ".new"
#define Q_CHECKPOINT_PREVIOUS ".previous"

/* Where checkpoints lie. One of these for a whole training: it remembers what the last call learned. */
typedef struct q_checkpoint_place {
    uint32_t struct_size; /* sizeof(q_checkpoint_place) */
    uint32_t reserved;    /* 0 */
    const q_port *port;
    const char *path;     /* files; NULL: slots */
    q_port_file file;     /* slots: opened for reading and, to save, for writing */
    uint64_t offset;      /* slots: of the first, a multiple of the medium's atomic and erase units and of the record */
    uint64_t slot_bytes;  /* slots: of each, such a multiple too, at least q_checkpoint_size; the same in every run, for where
                             the second one begins follows from it and not from what a medium says of its size */
    /* The library's own; zero at first. */
    uint32_t failed;      /* 1 + the slot that a failed save leaves in doubt, which the next one overwrites */
    uint32_t known;       /* good is set */
    uint8_t good[Q_CHECKPOINT_HASH]; /* hash of the newest payload, which was read and found whole: not read again by
                                        the next save */
} q_checkpoint_place;

/* What is saved and loaded. */
typedef struct q_checkpoint {
    uint32_t struct_size; /* sizeof(q_checkpoint) */
    uint32_t reserved;    /* 0 */
    q_trainer *trainer;   /* between two steps; of the same model, optimizer and moments as the one that was saved */
    q_fit_state state;    /* saved with its best slots where it has some; received */
    q_block best;         /* loading: memory for best slots (q_fit_best_size), which state then points to; may be empty for
                             a checkpoint without */
    void *note;           /* saving: the caller's bytes, only read; loading: where they go; may be NULL with 0 bytes */
    size_t note_bytes;    /* saving: given; loading: received */
    size_t note_capacity; /* loading: bytes at note */
} q_checkpoint;

/* What a checkpoint says of itself. */
typedef struct q_checkpoint_info {
    uint32_t newest;      /* 0: the first slot, or PATH; 1: the second, or PATH Q_CHECKPOINT_PREVIOUS */
    uint32_t n_params;
    uint32_t n_moments;
    uint32_t real_bytes;  /* of a parameter's element: 4, or 8 in the double build */
    char optimizer[24];
    uint64_t sequence;    /* checkpoints counted, modulo 2^64 */
    uint64_t bytes;       /* record and payload */
    uint64_t values_bytes; /* slots and moments */
    uint64_t best_bytes;
    uint64_t states_bytes; /* 0: every step begins its sequences anew */
    uint64_t note_bytes;
    uint64_t steps;
    uint64_t seed;
    uint64_t best_step;
    double best;
    uint32_t evaluations;
    uint32_t waiting;
    q_error_code passed_over; /* what is wrong with the other one; Q_OK: nothing, or there has been none yet */
    uint32_t reserved;
    uint8_t model[Q_CHECKPOINT_HASH]; /* of names, types and shapes of all parameters */
    uint8_t hash[Q_CHECKPOINT_HASH];  /* SHA-256 of the payload */
} q_checkpoint_info;

/*
 * Bytes that a slot needs on a medium with these facts (NULL: none), which are those of the file too where there are none.
 * Best slots count where checkpoint->state.best_slots is not NULL.
 */
Q_NODISCARD q_error_code q_checkpoint_size(const q_checkpoint *checkpoint, const q_block_facts *facts, uint64_t *bytes,
                                           q_diag *diag);

/*
 * Saves. Whatever happens on the way, the newest whole checkpoint that stood there can still be loaded until the new one is
 * on the medium. What was written is read back and compared before it counts.
 *
 * Errors: Q_ERR_INVALID_ARG; INVALID_STATE (within a step or between its micro-batches; averages in the parameters' place;
 * states that go on, cut off by a step that failed); UNSUPPORTED (host not little-endian); NON_FINITE (a parameter or
 * moment is no number: a broken training does not take the place of a sound one); NO_SPACE (work, slot); MISALIGNED
 * (offset, slot_bytes); INVALID_SIZE (path; facts that are no powers of two up to 64 MiB); NOT_SUPPORTED, field "port": it
 * lacks members that are needed; NOT_SUPPORTED, field "durability unknown": all is written and has its name, but the port
 * cannot promise that a power cut keeps it; HASH (read back other bytes than were written); MISMATCH (another writer);
 * those of the port. A failed sync is final: another call writes everything anew. Cost: one pass over parameters and
 * moments, hashed; written once, read once. The first call for a place also reads and hashes the checkpoint that stands
 * there.
 */
Q_NODISCARD q_error_code q_checkpoint_save(q_checkpoint_place *place, const q_checkpoint *checkpoint, q_block work,
                                           q_diag *diag);

/*
 * Loads the newest whole checkpoint: parameters, moments, steps and seed of checkpoint->trainer, and the rest of *checkpoint.
 * info may be NULL. Nothing is ever written. Nothing of the session changes before the payload has been read, hashed and
 * checked; if it then reads differently, the session is undefined (Q_ERR_HASH or the port's, field "session undefined").
 *
 *   Q_ERR_NOT_FOUND        no checkpoint
 *   Q_ERR_NOT_QORUS        a file that is none
 *   Q_ERR_VERSION          the newest is of another version
 *   Q_ERR_TRUNCATED, CORRUPT, HASH   none is whole: cut, a damaged record, a damaged payload
 *   Q_ERR_MISMATCH         of another model, optimizer or type of numbers, with or without states of sequences (field)
 *   Q_ERR_NON_FINITE       a parameter or moment is no number (what); CORRUPT, "second moment": one below zero
 *   Q_ERR_NO_SPACE         note, best or work too small (need, have)
 *   and those of q_checkpoint_save for arguments and states
 *
 * Cost: the payload is read three times and hashed twice.
 */
Q_NODISCARD q_error_code q_checkpoint_load(q_checkpoint_place *place, q_checkpoint *checkpoint, q_checkpoint_info *info,
                                           q_block work, q_diag *diag);

/*
 * The newest whole checkpoint without a training: what it says, and its note: note_bytes of it are info->note_bytes or, if
 * that is less, the capacity. Errors as above.
 */
Q_NODISCARD q_error_code q_checkpoint_look(q_checkpoint_place *place, q_checkpoint_info *info, void *note,
                                           size_t note_capacity, q_block work, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_CHECKPOINT_H */
