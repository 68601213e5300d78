/* SPDX-License-Identifier: MIT */
/* The sequences of a session: the spans of a step, and positions. */
#include "session.h"

/* ---- Spans of a step -------------------------------------------------------------------------------------- */

/* The sequence of span i; a step without spans has one, of sequence 0. */
static session_sequence *span_owner(const q_session *s, const q_step *step, uint32_t i)
{
    return &s->sequences[step->n_spans != 0 ? step->spans[i].sequence : 0];
}

static q_error_code fail_span(const q_step *step, uint32_t i, q_error_code code, const char *field, uint64_t need,
                              uint64_t have, q_diag *diag)
{
    (void)q_fail(diag, code, "q_step", field, need, have);
    if (diag != NULL && step->n_spans != 0) {
        q_text t;
        q_text_init(&t, diag->field, sizeof(diag->field));
        q_text_str(&t, field);
        q_text_str(&t, " of sequence ");
        q_text_u64(&t, step->spans[i].sequence, 0);
        diag->offset = i;
    }
    return code;
}

/* Room for n tokens in a sequence whose state is whole. */
static q_error_code check_room(const q_session *s, const q_step *step, uint32_t i, uint32_t n, q_diag *diag)
{
    const session_sequence *q = span_owner(s, step, i);
    uint32_t left = s->plan->config.max.kv - q->position;
    if (q->lost) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_model_forward", "a layer's state was cut off: rewind to 0", 0, 1);
    }
    return s->plan->attends && n > left ? fail_span(step, i, Q_ERR_CONTEXT_FULL, "n_tokens", left, n, diag) : Q_OK;
}

static q_error_code check_span(q_session *s, const q_step *step, uint32_t i, q_diag *diag)
{
    const q_step_span *span = &step->spans[i];
    uint32_t max = s->plan->config.max.sequences;
    if (span->sequence >= max || s->sequences[span->sequence].listed == s->n_checks) {
        return fail_span(step, i, Q_ERR_INVALID_ARG, "span", max, span->sequence, diag);
    }
    s->sequences[span->sequence].listed = s->n_checks;
    return span->n_tokens == 0 ? fail_span(step, i, Q_ERR_INVALID_ARG, "n_tokens", 1, 0, diag)
                               : check_room(s, step, i, span->n_tokens, diag);
}

q_error_code q_session_check_spans(q_session *s, const q_step *step, q_run *whole, q_diag *diag)
{
    uint64_t sum = 0;
    whole->n_tokens = step->n_tokens != 0 ? step->n_tokens : 1;
    if (step->n_spans == 0) {
        return check_room(s, step, 0, whole->n_tokens, diag);
    }
    if (step->spans == NULL || whole->n_batch != 1) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step",
                      step->spans == NULL ? "spans" : "n_batch (with spans)", 1, whole->n_batch);
    }
    s->n_checks++;
    for (uint32_t i = 0; i < step->n_spans; i++) {
        q_error_code e = check_span(s, step, i, diag);
        if (e != Q_OK) {
            return e;
        }
        sum += step->spans[i].n_tokens;
    }
    whole->n_tokens = (uint32_t)sum;
    if (sum > UINT32_MAX || (step->n_tokens != 0 && step->n_tokens != sum)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_step", "n_tokens", sum, step->n_tokens);
    }
    return Q_OK;
}

/* Positions stay until the step is over; within it a row's is so many further on as rows of its span come first. */
void q_session_cut_spans(q_session *s, const q_step *step, uint32_t first, uint32_t n_whole)
{
    uint32_t end = first + s->run.n_tokens;
    uint32_t begin = 0;
    s->first_span = 0;
    s->n_ended = end == n_whole ? 1u : 0u;
    s->run.n_spans = 0;
    s->run.spans = s->spans;
    s->run.position = s->plan->attends ? s->sequences[0].position + first : 0;
    for (uint32_t i = 0; i < step->n_spans && begin < end; i++) {
        uint32_t stop = begin + step->spans[i].n_tokens;
        if (stop > first) {
            q_span *cut = &s->spans[s->run.n_spans];
            uint32_t from = begin > first ? begin : first;
            cut->sequence = step->spans[i].sequence;
            cut->position = s->sequences[cut->sequence].position + (from - begin);
            cut->row = from - first;
            cut->rows = (stop < end ? stop : end) - from;
            if (s->run.n_spans++ == 0) {
                s->first_span = i;
                s->run.position = cut->position;
            }
            s->n_ended = s->run.n_spans - (stop > end ? 1u : 0u);
        }
        begin = stop;
    }
}

