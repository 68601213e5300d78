/* SPDX-License-Identifier: MIT */
/*
 * What a plan for training adds: which values have gradients, which blocks are computed again for backward, the order
 * of everything that backward does, and the time its memory lives.
 *
 * A block that is computed again (Chen et al. 2016, arXiv:1604.06174) has a copy of each of its steps. The copies run
 * when backward reaches the block, into values of their own, and backward belongs to them: what the first run of the
 * block made dies as soon as the next step has read it. Gradients belong to the first run's values.
 */
#include "plan.h"

/* ---- Which values lie between a trainable parameter and the loss ------------------------------------------ */

/* Walks up from output 0. */
void q_plan_mark_loss(q_plan *plan)
{
    plan->values[plan->model->outputs[0].value].feeds_loss = true;
    for (uint32_t k = plan->n_steps; k-- > 0;) {
        plan_step *s = &plan->steps[k];
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n = q_plan_reads(s, reads);
        for (uint32_t i = 0; i < s->cls->n_out; i++) {
            s->has_backward = s->has_backward || plan->values[s->out + i].feeds_loss;
        }
        for (uint32_t i = 0; i < n && s->has_backward; i++) {
            plan->values[reads[i]].feeds_loss = true;
        }
    }
}

q_error_code q_plan_mark_gradients(q_plan *plan, q_diag *diag)
{
    const q_model *m = plan->model;
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n = q_plan_reads(s, reads);
        bool any = false;
        bool read = false;
        for (uint32_t i = 0; i < s->n_param; i++) {
            any = any || m->params[s->params[i]].trainable;
            if ((s->cls->buffers >> i & 1u) != 0 &&
                (m->params[s->params[i]].trainable || m->params[s->params[i]].view.data != NULL)) {
                return q_fail(diag, Q_ERR_INVALID_STATE, s->name, "running statistics: a slot that is not trainable", 1, 0);
            }
        }
        for (uint32_t i = 0; i < n; i++) {
            read = read || plan->values[reads[i]].needs_grad;
        }
        s->has_backward = s->has_backward && (any || read);
        if (s->has_backward && s->cls->backward == NULL) {
            return q_fail(diag, Q_ERR_UNSUPPORTED, s->name, "backward of its class", 1, 0);
        }
        for (uint32_t i = 0; i < s->cls->n_out; i++) {
            plan->values[s->out + i].needs_grad = s->has_backward;
        }
        if (q_plan_sums(s)) {
            plan->values[s->in[0]].needs_grad = s->has_backward && read;
        }
    }
    return Q_OK;
}

/* ---- Blocks computed again -------------------------------------------------------------------------------- */

/* A state that cannot go back would move on twice. */
static uint32_t block_of(const plan_step *s)
{
    bool moves = s->state_stride != 0 && (s->cls->flags & Q_LAYER_REWINDS) == 0;
    return moves || s->tail ? 0 : s->block;
}

static uint32_t copy_of(const q_plan *plan, uint32_t v)
{
    return v != Q_NONE && plan->values[v].again != Q_NONE ? plan->values[v].again : v;
}

static void copy_step(q_plan *plan, uint32_t k)
{
    uint32_t at = plan->n_steps + plan->n_again++;
    plan_step *s = &plan->steps[at];
    uint32_t made[Q_MAX_OUTPUTS + 1];
    uint32_t n_made;
    *s = plan->steps[k];
    s->twin = k;
    s->out = plan->n_values;
    n_made = q_plan_makes(&plan->steps[k], made);
    for (uint32_t i = 0; i < n_made; i++) {
        plan_value *v = &plan->values[plan->n_values];
        *v = plan->values[made[i]];
        v->root = plan->n_values;
        v->origin = made[i];
        v->producer = at;
        v->output = v->needs_grad = false;
        plan->values[made[i]].again = plan->n_values++;
    }
    for (uint32_t i = 0; i < s->n_in; i++) {
        s->in[i] = copy_of(plan, s->in[i]);
    }
    s->residual = copy_of(plan, s->residual);
    s->addend[0] = copy_of(plan, s->addend[0]);
    s->addend[1] = copy_of(plan, s->addend[1]);
    plan->steps[k].has_backward = false;
    plan->steps[k].scratch_back.bytes = 0;
}

/* Which copies [first, end) have to run: those that make what the backward of a later one reads, and what these read. */
static void mark_needed(q_plan *plan, uint32_t first, uint32_t end)
{
    for (uint32_t k = end; k-- > first;) {
        plan_step *s = &plan->steps[k];
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t made[Q_MAX_OUTPUTS + 1];
        uint32_t n = q_plan_reads(s, reads);
        uint32_t n_made = q_plan_makes(s, made);
        for (uint32_t i = 0; i < s->n_in && s->has_backward; i++) {
            plan->values[s->in[i]].needed = plan->values[s->in[i]].needed || (s->saves >> i & 1u) != 0;
        }
        for (uint32_t i = 0; i < n_made && s->has_backward; i++) {
            plan->values[made[i]].needed = plan->values[made[i]].needed || (s->saves >> (8 + i) & 1u) != 0;
        }
        s->runs = s->has_backward && s->saved.bytes != 0; /* what it saved was given up with the rest */
        for (uint32_t i = 0; i < n_made; i++) {
            s->runs = s->runs || plan->values[made[i]].needed;
        }
        for (uint32_t i = 0; i < n && s->runs; i++) {
            plan->values[reads[i]].needed = true;
        }
    }
}

