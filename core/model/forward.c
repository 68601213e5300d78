/* SPDX-License-Identifier: MIT */
/* q_model_forward and q_model_backward: checking a step, cutting it into chunks, choosing rows. */
#include "session.h"

/* ---- Checks ----------------------------------------------------------------------------------------------- */

static q_error_code check_ids(const q_session *s, uint32_t input, const int32_t *ids, uint64_t n, q_diag *diag)
{
    const model_input *in = &s->plan->model->inputs[input];
    for (uint64_t i = 0; in->limit != 0 && i < n; i++) {
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

/* An input of a step as a block of outer x along x inner elements, `along` the tokens. */
typedef struct input_extent {
    uint64_t outer;
    uint64_t along; /* 1 where nothing goes along the tokens */
    uint64_t inner;
} input_extent;

/* One chunk has fewer than 2^32 elements, the plan has seen to that, and a step fewer than 2^24 chunks. */
static input_extent extent_of(const model_input *in, const q_run *run)
{
    input_extent x = {1, 1, 1};
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        q_count c = in->type.dim[d];
        bool along = c.sym == Q_SYM_TOKENS || c.sym == Q_SYM_ROWS;
        x.inner *= c.n;
        if (along) {
            x.outer = x.inner / c.n * (c.sym == Q_SYM_ROWS ? run->n_batch : 1u);
            x.along = run->n_tokens;
            x.inner = c.n;
        } else {
            x.inner *= q_sym_value(run, c.sym);
        }
    }
    return x;
}

/* A step copies its inputs into SCRATCH, one after the other. */
static bool lies_in_scratch(const q_session *s, const void *from, uint64_t bytes)
{
    for (uint32_t tag = 0; tag < Q_MAX_TAGS; tag++) {
        if (q_overlaps(s->base[Q_REGION_SCRATCH][tag], s->plan->needs.bytes[Q_REGION_SCRATCH][tag], from, (size_t)bytes)) {
            return true;
        }
    }
    return false;
}

static q_error_code check_inputs(const q_session *s, const q_step *step, const q_run *whole, q_diag *diag)
{
    const q_model *m = s->plan->model;
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        input_extent x = extent_of(&m->inputs[i], whole);
        uint64_t n = x.outer * x.along * x.inner;
        q_error_code e = Q_OK;
        if (step->inputs == NULL || step->inputs[i] == NULL) {
            return q_fail(diag, Q_ERR_INVALID_ARG, m->inputs[i].name, "input", 1, 0);
        }
        if ((uintptr_t)step->inputs[i] % sizeof(int32_t) != 0) {
            return q_fail(diag, Q_ERR_MISALIGNED, m->inputs[i].name, "input", sizeof(int32_t),
                          (uintptr_t)step->inputs[i] % sizeof(int32_t));
        }
        if (n > (SIZE_MAX - (uintptr_t)step->inputs[i]) / q_dtype_block_bytes(m->inputs[i].type.dtype)) {
            return q_fail(diag, Q_ERR_OVERFLOW, m->inputs[i].name, "input", SIZE_MAX, n);
        }
        if (lies_in_scratch(s, step->inputs[i], n * q_dtype_block_bytes(m->inputs[i].type.dtype))) {
            return q_fail(diag, Q_ERR_ALIASING, m->inputs[i].name, "input lies in SCRATCH", 0, 0);
        }
        if (m->inputs[i].type.dtype == Q_I32) {
            e = check_ids(s, i, (const int32_t *)step->inputs[i], n, diag);
        }
        if (e != Q_OK) {
            return e;
        }
    }
    return Q_OK;
}

/* True if all selected rows come from the last chunk and fit one run of the tail, so that the outputs still hold
   them when the step is over. */
static bool fits_one_window(const q_plan *plan, const q_step *step, const q_run *whole)
{
    uint32_t max = plan->config.max.selected;
    uint32_t last = (whole->n_tokens - 1) / plan->config.max.tokens * plan->config.max.tokens;
    if (step->select == Q_SELECT_LAST && step->n_spans != 0) {
        return step->n_spans <= max && step->spans[0].n_tokens > last;
    }
    if (step->select == Q_SELECT_ALL) {
        return last == 0 && whole->n_tokens <= max;
    }
    return step->select != Q_SELECT_LIST || (step->n_selected <= max && step->selected[0] >= last);
}

