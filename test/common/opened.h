/* SPDX-License-Identifier: MIT */
/* opened.h: how the rigs of tests get from a graph to a session: model, plan, regions and session in memory of their own. */
#ifndef QORUS_TEST_COMMON_OPENED_H
#define QORUS_TEST_COMMON_OPENED_H

#include "qorus/model.h"

typedef struct opened {
    q_build_fn build;
    const void *user; /* of build */
    const q_plan_config *config;
    const q_context *context;
    void *(*hold)(void *holder, size_t bytes); /* memory for a region or object, never NULL */
    void *holder;
    /* set by opened_make() */
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_needs needs;
} opened;

static inline q_block opened_block(const opened *o, size_t bytes)
{
    return (q_block){o->hold(o->holder, bytes), bytes};
}

/* Parameters are as hold() gives memory. The first error ends it; *d says what is wrong. */
static inline q_error_code opened_make(opened *o, q_diag *d)
{
    static const uint8_t kinds[] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN, Q_REGION_STATE};
    q_region regions[4] = {{0}};
    size_t n = 0;
    q_error_code e = q_model_size(o->build, o->user, &n, d);
    e = e == Q_OK ? q_model_init(&o->model, opened_block(o, n), o->build, o->user, d) : e;
    e = e == Q_OK ? q_plan_size(o->model, o->config, &n, d) : e;
    e = e == Q_OK ? q_plan_init(&o->plan, opened_block(o, n), o->model, o->config, d) : e;
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(o->plan, &o->needs);
    for (uint32_t i = 0; i < 4; i++) {
        regions[i].kind = kinds[i];
        regions[i].size = o->needs.bytes[kinds[i]][0];
        regions[i].base = o->hold(o->holder, regions[i].size);
    }
    e = q_session_size(o->plan, &n, d);
    return e == Q_OK ? q_session_init(&o->session, opened_block(o, n), o->plan, o->context, regions, 4, NULL, d) : e;
}

#endif /* QORUS_TEST_COMMON_OPENED_H */
