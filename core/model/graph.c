/* SPDX-License-Identifier: MIT */
/* Building a graph: the calls of a builder, run once to count and once to place. */
#include "graph.h"

static bool graph_over(const q_graph *g)
{
    return g->diag.code != Q_OK;
}

static uint32_t graph_error(q_graph *g, q_error_code code, const char *what, const char *field, uint64_t need,
                            uint64_t have)
{
    if (!graph_over(g)) {
        (void)q_fail(&g->diag, code, what, field, need, have);
    }
    return Q_NONE;
}

void q_graph_fail(q_graph *g, q_error_code code, const char *what, const char *field)
{
    (void)graph_error(g, code == Q_OK ? Q_ERR_INVALID_ARG : code, what, field, 0, 0);
}

/* Length of a terminated name, or 0 if it is missing, empty or longer than Q_CAP_NAME. */
static size_t name_length(const char *name)
{
    size_t n = 0;
    if (name == NULL) {
        return 0;
    }
    while (n <= Q_CAP_NAME && name[n] != '\0') {
        n++;
    }
    return n <= Q_CAP_NAME ? n : 0;
}

/* FNV-1a, 32 bits (draft-eastlake-fnv). */
static uint32_t name_hash(const char *name, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    }
    return h;
}

uint32_t q_graph_name_key(const char *name)
{
    return name_hash(name, name_length(name));
}

/* Copies a name behind the earlier ones. Returns "" while counting. */
static const char *keep_name(q_graph *g, const char *name, size_t n)
{
    char *to;
    size_t at = g->n.string_bytes;
    g->n.string_bytes += n + 1;
    if (g->model == NULL) {
        return "";
    }
    if (g->n.string_bytes > g->model->n.string_bytes) {
        (void)graph_error(g, Q_ERR_INVALID_STATE, name, "builder differs between its two runs", 0, 0);
        return "";
    }
    to = g->model->strings + at;
    memcpy(to, name, n);
    to[n] = '\0';
    return to;
}

/* True while placing and the counted number is not yet reached; ends the build if the second run does more. */
static bool may_place(q_graph *g, uint32_t used, uint32_t counted, const char *name)
{
    if (g->model == NULL) {
        return false;
    }
    if (used >= counted) {
        (void)graph_error(g, Q_ERR_INVALID_STATE, name, "builder differs between its two runs", counted, used);
        return false;
    }
    return true;
}

/* Ends the build where one more would exceed the cap, so that no count of a graph can wrap. */
static bool is_full(q_graph *g, uint32_t n, uint32_t cap, const char *field)
{
    if (n >= cap) {
        (void)graph_error(g, Q_ERR_LIMIT, "graph", field, cap, (uint64_t)n + 1);
        return true;
    }
    return false;
}

bool q_graph_dims_ok(const q_value_type *type)
{
    uint32_t symbols = 0;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        if (type->dim[i].n == 0 || type->dim[i].sym >= Q_SYM_COUNT) {
            return false;
        }
        symbols += type->dim[i].sym != Q_SYM_ONE ? 1u : 0u;
    }
    return symbols <= 1;
}

/* How many rows are selected is known only after a step's inputs have been copied. */
static bool input_dims_ok(const q_value_type *type)
{
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        if (type->dim[i].sym == Q_SYM_SELECTED) {
            return false;
        }
    }
    return q_graph_dims_ok(type);
}

