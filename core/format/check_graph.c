/* SPDX-License-Identifier: MIT */
/*
 * check_graph.c: validates the graph section: counts, names, topological order, and that edges,
 * parameters and configs are consumed exactly.
 */
#include "format_check.h"

/* How far the walk over the nodes has come in each array. */
typedef struct graph_walk {
    q_format_check *check;
    q_file_graph_view view;
    uint64_t edge;        /* edges taken, <= head.n_edges */
    uint64_t param;       /* parameters taken, <= head.n_params */
    uint64_t value;       /* values defined */
    uint64_t config;      /* config bytes taken, <= head.config_bytes */
    uint64_t next_tensor; /* tensors mentioned: those below it */
} graph_walk;

static q_error_code graph_fail(const graph_walk *w, q_error_code code, const char *what,
                               const char *field, const void *at, uint64_t need, uint64_t have)
{
    uint64_t offset = (uint64_t)((const uint8_t *)at - w->check->tables);
    return q_format_fail(w->check->diag, code, what, field, offset, need, have);
}

void q_format_graph_arrays(const uint8_t *section, q_file_graph_view *out)
{
    const q_file_graph *head = (const q_file_graph *)(const void *)section;
    const uint8_t *at = section + sizeof(*head);
    size_t words = (size_t)head->n_edges + head->n_params;
    out->head = head;
    out->inputs = (const q_file_graph_input *)(const void *)at;
    at += head->n_inputs * sizeof(q_file_graph_input);
    out->nodes = (const q_file_graph_node *)(const void *)at;
    at += head->n_nodes * sizeof(q_file_graph_node);
    out->outputs = (const q_file_graph_output *)(const void *)at;
    at += head->n_outputs * sizeof(q_file_graph_output);
    out->edges = (const uint32_t *)(const void *)at;
    out->params = out->edges + head->n_edges;
    out->configs = at + (words + words % 2u) * sizeof(uint32_t);
}

/* Counts are capped first, so the sum of 64-bit terms cannot wrap. */
static q_error_code graph_check_size(const graph_walk *w, const q_file_graph *h, uint64_t size)
{
    uint64_t words = (uint64_t)h->n_edges + h->n_params;
    uint64_t need = sizeof(*h) + (uint64_t)h->n_inputs * sizeof(q_file_graph_input) +
                    (uint64_t)h->n_nodes * sizeof(q_file_graph_node) +
                    (uint64_t)h->n_outputs * sizeof(q_file_graph_output) +
                    (words + words % 2u) * sizeof(uint32_t) + h->config_bytes;
    if (need != size) {
        return q_format_fail(w->check->diag, Q_ERR_CORRUPT, "graph", "size",
                             q_format_section_at(Q_SECTION_GRAPH) + offsetof(q_file_section, size),
                             need, size);
    }
    return Q_OK;
}

static q_error_code graph_check_head(const graph_walk *w, const q_file_graph *h, uint64_t size)
{
    uint32_t nodes = w->check->header->section[Q_SECTION_GRAPH].count;
    if (h->n_inputs == 0 || h->n_inputs > Q_CAP_GRAPH_IO) {
        return graph_fail(w, h->n_inputs == 0 ? Q_ERR_CORRUPT : Q_ERR_LIMIT, "graph", "n_inputs",
                          &h->n_inputs, Q_CAP_GRAPH_IO, h->n_inputs);
    }
    if (h->n_outputs == 0 || h->n_outputs > Q_CAP_GRAPH_IO) {
        return graph_fail(w, h->n_outputs == 0 ? Q_ERR_CORRUPT : Q_ERR_LIMIT, "graph", "n_outputs",
                          &h->n_outputs, Q_CAP_GRAPH_IO, h->n_outputs);
    }
    if (h->n_nodes != nodes) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "n_nodes", &h->n_nodes, nodes, h->n_nodes);
    }
    if (h->n_edges > Q_CAP_NODES * Q_MAX_INPUTS) {
        return graph_fail(w, Q_ERR_LIMIT, "graph", "n_edges", &h->n_edges,
                          Q_CAP_NODES * Q_MAX_INPUTS, h->n_edges);
    }
    if (h->n_params > Q_CAP_NODES * Q_MAX_PARAMS) {
        return graph_fail(w, Q_ERR_LIMIT, "graph", "n_params", &h->n_params,
                          Q_CAP_NODES * Q_MAX_PARAMS, h->n_params);
    }
    if (h->config_bytes % 8u != 0) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "config_bytes", &h->config_bytes, 8,
                          h->config_bytes);
    }
    if (h->reserved != 0) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "reserved", &h->reserved, 0, h->reserved);
    }
    return graph_check_size(w, h, size);
}

