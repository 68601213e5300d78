/* SPDX-License-Identifier: MIT */
/*
 * sim.h: a medium that remembers every write until it is flushed, a directory over it, and what may be left of both when the
 * power goes.
 *
 * A sim_fs is what a medium holds. A sim_port is a machine at work on one: what it does is in its log. sim_cut() makes of
 * the medium before, the log and a fate for every call that was not flushed the medium after a power cut.
 */
#ifndef QORUS_TEST_CHECKPOINT_SIM_H
#define QORUS_TEST_CHECKPOINT_SIM_H

#include "qorus/port.h"

enum {
    SIM_SECTOR = 512,
    SIM_BYTES = 26 << 10, /* of a file at most */
    SIM_FILES = 8,        /* with and without a name */
    SIM_NAMES = 4,
    SIM_NAME = 24,
    SIM_OPS = 96,
    SIM_DATA = 1 << 16
};

typedef struct sim_file {
    uint32_t size;
    uint8_t bytes[SIM_BYTES];
} sim_file;

typedef struct sim_fs {
    uint32_t n_files;
    struct {
        char name[SIM_NAME];
        uint32_t file; /* SIM_FILES: the name is free */
    } names[SIM_NAMES];
    sim_file files[SIM_FILES];
} sim_fs;

typedef enum sim_kind { SIM_WRITE, SIM_SYNC, SIM_CREATE, SIM_RENAME, SIM_REMOVE } sim_kind;

typedef struct sim_op {
    sim_kind kind;
    bool lies;      /* a sync or rename that flushes nothing */
    bool fails;     /* a sync that fails: what was written before it is flushed by no other */
    uint32_t file;
    uint32_t offset;
    uint32_t n;
    uint32_t data;  /* where in the log's */
    char from[SIM_NAME];
    char to[SIM_NAME];
} sim_op;

typedef struct sim_log {
    uint32_t n;
    uint32_t n_data;
    sim_op ops[SIM_OPS];
    uint8_t data[SIM_DATA];
} sim_log;

typedef struct sim_port {
    q_port port;
    sim_fs fs;
    sim_log log;
    q_block_facts facts;
    uint32_t opened;    /* files open now */
    uint32_t n_writes;  /* that changed anything, syncs apart */
    uint32_t fail_sync; /* this sync fails, from 1; 0: none */
    uint32_t lie_sync;  /* this one flushes nothing and says it did; UINT32_MAX: every one does */
    uint32_t n_syncs;
    bool no_directory;  /* a rename cannot flush the directory: Q_ERR_NOT_SUPPORTED */
} sim_port;

/* An empty medium; a copy of one, without files that have no name. */
void sim_format(sim_fs *fs);
void sim_copy(sim_fs *to, const sim_fs *from);
/* A file of zeros; its number. */
uint32_t sim_make(sim_fs *fs, const char *name, uint32_t size);
/* The file of that name, NULL: there is none. */
sim_file *sim_find(sim_fs *fs, const char *name);

/* A machine switched on. */
void sim_start(sim_port *p, const sim_fs *fs);

/* What became of a call that was made. */
typedef enum sim_fate { SIM_LOST, SIM_DONE, SIM_SECTORS, SIM_GARBAGE } sim_fate;

typedef struct sim_end {
    sim_fate fate[SIM_OPS];
    uint64_t sectors[SIM_OPS]; /* SECTORS, GARBAGE: bit i: sector i of the write is on the medium */
    uint32_t garbage;          /* GARBAGE: this sector is neither old nor new */
    uint32_t n;                /* calls that were begun, */
    uint32_t returned;         /* and that returned */
    bool backwards;            /* what no flush reached comes last, the last call first */
} sim_end;

/* Is call i on the medium for certain when the first n calls have returned? */
bool sim_durable(const sim_log *log, uint32_t i, uint32_t n);
void sim_cut(const sim_fs *before, const sim_log *log, const sim_end *end, sim_fs *after);

#endif /* QORUS_TEST_CHECKPOINT_SIM_H */