void q_session_end_spans(q_session *s, const q_step *step, uint32_t n_tokens, bool good)
{
    for (uint32_t i = 0; s->plan->attends && (i == 0 || i < step->n_spans); i++) {
        session_sequence *q = span_owner(s, step, i);
        q->position += !good ? 0 : step->n_spans != 0 ? step->spans[i].n_tokens : n_tokens;
        q->lost = !good && !s->plan->rewinds;
    }
}

/* ---- States ----------------------------------------------------------------------------------------------- */

uint8_t *q_session_state(const q_session *s, uint32_t k, uint32_t sequence)
{
    return (uint8_t *)s->layers[k].state + sequence * s->layers[k].state_stride;
}

/* ---- What a caller asks ----------------------------------------------------------------------------------- */

static q_error_code check_sequence(const q_session *s, uint32_t sequence, const char *who, q_diag *diag)
{
    if (s == NULL || sequence >= s->plan->config.max.sequences) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, s == NULL ? "session" : "sequence",
                      s != NULL ? s->plan->config.max.sequences : 1, sequence);
    }
    return s->busy ? q_fail(diag, Q_ERR_INVALID_STATE, who, "a step is running", 0, 1) : Q_OK;
}

q_error_code q_session_check_back(const q_session *s, uint32_t sequence, uint32_t n, const char *who, q_diag *diag)
{
    const session_sequence *q;
    q_error_code e = check_sequence(s, sequence, who, diag);
    if (e != Q_OK) {
        return e;
    }
    q = &s->sequences[sequence];
    if (n > q->position) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "n", q->position, n);
    }
    if (n != 0 && (n != q->position || q->lost) && !s->plan->rewinds) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, who, "a layer's state cannot go back", 0, n);
    }
    return Q_OK;
}

uint32_t q_sequence_position(const q_session *session, uint32_t sequence)
{
    return sequence < session->plan->config.max.sequences ? session->sequences[sequence].position : 0;
}

q_error_code q_sequence_set_position(q_session *session, uint32_t sequence, uint32_t n, q_diag *diag)
{
    q_error_code e = check_sequence(session, sequence, "q_sequence_set_position", diag);
    if (e != Q_OK) {
        return e;
    }
    if (n > session->plan->config.max.kv) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_sequence_set_position", "n", session->plan->config.max.kv, n);
    }
    session->sequences[sequence].lost = false;
    session->sequences[sequence].position = n;
    return Q_OK;
}

q_error_code q_sequence_rewind(q_session *session, uint32_t sequence, uint32_t n, q_diag *diag)
{
    q_error_code e = q_session_check_back(session, sequence, n, "q_sequence_rewind", diag);
    if (e != Q_OK) {
        return e;
    }
    if (n == 0 && !session->plan->rewinds) {
        e = q_session_zero_states(session, sequence, diag);
        if (e != Q_OK) {
            return e;
        }
        session->sequences[sequence].lost = false;
    }
    session->sequences[sequence].position = n;
    return Q_OK;
}

uint32_t q_session_position(const q_session *session)
{
    return q_sequence_position(session, 0);
}

q_error_code q_session_rewind(q_session *session, uint32_t n, q_diag *diag)
{
    return q_sequence_rewind(session, 0, n, diag);
}

q_error_code q_session_set_position(q_session *session, uint32_t n, q_diag *diag)
{
    return q_sequence_set_position(session, 0, n, diag);
}