/* `at_offset` and `at_length` are where the fields lie. *text becomes the name. */
static q_error_code graph_check_name(const graph_walk *w, const uint32_t *at_offset,
                                     const uint16_t *at_length, const char **text)
{
    const q_format_name name = {
        .what = "graph",
        .offset = *at_offset,
        .length = *at_length,
        .offset_at = (uint64_t)((const uint8_t *)at_offset - w->check->tables),
        .length_at = (uint64_t)((const uint8_t *)at_length - w->check->tables),
    };
    *text = w->check->strings + w->check->cursor;
    return q_format_check_name(w->check, &name);
}

static bool graph_same_name(const graph_walk *w, uint32_t a, uint16_t na, uint32_t b, uint16_t nb)
{
    return na == nb && memcmp(w->check->strings + a, w->check->strings + b, na) == 0;
}

static q_error_code graph_check_dims(const graph_walk *w, const q_file_graph_input *in,
                                     const char *name)
{
    static const char dims[Q_MAX_DIMS][7] = {"dim[0]", "dim[1]", "dim[2]", "dim[3]"};
    static const char syms[Q_MAX_DIMS][7] = {"sym[0]", "sym[1]", "sym[2]", "sym[3]"};
    if (in->n_dims == 0 || in->n_dims > Q_MAX_DIMS) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "n_dims", &in->n_dims, Q_MAX_DIMS, in->n_dims);
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        bool unused = i + in->n_dims < Q_MAX_DIMS;
        if (in->dim[i] == 0 || (unused && in->dim[i] != 1)) {
            return graph_fail(w, Q_ERR_CORRUPT, name, dims[i], &in->dim[i], 1, in->dim[i]);
        }
        if (in->sym[i] >= Q_SYM_COUNT) {
            return graph_fail(w, Q_ERR_UNSUPPORTED, name, syms[i], &in->sym[i], Q_SYM_COUNT - 1,
                              in->sym[i]);
        }
        if (unused && in->sym[i] != Q_SYM_ONE) {
            return graph_fail(w, Q_ERR_CORRUPT, name, syms[i], &in->sym[i], Q_SYM_ONE, in->sym[i]);
        }
    }
    return Q_OK;
}

static q_error_code graph_check_input(const graph_walk *w, uint32_t index)
{
    const q_file_graph_input *in = &w->view.inputs[index];
    const char *name;
    q_error_code code = graph_check_name(w, &in->name_offset, &in->name_length, &name);
    if (code != Q_OK) {
        return code;
    }
    for (uint32_t i = 0; i < index; i++) {
        const q_file_graph_input *other = &w->view.inputs[i];
        if (graph_same_name(w, in->name_offset, in->name_length, other->name_offset,
                            other->name_length)) {
            return graph_fail(w, Q_ERR_CORRUPT, name, "same name", &in->name_offset, i, index);
        }
    }
    if (in->dtype != Q_F32 && in->dtype != Q_I32) {
        return graph_fail(w, Q_ERR_UNSUPPORTED, name, "dtype", &in->dtype, Q_F32, in->dtype);
    }
    if (in->dtype == Q_I32 ? in->limit == 0 || in->limit > INT32_MAX : in->limit != 0) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "limit", &in->limit,
                          in->dtype == Q_I32 ? INT32_MAX : 0, in->limit);
    }
    if (in->reserved != 0) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "reserved", &in->reserved, 0, in->reserved);
    }
    return graph_check_dims(w, in, name);
}

static q_error_code graph_check_node_counts(const graph_walk *w, const q_file_graph_node *n,
                                            const char *name)
{
    const q_file_graph *h = w->view.head;
    size_t bad0 = q_format_zeros(n->reserved0, sizeof(n->reserved0));
    size_t bad1 = q_format_zeros(n->reserved1, sizeof(n->reserved1));
    if (n->n_in > Q_MAX_INPUTS || n->n_in > h->n_edges - w->edge) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "n_in", &n->n_in, h->n_edges - w->edge, n->n_in);
    }
    if (n->n_out == 0 || n->n_out > Q_MAX_OUTPUTS) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "n_out", &n->n_out, Q_MAX_OUTPUTS, n->n_out);
    }
    if (n->n_param > Q_MAX_PARAMS || n->n_param > h->n_params - w->param) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "n_param", &n->n_param, h->n_params - w->param,
                          n->n_param);
    }
    if (n->config_size > Q_CAP_CONFIG) {
        return graph_fail(w, Q_ERR_LIMIT, name, "config_size", &n->config_size, Q_CAP_CONFIG,
                          n->config_size);
    }
    if (n->config_size % 8u != 0 || n->config_size > h->config_bytes - w->config) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "config_size", &n->config_size,
                          h->config_bytes - w->config, n->config_size);
    }
    if (bad0 != sizeof(n->reserved0)) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "reserved", &n->reserved0[bad0], 0,
                          n->reserved0[bad0]);
    }
    if (bad1 != sizeof(n->reserved1)) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "reserved", &n->reserved1[bad1], 0,
                          n->reserved1[bad1]);
    }
    return Q_OK;
}

/* Edges name values already defined; a tensor's first mention is the one after all mentioned
   before. */
