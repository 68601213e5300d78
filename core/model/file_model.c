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

static void add_inputs(q_graph *g, const q_file *file, const q_file_graph_view *a)
{
    for (uint32_t i = 0; i < a->head->n_inputs; i++) {
        q_input_desc desc;
        memset(&desc, 0, sizeof(desc));
        desc.name = q_file_name(file, a->inputs[i].name_offset);
        desc.type.dtype = a->inputs[i].dtype == Q_F32 ? (uint32_t)Q_REAL : a->inputs[i].dtype;
        desc.limit = a->inputs[i].limit;
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            desc.type.dim[d].n = a->inputs[i].dim[d];
            desc.type.dim[d].sym = a->inputs[i].sym[d];
        }
        (void)q_graph_input(g, &desc);
    }
}

/* Every tensor of the file becomes a parameter of the same index. */
static void add_params(q_graph *g, const q_file *file)
{
    for (uint32_t i = 0; i < q_file_n_tensors(file); i++) {
        q_param_desc desc;
        q_tensor view;
        q_file_tensor(file, i, &view);
        memset(&desc, 0, sizeof(desc));
        desc.name = q_file_name(file, q_file_record(file, i)->name_offset);
        desc.type.dtype = view.dtype;
        desc.type.layout = view.layout;
        memcpy(desc.type.ne, view.ne, sizeof(view.ne));
        desc.view = &view;
        (void)q_graph_param(g, &desc);
    }
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

static void add_nodes(q_graph *g, const q_file_build *build, const q_file_graph_view *a)
{
    const uint32_t *edge = a->edges;
    const uint32_t *param = a->params;
    const uint8_t *config = a->configs;
    for (uint32_t i = 0; i < a->head->n_nodes; i++) {
        const q_file_graph_node *n = &a->nodes[i];
        q_node_desc desc;
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
        memcpy(desc.in, edge, n->n_in * sizeof(*edge));
        memcpy(desc.param, param, n->n_param * sizeof(*param));
        q_build_swap(build->swaps, build->n_swaps, &desc);
        (void)q_graph_node(g, &desc);
        edge += n->n_in;
        param += n->n_param;
        config += n->config_size;
    }
}

void q_build_from_file(q_graph *g, const void *file_build)
{
    const q_file_build *build = (const q_file_build *)file_build;
    q_file_graph_view a;
    if (build == NULL || build->file == NULL) {
        q_graph_fail(g, Q_ERR_INVALID_ARG, "q_build_from_file", "file");
        return;
    }
    if (q_file_get_arch(build->file) != NULL) {
        q_decoder_build whole;
        memset(&whole, 0, sizeof(whole));
        whole.struct_size = sizeof(whole);
        whole.file = build->file;
        whole.swaps = build->swaps;
        whole.n_swaps = build->n_swaps;
        q_build_decoder(g, &whole);
        return;
    }
    if (!q_file_graph_arrays(build->file, &a)) {
        q_graph_fail(g, Q_ERR_NOT_FOUND, "file", "architecture or graph section");
        return;
    }
    add_inputs(g, build->file, &a);
    add_params(g, build->file);
    add_nodes(g, build, &a);
    for (uint32_t i = 0; i < a.head->n_outputs; i++) {
        q_graph_output(g, q_file_name(build->file, a.outputs[i].name_offset), a.outputs[i].value);
    }
}