static void push_event(q_plan *plan, uint32_t step, bool backward)
{
    plan_event *e = &plan->events[plan->n_events];
    e->step = step;
    e->backward = backward;
    if (backward) {
        plan->steps[step].backward_time = plan->n_groups + plan->n_events;
    } else {
        plan->steps[step].group = plan->n_groups + plan->n_events;
    }
    plan->n_events++;
}

static void push_block(q_plan *plan, uint32_t begin, uint32_t end)
{
    uint32_t first = plan->n_steps + plan->n_again;
    uint32_t last;
    for (uint32_t k = begin; k < end; k++) {
        copy_step(plan, k);
    }
    last = plan->n_steps + plan->n_again;
    mark_needed(plan, first, last);
    for (uint32_t k = first; k < last; k++) {
        if (plan->steps[k].runs) {
            push_event(plan, k, false);
        }
    }
    for (uint32_t k = last; k-- > first;) {
        if (plan->steps[k].has_backward) {
            push_event(plan, k, true);
        }
    }
}

/* Everything backward does, from the last step up. */
static void make_events(q_plan *plan)
{
    bool again = (plan->config.flags & Q_PLAN_RECOMPUTE) != 0;
    for (uint32_t end = plan->n_steps; end != 0;) {
        uint32_t begin = end - 1;
        uint32_t block = again ? block_of(&plan->steps[begin]) : 0;
        bool any = plan->steps[begin].has_backward;
        while (block != 0 && begin != 0 && block_of(&plan->steps[begin - 1]) == block) {
            begin--;
            any = any || plan->steps[begin].has_backward;
        }
        if (any && block != 0) {
            push_block(plan, begin, end);
        } else if (any) {
            push_event(plan, begin, true);
        }
        end = begin;
    }
}

/* ---- Who stores a gradient and who adds to it ------------------------------------------------------------- */

static void mark_param_uses(q_plan *plan, const plan_step *s)
{
    const q_model *m = plan->model;
    for (uint32_t i = 0; i < s->n_param; i++) {
        plan_param *p = &plan->params[s->params[i]];
        if (m->params[s->params[i]].trainable && p->grad_fed) {
            plan->uses[s->params + i - m->param_refs].bytes = 1; /* sized when it is placed */
        }
        p->grad_fed = true;
    }
}

static void mark_writers(q_plan *plan)
{
    for (uint32_t e = 0; e < plan->n_events; e++) {
        plan_step *s = &plan->steps[plan->events[e].step];
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n = q_plan_reads(s, reads);
        if (!plan->events[e].backward) {
            continue;
        }
        if (q_plan_sums(s)) {
            plan_value *sum = &plan->values[plan->values[s->in[0]].origin];
            s->accumulate_sum = sum->grad_fed;
            sum->grad_fed = true;
        }
        for (uint32_t i = 0; i < n; i++) {
            plan_value *v = &plan->values[plan->values[reads[i]].origin];
            if (v->needs_grad) {
                s->accumulate |= v->grad_fed ? 1u << i : 0u;
                v->grad_fed = true;
            }
        }
        mark_param_uses(plan, s);
    }
}

/* ---- Lifetimes -------------------------------------------------------------------------------------------- */

static void live_again(q_plan *plan, const plan_step *s)
{
    uint32_t reads[Q_MAX_INPUTS + 1];
    uint32_t made[Q_MAX_OUTPUTS + 1];
    uint32_t n = q_plan_reads(s, reads);
    uint32_t n_made = q_plan_makes(s, made);
    for (uint32_t i = 0; i < n; i++) {
        q_plan_touch(&plan->values[reads[i]].data, s->group);
    }
    for (uint32_t i = 0; i < n_made; i++) {
        q_plan_touch(&plan->values[made[i]].data, s->group);
    }
}

static void live_backward(q_plan *plan, const plan_step *s)
{
    uint32_t t = s->backward_time;
    uint32_t reads[Q_MAX_INPUTS + 1];
    uint32_t made[Q_MAX_OUTPUTS + 1];
    uint32_t n = q_plan_reads(s, reads);
    uint32_t n_made = q_plan_makes(s, made);
    for (uint32_t i = 0; i < n; i++) {
        plan_value *v = &plan->values[plan->values[reads[i]].origin];
        if (i < s->n_in && (s->saves >> i & 1u) != 0) {
            q_plan_touch(&plan->values[reads[i]].data, t);
        }
        if (v->needs_grad) {
            q_plan_touch(&v->grad, t);
        }
    }
    for (uint32_t i = 0; i < n_made; i++) {
        plan_value *v = &plan->values[made[i]];
        if ((s->saves >> (8 + i) & 1u) != 0) {
            q_plan_touch(&v->data, t);
        }
        q_plan_touch(&plan->values[v->origin].grad, t);
    }
}

void q_plan_order_backward(q_plan *plan)
{
    make_events(plan);
    mark_writers(plan);
}

void q_plan_live_backward(q_plan *plan)
{
    for (uint32_t e = 0; e < plan->n_events; e++) {
        plan_step *s = &plan->steps[plan->events[e].step];
        if (!plan->events[e].backward) {
            live_again(plan, s);
            s->scratch.first = s->scratch.last = s->group;
        } else {
            live_backward(plan, s);
            s->scratch_back.first = s->scratch_back.last = s->backward_time;
        }
    }
    for (uint32_t v = 0; v < plan->n_values; v++) {
        plan_value *value = &plan->values[v];
        if (value->needs_grad && !value->grad_fed) {
            q_plan_touch(&value->grad, plan->n_groups); /* set before the first step goes backward */
        }
        if (value->origin != v && value->data.first > value->data.last) {
            value->data.bytes = 0; /* a copy that nobody makes */
        }
    }
}
