/* SPDX-License-Identifier: MIT */
/* Bad calls of models, sessions and generators, and bad memory for them, as part of the proof. */
#include "rig.h"

void proof_sessions(proof_host *h, const void *file, size_t size)
{
    rig *r = rig_open(h, file, size, h->work, PROOF_WORK);
    if (r != NULL) {
        rig_checks(r);
        rig_cases(r);
        rig_numbers(r);
        rig_devices(r);
        rig_training(r);
        rig_data(r);
        rig_checkpoint(r);
        rig_saves(r);
        rig_faults(r);
        rig_texts(r);
    }
}
