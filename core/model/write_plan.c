/* SPDX-License-Identifier: MIT */
/* Writing a file: what of a model goes into it, and how much work that takes. */
#include "write.h"

size_t q_write_length(const char *s)
{
    size_t n = 0;
    while (s != NULL && s[n] != '\0') {
        n++;
    }
    return n;
}

static q_error_code write_check(const q_write *w, q_diag *diag)
{
    const char *field = w == NULL                                  ? "NULL"
                        : w->struct_size != sizeof(*w)             ? "struct_size"
                        : w->model == NULL                         ? "model"
                        : w->write == NULL                         ? "write"
                        : w->tokenizer_size != 0 && w->tokenizer == NULL ? "tokenizer"
                        : w->arch != NULL && w->layer_kinds == NULL      ? "layer_kinds"
                        : w->arch != NULL && w->keeps != NULL            ? "keeps"
                        : w->outputs != NULL && w->n_outputs == 0        ? "n_outputs"
                                                                   : NULL;
    if (field != NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_write", field, sizeof(*w), 0);
    }
    if (w->dtype > Q_BF16) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "q_write", "dtype", Q_BF16, w->dtype);
    }
    if (w->tokenizer_size > Q_CAP_TOKENIZER) {
        return q_fail(diag, Q_ERR_LIMIT, "q_write", "tokenizer_size", Q_CAP_TOKENIZER, w->tokenizer_size);
    }
    if (q_write_length(w->meta) > Q_CAP_META) {
        return q_fail(diag, Q_ERR_LIMIT, "q_write", "meta", Q_CAP_META, q_write_length(w->meta));
    }
    if (w->arch != NULL && w->arch->n_layers > Q_CAP_LAYERS) {
        return q_fail(diag, Q_ERR_LIMIT, "q_write", "arch.n_layers", Q_CAP_LAYERS, w->arch->n_layers);
    }
    return Q_OK;
}

/* Outputs, of the caller's choice or all. */
static uint32_t wanted_outputs(const q_write *w)
{
    return w->outputs != NULL ? w->n_outputs : w->model->n.outputs;
}

/* Bytes of all sections before DATA if every node were kept, with room to align each. Caps bound each term. */
static size_t tables_at_most(const q_write *w)
{
    const graph_counts *n = &w->model->n;
    size_t names = n->string_bytes; /* of a model: inputs, outputs, parameters, nodes */
    size_t graph = sizeof(q_file_graph) + n->inputs * sizeof(q_file_graph_input) + n->nodes * sizeof(q_file_graph_node) +
                   (size_t)wanted_outputs(w) * sizeof(q_file_graph_output) +
                   ((size_t)n->edges + n->param_refs + 1) * sizeof(uint32_t) + n->config_bytes;
    for (uint32_t i = 0; i < n->nodes; i++) {
        names += q_write_length(w->model->nodes[i].cls->name) + 1;
    }
    for (uint32_t i = 0; w->outputs != NULL && i < w->n_outputs; i++) {
        names += q_write_length(w->outputs[i]) + 1;
    }
    return sizeof(q_file_header) + n->params * (sizeof(q_file_tensor_record) + sizeof(uint32_t)) + names +
           (w->arch != NULL ? sizeof(*w->arch) + w->arch->n_layers : graph) + w->tokenizer_size + q_write_length(w->meta) +
           (size_t)Q_SECTION_COUNT * Q_ALIGN;
}

/* Columns of the widest matrix, and never less than a chunk of a plain tensor needs. */
static q_error_code rows_of_work(const q_model *m, size_t *bytes, q_diag *diag)
{
    uint64_t widest = WRITE_CHUNK / Q_PANEL_ROWS;
    uint64_t all;
    for (uint32_t i = 0; i < m->n.params; i++) {
        const q_param_type *t = &m->params[i].type;
        if (t->ne[3] > widest) {
            widest = t->ne[3];
        }
    }
    if (!q_mul_u64(widest, sizeof(float) * Q_PANEL_ROWS, &all) || all > SIZE_MAX / 8) {
        return q_fail(diag, Q_ERR_OVERFLOW, "q_write", "work", 0, 0);
    }
    *bytes = (size_t)all;
    return Q_OK;
}