q_value q_graph_input(q_graph *g, const q_input_desc *desc)
{
    uint32_t i = g->n.inputs;
    size_t n;
    if (graph_over(g) || is_full(g, i, Q_CAP_NODES, "inputs")) {
        return Q_NONE;
    }
    if (desc == NULL) {
        return graph_error(g, Q_ERR_INVALID_ARG, "q_graph_input", "desc", 1, 0);
    }
    n = name_length(desc->name);
    if (n == 0) {
        return graph_error(g, Q_ERR_INVALID_ARG, "input", "name", 1, 0);
    }
    if (g->n.nodes != 0) {
        return graph_error(g, Q_ERR_INVALID_STATE, desc->name, "inputs come before nodes", 0, g->n.nodes);
    }
    if (desc->type.dtype != Q_REAL && desc->type.dtype != Q_I32) {
        return graph_error(g, Q_ERR_INVALID_DTYPE, desc->name, "type.dtype", Q_REAL, desc->type.dtype);
    }
    if (!input_dims_ok(&desc->type)) {
        return graph_error(g, Q_ERR_INVALID_SHAPE, desc->name, "type.dim", 1, 0);
    }
    if (may_place(g, i, g->model != NULL ? g->model->n.inputs : 0, desc->name)) {
        g->model->inputs[i].name = keep_name(g, desc->name, n);
        g->model->inputs[i].type = desc->type;
        g->model->inputs[i].limit = desc->limit;
    } else {
        (void)keep_name(g, desc->name, n);
    }
    g->n.inputs++;
    g->n.values++;
    return i;
}

/* Layers are told the type and read the view: the two must agree, and rows may not overlap. Panels are dense. */
static q_error_code view_check(const q_param_desc *desc, uint64_t rows, q_diag *diag)
{
    const q_param_type *t = &desc->type;
    const q_tensor *v = desc->view;
    uint64_t row = 0;
    if (v->data == NULL || (uintptr_t)v->data % Q_ALIGN != 0) {
        return q_fail(diag, Q_ERR_MISALIGNED, desc->name, "view.data", Q_ALIGN, (uintptr_t)v->data % Q_ALIGN);
    }
    if (v->dtype != t->dtype) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, desc->name, "view.dtype", t->dtype, v->dtype);
    }
    if (v->layout != t->layout) {
        return q_fail(diag, Q_ERR_INVALID_LAYOUT, desc->name, "view.layout", t->layout, v->layout);
    }
    if (memcmp(v->ne, t->ne, sizeof(v->ne)) != 0) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, desc->name, "view.ne", t->ne[3], v->ne[3]);
    }
    if (t->layout == Q_PANEL16) {
        row = q_panel_bytes(t->dtype, t->ne[3]);
        return v->nb[2] == row ? Q_OK : q_fail(diag, Q_ERR_INVALID_LAYOUT, desc->name, "view.nb", row, v->nb[2]);
    }
    (void)q_plain_row_bytes(t->dtype, t->ne[3], &row);
    if (rows > 1 && (v->nb[2] < row || (!q_dtype_is_quantised(t->dtype) && v->nb[2] % q_dtype_block_bytes(t->dtype) != 0) ||
                     v->nb[2] > SIZE_MAX / 2 / rows)) {
        return q_fail(diag, Q_ERR_INVALID_LAYOUT, desc->name, "view.nb", row, v->nb[2]);
    }
    return Q_OK;
}

size_t q_view_bytes(const model_param *p)
{
    size_t rows = (size_t)p->type.ne[0] * p->type.ne[1] * p->type.ne[2];
    uint64_t row = 0;
    if (p->type.layout == Q_PANEL16) {
        return (rows + Q_PANEL_ROWS - 1) / Q_PANEL_ROWS * p->view.nb[2];
    }
    (void)q_plain_row_bytes(p->type.dtype, p->type.ne[3], &row);
    return (rows > 1 ? (rows - 1) * p->view.nb[2] : 0) + (size_t)row;
}

static q_error_code param_check(const q_param_desc *desc, q_diag *diag)
{
    const q_param_type *t = &desc->type;
    uint64_t bytes;
    uint64_t rows = 1;
    for (uint32_t i = 0; i < 3; i++) {
        if (!q_mul_u64(rows, t->ne[i], &rows)) {
            return q_fail(diag, Q_ERR_OVERFLOW, desc->name, "type.ne", 0, 0);
        }
    }
    if (rows == 0 || t->ne[3] == 0) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, desc->name, "type.ne", 1, 0);
    }
    if (q_dtype_is_a8(t->dtype) || !q_matrix_bytes(t->dtype, t->layout, rows, t->ne[3], &bytes) || bytes > SIZE_MAX / 2) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, desc->name, "type.ne", 0, t->ne[3]);
    }
    if (desc->trainable && (desc->view != NULL || t->dtype != Q_REAL || t->layout != Q_PLAIN)) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, desc->name, "trainable", Q_REAL, t->dtype);
    }
    if (desc->init.kind > Q_INIT_NORMAL || !(desc->init.value - desc->init.value == 0) ||
        (desc->init.kind != Q_INIT_NONE && (desc->view != NULL || t->dtype != Q_REAL || t->layout != Q_PLAIN))) {
        return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "init", Q_INIT_NORMAL, desc->init.kind);
    }
    return desc->view != NULL ? view_check(desc, rows, diag) : Q_OK;
}

