/* SPDX-License-Identifier: MIT */
/* Building the model a file describes: by its architecture record, or node by node from its graph records. */
#include "decoder.h"

void q_build_swap(const q_class_swap *swaps, size_t n_swaps, q_node_desc *desc)
{
    for (size_t i = 0; i < n_swaps; i++) {
        const q_class_swap *swap = &swaps[i];
        if (swap->id == desc->cls->id && swap->cls != NULL) {
            desc->config = swap->cls->config_size == desc->cls->config_size ? desc->config : swap->config;
            desc->cls = swap->cls;
            return;
        }
    }
}

static const q_layer_class *find_class(const q_file_build *build, uint32_t id, const char *name)
{
    for (size_t i = 0; i < build->n_classes; i++) {
        if (build->classes[i]->id == id && q_names_equal(build->classes[i]->name, name)) {
            return build->classes[i];
        }
    }
    return id < Q_LAYER_USER ? q_layer_builtin(id) : NULL;
}

/* The first of the file's inputs among the graph's values. */
static q_value add_inputs(q_graph *g, const q_file *file, const q_file_graph_view *a)
{
    q_value first = Q_NONE;
    for (uint32_t i = 0; i < a->head->n_inputs; i++) {
        q_input_desc desc;
        q_value v;
        memset(&desc, 0, sizeof(desc));
        desc.name = q_file_name(file, a->inputs[i].name_offset);
        desc.type.dtype = a->inputs[i].dtype == Q_F32 ? (uint32_t)Q_REAL : a->inputs[i].dtype;
        desc.limit = a->inputs[i].limit;
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            desc.type.dim[d].n = a->inputs[i].dim[d];
            desc.type.dim[d].sym = a->inputs[i].sym[d];
        }
        v = q_graph_input(g, &desc);
        first = i == 0 ? v : first;
    }
    return first;
}

/* True if forward of a training step writes tensor i. */
static bool is_buffer(const q_file_build *build, const q_file_graph_view *a, uint32_t i)
{
    const uint32_t *param = a->params;
    for (uint32_t k = 0; k < a->head->n_nodes; k++) {
        const q_file_graph_node *n = &a->nodes[k];
        const q_layer_class *cls = find_class(build, n->class_id, q_file_name(build->file, n->class_name_offset));
        for (uint32_t p = 0; cls != NULL && p < n->n_param && p < Q_MAX_PARAMS; p++) {
            if (param[p] == i && (cls->buffers >> p & 1u) != 0) {
                return true;
            }
        }
        param += n->n_param;
    }
    return false;
}

/* Every tensor of the file becomes a parameter: as it lies there, or a slot. Returns the first. */
static q_param add_params(q_graph *g, const q_file_build *build, const q_file_graph_view *a)
{
    const q_file *file = build->file;
    q_param first = Q_NONE;
    for (uint32_t i = 0; i < q_file_n_tensors(file); i++) {
        q_param_desc desc;
        q_tensor view;
        q_param p;
        bool buffer;
        q_file_tensor(file, i, &view);
        memset(&desc, 0, sizeof(desc));
        desc.name = q_file_name(file, q_file_record(file, i)->name_offset);
        buffer = build->trains != NULL && is_buffer(build, a, i);
        desc.trainable = build->trains != NULL && !buffer && build->trains(build->user, desc.name);
        memcpy(desc.type.ne, view.ne, sizeof(view.ne));
        if (desc.trainable || buffer) {
            desc.type.dtype = Q_REAL;
        } else {
            desc.type.dtype = view.dtype;
            desc.type.layout = view.layout;
            desc.view = &view;
        }
        p = q_graph_param(g, &desc);
        first = i == 0 ? p : first;
    }
    return first;
}

static bool node_class(q_graph *g, const q_file_build *build, const q_file_graph_node *n, q_node_desc *desc)
{
    const char *name = q_file_name(build->file, n->class_name_offset);
    desc->cls = find_class(build, n->class_id, name);
    if (desc->cls == NULL) {
        q_graph_fail(g, Q_ERR_NOT_FOUND, name, "layer class");
        return false;
    }
    if (!q_names_equal(desc->cls->name, name)) {
        q_graph_fail(g, Q_ERR_MISMATCH, name, "class_id");
        return false;
    }
    if (desc->cls->config_version != n->config_version || desc->cls->config_size != n->config_size) {
        q_graph_fail(g, Q_ERR_VERSION, desc->name, "config_version");
        return false;
    }
    if (desc->cls->n_out != n->n_out) {
        q_graph_fail(g, Q_ERR_MISMATCH, desc->name, "n_out");
        return false;
    }
    return true;
}

