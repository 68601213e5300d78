/* SPDX-License-Identifier: MIT */
/* The learning rate over the steps of a training, as a share of the configured one. */
#include "../core.h"
#include "power.h"
#include "qorus/optim.h"

static q_error_code check_step_kind(const q_schedule *schedule, q_diag *diag)
{
    if (schedule->every == 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_schedule", "every", 1, 0);
    }
    if (!(schedule->factor > 0 && schedule->factor <= 1)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_schedule", "factor", 1, 0);
    }
    return Q_OK;
}

q_error_code q_schedule_check(const q_schedule *schedule, q_diag *diag)
{
    const char *who = "q_schedule";
    if (schedule == NULL || schedule->struct_size != sizeof(*schedule)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "struct_size", sizeof(*schedule),
                      schedule != NULL ? schedule->struct_size : 0);
    }
    if (schedule->kind > Q_SCHEDULE_WSD) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "kind", Q_SCHEDULE_WSD, schedule->kind);
    }
    if (schedule->kind == Q_SCHEDULE_CONSTANT) {
        return Q_OK;
    }
    if (schedule->kind == Q_SCHEDULE_STEP) {
        return check_step_kind(schedule, diag);
    }
    if (!(schedule->last >= 0 && schedule->last <= 1)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "last", 1, 0);
    }
    if (schedule->total <= schedule->warmup) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "total", schedule->warmup + 1, schedule->total);
    }
    if (schedule->kind == Q_SCHEDULE_WSD && schedule->decay > schedule->total - schedule->warmup) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "decay", schedule->total - schedule->warmup, schedule->decay);
    }
    return Q_OK;
}

/* The part of the way from step `from` to step `to` that lies behind at `step`, 0 .. 1. */
static double way(uint64_t from, uint64_t to, uint64_t step)
{
    if (step <= from) {
        return 0;
    }
    return step >= to ? 1 : (double)(step - from) / (double)(to - from);
}

double q_schedule_share(const q_schedule *schedule, uint64_t step)
{
    const double pi = 3.14159265358979323846;
    double share = 1;
    q_fp_state fp = q_fp_enter();
    if (step < schedule->warmup) {
        share = (double)(step + 1) / (double)schedule->warmup;
    } else if (schedule->kind == Q_SCHEDULE_STEP) {
        share = q_power(schedule->factor, (step - schedule->warmup) / schedule->every);
    } else if (schedule->kind == Q_SCHEDULE_COSINE) {
        double t = way(schedule->warmup, schedule->total, step);
        share = schedule->last + (1 - schedule->last) * (0.5 * (1 + q_cos_f64(pi * t)));
    } else if (schedule->kind == Q_SCHEDULE_LINEAR) {
        share = 1 - (1 - schedule->last) * way(schedule->warmup, schedule->total, step);
    } else if (schedule->kind == Q_SCHEDULE_WSD) {
        share = 1 - (1 - schedule->last) * way(schedule->total - schedule->decay, schedule->total, step);
    }
    q_fp_leave(fp);
    return share;
}
