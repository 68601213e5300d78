/* SPDX-License-Identifier: MIT */
/* Writing a file: header, records, names, graph and the other sections before DATA. */
#include "../format/format_check.h"
#include "write.h"

/* Where the next name goes. */
typedef struct write_names {
    char *strings;
    uint32_t used;
} write_names;

static void add_name(write_names *names, const char *name, uint32_t *offset, uint16_t *length)
{
    size_t n = q_write_length(name);
    *offset = names->used;
    *length = (uint16_t)n;
    memcpy(names->strings + names->used, name, n + 1);
    names->used += (uint32_t)n + 1u;
}

/* ---- Sections ---------------------------------------------------------------------------------------------- */

static size_t graph_bytes(const write_plan *p)
{
    size_t words = (size_t)p->n_edges + p->n_refs;
    return sizeof(q_file_graph) + p->n_inputs * sizeof(q_file_graph_input) + p->n_nodes * sizeof(q_file_graph_node) +
           p->n_outputs * sizeof(q_file_graph_output) + (words + words % 2u) * sizeof(uint32_t) + p->config_bytes;
}

/* Sizes and places of everything before DATA. Sums stay below tables_cap. */
static q_error_code place_sections(write_plan *p, q_diag *diag)
{
    q_file_header *h = q_write_header(p);
    const q_file_arch *arch = p->w->arch;
    size_t size[Q_SECTION_COUNT] = {0};
    size_t at = sizeof(*h);
    size[Q_SECTION_TENSORS] = p->n_records * sizeof(q_file_tensor_record);
    size[Q_SECTION_NAMES] = p->n_records * sizeof(uint32_t);
    size[Q_SECTION_STRINGS] = p->string_bytes;
    size[Q_SECTION_ARCH] = arch != NULL ? sizeof(*arch) + arch->n_layers : 0;
    size[Q_SECTION_GRAPH] = q_write_has_graph(p->w) ? graph_bytes(p) : 0;
    size[Q_SECTION_TOKENIZER] = p->w->tokenizer_size;
    size[Q_SECTION_META] = q_write_length(p->w->meta);
    if (size[Q_SECTION_STRINGS] > Q_CAP_STRINGS || size[Q_SECTION_GRAPH] > Q_CAP_GRAPH) {
        bool strings = size[Q_SECTION_STRINGS] > Q_CAP_STRINGS;
        return q_fail(diag, Q_ERR_LIMIT, strings ? "strings" : "graph", "size", strings ? Q_CAP_STRINGS : Q_CAP_GRAPH,
                      size[strings ? Q_SECTION_STRINGS : Q_SECTION_GRAPH]);
    }
    memcpy(h->magic, Q_FILE_MAGIC, sizeof(h->magic));
    h->version = Q_FILE_VERSION;
    h->header_size = sizeof(*h);
    h->n_sections = Q_SECTION_COUNT;
    for (uint32_t i = 0; i < Q_SECTION_COUNT; i++) {
        at = (at + (Q_ALIGN - 1)) & ~(size_t)(Q_ALIGN - 1);
        h->section[i].offset.v = at;
        h->section[i].size.v = size[i];
        at += size[i];
    }
    h->section[Q_SECTION_TENSORS].count = h->section[Q_SECTION_NAMES].count = p->n_records;
    h->section[Q_SECTION_ARCH].count = arch != NULL ? arch->n_layers : 0;
    h->section[Q_SECTION_GRAPH].count = q_write_has_graph(p->w) ? p->n_nodes : 0;
    return Q_OK;
}

/* ---- Tensors ----------------------------------------------------------------------------------------------- */

/* Dtype and layout in the file. */
static q_error_code choose_type(const write_plan *p, uint32_t param, q_file_tensor_record *r, q_diag *diag)
{
    const model_param *from = &p->m->params[param];
    const q_param_type *t = &from->type;
    r->dtype = (uint8_t)t->dtype;
    r->layout = (uint8_t)t->layout;
    if (t->dtype == Q_REAL && t->layout == Q_PLAIN) {
        bool matrix = p->other_use[param] == 0 && t->ne[0] == 1 && t->ne[1] == 1;
        uint32_t dtype = !matrix ? (uint32_t)Q_F32 : p->w->type != NULL ? p->w->type(p->w->user, from->name, t) : p->w->dtype;
        if (dtype > Q_BF16) {
            return q_fail(diag, Q_ERR_INVALID_DTYPE, from->name, "type", Q_BF16, dtype);
        }
        r->dtype = (uint8_t)dtype;
        r->layout = matrix ? Q_PANEL16 : Q_PLAIN;
    }
    if (r->dtype > Q_I32) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, from->name, "dtype", Q_I32, r->dtype);
    }
    if (t->ne[3] % q_dtype_block(r->dtype) != 0) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, from->name, "columns, multiple of", q_dtype_block(r->dtype), t->ne[3]);
    }
    r->flags = from->trainable && r->dtype == Q_F32 ? Q_TENSOR_TRAINABLE : 0;
    return Q_OK;
}

