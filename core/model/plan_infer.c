/* SPDX-License-Identifier: MIT */
/* Passes one and two: prune what feeds no output or changes nothing, infer shapes, and quantise inputs of fast products. */
#include "devices.h"

/* Nodes in topological order: one sweep from the end marks everything an output depends on. */
static void mark_used(q_plan *plan)
{
    const q_model *m = plan->model;
    for (uint32_t i = 0; i < m->n.outputs; i++) {
        plan->values[m->outputs[i].value].used = true;
        plan->values[m->outputs[i].value].output = true;
        plan->values[m->outputs[i].value].n_uses++;
    }
    for (uint32_t k = m->n.nodes; k-- > 0;) {
        const model_node *node = &m->nodes[k];
        bool used = false;
        for (uint32_t i = 0; i < node->cls->n_out; i++) {
            used = used || plan->values[node->first_value + i].used;
        }
        plan->node_used[k] = used;
        plan->n_pruned += used ? 0u : 1u;
        for (uint32_t i = 0; used && i < node->n_in; i++) {
            plan->values[m->edges[node->first_edge + i]].used = true;
        }
        for (uint32_t i = 0; used && i < node->n_param; i++) {
            plan->params[m->param_refs[node->first_param + i]].used = true;
        }
    }
}

static void init_values(q_plan *plan)
{
    const q_model *m = plan->model;
    plan->n_values = m->n.values;
    for (uint32_t v = 0; v < plan->cap_values; v++) {
        plan->values[v].producer = Q_NONE;
        plan->values[v].root = v;
        plan->values[v].same = v;
        plan->values[v].a8 = Q_NONE;
        plan->values[v].origin = v;
        plan->values[v].again = Q_NONE;
        plan->values[v].copy = Q_NONE;
        plan->values[v].name = "";
    }
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        plan->values[i].type = m->inputs[i].type;
        plan->values[i].name = m->inputs[i].name;
        plan->values[i].used = true; /* a caller always hands every input over */
    }
}

static plan_step new_step(const q_layer_class *cls, const char *name)
{
    plan_step s;
    memset(&s, 0, sizeof(s));
    s.cls = cls;
    s.name = name;
    s.residual = s.addend[0] = s.addend[1] = s.fold = s.twin = Q_NONE;
    return s;
}

plan_step *q_plan_new_step(q_plan *plan, const q_layer_class *cls, const char *name)
{
    plan->steps[plan->n_steps] = new_step(cls, name);
    return &plan->steps[plan->n_steps++];
}

/* A value made of v by a step of its own. view is overwritten: one is large for a stack that is to stay below 4 KiB. */
static q_error_code new_twin(q_plan *plan, uint32_t v, const q_layer_class *cls, const void *config, plan_view *view,
                             q_diag *diag)
{
    const plan_value *value = &plan->values[v];
    plan_value *twin = &plan->values[plan->n_values];
    plan_step *s;
    twin->name = value->name;
    twin->used = true;
    twin->producer = plan->n_steps;
    s = q_plan_new_step(plan, cls, value->name);
    s->config = config;
    s->place = twin->place = value->place;
    s->n_in = 1;
    s->in[0] = v;
    s->out = plan->n_values++;
    q_plan_view_step(plan, s, view);
    if (s->cls->shape(&view->info, diag) != Q_OK) {
        return q_diag_node(diag, Q_ERR_INVALID_SHAPE, s->name);
    }
    twin->type = view->out[0];
    return Q_OK;
}

/* The A8 twin of value v, made the first time it is asked for. */
static q_error_code quantised_twin(q_plan *plan, uint32_t v, uint32_t dtype, uint32_t *twin, plan_view *view,
                                   q_diag *diag)
{
    q_error_code e;
    *twin = plan->values[v].a8;
    if (*twin != Q_NONE) {
        for (uint32_t t = *twin; t != Q_NONE && dtype == Q_A8X2; t = plan->values[t].copy) {
            plan->values[t].type.dtype = Q_A8X2;
        }
        return Q_OK;
    }
    *twin = plan->values[v].a8 = plan->n_values;
    e = new_twin(plan, v, &q_layer_quantize, NULL, view, diag);
    plan->values[*twin].type.dtype = dtype;
    return e;
}