static q_error_code graph_check_uses(graph_walk *w, const q_file_graph_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const uint32_t *edge = &w->view.edges[w->edge + i];
        if (*edge >= w->value) {
            return graph_fail(w, Q_ERR_CORRUPT, name, "edge", edge, w->value, *edge);
        }
    }
    for (uint32_t i = 0; i < n->n_param; i++) {
        const uint32_t *param = &w->view.params[w->param + i];
        if (*param >= w->check->n_tensors || *param > w->next_tensor) {
            return graph_fail(w, Q_ERR_CORRUPT, name, "param", param, w->next_tensor, *param);
        }
        if (*param == w->next_tensor) {
            w->next_tensor++;
        }
    }
    return Q_OK;
}

static q_error_code graph_check_node(graph_walk *w, const q_file_graph_node *n)
{
    const char *name;
    const char *class_name;
    q_error_code code = graph_check_name(w, &n->name_offset, &n->name_length, &name);
    if (code == Q_OK) {
        code = graph_check_name(w, &n->class_name_offset, &n->class_name_length, &class_name);
    }
    if (code == Q_OK) {
        code = graph_check_node_counts(w, n, name);
    }
    if (code == Q_OK) {
        code = graph_check_uses(w, n, name);
    }
    if (code == Q_OK) {
        w->edge += n->n_in;
        w->param += n->n_param;
        w->value += n->n_out;
        w->config += n->config_size;
    }
    return code;
}

static q_error_code graph_check_output(const graph_walk *w, uint32_t index)
{
    const q_file_graph_output *out = &w->view.outputs[index];
    size_t bad = q_format_zeros(out->reserved, sizeof(out->reserved));
    const char *name;
    q_error_code code = graph_check_name(w, &out->name_offset, &out->name_length, &name);
    if (code != Q_OK) {
        return code;
    }
    for (uint32_t i = 0; i < index; i++) {
        const q_file_graph_output *other = &w->view.outputs[i];
        if (graph_same_name(w, out->name_offset, out->name_length, other->name_offset,
                            other->name_length)) {
            return graph_fail(w, Q_ERR_CORRUPT, name, "same name", &out->name_offset, i, index);
        }
    }
    if (out->value >= w->value) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "value", &out->value, w->value, out->value);
    }
    if (bad != sizeof(out->reserved)) {
        return graph_fail(w, Q_ERR_CORRUPT, name, "reserved", &out->reserved[bad], 0,
                          out->reserved[bad]);
    }
    return Q_OK;
}

/* What the nodes took is all there is. */
static q_error_code graph_check_totals(const graph_walk *w)
{
    const q_file_graph *h = w->view.head;
    const uint8_t *words_end = (const uint8_t *)(w->view.params + h->n_params);
    size_t gap = (size_t)(w->view.configs - words_end);
    size_t bad = q_format_zeros(words_end, gap);
    if (w->edge != h->n_edges) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "n_edges", &h->n_edges, w->edge, h->n_edges);
    }
    if (w->param != h->n_params) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "n_params", &h->n_params, w->param,
                          h->n_params);
    }
    if (w->value != h->n_values) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "n_values", &h->n_values, w->value,
                          h->n_values);
    }
    if (w->config != h->config_bytes) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "config_bytes", &h->config_bytes, w->config,
                          h->config_bytes);
    }
    if (bad != gap) {
        return graph_fail(w, Q_ERR_CORRUPT, "graph", "padding", words_end + bad, 0, words_end[bad]);
    }
    if (w->next_tensor != w->check->n_tensors) {
        const q_file_tensor_record *unused = &w->check->records[w->next_tensor];
        return graph_fail(w, Q_ERR_CORRUPT, w->check->strings + unused->name_offset, "not wanted",
                          unused, 0, 1);
    }
    return Q_OK;
}

q_error_code q_format_check_graph(q_format_check *check)
{
    const q_file_section *section = &check->header->section[Q_SECTION_GRAPH];
    const q_file_graph *head =
        (const q_file_graph *)(const void *)(check->tables + section->offset.v);
    graph_walk w = {.check = check};
    q_error_code code;
    if (section->count == 0) {
        return Q_OK;
    }
    code = graph_check_head(&w, head, section->size.v);
    if (code != Q_OK) {
        return code;
    }
    q_format_graph_arrays(check->tables + section->offset.v, &w.view);
    w.value = head->n_inputs;
    for (uint32_t i = 0; code == Q_OK && i < head->n_inputs; i++) {
        code = graph_check_input(&w, i);
    }
    for (uint32_t i = 0; code == Q_OK && i < head->n_nodes; i++) {
        code = graph_check_node(&w, &w.view.nodes[i]);
    }
    for (uint32_t i = 0; code == Q_OK && i < head->n_outputs; i++) {
        code = graph_check_output(&w, i);
    }
    return code == Q_OK ? graph_check_totals(&w) : code;
}
