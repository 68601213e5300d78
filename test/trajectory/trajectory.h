/* SPDX-License-Identifier: MIT */
/*
 * trajectory.h: trainings of small networks that PyTorch has made before (vectors/train, vectors/gen/trajectories.py): the
 * file, the graphs, and a trainer at work on them, with a libc and without.
 */
#ifndef TEST_TRAJECTORY_H
#define TEST_TRAJECTORY_H

#include "host.h"
#include "qorus/train.h"

enum { TRAJECTORY_BATCH = 8, TRAJECTORY_IGNORED = -1, TRAJECTORY_INPUTS = 2 };

/* ---- The file --------------------------------------------------------------------------------------------- */

typedef struct trajectory {
    char name[32]; /* of the network */
    const uint8_t *bytes;
    size_t size;
} trajectory;

typedef enum record_type { RECORD_F32 = 0, RECORD_F64 = 1, RECORD_I32 = 2 } record_type;

/* A matrix of the file, rows close together. */
typedef struct record {
    char name[64]; /* "param/first.w" */
    uint32_t type; /* record_type */
    uint32_t rows;
    uint32_t columns;
    const void *data;
} record;

/* The bytes of a file NAME.qtrj, at a multiple of 32; ends the program if they are not what the generator writes. */
void trajectory_use(trajectory *t, const char *name, const void *bytes, size_t size);
/* Bytes of the file that begins there, 0 if `left` bytes do not hold it. */
size_t trajectory_size(const void *bytes, size_t left);
/* Where there are files: reads FOLDER/NAME.qtrj. */
void trajectory_open(trajectory *t, const char *folder, const char *name);
void trajectory_close(trajectory *t);
uint32_t trajectory_n_records(const trajectory *t);
record trajectory_record(const trajectory *t, uint32_t i);
/* Record "group/name"; false: there is none. */
bool trajectory_find(const trajectory *t, const char *group, const char *name, record *out);
/* The same where it must be there. */
record trajectory_need(const trajectory *t, const char *group, const char *name);

/* ---- The networks ----------------------------------------------------------------------------------------- */

typedef struct network {
    const char *name;
    q_build_fn build;   /* user: the trajectory */
    const char *inputs[TRAJECTORY_INPUTS]; /* records of data/, in the order of the graph; the second are labels */
    uint32_t classes;   /* as a label: ignored */
    bool texts;         /* a sample is a span of data/lengths rows, not a row */
    bool splits;        /* micro-batches have the bits of the batch: nothing looks across samples */
    const char *hashed; /* recipe whose parameters are hashed */
} network;

/* Network i, NULL beyond the last one. */
const network *network_at(uint32_t i);

/* ---- Training --------------------------------------------------------------------------------------------- */

typedef struct bench_options {
    const char *backend; /* NULL: scalar */
    uint32_t workers;    /* 0: one */
    uint32_t each;       /* samples of a micro-batch; 0: all */
    uint32_t plan_flags;
} bench_options;

typedef struct bench {
    const network *net;
    const trajectory *t;
    q_backend backend;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_trainer *trainer;
    uint32_t each;
    uint32_t granted; /* workers the last micro-batch had */
    uint32_t n_batches;
    uint32_t n_samples;
    uint32_t *first; /* first row of sample i; one more at the end */
    void *data[TRAJECTORY_INPUTS];
    size_t row_bytes[TRAJECTORY_INPUTS];
    void *memory[16];
    uint32_t n_memory;
} bench;

/* A recipe of the file. */
q_train_config bench_config(const trajectory *t, const char *recipe);
/* A trainer with the initial parameters; ends the program on any error. Nothing is allocated after it. */
void bench_open(bench *b, const network *net, const trajectory *t, const char *recipe, const bench_options *o);
void bench_open_as(bench *b, const network *net, const trajectory *t, const q_train_config *config, const bench_options *o);
void bench_close(bench *b);
/* One step of the optimizer on batch `step` modulo their number. */
q_train_report bench_step(bench *b, uint32_t step);
/* True if this processor runs it. */
bool bench_has(const char *backend);

#endif /* TEST_TRAJECTORY_H */