/* In training: reals that have been that type, which gradients pass. One and two planes are values of their own. */
static q_error_code rounded_twin(q_plan *plan, uint32_t v, uint32_t dtype, uint32_t *twin, plan_view *view, q_diag *diag)
{
    static const q_fake_quantize_config configs[2] = {{1, 0}, {2, 0}};
    const q_fake_quantize_config *config = &configs[dtype == Q_A8X2 ? 1 : 0];
    uint32_t last = v;
    while (plan->values[last].a8 != Q_NONE) {
        last = plan->values[last].a8;
        if (plan->steps[plan->values[last].producer].config == config) {
            *twin = last;
            return Q_OK;
        }
    }
    *twin = plan->values[last].a8 = plan->n_values;
    return new_twin(plan, v, &q_layer_fake_quantize, config, view, diag);
}

uint32_t q_plan_activation(const model_node *node)
{
    return node->cls->activation != NULL ? node->cls->activation(node->config) : (uint32_t)Q_ACT_NONE;
}

/* What a class may answer: see q_value_type and q_activation. */
static q_error_code answers_check(const plan_view *view, const model_node *node, q_diag *diag)
{
    uint32_t activation = q_plan_activation(node);
    if (activation >= Q_ACT_COUNT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, node->name, "activation", Q_ACT_COUNT, activation);
    }
    for (uint32_t i = 0; i < node->cls->n_out; i++) {
        const q_value_type *t = &view->out[i];
        if (t->dtype != Q_REAL && t->dtype != Q_I32 && !q_dtype_is_a8(t->dtype)) {
            return q_fail(diag, Q_ERR_INVALID_DTYPE, node->name, "output", Q_REAL, t->dtype);
        }
        if (!q_graph_dims_ok(t) || (t->dtype != Q_I32 && t->dim[3].sym != Q_SYM_ONE)) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, node->name, "output", 1, 0);
        }
    }
    return Q_OK;
}

/* A node that changes nothing, and whose output nobody outside asks for, has no step: its readers get its
   input. */
static bool left_out(q_plan *plan, const model_node *node, const q_node_info *info)
{
    plan_value *out = &plan->values[node->first_value];
    if (node->cls->identity == NULL || out->output || !node->cls->identity(info)) {
        return false;
    }
    out->used = false;
    out->same = plan->values[plan->model->edges[node->first_edge]].same;
    plan->n_pruned++;
    return true;
}

/* The last step, a product, leaves its activation to a step behind it, which reads a value of its own in backward. */
static void unfold_activation(q_plan *plan)
{
    static const q_activation_config configs[Q_ACT_COUNT] = {{Q_ACT_NONE, 0},      {Q_ACT_RELU, 0},     {Q_ACT_SILU, 0},
                                                             {Q_ACT_GELU_TANH, 0}, {Q_ACT_GELU_ERF, 0}, {Q_ACT_SIGMOID, 0},
                                                             {Q_ACT_TANH, 0}};
    plan_step *product = &plan->steps[plan->n_steps - 1];
    plan_step *s = q_plan_new_step(plan, &q_layer_activation, product->name);
    plan_value *result = &plan->values[product->out];
    plan_value *v = &plan->values[plan->n_values];
    s->config = &configs[product->activation];
    s->block = product->block;
    s->place = product->place;
    s->n_in = 1;
    s->in[0] = plan->n_values++;
    s->out = product->out;
    v->type = result->type;
    v->name = result->name;
    v->producer = result->producer++;
    v->place = result->place;
    v->used = true;
    product->out = s->in[0];
    product->activation = Q_ACT_NONE;
}

/* A node as a step, before it is known what becomes of its inputs. */
static plan_step step_of_node(const q_plan *plan, const model_node *node)
{
    const q_model *m = plan->model;
    plan_step s = new_step(node->cls, node->name);
    s.config = node->config;
    s.params = m->param_refs + node->first_param;
    s.n_param = node->n_param;
    s.n_in = node->n_in;
    s.out = node->first_value;
    s.block = node->block;
    s.activation = q_plan_activation(node);
    for (uint32_t i = 0; i < node->n_in; i++) {
        s.in[i] = plan->values[m->edges[node->first_edge + i]].same;
    }
    return s;
}

