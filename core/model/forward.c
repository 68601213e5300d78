/* SPDX-License-Identifier: MIT */
/* q_model_forward and q_model_backward: checking a step, cutting it into chunks, choosing rows. */
#include "session.h"

/* ---- Checks ----------------------------------------------------------------------------------------------- */

static q_error_code check_ids(const q_session *s, uint32_t input, const int32_t *ids, uint32_t n, q_diag *diag)
{
    const model_input *in = &s->plan->model->inputs[input];
    for (uint32_t i = 0; in->limit != 0 && i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= in->limit) {
            (void)q_fail(diag, Q_ERR_INVALID_TOKEN, in->name, "id", in->limit, (uint64_t)(int64_t)ids[i]);
            if (diag != NULL) {
                diag->offset = i;
            }
            return Q_ERR_INVALID_TOKEN;
        }
    }
    return Q_OK;
}

/* Elements of an input in a step, and bytes of one unit of its symbol. */
static uint32_t input_elements(const model_input *in, const q_run *run)
{
    uint32_t n = 1;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        n *= q_count_value(run, in->type.dim[d]);
    }
    return n;
}

static q_error_code check_inputs(const q_session *s, const q_step *step, const q_run *whole, q_diag *diag)
{
    const q_model *m = s->plan->model;
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        q_error_code e = Q_OK;
        if (step->inputs == NULL || step->inputs[i] == NULL) {
            return q_fail(diag, Q_ERR_INVALID_ARG, m->inputs[i].name, "input", 1, 0);
        }
        if ((uintptr_t)step->inputs[i] % sizeof(int32_t) != 0) {
            return q_fail(diag, Q_ERR_MISALIGNED, m->inputs[i].name, "input", sizeof(int32_t),
                          (uintptr_t)step->inputs[i] % sizeof(int32_t));
        }
        if (m->inputs[i].type.dtype == Q_I32) {
            e = check_ids(s, i, (const int32_t *)step->inputs[i], input_elements(&m->inputs[i], whole), diag);
        }
        if (e != Q_OK) {
            return e;
        }
    }
    return Q_OK;
}

static q_error_code check_selection(const q_session *s, const q_step *step, const q_run *whole, q_diag *diag)
{
    uint32_t max = s->plan->config.max.selected;
    if (step->select > Q_SELECT_ALL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "select", Q_SELECT_ALL, step->select);
    }
    if (step->select == Q_SELECT_LIST) {
        if (step->selected == NULL || step->n_selected == 0) {
            return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "selected", 1, 0);
        }
        for (uint32_t i = 0; i < step->n_selected; i++) {
            if (step->selected[i] >= whole->n_tokens || (i != 0 && step->selected[i] <= step->selected[i - 1])) {
                return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "selected", whole->n_tokens, step->selected[i]);
            }
        }
    }
    if (step->rows == NULL && s->plan->n_body != s->plan->n_steps) {
        uint32_t n = step->select == Q_SELECT_ALL ? whole->n_tokens : step->select == Q_SELECT_LIST ? step->n_selected : 0;
        if (n > max || (n > 1 && whole->n_tokens > s->plan->config.max.tokens)) {
            return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "rows (callback)", max, n);
        }
    }
    return Q_OK;
}

static q_error_code check_step(const q_session *s, const q_step *step, q_run *whole, q_diag *diag)
{
    const q_maxima *max = &s->plan->config.max;
    q_error_code e;
    whole->n_batch = step->n_batch != 0 ? step->n_batch : 1;
    whole->n_tokens = step->n_tokens != 0 ? step->n_tokens : 1;
    if (whole->n_batch > max->batch) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "n_batch", max->batch, whole->n_batch);
    }
    if (s->plan->attends && whole->n_tokens > max->kv - s->position) {
        return q_fail(diag, Q_ERR_CONTEXT_FULL, "q_step", "n_tokens", max->kv - s->position, whole->n_tokens);
    }
    if (whole->n_tokens > max->tokens && (whole->n_batch != 1 || !s->plan->attends)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "n_tokens", max->tokens, whole->n_tokens);
    }
    e = check_inputs(s, step, whole, diag);
    return e == Q_OK ? check_selection(s, step, whole, diag) : e;
}

/* ---- One chunk -------------------------------------------------------------------------------------------- */

/* Copies this chunk's part of every input: what goes along the tokens from `first` on, the rest as it is. */
static void copy_inputs(q_session *s, const q_step *step, uint32_t first)
{
    const q_model *m = s->plan->model;
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        const q_value_type *type = &m->inputs[i].type;
        uint32_t n = input_elements(&m->inputs[i], &s->run);
        size_t size = q_dtype_block_bytes(type->dtype);
        size_t skip = 0;
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            if (type->dim[d].sym == Q_SYM_TOKENS || type->dim[d].sym == Q_SYM_ROWS) {
                skip = (size_t)(n / s->run.n_tokens) * first * size;
            }
        }
        memcpy(s->values[i].data, (const uint8_t *)step->inputs[i] + skip, n * size);
    }
}

/* Fills the next window of selected rows, as rows of this chunk. Returns how many, 0 at the end. `*next` counts
   through the chunk's rows (ALL) or the step's list (LIST); *index is the caller's name of the first one. */
