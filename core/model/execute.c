/* SPDX-License-Identifier: MIT */
/*
 * Running a step: one parallel region walks the plan's steps, meeting between groups. Worker 0 alone talks to the
 * caller (stop, deadline, observer); an error anywhere stops everyone at the next meeting.
 */
#include "devices.h"

/* ---- Inside the region ------------------------------------------------------------------------------------ */

static void record_error(q_session *s, q_error_code e, uint32_t step)
{
    if (q_barrier_trouble(&s->barrier)) {
        s->error = e;
        s->error_step = step;
    }
}

static const q_device_hooks *device_hooks(const q_session *s)
{
    return s->plan->config.devices != NULL ? s->plan->config.devices->hooks : NULL;
}

static uint64_t now(const q_session *s)
{
    const q_port *port = s->context.port;
    return port != NULL && port->ticks != NULL ? port->ticks(port->user) : 0;
}

/* A clock that went back has measured nothing. */
static uint64_t ticks_since(const q_session *s, uint64_t begin)
{
    uint64_t end = now(s);
    return end > begin ? end - begin : 0;
}

/* Worker 0 before a meeting: does the caller want to stop? */
static void ask_caller(q_session *s, uint32_t step)
{
    if (s->config.should_stop != NULL && s->config.should_stop(s->config.user)) {
        record_error(s, Q_ERR_CANCELLED, step);
    } else if (s->deadline != 0 && now(s) > s->deadline) {
        record_error(s, Q_ERR_DEADLINE, step);
    }
}

/* True if all reals of the rows this step wrote are finite: exponent bits not all ones. */
static bool row_is_finite(const q_real *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!(x[i] - x[i] == 0)) {
            return false;
        }
    }
    return true;
}

static bool rows_are_finite(const q_session *s, const q_tensor *t, q_count count)
{
    uint32_t rows = q_count_value(&s->run, count);
    for (uint32_t r = 0; t->dtype == Q_REAL && t->device == Q_DEVICE_CPU && r < rows; r++) {
        if (!row_is_finite((const q_real *)(const void *)((const uint8_t *)t->data + r * t->nb[2]), t->ne[3])) {
            return false;
        }
    }
    return true;
}

/* What the layer made: its outputs, and the sum that is its input. */
static bool outputs_finite(const q_session *s, uint32_t step)
{
    const q_layer *layer = &s->layers[step];
    bool finite = layer->addend[0] == NULL || rows_are_finite(s, layer->in[0], layer->in_rows[0]);
    for (uint32_t o = 0; finite && o < layer->n_out; o++) {
        finite = rows_are_finite(s, layer->out[o], layer->out_rows[o]);
    }
    return finite;
}

/* Worker 0 after a node, the others waiting. */
static void look_at(q_session *s, uint32_t step, bool backward, uint64_t begin)
{
    q_error_code e = Q_OK;
    if (s->plan->steps[step].place != 0) {
        e = device_hooks(s)->settle(s, step);
    }
    if (e == Q_OK && s->config.observe != NULL) {
        q_observation seen = {backward ? &s->back_layers[step] : &s->layers[step], &s->run, ticks_since(s, begin), step,
                              backward ? 1u : 0u};
        e = s->config.observe(s->config.user, &seen);
    }
    if (e == Q_OK && (s->config.flags & Q_SESSION_CHECK_FINITE) != 0 && !backward && !outputs_finite(s, step)) {
        e = Q_ERR_NON_FINITE;
    }
    if (e != Q_OK) {
        record_error(s, e, step);
    }
}

static bool is_watched(const q_session *s)
{
    return s->config.observe != NULL || (s->config.flags & Q_SESSION_CHECK_FINITE) != 0;
}

/* Backward of a step that has an activation in its epilogue: grad_out[0] goes through it, in place, before anyone reads
   it. */
static bool through_activation(q_session *s, const q_layer *layer, const q_work *w)
{
    const q_tensor *y = layer->out[0];
    const q_tensor *dy = layer->grad_out[0];
    q_activate_grad_args a;
    a.rows = layer->out_rows[0];
    a.dim = y->ne[3];
    a.activation = layer->activation;
    a.accumulate = 0;
    a.v = (const q_real *)y->data;
    a.v_stride = y->nb[2];
    a.dy = a.dx = (q_real *)dy->data;
    a.dy_stride = a.dx_stride = dy->nb[2];
    layer->kernels->activate_grad(w, &a);
    return q_barrier_meet(&s->barrier, w->n_workers, s->context.port);
}

