/* SPDX-License-Identifier: MIT */
/*
 * Before fusion, for inference alone: BatchNorm behind a product that nobody else reads goes into the product's epilogue.
 * A small step of its own, first of all, makes scale and shift of the columns from the parameters as they then are; the
 * product multiplies, adds and activates each finished chain exactly as BatchNorm would from memory, so the bits stay.
 */
#include "plan.h"

/* The step that makes what step k normalises, where it can do the same itself; or Q_NONE. */
static uint32_t folding_product(const q_plan *plan, uint32_t k)
{
    const plan_step *s = &plan->steps[k];
    const plan_value *v = &plan->values[s->in[0]];
    const plan_step *p;
    plan_view view;
    uint32_t can;
    if (s->cls->id != Q_LAYER_BATCHNORM || v->producer == Q_NONE || v->n_uses != 1 || v->output) {
        return Q_NONE;
    }
    p = &plan->steps[v->producer];
    if (p->cls->epilogue == NULL || p->cls->n_out != 1 || p->activation != Q_ACT_NONE || p->fold != Q_NONE ||
        p->tail != s->tail || p->place != s->place || p->n_in == Q_MAX_INPUTS) {
        return Q_NONE;
    }
    q_plan_view_step(plan, p, &view);
    can = p->cls->epilogue(&view.info);
    return (can & Q_EPILOGUE_SCALE_SHIFT) != 0 && (can & Q_EPILOGUE_ACTIVATION) != 0 ? v->producer : Q_NONE;
}

/* Step k becomes the one that makes scale and shift, in the place of the value that it read, and goes to the front. */
static void fold_step(q_plan *plan, uint32_t k, uint32_t product)
{
    plan_step fold = plan->steps[k];
    plan_step *p = &plan->steps[product];
    plan_value *v = &plan->values[fold.in[0]];
    p->activation = ((const q_batchnorm_config *)fold.config)->activation;
    p->fold = fold.in[0];
    p->out = fold.out;
    v->name = fold.name;
    v->type.dim[0].n = v->type.dim[1].n = 1;
    v->type.dim[2].n = 2; /* scale, shift */
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        v->type.dim[d].sym = Q_SYM_ONE;
    }
    fold.cls = &q_layer_fold;
    fold.out = fold.in[0];
    fold.n_in = 0;
    plan->n_body += fold.tail ? 1u : 0u;
    fold.tail = false;
    memmove(&plan->steps[1], &plan->steps[0], k * sizeof(plan_step));
    plan->steps[0] = fold;
    q_plan_set_producers(plan, 0);
}

void q_plan_fold(q_plan *plan)
{
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        uint32_t product = folding_product(plan, k);
        if (product != Q_NONE) {
            fold_step(plan, k, product);
            plan->n_fused++;
        }
    }
}
