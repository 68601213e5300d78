/* SPDX-License-Identifier: MIT */
/*
 * Pass three: fold an activation or an addition into the epilogue of the product that feeds it, or else an addition into the
 * norm right behind it. The bits stay: an epilogue does to the finished chain exactly what the separate kernel would, a norm
 * adds and normalises strips of rows one after the other. In training an activation is folded whose derivative is found from
 * its output, which then must be all there is: no addition behind it.
 */
#include "plan.h"

/* The gradient of `value` is a sum in the order in which backward comes to its readers: in training a step that takes its
   reader's place must not overtake another one. */
static bool read_between(const q_plan *plan, uint32_t value, uint32_t first, uint32_t end)
{
    for (uint32_t k = first; k < end && q_plan_trains(&plan->config); k++) {
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n = q_plan_reads(&plan->steps[k], reads);
        for (uint32_t i = 0; i < n; i++) {
            if (reads[i] == value) {
                return true;
            }
        }
    }
    return false;
}

static bool takes(const q_plan *plan, const plan_step *s, uint32_t what)
{
    plan_view view;
    if (s->cls->epilogue == NULL || s->cls->n_out != 1 || s->residual != Q_NONE) {
        return false;
    }
    q_plan_view_step(plan, s, &view);
    return (s->cls->epilogue(&view.info) & what) != 0;
}

static bool takes_residual(const q_plan *plan, const plan_step *s)
{
    return (plan->config.mode != Q_PLAN_TRAIN || s->activation == Q_ACT_NONE) && takes(plan, s, Q_EPILOGUE_RESIDUAL);
}

/* The activation that a step is, or none. */
static uint32_t activation_of_step(const plan_step *s)
{
    return s->cls == &q_layer_silu         ? (uint32_t)Q_ACT_SILU
           : s->cls == &q_layer_activation ? ((const q_activation_config *)s->config)->activation
                                           : (uint32_t)Q_ACT_NONE;
}

/* True if the step's operand is made for it alone by a step that can do what it does. */
static bool fusable_activation(const q_plan *plan, const plan_step *s)
{
    uint32_t activation = activation_of_step(s);
    const plan_value *v = &plan->values[s->in[0]];
    const plan_step *p;
    if (activation == Q_ACT_NONE || v->producer == Q_NONE || v->n_uses != 1 || v->output ||
        (plan->config.mode == Q_PLAN_TRAIN && !q_activation_from_output(activation))) {
        return false;
    }
    p = &plan->steps[v->producer];
    return p->tail == s->tail && p->place == s->place && p->activation == Q_ACT_NONE &&
           takes(plan, p, Q_EPILOGUE_ACTIVATION);
}

/* The operand of `add`, where it has two, that a product makes for it alone, and can take the other one as residual; or Q_NONE. */
static uint32_t fusable_operand(const q_plan *plan, uint32_t add)
{
    const plan_step *s = &plan->steps[add];
    for (uint32_t i = 0; i < 2 && s->n_in == 2; i++) {
        const plan_value *v = &plan->values[s->in[i]];
        const plan_value *other = &plan->values[s->in[1 - i]];
        const plan_step *p;
        if (v->producer == Q_NONE || v->n_uses != 1 || v->output || s->in[0] == s->in[1]) {
            continue;
        }
        p = &plan->steps[v->producer];
        if (p->tail == s->tail && p->place == s->place && (other->producer == Q_NONE || other->producer < v->producer) &&
            takes_residual(plan, p) && !read_between(plan, s->in[1 - i], v->producer, add)) {
            return i;
        }
    }
    return Q_NONE;
}

/* True if the step behind `add` is the one that normalises the sum and can make it itself: then nothing else happens between
   the two, forward or backward. In training the norm has to have a gradient wherever the sum has one, and a block that is
   computed again keeps what it hands on, which is the sum alone. */
static bool fusable_norm(const q_plan *plan, uint32_t add)
{
    const plan_step *s = &plan->steps[add];
    const plan_step *norm = s + 1;
    return s->n_in == 2 && add + 1 < plan->n_steps && norm->n_in == 1 && norm->in[0] == s->out && norm->tail == s->tail &&
           s->place == 0 && norm->place == 0 && norm->has_backward == s->has_backward &&
           (norm->block == s->block || (plan->config.flags & Q_PLAN_RECOMPUTE) == 0) && takes(plan, norm, Q_PROLOGUE_SUM);
}

static void remove_step(q_plan *plan, uint32_t at)
{
    plan->n_body -= plan->steps[at].tail ? 0u : 1u;
    memmove(&plan->steps[at], &plan->steps[at + 1], (plan->n_steps - at - 1) * sizeof(plan_step));
    plan->n_steps--;
    q_plan_set_producers(plan, at);
}

/* Step k is done by the one that makes its operand i, which now makes k's output. */
static void fuse_into_producer(q_plan *plan, uint32_t k, uint32_t i)
{
    plan_step *s = &plan->steps[k];
    plan_value *v = &plan->values[s->in[i]];
    v->used = false;
    plan->steps[v->producer].out = s->out;
    plan->values[s->out].producer = v->producer;
    v->producer = Q_NONE;
    remove_step(plan, k);
    plan->n_fused++;
}

void q_plan_fuse(q_plan *plan)
{
    for (uint32_t k = 0; k < plan->n_steps;) {
        plan_step *s = &plan->steps[k];
        uint32_t i = s->cls == &q_layer_add ? fusable_operand(plan, k) : Q_NONE;
        if (i != Q_NONE) {
            plan->steps[plan->values[s->in[i]].producer].residual = s->in[1 - i];
            fuse_into_producer(plan, k, i);
        } else if (s->n_in == 1 && fusable_activation(plan, s)) {
            plan->steps[plan->values[s->in[0]].producer].activation = activation_of_step(s);
            fuse_into_producer(plan, k, 0);
        } else {
            if (s->cls == &q_layer_add && fusable_norm(plan, k)) {
                memcpy(s[1].addend, s->in, sizeof(s[1].addend));
                remove_step(plan, k);
                plan->n_fused++;
            }
            k++;
        }
    }
}
