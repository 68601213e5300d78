/* SPDX-License-Identifier: MIT */
/* Callbacks that call back into the session they are called from: each such call is refused, and the run goes on. */
#include "rig.h"

#include "qorus/base/mem.h"

typedef struct reentry {
    rig *r;
    q_error_code code[4];
    uint32_t calls;
} reentry;

static q_error_code rows_that_step(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    reentry *re = (reentry *)user;
    const void *inputs[1];
    q_step step;
    (void)first;
    (void)n;
    (void)rows;
    inputs[0] = re->r->args.ids;
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.n_tokens = 1;
    re->code[0] = q_model_forward(re->r->session, &step, NULL);
    re->code[1] = q_session_rewind(re->r->session, 0, NULL);
    re->code[2] = q_session_set_position(re->r->session, 1, NULL);
    re->code[3] = q_model_backward(re->r->session, false, NULL);
    re->calls++;
    return Q_OK;
}

static bool token_that_generates(void *user, int32_t token)
{
    reentry *re = (reentry *)user;
    q_stop_reason reason;
    re->code[0] = q_generator_run(re->r->generator, &reason, NULL);
    re->code[1] = q_generator_feed(re->r->generator, &token, 1, NULL);
    re->code[2] = q_generator_rewind(re->r->generator, 0, NULL);
    re->code[3] = q_generator_configure(re->r->generator, &re->r->args.generate_value, NULL);
    re->calls++;
    return true;
}

static bool all_refused(const reentry *re)
{
    bool good = re->calls != 0;
    for (uint32_t i = 0; i < 4; i++) {
        good = good && re->code[i] == Q_ERR_INVALID_STATE;
    }
    return good;
}

void rig_check_reentry(rig *r)
{
    reentry re;
    q_error_code e;
    memset(&re, 0, sizeof(re));
    re.r = r;
    rig_reset(r);
    r->args.step_value.rows = rows_that_step;
    r->args.step_value.rows_user = &re;
    e = rig_run(r, RIG_FORWARD);
    rig_report(r, e == Q_OK && all_refused(&re) && q_session_position(r->session) == 4,
               "A31_callback_for_rows_that_steps", re.code[0], NULL);
    memset(&re, 0, sizeof(re));
    re.r = r;
    rig_reset(r);
    r->args.fed = 4;
    r->args.generate_value.on_token = token_that_generates;
    r->args.generate_value.user = &re;
    e = rig_run(r, RIG_RUN);
    rig_report(r, e == Q_OK && all_refused(&re) && re.calls == 2 && r->out.reason == Q_STOP_COUNT,
               "A31_callback_for_tokens_that_generates", re.code[0], NULL);
}