q_param q_graph_param(q_graph *g, const q_param_desc *desc)
{
    uint32_t i = g->n.params;
    size_t n;
    if (graph_over(g) || is_full(g, i, Q_CAP_TENSORS, "parameters")) {
        return Q_NONE;
    }
    n = desc != NULL ? name_length(desc->name) : 0;
    if (n == 0) {
        return graph_error(g, Q_ERR_INVALID_ARG, "parameter", "name", 1, 0);
    }
    if (param_check(desc, &g->diag) != Q_OK) {
        return Q_NONE;
    }
    if (may_place(g, i, g->model != NULL ? g->model->n.params : 0, desc->name)) {
        model_param *p = &g->model->params[i];
        p->name = keep_name(g, desc->name, n);
        p->type = desc->type;
        p->trainable = desc->trainable;
        p->init = desc->init;
        memset(&p->view, 0, sizeof(p->view));
        if (desc->view != NULL) {
            p->view = *desc->view;
        }
    } else {
        (void)keep_name(g, desc->name, n);
    }
    g->n.params++;
    return i;
}

static q_error_code class_check(const q_node_desc *desc, q_diag *diag)
{
    const q_layer_class *c = desc->cls;
    if (c == NULL || c->struct_size != sizeof(*c) || c->name == NULL || c->shape == NULL || c->forward == NULL ||
        c->forward_stages == 0 || c->n_out == 0 || c->n_out > Q_MAX_OUTPUTS || c->max_in > Q_MAX_INPUTS ||
        c->max_param > Q_MAX_PARAMS || c->config_size % 8 != 0 || (c->backward_stages != 0) != (c->backward != NULL) ||
        (c->activation != NULL && (c->epilogue == NULL || c->n_out != 1))) {
        return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "cls", sizeof(*c), c != NULL ? c->struct_size : 0);
    }
    if (desc->n_in < c->min_in || desc->n_in > c->max_in) {
        return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "n_in", c->min_in, desc->n_in);
    }
    if (desc->n_param < c->min_param || desc->n_param > c->max_param) {
        return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "n_param", c->min_param, desc->n_param);
    }
    if (c->config_size != 0 && desc->config == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "config", c->config_size, 0);
    }
    return Q_OK;
}

static q_error_code edges_check(const q_graph *g, const q_node_desc *desc, q_diag *diag)
{
    for (uint32_t i = 0; i < desc->n_in; i++) {
        if (desc->in[i] >= g->n.values) {
            return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "in", g->n.values, desc->in[i]);
        }
    }
    for (uint32_t i = 0; i < desc->n_param; i++) {
        if (desc->param[i] >= g->n.params) {
            return q_fail(diag, Q_ERR_INVALID_ARG, desc->name, "param", g->n.params, desc->param[i]);
        }
    }
    return Q_OK;
}

static void node_place(q_graph *g, const q_node_desc *desc, const char *name)
{
    q_model *m = g->model;
    model_node *node = &m->nodes[g->n.nodes];
    node->cls = desc->cls;
    node->name = name;
    node->config = m->configs + g->n.config_bytes;
    node->first_edge = g->n.edges;
    node->n_in = desc->n_in;
    node->first_param = g->n.param_refs;
    node->n_param = desc->n_param;
    node->first_value = g->n.values;
    node->block = g->block;
    if (desc->cls->config_size != 0) {
        memcpy(m->configs + g->n.config_bytes, desc->config, desc->cls->config_size);
    }
    memcpy(m->edges + g->n.edges, desc->in, desc->n_in * sizeof(uint32_t));
    memcpy(m->param_refs + g->n.param_refs, desc->param, desc->n_param * sizeof(uint32_t));
}