/* Where the values and parameters that a file numbers from 0 begin in the graph. */
typedef struct file_places {
    q_value input;
    q_value node;
    q_param param;
} file_places;

static q_value place_of(const file_places *at, const q_file_graph_view *a, uint32_t value)
{
    return value < a->head->n_inputs ? at->input + value : at->node + (value - a->head->n_inputs);
}

static void add_nodes(q_graph *g, const q_file_build *build, const q_file_graph_view *a, file_places *at)
{
    const uint32_t *edge = a->edges;
    const uint32_t *param = a->params;
    const uint8_t *config = a->configs;
    for (uint32_t i = 0; i < a->head->n_nodes; i++) {
        const q_file_graph_node *n = &a->nodes[i];
        q_node_desc desc;
        q_value v;
        memset(&desc, 0, sizeof(desc));
        desc.name = q_file_name(build->file, n->name_offset);
        if (n->n_in > Q_MAX_INPUTS || n->n_param > Q_MAX_PARAMS) {
            q_graph_fail(g, Q_ERR_LIMIT, desc.name, n->n_in > Q_MAX_INPUTS ? "n_in" : "n_param");
            return;
        }
        if (!node_class(g, build, n, &desc)) {
            return;
        }
        desc.config = n->config_size != 0 ? config : NULL;
        desc.n_in = n->n_in;
        desc.n_param = n->n_param;
        for (uint32_t k = 0; k < n->n_in; k++) {
            desc.in[k] = place_of(at, a, edge[k]);
        }
        for (uint32_t k = 0; k < n->n_param; k++) {
            desc.param[k] = at->param + param[k];
        }
        q_build_swap(build->swaps, build->n_swaps, &desc);
        v = q_graph_node(g, &desc);
        at->node = i == 0 ? v : at->node;
        edge += n->n_in;
        param += n->n_param;
        config += n->config_size;
    }
}

/* Inputs, parameters and nodes; false: the build has failed. */
static bool add_graph(q_graph *g, const q_file_build *build, q_file_graph_view *a, file_places *at)
{
    if (build == NULL || build->file == NULL) {
        q_graph_fail(g, Q_ERR_INVALID_ARG, "q_build_from_file", "file");
        return false;
    }
    if (!q_file_graph_arrays(build->file, a)) {
        q_graph_fail(g, Q_ERR_NOT_FOUND, "file", "architecture or graph section");
        return false;
    }
    at->node = 0;
    at->input = add_inputs(g, build->file, a);
    at->param = add_params(g, build, a);
    add_nodes(g, build, a, at);
    return true;
}

q_value q_graph_file(q_graph *g, const q_file_build *build, const char *output)
{
    q_file_graph_view a;
    file_places at;
    if (!add_graph(g, build, &a, &at)) {
        return Q_NONE;
    }
    for (uint32_t i = 0; output != NULL && i < a.head->n_outputs; i++) {
        if (q_names_equal(q_file_name(build->file, a.outputs[i].name_offset), output)) {
            return place_of(&at, &a, a.outputs[i].value);
        }
    }
    q_graph_fail(g, Q_ERR_NOT_FOUND, output != NULL ? output : "q_graph_file", "output");
    return Q_NONE;
}

void q_build_from_file(q_graph *g, const void *file_build)
{
    const q_file_build *build = (const q_file_build *)file_build;
    q_file_graph_view a;
    file_places at;
    if (build != NULL && build->file != NULL && q_file_get_arch(build->file) != NULL) {
        q_decoder_build whole;
        memset(&whole, 0, sizeof(whole));
        whole.struct_size = sizeof(whole);
        whole.file = build->file;
        whole.swaps = build->swaps;
        whole.n_swaps = build->n_swaps;
        whole.trains = build->trains;
        whole.user = build->user;
        q_build_decoder(g, &whole);
        return;
    }
    if (!add_graph(g, build, &a, &at)) {
        return;
    }
    for (uint32_t i = 0; i < a.head->n_outputs; i++) {
        q_graph_output(g, q_file_name(build->file, a.outputs[i].name_offset), place_of(&at, &a, a.outputs[i].value));
    }
}
