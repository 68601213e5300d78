/* SPDX-License-Identifier: MIT */
/*
 * devices.h: what plans and sessions call where a node runs on a device; private to core/model.
 *
 * They reach it through q_devices.hooks alone, which q_devices_init fills, so that an image without devices links none
 * of it.
 */
#ifndef QORUS_CORE_MODEL_DEVICES_H
#define QORUS_CORE_MODEL_DEVICES_H

#include "session.h"

typedef struct q_device_hooks {
    /* Plan: chooses the node's place, and makes its inputs lie there. Errors name the node or parameter. */
    q_error_code (*place_node)(q_plan *plan, plan_step *node, q_diag *diag);
    /* Plan: outputs made on devices get a copy in host memory. */
    void (*place_outputs)(q_plan *plan);
    /* Plan: one worker's workspace at the end of each device's SCRATCH; false on overflow. */
    bool (*place_workspaces)(q_plan *plan);
    /* Plan: offsets of the parameters in PREPARED. */
    q_error_code (*place_prepared)(q_plan *plan, q_diag *diag);

    /* Session: layers of devices get their parameters, constants and kernels. */
    void (*bind)(q_session *s);
    /* Session: fills PREPARED. */
    q_error_code (*fill)(q_session *s, q_diag *diag);
    /* Session: zeroes a sequence's state of a step. */
    q_error_code (*zero_state)(const q_session *s, uint32_t step, uint32_t sequence);

    /* Worker 0: hands the run block to every device; on an error *step is one of its. */
    q_error_code (*begin)(const q_session *s, uint32_t *step);
    /* Worker 0: makes `w` a step's: its device's state and workspace. */
    void (*enter)(const q_session *s, uint32_t step, q_work *w);
    /* Worker 0: waits for every device; the first error, and the last step of that device. */
    q_error_code (*finish)(const q_session *s, uint32_t *step);
    /* Worker 0: *finite is whether all reals are, of the first `rows` rows of a tensor on the step's device. */
    q_error_code (*look)(const q_session *s, uint32_t step, const q_tensor *t, uint32_t rows, bool *finite);
} q_device_hooks;

extern const q_device_hooks q_device_hooks_all;

#endif /* QORUS_CORE_MODEL_DEVICES_H */