q_value q_graph_node(q_graph *g, const q_node_desc *desc)
{
    uint32_t first = g->n.values;
    size_t n;
    const char *name;
    if (graph_over(g) || is_full(g, g->n.nodes, Q_CAP_NODES, "nodes")) {
        return Q_NONE;
    }
    n = desc != NULL ? name_length(desc->name) : 0;
    if (n == 0) {
        return graph_error(g, Q_ERR_INVALID_ARG, "node", "name", 1, 0);
    }
    if (class_check(desc, &g->diag) != Q_OK || edges_check(g, desc, &g->diag) != Q_OK) {
        return Q_NONE;
    }
    name = keep_name(g, desc->name, n);
    if (may_place(g, g->n.nodes, g->model != NULL ? g->model->n.nodes : 0, desc->name)) {
        const graph_counts *cap = &g->model->n;
        if (desc->n_in > cap->edges - g->n.edges || desc->n_param > cap->param_refs - g->n.param_refs ||
            desc->cls->config_size > cap->config_bytes - g->n.config_bytes) {
            return graph_error(g, Q_ERR_INVALID_STATE, desc->name, "builder differs between its two runs", 0, 0);
        }
        node_place(g, desc, name);
    }
    g->n.nodes++;
    g->n.edges += desc->n_in;
    g->n.param_refs += desc->n_param;
    g->n.config_bytes += desc->cls->config_size;
    g->n.values += desc->cls->n_out;
    return first;
}

void q_graph_block(q_graph *g, uint32_t block)
{
    g->block = block;
}

void q_graph_output(q_graph *g, const char *name, q_value value)
{
    size_t n = name_length(name);
    if (graph_over(g) || is_full(g, g->n.outputs, Q_CAP_NODES, "outputs")) {
        return;
    }
    if (n == 0 || value >= g->n.values) {
        (void)graph_error(g, Q_ERR_INVALID_ARG, n == 0 ? "output" : name, n == 0 ? "name" : "value", g->n.values,
                          value);
        return;
    }
    if (may_place(g, g->n.outputs, g->model != NULL ? g->model->n.outputs : 0, name)) {
        g->model->outputs[g->n.outputs].name = keep_name(g, name, n);
        g->model->outputs[g->n.outputs].value = value;
    } else {
        (void)keep_name(g, name, n);
    }
    g->n.outputs++;
}

/* ---- q_model ------------------------------------------------------------------------------------------- */

/* Lays a model's arrays out for counts n; *m gets the pointers, all NULL while counting. */
static void model_layout(q_arena *arena, const graph_counts *n, q_model **out)
{
    q_model local;
    q_model *m = (q_model *)q_arena_alloc(arena, sizeof(q_model), Q_ALIGN);
    q_model *fill = m != NULL ? m : &local;
    memset(fill, 0, sizeof(*fill));
    fill->n = *n;
    fill->nodes = (model_node *)q_arena_alloc(arena, n->nodes * sizeof(model_node), 16);
    fill->inputs = (model_input *)q_arena_alloc(arena, n->inputs * sizeof(model_input), 16);
    fill->outputs = (model_output *)q_arena_alloc(arena, n->outputs * sizeof(model_output), 16);
    fill->params = (model_param *)q_arena_alloc(arena, n->params * sizeof(model_param), Q_ALIGN);
    fill->edges = (uint32_t *)q_arena_alloc(arena, n->edges * sizeof(uint32_t), 16);
    fill->param_refs = (uint32_t *)q_arena_alloc(arena, n->param_refs * sizeof(uint32_t), 16);
    fill->name_hash =
        (uint32_t *)q_arena_alloc(arena, ((size_t)n->nodes + n->params + n->inputs) * sizeof(uint32_t), 16);
    fill->configs = (uint8_t *)q_arena_alloc(arena, n->config_bytes, 16);
    fill->strings = (char *)q_arena_alloc(arena, n->string_bytes, 1);
    *out = m;
}

