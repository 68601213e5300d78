/* SPDX-License-Identifier: MIT */
/* crash.h: saves on a simulated medium, cut everywhere. */
#ifndef QORUS_TEST_CHECKPOINT_CRASH_H
#define QORUS_TEST_CHECKPOINT_CRASH_H

#include "rig.h"
#include "sim.h"

#define CRASH_AREA "area"
#define CRASH_PATH "t.state"

typedef enum crash_mistake { CRASH_RIGHT, CRASH_NO_ZEROS, CRASH_COMMIT_FIRST } crash_mistake;

typedef struct crash_options {
    bool files;           /* else slots */
    q_block_facts facts;
    uint32_t saves;       /* one after the other, cut after every call of all of them */
    uint32_t depth;       /* 1: these alone; 2: also, after every one, the next save */
    uint32_t random;      /* fates of single sectors, drawn for every call */
    uint32_t fail_sync;   /* as in sim_port */
    uint32_t lie_sync;
    bool no_directory;
    crash_mistake mistake;
} crash_options;

typedef struct crash_counts {
    uint64_t states;    /* power cuts */
    uint64_t loaded;    /* after which a checkpoint was found */
    uint64_t broken[8]; /* invariants I1 .. I7, by number */
} crash_counts;

/* A medium on which `saves` checkpoints were saved in peace: those after 0, 1, ... steps. */
void crash_prepare(const crash_options *o, sim_fs *fs, uint32_t saves);
/* Saves the steps after `step`, the newest on fs (RIG_NONE: there is none), and cuts the power everywhere. */
crash_counts crash_run(const crash_options *o, const sim_fs *fs, int step);
void crash_end(void);

#endif /* QORUS_TEST_CHECKPOINT_CRASH_H */