static q_error_code check_selection(const q_session *s, const q_step *step, const q_run *whole, q_diag *diag)
{
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
    if (step->rows != NULL && step->select != Q_SELECT_NONE && !q_plan_writes_selected(s->plan)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "rows (callback): output 0 is not of selected rows", 0, 0);
    }
    if (s->plan->n_body != s->plan->n_steps && !fits_one_window(s->plan, step, whole) &&
        (step->rows == NULL || q_plan_trains(&s->plan->config))) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", step->rows == NULL ? "rows (callback)" : "selected",
                      s->plan->config.max.selected,
                      step->select == Q_SELECT_ALL    ? whole->n_tokens
                      : step->select == Q_SELECT_LAST ? step->n_spans
                                                      : step->n_selected);
    }
    return Q_OK;
}

static q_error_code check_step(q_session *s, const q_step *step, q_run *whole, q_diag *diag)
{
    const q_maxima *max = &s->plan->config.max;
    q_error_code e;
    if ((step->flags & ~(uint32_t)Q_STEP_EVALUATE) != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "flags", Q_STEP_EVALUATE, step->flags);
    }
    whole->n_batch = step->n_batch != 0 ? step->n_batch : 1;
    if (whole->n_batch > max->batch) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "n_batch", max->batch, whole->n_batch);
    }
    e = q_session_check_spans(s, step, whole, diag);
    if (e != Q_OK) {
        return e;
    }
    if (whole->n_tokens > max->tokens &&
        (whole->n_batch != 1 || !s->plan->attends || q_plan_trains(&s->plan->config))) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "n_tokens", max->tokens, whole->n_tokens);
    }
    e = check_inputs(s, step, whole, diag);
    return e == Q_OK ? check_selection(s, step, whole, diag) : e;
}

/* ---- One chunk -------------------------------------------------------------------------------------------- */

static bool goes_along(const model_input *in)
{
    bool along = false;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        along = along || in->type.dim[d].sym == Q_SYM_TOKENS || in->type.dim[d].sym == Q_SYM_ROWS;
    }
    return along;
}

/* Copies this chunk's part of every input: what goes along the tokens from `first` on, the rest as it is. */
static void copy_inputs(q_session *s, const q_step *step, uint32_t first, uint32_t n_whole)
{
    const q_model *m = s->plan->model;
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        input_extent x = extent_of(&m->inputs[i], &s->run);
        const uint8_t *from = (const uint8_t *)step->inputs[i];
        uint8_t *to = (uint8_t *)s->values[i].data;
        size_t unit = (size_t)x.inner * q_dtype_block_bytes(m->inputs[i].type.dtype);
        if (x.along == n_whole || !goes_along(&m->inputs[i])) {
            memcpy(to, from, (size_t)(x.outer * x.along) * unit);
            continue;
        }
        for (uint64_t o = 0; o < x.outer; o++) {
            memcpy(to + o * x.along * unit, from + (o * n_whole + first) * unit, (size_t)x.along * unit);
        }
    }
}

/* Fills the next window of selected rows, as rows of this chunk. Returns how many, 0 at the end. `*next` counts
   through the chunk's rows (ALL), its spans (LAST) or the step's list (LIST); *index is the caller's name of the first one. */
