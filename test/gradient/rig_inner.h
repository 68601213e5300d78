/* SPDX-License-Identifier: MIT */
/* rig_inner.h: what the parts of the gradient rig share. */
#ifndef QORUS_TEST_GRADIENT_RIG_INNER_H
#define QORUS_TEST_GRADIENT_RIG_INNER_H

#include "rig.h"

/* Where the micro-batch that runs begins. */
typedef struct rig_window {
    uint32_t sample;
    uint32_t token;
} rig_window;

extern rig_window rig_at;

/* The type of what the source hands out; its parameter has the rows of the whole case. */
typedef struct rig_source_config {
    uint32_t n[Q_MAX_DIMS];
    uint32_t sym[Q_MAX_DIMS];
} rig_source_config;

extern const q_layer_class rig_source_class;
extern const q_layer_class rig_probe_class;

#endif /* QORUS_TEST_GRADIENT_RIG_INNER_H */
