/* SPDX-License-Identifier: MIT */
/* medium.h: checkpoints on a simulated medium that tests damage, and a training that loads them. */
#ifndef QORUS_TEST_CHECKPOINT_MEDIUM_H
#define QORUS_TEST_CHECKPOINT_MEDIUM_H

#include "rig.h"
#include "sim.h"

#define MEDIUM_AREA "area"
#define MEDIUM_PATH "t.state"

enum { MEDIUM_SLOT = 12 << 10 };

extern sim_port medium; /* a machine with the medium */
extern rig medium_writer;
extern rig medium_reader;

void medium_open(void);
void medium_close(void);

/* A place on the machine, through `port` (the machine's own, or one around it). */
q_checkpoint_place medium_place(const q_port *port, bool files);
/* A machine anew, on which the trainings after 0 .. saves - 1 steps were saved in peace. */
q_checkpoint_place medium_start(bool files, uint32_t saves);
/* Saves the training after `step` steps. */
q_error_code medium_save(q_checkpoint_place *p, uint32_t step);
/* Loads through the machine's own port; which step it is of, RIG_NONE: of no one. An error has changed nothing. */
int medium_load(bool files, q_checkpoint_info *info, q_diag *d);

/* The bytes of one checkpoint: slot or file 0 or 1. */
uint8_t *medium_bytes(bool files, uint32_t i);
/* Puts the right hash and checksum over changed bytes; the checksum alone. */
void medium_seal(uint8_t *record);
void medium_sum(uint8_t *record);

/* Tests of faults.c, bad.c and states.c. */
void checkpoint_faults(void);
void checkpoint_bad(void);
void checkpoint_states(void);

#endif /* QORUS_TEST_CHECKPOINT_MEDIUM_H */