/* Runs a builder with `model` (NULL: counting); true if it ended well. */
static bool graph_run(q_graph *g, q_model *model, q_build_fn build, const void *user)
{
    memset(g, 0, sizeof(*g));
    g->model = model;
    build(g, user);
    if (!graph_over(g) && g->n.outputs == 0) {
        (void)graph_error(g, Q_ERR_INVALID_ARG, "graph", "outputs", 1, 0);
    }
    return !graph_over(g);
}

static q_error_code graph_report(const q_graph *g, q_diag *diag)
{
    if (diag != NULL) {
        *diag = g->diag;
    }
    return g->diag.code;
}

q_error_code q_model_size(q_build_fn build, const void *user, size_t *bytes, q_diag *diag)
{
    q_graph g;
    q_arena arena;
    q_model *unused;
    if (build == NULL || bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_size", build == NULL ? "build" : "bytes", 1, 0);
    }
    if (!graph_run(&g, NULL, build, user)) {
        return graph_report(&g, diag);
    }
    arena = layout_arena(NULL, 0);
    model_layout(&arena, &g.n, &unused);
    *bytes = arena.high;
    return Q_OK;
}

/* Two of the same name among n; names come through `name(m, i)`, hashes beside it. */
static const char *duplicate_name(const q_model *m, uint32_t n, const uint32_t *hash,
                                  const char *(*name)(const q_model *m, uint32_t i))
{
    for (uint32_t i = 1; i < n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (hash[i] == hash[j] && q_names_equal(name(m, i), name(m, j))) {
                return name(m, i);
            }
        }
    }
    return NULL;
}

static const char *input_name(const q_model *m, uint32_t i)
{
    return m->inputs[i].name;
}

static void hash_names(const q_model *m, uint32_t n, uint32_t *hash, const char *(*name)(const q_model *m, uint32_t i))
{
    for (uint32_t i = 0; i < n; i++) {
        hash[i] = q_graph_name_key(name(m, i));
    }
}

static q_error_code check_names(const q_model *m, q_diag *diag)
{
    uint32_t *node = m->name_hash;
    uint32_t *param = node + m->n.nodes;
    uint32_t *input = param + m->n.params;
    const char *twice;
    hash_names(m, m->n.nodes, node, q_model_node_name);
    hash_names(m, m->n.params, param, q_model_param_name);
    hash_names(m, m->n.inputs, input, input_name);
    twice = duplicate_name(m, m->n.nodes, node, q_model_node_name);
    if (twice == NULL) {
        twice = duplicate_name(m, m->n.params, param, q_model_param_name);
    }
    if (twice == NULL) {
        twice = duplicate_name(m, m->n.inputs, input, input_name);
    }
    return twice == NULL ? Q_OK : q_fail(diag, Q_ERR_INVALID_ARG, twice, "name used twice", 1, 2);
}

q_error_code q_model_init(q_model **model, q_block memory, q_build_fn build, const void *user, q_diag *diag)
{
    q_graph g;
    q_arena arena;
    q_model *m;
    q_error_code e;
    if (model == NULL || build == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_model_init", model == NULL ? "model" : "build", 1, 0);
    }
    if (!graph_run(&g, NULL, build, user)) {
        return graph_report(&g, diag);
    }
    arena = layout_arena(NULL, 0);
    model_layout(&arena, &g.n, &m);
    e = q_block_check(memory, 128, arena.high, "q_model_init", diag);
    if (e != Q_OK) {
        return e;
    }
    arena = layout_arena(memory.base, memory.size);
    model_layout(&arena, &g.n, &m);
    if (!graph_run(&g, m, build, user)) {
        return graph_report(&g, diag);
    }
    if (memcmp(&g.n, &m->n, sizeof(g.n)) != 0) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "graph", "builder differs between its two runs", m->n.nodes,
                      g.n.nodes);
    }
    if (check_names(m, diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    *model = m;
    return Q_OK;
}