/* All stages of one step on this worker. False: stop. */
static bool run_layer(q_session *s, uint32_t step, bool backward, const q_work *w)
{
    const q_layer *layer = backward ? &s->back_layers[step] : &s->layers[step];
    const q_layer_class *cls = layer->cls;
    uint32_t stages = cls->stages != NULL ? cls->stages(layer, w, backward) : backward ? cls->backward_stages : cls->forward_stages;
    q_layer_fn fn = backward ? layer->backward : layer->forward;
    bool device = s->plan->steps[step].place != 0;
    bool shared = (cls->flags & Q_LAYER_SHARED) != 0 && !device;
    q_work alone = *w;
    alone.n_workers = 1;
    if (device) {
        device_hooks(s)->enter(s, step, &alone);
    }
    if (backward && layer->activation != Q_ACT_NONE && !through_activation(s, layer, w)) {
        return false;
    }
    for (uint32_t stage = 0; stage < stages; stage++) {
        if (stage != 0 && !q_barrier_meet(&s->barrier, w->n_workers, s->context.port)) {
            return false;
        }
        if (shared || w->worker == 0) {
            q_error_code e = fn(layer, shared ? w : &alone, stage);
            if (e != Q_OK) {
                record_error(s, e, step);
            }
        }
    }
    if (Q_TRAINING(1) && s->plan->steps[step].rounds[backward ? 1 : 0] != Q_F32) {
        if (!q_barrier_meet(&s->barrier, w->n_workers, s->context.port)) {
            return false;
        }
        q_session_round(s, step, backward, w);
    }
    return true;
}

static bool run_watched(q_session *s, uint32_t step, bool backward, const q_work *w)
{
    uint64_t begin;
    if (!q_barrier_meet(&s->barrier, w->n_workers, s->context.port)) {
        return false;
    }
    begin = w->worker == 0 ? now(s) : 0;
    if (!run_layer(s, step, backward, w) || !q_barrier_meet(&s->barrier, w->n_workers, s->context.port)) {
        return false;
    }
    if (w->worker == 0) {
        look_at(s, step, backward, begin);
    }
    return true;
}

/* Worker 0 asks the caller, then everyone meets. False: stop. */
static bool meet_before(q_session *s, uint32_t step, const q_work *w)
{
    if (w->worker == 0) {
        ask_caller(s, step);
    }
    return q_barrier_meet(&s->barrier, w->n_workers, s->context.port);
}

static bool run_one(q_session *s, uint32_t step, bool backward, const q_work *w)
{
    return is_watched(s) ? run_watched(s, step, backward, w) : run_layer(s, step, backward, w);
}

static void walk_forward(q_session *s, const q_work *w)
{
    uint32_t group = Q_NONE;
    for (uint32_t k = s->first_step; k < s->end_step; k++) {
        uint32_t own = s->plan->steps[k].group;
        if ((own != group && !meet_before(s, k, w)) || !run_one(s, k, false, w)) {
            return;
        }
        group = own;
    }
}

static void walk_backward(q_session *s, const q_work *w)
{
    for (uint32_t i = 0; i < s->plan->n_events; i++) {
        plan_event e = s->plan->events[i];
        if (!meet_before(s, e.step, w) || !run_one(s, e.step, e.backward, w)) {
            return;
        }
    }
}

static void region_worker(void *arg, uint32_t worker, uint32_t n_workers)
{
    q_session *s = (q_session *)arg;
    q_fp_state fp = q_fp_enter();
    const q_device_hooks *devices = worker == 0 ? device_hooks(s) : NULL;
    q_work w;
    w.worker = worker;
    w.n_workers = n_workers;
    w.run = &s->run;
    w.workspace = s->workspaces == NULL ? NULL : s->workspaces + worker * s->plan->config.workspace_size;
    w.workspace_size = s->plan->config.workspace_size;
    w.state = s->context.backend->state;
    if (worker == 0) {
        s->granted = n_workers;
    }
    if (devices != NULL) {
        devices->begin(s);
    }
    if (s->fn != NULL) {
        s->fn(s->fn_arg, &w);
    } else if (Q_TRAINING(1) && s->backward) {
        walk_backward(s, &w);
    } else {
        walk_forward(s, &w);
    }
    if (devices != NULL) { /* also after an error: nothing of theirs runs when a step is over */
        devices->finish(s);
    }
    q_fp_leave(fp);
}

static void run_region(q_session *s, uint32_t n_workers)
{
    const q_port *port = s->context.port;
    q_barrier_reset(&s->barrier);
    if (n_workers == 1 || port->parallel(port->user, n_workers, region_worker, s) == 0) {
        region_worker(s, 0, 1);
    }
}

void q_session_meet(q_session *s, const q_work *work)
{
    (void)q_barrier_meet(&s->barrier, work->n_workers, s->context.port);
}

void q_session_parallel(q_session *s, uint64_t items, q_session_fn fn, void *arg)
{
    s->fn = fn;
    s->fn_arg = arg;
    run_region(s, items < Q_SESSION_WORTH_WORKERS ? 1 : s->n_workers);
    s->fn = NULL;
}

q_error_code q_session_run_steps(q_session *s, uint32_t first, uint32_t end, bool backward, q_diag *diag)
{
    if (first == end) {
        return Q_OK;
    }
    s->first_step = first;
    s->end_step = end;
    s->backward = backward;
    s->error = Q_OK;
    s->error_field = backward ? "backward" : "forward";
    run_region(s, s->n_workers);
    if (s->error != Q_OK) {
        (void)q_fail(diag, s->error, s->plan->steps[s->error_step].name, s->error_field, 0, 0);
        if (diag != NULL) {
            diag->offset = s->error_step;
        }
    }
    return s->error;
}