/* Inputs that the class wants in 8 bits become their twins. Leaves the step's view. */
static q_error_code quantise_inputs(q_plan *plan, plan_step *s, plan_view *view, q_diag *diag)
{
    q_plan_view_step(plan, s, view);
    for (uint32_t i = 0; i < s->n_in && s->cls->input_dtype != NULL; i++) {
        uint32_t dtype = s->cls->input_dtype(&view->info, i);
        if (q_dtype_is_a8(dtype) && view->in[i].dtype == Q_REAL) {
            q_error_code e = q_plan_trains(&plan->config) ? rounded_twin(plan, s->in[i], dtype, &s->in[i], view, diag)
                                                          : quantised_twin(plan, s->in[i], dtype, &s->in[i], view, diag);
            if (e != Q_OK) {
                return e;
            }
            q_plan_view_step(plan, s, view);
        }
    }
    return Q_OK;
}

/* The step is there to stay: its outputs are what the view says. */
static void keep_step(q_plan *plan, const plan_step *s, const plan_view *view)
{
    plan->steps[plan->n_steps++] = *s;
    for (uint32_t i = 0; i < s->cls->n_out; i++) {
        plan_value *v = &plan->values[s->out + i];
        v->type = view->out[i];
        v->name = s->name;
        v->producer = plan->n_steps - 1;
        v->place = s->place;
        v->used = true;
    }
}

static q_error_code add_node(q_plan *plan, const model_node *node, q_diag *diag)
{
    plan_step s = step_of_node(plan, node);
    plan_view view;
    q_error_code e = quantise_inputs(plan, &s, &view, diag);
    if (e == Q_OK && plan->config.devices != NULL) {
        e = plan->config.devices->hooks->place_node(plan, &s, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    e = node->cls->shape(&view.info, diag);
    if (e != Q_OK) {
        return q_diag_node(diag, e, node->name);
    }
    e = answers_check(&view, node, diag);
    if (e == Q_OK && !left_out(plan, node, &view.info)) {
        keep_step(plan, &s, &view);
        if (q_plan_unfolds(&plan->config, s.activation)) {
            unfold_activation(plan);
        }
    }
    return e;
}

static bool step_is_tail(const q_plan *plan, const plan_step *s)
{
    for (uint32_t i = 0; i < s->cls->n_out; i++) {
        const q_value_type *t = &plan->values[s->out + i].type;
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            if (t->dim[d].sym == Q_SYM_SELECTED) {
                return true;
            }
        }
    }
    for (uint32_t i = 0; i < s->n_in; i++) {
        uint32_t p = plan->values[s->in[i]].producer;
        if (p != Q_NONE && plan->steps[p].tail) {
            return true;
        }
    }
    return false;
}

/* Moves the tail behind the body, keeping the order within both. Values find their steps again. */
static void split_tail(q_plan *plan)
{
    uint32_t body = 0;
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        plan->steps[i].tail = step_is_tail(plan, &plan->steps[i]);
    }
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        if (!plan->steps[i].tail) {
            plan_step s = plan->steps[i];
            memmove(&plan->steps[body + 1], &plan->steps[body], (i - body) * sizeof(plan_step));
            plan->steps[body++] = s;
        }
    }
    plan->n_body = body;
    q_plan_set_producers(plan, 0);
}

q_error_code q_plan_infer(q_plan *plan, q_diag *diag)
{
    const q_model *m = plan->model;
    init_values(plan);
    mark_used(plan);
    if (q_plan_trains(&plan->config)) {
        q_error_code e = q_plan_cast(plan, diag);
        if (e != Q_OK) {
            return e;
        }
    }
    for (uint32_t k = 0; k < m->n.nodes; k++) {
        if (plan->node_used[k]) {
            q_error_code e = add_node(plan, &m->nodes[k], diag);
            if (e != Q_OK) {
                return e;
            }
        }
    }
    if (plan->config.devices != NULL) {
        plan->config.devices->hooks->place_outputs(plan);
    }
    split_tail(plan);
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        const plan_step *s = &plan->steps[i];
        if (s->tail && (s->cls->flags & Q_LAYER_STATEFUL) != 0) {
            /* the tail repeats within a step */
            return q_fail(diag, Q_ERR_UNSUPPORTED, s->name, "state below select_rows", 0, 0);
        }
        for (uint32_t j = 0; j < s->n_in; j++) {
            plan->values[s->in[j]].n_uses++;
        }
    }
    return Q_OK;
}
