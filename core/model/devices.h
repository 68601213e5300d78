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
    /* Plan: refuses what devices cannot do. */
    q_error_code (*check_config)(const q_plan_config *config, q_diag *diag);
    /* Plan: chooses the node's place, and makes its inputs lie there. Errors name the node or parameter. */
    q_error_code (*place_node)(q_plan *plan, plan_step *node, q_diag *diag);
    /* Plan: outputs made on devices get a copy in host memory. */
    void (*place_outputs)(q_plan *plan);
    /* Plan: host sides live until the group behind the steps that look at them. */
    void (*extend)(q_plan *plan);
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

    /* Worker 0: hands the run block to every device; records an error. */
    void (*begin)(q_session *s);
    /* Worker 0: makes `w` a step's: its device's state and workspace. */
    void (*enter)(const q_session *s, uint32_t step, q_work *w);
    /* Worker 0: waits for every device; records the first error with the last step of that device. */
    void (*finish)(q_session *s);
    /* Worker 0 after a step that somebody watches: waits for its device, and looks for what is not finite if asked to. */
    q_error_code (*settle)(const q_session *s, uint32_t step);
} q_device_hooks;

extern const q_device_hooks q_device_hooks_all;

#endif /* QORUS_CORE_MODEL_DEVICES_H */