q_error_code q_write_layout(const q_write *w, write_plan *p, void *work, size_t work_size, q_diag *diag)
{
    q_arena arena = layout_arena(work, work_size);
    q_error_code e = write_check(w, diag);
    memset(p, 0, sizeof(*p));
    if (e == Q_OK) {
        e = rows_of_work(w->model, &p->rows_bytes, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    if (wanted_outputs(w) > Q_CAP_GRAPH_IO && q_write_has_graph(w)) {
        return q_fail(diag, Q_ERR_LIMIT, "graph", "n_outputs", Q_CAP_GRAPH_IO, wanted_outputs(w));
    }
    p->w = w;
    p->m = w->model;
    p->tables_cap = tables_at_most(w);
    p->tables = (uint8_t *)q_arena_alloc(&arena, p->tables_cap, Q_ALIGN);
    p->value = (uint32_t *)q_arena_alloc(&arena, p->m->n.values * sizeof(uint32_t), Q_ALIGN);
    p->record = (uint32_t *)q_arena_alloc(&arena, p->m->n.params * sizeof(uint32_t), Q_ALIGN);
    p->param = (uint32_t *)q_arena_alloc(&arena, p->m->n.params * sizeof(uint32_t), Q_ALIGN);
    p->node_kept = (uint8_t *)q_arena_alloc(&arena, p->m->n.nodes, Q_ALIGN);
    p->other_use = (uint8_t *)q_arena_alloc(&arena, p->m->n.params, Q_ALIGN);
    p->reals = (float *)q_arena_alloc(&arena, p->rows_bytes, Q_ALIGN);
    p->plain = (uint8_t *)q_arena_alloc(&arena, p->rows_bytes, Q_ALIGN);
    p->panel = (uint8_t *)q_arena_alloc(&arena, p->rows_bytes, Q_ALIGN);
    p->work_size = arena.high;
    return Q_OK;
}

uint32_t q_write_output(const write_plan *p, uint32_t i)
{
    if (p->w->outputs == NULL) {
        return i;
    }
    for (uint32_t o = 0; p->w->outputs[i] != NULL && o < p->m->n.outputs; o++) {
        if (q_names_equal(p->m->outputs[o].name, p->w->outputs[i])) {
            return o;
        }
    }
    return Q_NONE;
}

static q_error_code mark_outputs(write_plan *p, q_diag *diag)
{
    p->n_outputs = wanted_outputs(p->w);
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        uint32_t o = q_write_output(p, i);
        if (o == Q_NONE) {
            return q_fail(diag, Q_ERR_NOT_FOUND, p->w->outputs[i] != NULL ? p->w->outputs[i] : "NULL", "output", 0, i);
        }
        p->value[p->m->outputs[o].value] = 0;
    }
    return Q_OK;
}

/* Nodes come after what they read, so one walk from the last to the first finds all that is needed. */
static void mark_nodes(write_plan *p)
{
    for (uint32_t i = p->m->n.nodes; i-- > 0;) {
        const model_node *n = &p->m->nodes[i];
        for (uint32_t o = 0; o < n->cls->n_out; o++) {
            p->node_kept[i] = p->node_kept[i] != 0 || p->value[n->first_value + o] != Q_NONE;
        }
        for (uint32_t k = 0; p->node_kept[i] != 0 && k < n->n_in; k++) {
            p->value[p->m->edges[n->first_edge + k]] = 0;
        }
    }
}

/* The tensors of one node: those named for the first time are the file's next records. */
static void number_params(write_plan *p, const model_node *n)
{
    for (uint32_t i = 0; i < n->n_param; i++) {
        uint32_t param = p->m->param_refs[n->first_param + i];
        if (p->record[param] == Q_NONE && (p->w->keeps == NULL || p->w->keeps(p->w->user, p->m->params[param].name))) {
            p->param[p->n_records] = param;
            p->record[param] = p->n_records++;
            p->string_bytes += q_write_length(p->m->params[param].name) + 1;
        }
        p->other_use[param] = p->other_use[param] != 0 || !q_reads_matrix(n, i);
    }
    p->n_refs += n->n_param;
}

static q_error_code number_nodes(write_plan *p, q_diag *diag)
{
    for (uint32_t i = 0; i < p->m->n.nodes; i++) {
        const model_node *n = &p->m->nodes[i];
        if (p->node_kept[i] == 0) {
            continue;
        }
        if (n->cls->id == Q_LAYER_QUANTIZE || n->cls->id == Q_LAYER_TRANSFER) {
            return q_fail(diag, Q_ERR_UNSUPPORTED, n->name, "a class that plans insert", 0, n->cls->id);
        }
        number_params(p, n);
        for (uint32_t o = 0; o < n->cls->n_out; o++) {
            p->value[n->first_value + o] = p->n_values++;
        }
        p->n_nodes++;
        p->n_edges += n->n_in;
        p->config_bytes += n->cls->config_size;
        p->string_bytes += p->w->arch != NULL ? 0 : q_write_length(n->name) + q_write_length(n->cls->name) + 2;
    }
    return Q_OK;
}

/* Parameters alone: all nodes are looked at, and none is kept. */
static q_error_code select_params(write_plan *p, q_diag *diag)
{
    for (uint32_t i = 0; i < p->m->n.nodes; i++) {
        number_params(p, &p->m->nodes[i]);
    }
    return p->n_records != 0 ? Q_OK : q_fail(diag, Q_ERR_NOT_FOUND, "q_write", "keeps", 1, 0);
}

q_error_code q_write_select(write_plan *p, q_diag *diag)
{
    q_error_code e;
    memset(p->value, 0xff, p->m->n.values * sizeof(*p->value));
    memset(p->record, 0xff, p->m->n.params * sizeof(*p->record));
    memset(p->node_kept, 0, p->m->n.nodes);
    memset(p->other_use, 0, p->m->n.params);
    if (p->w->keeps != NULL) {
        return select_params(p, diag);
    }
    e = mark_outputs(p, diag);
    if (e != Q_OK) {
        return e;
    }
    mark_nodes(p);
    for (uint32_t i = 0; i < p->m->n.inputs; i++) {
        if (p->value[i] != Q_NONE) {
            p->value[i] = p->n_inputs++;
            p->string_bytes += p->w->arch != NULL ? 0 : q_write_length(p->m->inputs[i].name) + 1;
        }
    }
    p->n_values = p->n_inputs;
    e = number_nodes(p, diag);
    for (uint32_t i = 0; e == Q_OK && p->w->arch == NULL && i < p->n_outputs; i++) {
        p->string_bytes += q_write_length(p->m->outputs[q_write_output(p, i)].name) + 1;
    }
    return e;
}
