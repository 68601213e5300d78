/* SPDX-License-Identifier: MIT */
/* Bad calls of models, sessions and generators, and bad memory for them, as part of the proof. */
#include "rig.h"

/* In their order; what one takes of the memory is free again for the next. */
void proof_sessions(proof_host *h, const void *file, size_t size)
{
    static void (*const parts[])(rig *r) = {rig_checks, rig_cases,      rig_numbers, rig_devices, rig_training,
                                            rig_data,   rig_checkpoint, rig_saves,   rig_faults,  rig_texts};
    rig *r = rig_open(h, file, size, h->work, PROOF_WORK);
    for (size_t i = 0; r != NULL && i < sizeof(parts) / sizeof(parts[0]); i++) {
        uint8_t *memory = r->memory;
        size_t left = r->memory_size;
        parts[i](r);
        r->memory = memory;
        r->memory_size = left;
    }
}
