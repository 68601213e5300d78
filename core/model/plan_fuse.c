/* SPDX-License-Identifier: MIT */
/* Pass three: fold an addition into the epilogue of the product that feeds it. The bits stay: the epilogue adds
   the residual to the finished chain exactly as the separate kernel would. */
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

static bool takes_residual(const q_plan *plan, const plan_step *s)
{
    plan_view view;
    if (s->cls->epilogue == NULL || s->cls->n_out != 1 || s->residual != Q_NONE) {
        return false;
    }
    q_plan_view_step(plan, s, &view);
    return (s->cls->epilogue(&view.info) & Q_EPILOGUE_RESIDUAL) != 0;
}

/* The operand of `add` that a product makes for it alone, and can take the other one as residual; or Q_NONE. */
static uint32_t fusable_operand(const q_plan *plan, uint32_t add)
{
    const plan_step *s = &plan->steps[add];
    for (uint32_t i = 0; i < 2; i++) {
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

static void remove_step(q_plan *plan, uint32_t at)
{
    plan->n_body -= plan->steps[at].tail ? 0u : 1u;
    memmove(&plan->steps[at], &plan->steps[at + 1], (plan->n_steps - at - 1) * sizeof(plan_step));
    plan->n_steps--;
    for (uint32_t i = at; i < plan->n_steps; i++) {
        for (uint32_t o = 0; o < plan->steps[i].cls->n_out; o++) {
            plan->values[plan->steps[i].out + o].producer = i;
        }
    }
}

void q_plan_fuse(q_plan *plan)
{
    for (uint32_t k = 0; k < plan->n_steps;) {
        plan_step *s = &plan->steps[k];
        uint32_t i = s->cls == &q_layer_add ? fusable_operand(plan, k) : Q_NONE;
        if (i == Q_NONE) {
            k++;
            continue;
        }
        {
            uint32_t out = s->out;
            plan_value *v = &plan->values[s->in[i]];
            plan_step *p = &plan->steps[v->producer];
            v->used = false;
            p->residual = s->in[1 - i];
            p->out = out;
            plan->values[out].producer = v->producer;
            v->producer = Q_NONE;
        }
        remove_step(plan, k);
        plan->n_fused++;
    }
}
