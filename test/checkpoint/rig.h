/* SPDX-License-Identifier: MIT */
/* rig.h: a small training whose states after every step are known, saved to and loaded from places. */
#ifndef QORUS_TEST_CHECKPOINT_RIG_H
#define QORUS_TEST_CHECKPOINT_RIG_H

#include "qorus/checkpoint.h"
#include "test/port/check.h"
#include "test/train/bench.h"

enum { RIG_STEPS = 8, RIG_STATE = 1 << 13, RIG_BEST = 1 << 11, RIG_NOTE = 48, RIG_NONE = -1 };

/* A trainer, what is saved beside it, and where loading puts that. */
typedef struct rig {
    bench b;
    q_checkpoint c;
    char note[2 * RIG_NOTE];
    uint8_t best[RIG_BEST];
} rig;

extern const q_block rig_work;

/* Adam with an average. */
q_train_config rig_config(void);
void rig_open(rig *r, const q_train_config *config);
void rig_close(rig *r);

/* Puts the training after `step` steps there, with its note and best slots; the first call makes them all. */
void rig_set(rig *r, uint32_t step);
/* Which step everything is of, bit for bit; RIG_NONE: of no one. */
int rig_step(const rig *r);
/* One step of the training, from where it stands; which step everything is of then. */
int rig_advance(rig *r);
/* Fills everything with another pattern, so that a load that does nothing shows. */
void rig_wipe(rig *r);
bool rig_wiped(const rig *r);

q_error_code rig_save(rig *r, q_checkpoint_place *p);
q_error_code rig_load(rig *r, q_checkpoint_place *p, q_checkpoint_info *info, q_diag *d);

#endif /* QORUS_TEST_CHECKPOINT_RIG_H */
