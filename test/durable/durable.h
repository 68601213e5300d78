/* SPDX-License-Identifier: MIT */
/*
 * durable.h: a training of test/trajectory that saves itself into the two slots of one file and goes on from the newer valid
 * one, with a libc and without. It tells what it does, a line each:
 *
 *   start none                  start SEQUENCE STEP HASH     nothing there; gone on from
 *   write OFFSET BYTES          read OFFSET BYTES      sync  a call of the port that has ended, while it saves
 *   saved SEQUENCE STEP HASH    the save has ended; STEP steps made, HASH of all parameters
 *   end STEP HASH
 */
#ifndef TEST_DURABLE_H
#define TEST_DURABLE_H

#include "qorus/checkpoint.h"
#include "../port/fault_port.h"
#include "../trajectory/trajectory.h"

enum { DURABLE_SLOT = 256 << 10 /* bytes; half a disk of test_durable.py */ };

typedef struct durable_options {
    const char *path;    /* of the slots */
    const char *network; /* of the trajectory */
    uint32_t steps;      /* where the training ends */
    uint32_t every;      /* steps between saves */
    uint64_t hold;       /* stops for ever after that call of a save, counted from 1 over all saves; 0: none */
    uint64_t lost[Q_FAULT_RULES]; /* numbers of syncs, from 1, that say done and do nothing: a training that is wrong */
    uint32_t n_lost;
} durable_options;

/* The host's: a line without its end. */
void durable_say(const char *line);

/* Words: STEPS EVERY [hold=CALL] [lost=SYNC...]; false: they are no such words. */
bool durable_read(durable_options *o, const char *const *words, uint32_t n);
/* Trains to the end; 0, or the program's exit code. */
int durable_train(const durable_options *o, const trajectory *t);
/* A training of a network to look with. */
void durable_open(bench *b, const char *network_name, const trajectory *t);
/* What the file holds, as one line: "none", "SEQUENCE STEP HASH" or "error CODE". Writes nothing. */
void durable_look(const char *path, const bench *b);

#endif /* TEST_DURABLE_H */