static uint32_t next_window(q_session *s, const q_step *step, uint32_t first, bool last_chunk, uint32_t *next,
                            uint32_t *index)
{
    uint32_t max = s->plan->config.max.selected;
    uint32_t n = 0;
    switch (step->select) {
    case Q_SELECT_LAST:
        if (last_chunk && *next == 0) {
            s->selected[n++] = s->run.n_tokens - 1;
            *next = 1;
            *index = first + s->run.n_tokens - 1;
        }
        break;
    case Q_SELECT_LIST:
        *index = *next;
        while (n < max && *next < step->n_selected && step->selected[*next] < first + s->run.n_tokens) {
            s->selected[n++] = step->selected[(*next)++] - first;
        }
        break;
    case Q_SELECT_ALL:
        *index = first + *next;
        while (n < max && *next < s->run.n_tokens) {
            s->selected[n++] = (*next)++;
        }
        break;
    default:
        break;
    }
    return n;
}

static q_error_code hand_rows(q_session *s, const q_step *step, uint32_t index, q_diag *diag)
{
    q_tensor rows;
    q_error_code e;
    if (step->rows == NULL) {
        return Q_OK;
    }
    e = q_session_output(s, 0, &rows, diag);
    if (e == Q_OK) {
        e = step->rows(step->rows_user, index, s->run.n_selected, &rows);
        if (e != Q_OK) {
            e = q_fail(diag, e, "q_step", "rows (callback)", 0, 0);
        }
    }
    return e;
}

/* Body, then the tail once per window; the first window runs in the body's own parallel region. */
static q_error_code run_chunk(q_session *s, const q_step *step, uint32_t first, bool last_chunk, uint32_t *listed,
                              q_diag *diag)
{
    const q_plan *plan = s->plan;
    uint32_t seen = 0;
    uint32_t *next = step->select == Q_SELECT_LIST ? listed : &seen;
    uint32_t index = 0;
    uint32_t begin = 0;
    q_error_code e = Q_OK;
    copy_inputs(s, step, first);
    do {
        uint32_t n = next_window(s, step, first, last_chunk, next, &index);
        s->run.n_selected = n;
        s->run.selected = s->selected;
        if (n == 0 && begin != 0) {
            break;
        }
        uint32_t end = n != 0 || plan->n_body == plan->n_steps ? plan->n_steps : plan->n_body;
        e = q_session_run_steps(s, begin, end, false, diag);
        s->forward_done = e == Q_OK;
        if (e == Q_OK && n != 0) {
            e = hand_rows(s, step, index, diag);
        }
        begin = plan->n_body;
    } while (e == Q_OK && begin != plan->n_steps && s->run.n_selected == plan->config.max.selected);
    return e;
}

q_error_code q_model_forward(q_session *session, const q_step *step, q_diag *diag)
{
    q_session *s = session;
    uint32_t start;
    uint32_t listed = 0;
    q_run whole;
    q_error_code e;
    if (s == NULL || step == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_forward", s == NULL ? "session" : "step", 1, 0);
    }
    memset(&whole, 0, sizeof(whole));
    e = check_step(s, step, &whole, diag);
    if (e != Q_OK) {
        return e;
    }
    start = s->position;
    s->deadline = step->deadline;
    s->run.training = s->plan->config.mode == Q_PLAN_TRAIN ? 1u : 0u;
    s->run.n_batch = whole.n_batch;
    for (uint32_t first = 0; first < whole.n_tokens && e == Q_OK; first += s->run.n_tokens) {
        uint32_t left = whole.n_tokens - first;
        uint32_t max = s->plan->config.max.tokens;
        s->run.n_tokens = left < max ? left : max;
        s->run.position = s->plan->attends ? s->position : 0;
        e = run_chunk(s, step, first, left <= max, &listed, diag);
        if (e == Q_OK && s->plan->attends) {
            s->position += s->run.n_tokens;
        }
    }
    if (e != Q_OK) {
        s->position = start;
    }
    return e;
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

q_error_code q_model_backward(q_session *session, bool accumulate, q_diag *diag)
{
    q_session *s = session;
    const q_plan *plan;
    q_value loss;
    if (s == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_backward", "session", 1, 0);
    }
    plan = s->plan;
    loss = plan->model->outputs[0].value;
    if (plan->config.mode != Q_PLAN_TRAIN || !s->forward_done) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_model_backward",
                      s->forward_done ? "the plan is not one for training" : "no forward has run", 1, 0);
    }
    if (!plan->values[loss].needs_grad) {
        return q_fail(diag, Q_ERR_INVALID_STATE, plan->values[loss].name, "nothing trainable lies upstream", 1, 0);
    }
    if (!accumulate) {
        for (uint32_t i = 0; i < plan->model->n.params; i++) {
            if (plan->params[i].grad.bytes != 0) {
                memset(s->param_grads[i].data, 0, plan->params[i].grad.bytes);
            }
        }
    }
    *(q_real *)s->grads[loss].data = 1;
    return q_session_run_steps(s, 0, plan->n_steps, true, diag);
}
