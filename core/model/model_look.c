/* SPDX-License-Identifier: MIT */
/* Looking at a model: how many there are of what, and their names. */
#include "graph.h"

uint32_t q_model_n_nodes(const q_model *model)
{
    return model->n.nodes;
}

uint32_t q_model_n_params(const q_model *model)
{
    return model->n.params;
}

uint32_t q_model_n_inputs(const q_model *model)
{
    return model->n.inputs;
}

uint32_t q_model_n_outputs(const q_model *model)
{
    return model->n.outputs;
}

const char *q_model_node_name(const q_model *model, uint32_t node)
{
    return node < model->n.nodes ? model->nodes[node].name : "";
}

const char *q_model_param_name(const q_model *model, q_param param)
{
    return param < model->n.params ? model->params[param].name : "";
}

bool q_model_param_is_slot(const q_model *model, q_param param)
{
    return param < model->n.params && model->params[param].view.data == NULL;
}

bool q_model_param_is_matrix(const q_model *model, q_param param)
{
    bool read = false;
    for (uint32_t k = 0; k < model->n.nodes; k++) {
        const model_node *node = &model->nodes[k];
        for (uint32_t i = 0; i < node->n_param; i++) {
            if (model->param_refs[node->first_param + i] == param) {
                if (!q_reads_matrix(node, i)) {
                    return false;
                }
                read = true;
            }
        }
    }
    return read;
}

q_param q_model_find_param(const q_model *model, const char *name)
{
    for (uint32_t i = 0; i < model->n.params; i++) {
        if (q_names_equal(model->params[i].name, name)) {
            return i;
        }
    }
    return Q_NONE;
}