static q_error_code fill_record(write_plan *p, uint32_t index, write_names *names, q_diag *diag)
{
    const model_param *from = &p->m->params[p->param[index]];
    q_file_tensor_record *r = &q_write_records(p)[index];
    uint64_t rows = (uint64_t)from->type.ne[0] * from->type.ne[1]; /* their product fits: q_graph_param has seen it */
    q_error_code e = choose_type(p, p->param[index], r, diag);
    if (e != Q_OK) {
        return e;
    }
    add_name(names, from->name, &r->name_offset, &r->name_length);
    r->n_dims = 1;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        r->ne[d].v = from->type.ne[d];
        r->n_dims = from->type.ne[d] > 1 && Q_MAX_DIMS - d > r->n_dims ? Q_MAX_DIMS - d : r->n_dims;
    }
    r->n_dims = r->layout == Q_PANEL16 && r->n_dims == 1 ? 2 : r->n_dims;
    if (!q_matrix_bytes(r->dtype, r->layout, rows * from->type.ne[2], from->type.ne[3], &r->size.v) ||
        !q_align_u64(p->data_end, Q_ALIGN, &r->offset.v) || !q_add_u64(r->offset.v, r->size.v, &p->data_end)) {
        return q_fail(diag, Q_ERR_OVERFLOW, from->name, "size", 0, 0);
    }
    return Q_OK;
}

static int name_order(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (int)(uint8_t)*a - (int)(uint8_t)*b;
}

/* Sinks order[at] into the heap below it, the last name on top. */
static void sink_name(const write_plan *p, uint32_t *order, uint32_t n, uint32_t at)
{
    uint32_t moved = order[at];
    for (uint32_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        const char *name = p->m->params[p->param[order[child]]].name;
        if (child + 1 < n && name_order(name, p->m->params[p->param[order[child + 1]]].name) < 0) {
            name = p->m->params[p->param[order[++child]]].name;
        }
        if (name_order(p->m->params[p->param[moved]].name, name) >= 0) {
            break;
        }
        order[at] = order[child];
        at = child;
    }
    order[at] = moved;
}

/* NAMES: heapsort, for it takes no memory and no recursion. */
static void sort_names(const write_plan *p)
{
    uint32_t *order = (uint32_t *)(void *)(p->tables + q_write_header(p)->section[Q_SECTION_NAMES].offset.v);
    for (uint32_t i = 0; i < p->n_records; i++) {
        order[i] = i;
    }
    for (uint32_t i = p->n_records / 2; i-- > 0;) {
        sink_name(p, order, p->n_records, i);
    }
    for (uint32_t n = p->n_records; n > 1; n--) {
        uint32_t last = order[0];
        order[0] = order[n - 1];
        order[n - 1] = last;
        sink_name(p, order, n - 1, 0);
    }
}

/* ---- Graph ------------------------------------------------------------------------------------------------- */

static void fill_input(const model_input *from, q_file_graph_input *to, write_names *names)
{
    add_name(names, from->name, &to->name_offset, &to->name_length);
    to->dtype = from->type.dtype == Q_I32 ? Q_I32 : Q_F32;
    to->limit = from->type.dtype == Q_I32 ? from->limit : 0;
    to->n_dims = 1;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        bool used = from->type.dim[d].n > 1 || from->type.dim[d].sym != Q_SYM_ONE;
        to->dim[d] = from->type.dim[d].n;
        to->sym[d] = from->type.dim[d].sym;
        to->n_dims = used && Q_MAX_DIMS - d > to->n_dims ? (uint8_t)(Q_MAX_DIMS - d) : to->n_dims;
    }
}

static void fill_node(const model_node *from, q_file_graph_node *to, write_names *names)
{
    to->class_id = from->cls->id;
    to->config_version = from->cls->config_version;
    add_name(names, from->name, &to->name_offset, &to->name_length);
    to->n_in = (uint8_t)from->n_in;
    to->n_out = from->cls->n_out;
    to->n_param = (uint8_t)from->n_param;
    to->config_size = from->cls->config_size;
    add_name(names, from->cls->name, &to->class_name_offset, &to->class_name_length);
}