static uint32_t next_window(q_session *s, const q_step *step, uint32_t first, uint32_t *next, uint32_t *index)
{
    uint32_t max = s->plan->config.max.selected;
    uint32_t n = 0;
    switch (step->select) {
    case Q_SELECT_LAST:
        *index = s->first_span + *next;
        while (n < max && *next < s->n_ended) {
            q_span span = q_span_at(&s->run, s->run.n_tokens, (*next)++);
            s->selected[n++] = span.row + span.rows - 1;
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
static q_error_code run_chunk(q_session *s, const q_step *step, uint32_t first, uint32_t n_whole, uint32_t *listed,
                              q_diag *diag)
{
    const q_plan *plan = s->plan;
    uint32_t seen = 0;
    uint32_t *next = step->select == Q_SELECT_LIST ? listed : &seen;
    uint32_t index = 0;
    uint32_t begin = 0;
    uint32_t n;
    bool tail = plan->n_body != plan->n_steps;
    bool again = false;
    q_error_code e = Q_OK;
    copy_inputs(s, step, first, n_whole);
    do {
        n = next_window(s, step, first, next, &index);
        if (n == 0 && again) {
            break; /* the outputs are still those of the last window */
        }
        s->run.n_selected = n;
        s->run.selected = s->selected;
        e = q_session_run_steps(s, begin, n != 0 || !tail ? plan->n_steps : plan->n_body, false, diag);
        s->forward_done = e == Q_OK;
        if (e == Q_OK && n != 0) {
            e = hand_rows(s, step, index, diag);
        }
        begin = plan->n_body;
        again = true;
    } while (e == Q_OK && tail && n == plan->config.max.selected);
    return e;
}

q_error_code q_model_forward(q_session *session, const q_step *step, q_diag *diag)
{
    q_session *s = session;
    uint32_t listed = 0;
    q_run whole;
    q_error_code e;
    if (s == NULL || step == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_forward", s == NULL ? "session" : "step", 1, 0);
    }
    if (s->busy) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_model_forward", "a step is running", 0, 1);
    }
    memset(&whole, 0, sizeof(whole));
    e = check_step(s, step, &whole, diag);
    if (e != Q_OK) {
        return e;
    }
    s->busy = true;
    s->deadline = step->deadline;
    s->run.training = q_plan_trains(&s->plan->config) && (step->flags & Q_STEP_EVALUATE) == 0 ? 1u : 0u;
    s->run.first_sample = step->first_sample;
    s->run.seed = step->seed;
    s->run.step = step->index;
    s->run.n_batch = whole.n_batch;
    if (q_plan_trains(&s->plan->config)) {
        e = q_session_cast(s, diag);
    }
    for (uint32_t first = 0; first < whole.n_tokens && e == Q_OK; first += s->run.n_tokens) {
        uint32_t left = whole.n_tokens - first;
        uint32_t max = s->plan->config.max.tokens;
        s->run.n_tokens = left < max ? left : max;
        q_session_cut_spans(s, step, first, whole.n_tokens);
        e = run_chunk(s, step, first, whole.n_tokens, &listed, diag);
    }
    q_session_end_spans(s, step, whole.n_tokens, e == Q_OK);
    s->saved = e == Q_OK && s->run.training != 0;
    s->busy = false;
    return e;
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

static q_error_code check_backward(const q_session *s, q_value loss, q_diag *diag)
{
    const plan_value *v = &s->plan->values[loss];
    if (s->busy || !q_plan_trains(&s->plan->config) || !s->saved) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_model_backward",
                      s->busy                             ? "a step is running"
                      : !q_plan_trains(&s->plan->config) ? "the plan is not one for training"
                                                         : "no training forward has run",
                      1, 0);
    }
    if (!v->needs_grad) {
        return q_fail(diag, Q_ERR_INVALID_STATE, v->name, "nothing trainable lies upstream", 1, 0);
    }
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        if (v->type.dim[d].n != 1 || v->type.dim[d].sym != Q_SYM_ONE || v->type.dtype != Q_REAL) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, v->name, "loss: one real", 1, v->type.dim[d].n);
        }
    }
    if (s->plan->steps[v->producer].tail && s->run.n_selected == 0) {
        return q_fail(diag, Q_ERR_INVALID_STATE, v->name, "no row was selected", 1, 0);
    }
    return Q_OK;
}

q_error_code q_model_backward(q_session *session, bool accumulate, q_diag *diag)
{
    q_session *s = session;
    const q_plan *plan;
    q_value loss;
    q_error_code e;
    if (s == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_backward", "session", 1, 0);
    }
    plan = s->plan;
    loss = plan->model->outputs[0].value;
    e = check_backward(s, loss, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!accumulate) {
        q_session_zero_grads(s);
    }
    for (uint32_t v = 0; v < plan->n_values; v++) {
        if (plan->values[v].needs_grad && !plan->values[v].grad_fed) {
            memset(s->grads[v].data, 0, plan->values[v].grad.bytes);
        }
    }
    *(q_real *)s->grads[loss].data = 1;
    s->busy = true;
    s->joined = false;
    e = q_session_run_steps(s, 0, plan->n_steps, true, diag);
    s->busy = false;
    s->saved = false; /* gradients have taken the place of activations */
    return e;
}