/* Writable twins of q_file_graph_view. */
typedef struct write_graph {
    q_file_graph_input *input;
    q_file_graph_node *node;
    q_file_graph_output *output;
    uint32_t *edge;
    uint32_t *param;
    uint8_t *config;
} write_graph;

static write_graph graph_head(const write_plan *p)
{
    q_file_graph *head = (q_file_graph *)(void *)(p->tables + q_write_header(p)->section[Q_SECTION_GRAPH].offset.v);
    size_t words = (size_t)p->n_edges + p->n_refs;
    write_graph g;
    head->n_inputs = p->n_inputs;
    head->n_outputs = p->n_outputs;
    head->n_nodes = p->n_nodes;
    head->n_edges = p->n_edges;
    head->n_params = p->n_refs;
    head->n_values = p->n_values;
    head->config_bytes = p->config_bytes;
    g.input = (q_file_graph_input *)(void *)(head + 1);
    g.node = (q_file_graph_node *)(void *)(g.input + p->n_inputs);
    g.output = (q_file_graph_output *)(void *)(g.node + p->n_nodes);
    g.edge = (uint32_t *)(void *)(g.output + p->n_outputs);
    g.param = g.edge + p->n_edges;
    g.config = (uint8_t *)(g.edge + words + words % 2u);
    return g;
}

static void fill_graph(const write_plan *p, write_names *names)
{
    write_graph g = graph_head(p);
    for (uint32_t i = 0; i < p->m->n.inputs; i++) {
        if (p->value[i] != Q_NONE) {
            fill_input(&p->m->inputs[i], g.input++, names);
        }
    }
    for (uint32_t i = 0; i < p->m->n.nodes; i++) {
        const model_node *n = &p->m->nodes[i];
        if (p->node_kept[i] == 0) {
            continue;
        }
        fill_node(n, g.node++, names);
        for (uint32_t k = 0; k < n->n_in; k++) {
            *g.edge++ = p->value[p->m->edges[n->first_edge + k]];
        }
        for (uint32_t k = 0; k < n->n_param; k++) {
            *g.param++ = p->record[p->m->param_refs[n->first_param + k]];
        }
        if (n->cls->config_size != 0) {
            memcpy(g.config, n->config, n->cls->config_size);
            g.config += n->cls->config_size;
        }
    }
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        const model_output *o = &p->m->outputs[q_write_output(p, i)];
        g.output[i].value = p->value[o->value];
        add_name(names, o->name, &g.output[i].name_offset, &g.output[i].name_length);
    }
}

/* ---- All of them ------------------------------------------------------------------------------------------- */

static void copy_section(const write_plan *p, q_section section, const void *bytes)
{
    const q_file_section *s = &q_write_header(p)->section[section];
    if (s->size.v != 0) {
        memcpy(p->tables + s->offset.v, bytes, (size_t)s->size.v);
    }
}

q_error_code q_write_tables(write_plan *p, q_diag *diag)
{
    q_file_header *h = q_write_header(p);
    write_names names = {NULL, 0};
    q_error_code e;
    memset(p->tables, 0, p->tables_cap);
    e = place_sections(p, diag);
    if (e != Q_OK) {
        return e;
    }
    names.strings = (char *)p->tables + h->section[Q_SECTION_STRINGS].offset.v;
    p->data_end = h->section[Q_SECTION_DATA].offset.v;
    for (uint32_t i = 0; e == Q_OK && i < p->n_records; i++) {
        e = fill_record(p, i, &names, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    sort_names(p);
    if (p->w->arch != NULL) {
        uint8_t *arch = p->tables + h->section[Q_SECTION_ARCH].offset.v;
        memcpy(arch, p->w->arch, sizeof(*p->w->arch));
        memcpy(arch + sizeof(*p->w->arch), p->w->layer_kinds, p->w->arch->n_layers);
    } else if (q_write_has_graph(p->w)) {
        fill_graph(p, &names);
    }
    copy_section(p, Q_SECTION_TOKENIZER, p->w->tokenizer);
    copy_section(p, Q_SECTION_META, p->w->meta);
    h->section[Q_SECTION_DATA].size.v = p->data_end - h->section[Q_SECTION_DATA].offset.v;
    if (!q_align_u64(p->data_end, Q_ALIGN, &h->file_size.v) || h->file_size.v > SIZE_MAX) {
        return q_fail(diag, Q_ERR_OVERFLOW, "file", "size", 0, 0);
    }
    return q_format_validate(p->tables, (size_t)h->file_size.v, diag);
}
