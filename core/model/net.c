/* SPDX-License-Identifier: MIT */
/* Describing a network: names, shared parameters, shapes. Both runs of a builder see the same hashes, so they share alike. */
#include "graph.h"
#include "net.h"

typedef struct net_name {
    char text[Q_CAP_NAME + 1];
} net_name;

void q_net_begin(q_net *n, q_graph *graph)
{
    memset(n, 0, sizeof(*n));
    n->graph = graph;
    n->bias = true;
    n->eps = 1e-5f;
    n->momentum = 0.1f;
}

/* The scope, then name, part and, unless it is Q_NONE, a number. Too long a name fails the build. */
static net_name net_path(q_net *n, const char *name, const char *part, uint32_t number)
{
    net_name path;
    q_text t;
    q_text_init(&t, path.text, sizeof(path.text));
    q_text_bytes(&t, n->scope, n->scope_length);
    q_text_str(&t, name);
    q_text_str(&t, part);
    if (number != Q_NONE) {
        q_text_u64(&t, number, 0);
    }
    if (!q_text_fits(&t)) {
        q_graph_fail(n->graph, Q_ERR_LIMIT, path.text, "name");
    }
    return path;
}

uint32_t q_net_enter(q_net *n, const char *name, uint32_t i)
{
    uint32_t outer = n->scope_length;
    net_name path = net_path(n, name, i != Q_NONE ? "." : "", i);
    q_text t;
    q_text_init(&t, n->scope, sizeof(n->scope));
    q_text_str(&t, path.text);
    q_text_str(&t, ".");
    n->scope_length = q_text_fits(&t) ? (uint32_t)t.length : outer;
    if (!q_text_fits(&t)) {
        q_graph_fail(n->graph, Q_ERR_LIMIT, path.text, "scope");
    }
    return outer;
}

void q_net_leave(q_net *n, uint32_t outer)
{
    n->scope_length = outer < n->scope_length ? outer : n->scope_length;
}

/* ---- Parameters ------------------------------------------------------------------------------------------- */

/* Which known parameter has that name, n_known if none. */
static uint32_t net_find(const q_net *n, const char *path)
{
    uint32_t hash = q_graph_name_key(path);
    uint32_t i = 0;
    while (i < n->n_known && n->hash[i] != hash) {
        i++;
    }
    return i;
}

/* Names and shapes are there to look at in the second run alone. */
static void net_check_shared(const q_net *n, uint32_t i, const char *path, const q_param_type *type)
{
    const q_model *m = n->graph->model;
    const model_param *p = m != NULL && n->param[i] < m->n.params ? &m->params[n->param[i]] : NULL;
    if (p != NULL && n->graph->diag.code == Q_OK) {
        if (!q_names_equal(p->name, path)) {
            q_graph_fail(n->graph, Q_ERR_INVALID_ARG, path, "name: its hash is another parameter's");
        } else if (memcmp(&p->type, type, sizeof(*type)) != 0) {
            q_graph_fail(n->graph, Q_ERR_INVALID_SHAPE, path, "shared in another shape");
        }
    }
}

static q_param net_add(q_net *n, const q_param_desc *desc)
{
    q_param param = q_graph_param(n->graph, desc);
    if (n->n_known == Q_NET_PARAMS) {
        q_graph_fail(n->graph, Q_ERR_LIMIT, desc->name, "parameters");
        return Q_NONE;
    }
    n->hash[n->n_known] = q_graph_name_key(desc->name);
    n->param[n->n_known] = param;
    n->uses[n->n_known] = 0;
    n->n_known++;
    return param;
}

static q_weight net_slot(q_net *n, const net_name *path, uint32_t rows, uint32_t columns, q_init init, bool trains)
{
    uint32_t i = net_find(n, path->text);
    q_param_desc desc;
    q_weight w;
    memset(&desc, 0, sizeof(desc));
    desc.name = path->text;
    desc.type.dtype = Q_REAL;
    desc.type.ne[0] = desc.type.ne[1] = 1;
    desc.type.ne[2] = rows;
    desc.type.ne[3] = columns;
    desc.trainable = trains && !n->frozen && (n->trains == NULL || n->trains(n->user, path->text));
    desc.init = init;
    w.type = desc.type;
    if (i < n->n_known) {
        net_check_shared(n, i, path->text, &desc.type);
        w.param = n->param[i];
    } else {
        w.param = net_add(n, &desc);
    }
    return w;
}

q_weight q_net_weight(q_net *n, const char *name, uint32_t rows, uint32_t columns, q_init init)
{
    net_name path = net_path(n, name, "", Q_NONE);
    return net_slot(n, &path, rows, columns, init, true);
}

q_weight q_net_part(q_net *n, const char *name, const char *part, uint32_t rows, uint32_t columns, q_init init)
{
    net_name path = net_path(n, name, part, Q_NONE);
    return net_slot(n, &path, rows, columns, init, true);
}

q_weight q_net_buffer(q_net *n, const char *name, const char *part, uint32_t columns, double value)
{
    net_name path = net_path(n, name, part, Q_NONE);
    const q_init init = {Q_INIT_CONSTANT, 0, value};
    return net_slot(n, &path, 1, columns, init, false);
}

/* ---- Layers ----------------------------------------------------------------------------------------------- */

/* That of the layer, with a number where its first parameter has named a node before; or the class's, with a number. */
static net_name net_node_name(q_net *n, const q_net_layer_desc *desc)
{
    uint32_t i = 0;
    if (desc->name == NULL) {
        return net_path(n, desc->cls != NULL && desc->cls->name != NULL ? desc->cls->name : "", "", n->graph->n.nodes);
    }
    while (desc->n_param != 0 && i < n->n_known && n->param[i] != desc->param[0].param) {
        i++;
    }
    if (desc->n_param == 0 || i == n->n_known || n->uses[i]++ == 0) {
        return net_path(n, desc->name, "", Q_NONE);
    }
    if (n->uses[i] == 0) {
        q_graph_fail(n->graph, Q_ERR_LIMIT, desc->name, "uses");
    }
    return net_path(n, desc->name, "#", (uint32_t)n->uses[i] - 1);
}

/* The shape rule of the class, as a plan of the smallest step would ask it. False: the build has failed. */
static bool net_infer(q_net *n, const q_net_layer_desc *desc, const char *name, q_value_type out[Q_MAX_OUTPUTS])
{
    q_value_type in[Q_MAX_INPUTS];
    q_param_type param[Q_MAX_PARAMS];
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_node_info info;
    memset(&info, 0, sizeof(info));
    for (uint32_t i = 0; i < desc->n_in; i++) {
        in[i] = desc->in[i].type;
    }
    for (uint32_t i = 0; i < desc->n_param; i++) {
        param[i] = desc->param[i].type;
    }
    info.config = desc->config;
    info.n_in = desc->n_in;
    info.n_out = desc->cls->n_out;
    info.n_param = desc->n_param;
    info.precision = Q_PRECISION_EXACT;
    info.in = in;
    info.out = out;
    info.param = param;
    info.max.batch = info.max.tokens = info.max.selected = info.max.kv = info.max.sequences = 1;
    info.kv_dtype = Q_REAL;
    memset(out, 0, Q_MAX_OUTPUTS * sizeof(*out));
    if (desc->cls->shape(&info, &d) != Q_OK) {
        n->graph->diag = d;
        (void)q_diag_node(&n->graph->diag, d.code != Q_OK ? d.code : Q_ERR_INVALID_SHAPE, name);
        return false;
    }
    return true;
}

/* Q_NONE: the build has failed. */
static q_value net_place(q_net *n, const q_net_layer_desc *desc, const char *name)
{
    q_node_desc node;
    memset(&node, 0, sizeof(node));
    node.cls = desc->cls;
    node.name = name;
    node.config = desc->config;
    node.n_in = desc->n_in;
    node.n_param = desc->n_param;
    if (desc->n_in > Q_MAX_INPUTS || desc->n_param > Q_MAX_PARAMS) {
        q_graph_fail(n->graph, Q_ERR_INVALID_ARG, name, desc->n_in > Q_MAX_INPUTS ? "n_in" : "n_param");
        return Q_NONE;
    }
    for (uint32_t i = 0; i < desc->n_in; i++) {
        node.in[i] = desc->in[i].value;
    }
    for (uint32_t i = 0; i < desc->n_param; i++) {
        node.param[i] = desc->param[i].param;
    }
    return q_graph_node(n->graph, &node);
}

q_edge q_net_layer(q_net *n, const q_net_layer_desc *desc)
{
    net_name name = net_node_name(n, desc);
    q_value_type out[Q_MAX_OUTPUTS];
    q_edge x;
    memset(&x, 0, sizeof(x));
    x.value = net_place(n, desc, name.text);
    if (x.value == Q_NONE || !net_infer(n, desc, name.text, out)) {
        x.value = Q_NONE;
        return x;
    }
    x.type = out[0];
    for (uint32_t i = 1; desc->more != NULL && i < desc->cls->n_out; i++) {
        desc->more[i - 1].value = x.value + i;
        desc->more[i - 1].type = out[i];
    }
    return x;
}

q_edge q_net_map(q_net *n, const q_layer_class *cls, const char *name, const void *config, q_edge x,
                 const q_weight *param, uint32_t n_param)
{
    const q_net_layer_desc desc = {cls, name, config, &x, param, 1, n_param, NULL};
    return q_net_layer(n, &desc);
}

q_edge q_net_join(q_net *n, const q_layer_class *cls, const void *config, q_edge a, q_edge b)
{
    const q_edge in[2] = {a, b};
    const q_net_layer_desc desc = {cls, NULL, config, in, NULL, 2, 0, NULL};
    return q_net_layer(n, &desc);
}

/* ---- Inputs and outputs ----------------------------------------------------------------------------------- */

q_edge q_net_input(q_net *n, const q_input_desc *desc)
{
    q_edge x;
    memset(&x, 0, sizeof(x));
    x.value = q_graph_input(n->graph, desc);
    if (x.value != Q_NONE) {
        x.type = desc->type;
    }
    return x;
}

/* [batch, height, width, columns], of which axis `counted` is as long as `symbol` says. */
static q_edge net_input(q_net *n, const char *name, const uint32_t dim[Q_MAX_DIMS], uint32_t counted, uint32_t symbol,
                        uint32_t limit)
{
    q_input_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.name = name;
    desc.type.dtype = limit != 0 ? (uint32_t)Q_I32 : (uint32_t)Q_REAL;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        desc.type.dim[d].n = dim[d];
        desc.type.dim[d].sym = d == counted ? symbol : (uint32_t)Q_SYM_ONE;
    }
    desc.limit = limit;
    return q_net_input(n, &desc);
}

q_edge q_net_features(q_net *n, const char *name, uint32_t columns)
{
    const uint32_t dim[Q_MAX_DIMS] = {1, 1, 1, columns};
    return net_input(n, name, dim, 0, Q_SYM_BATCH, 0);
}

q_edge q_net_images(q_net *n, const char *name, uint32_t height, uint32_t width, uint32_t channels)
{
    const uint32_t dim[Q_MAX_DIMS] = {1, height, width, channels};
    return net_input(n, name, dim, 0, Q_SYM_BATCH, 0);
}

q_edge q_net_sequences(q_net *n, const char *name, uint32_t rows, uint32_t columns)
{
    const uint32_t dim[Q_MAX_DIMS] = {1, 1, rows, columns};
    return net_input(n, name, dim, 0, Q_SYM_BATCH, 0);
}

q_edge q_net_rows(q_net *n, const char *name, uint32_t columns)
{
    const uint32_t dim[Q_MAX_DIMS] = {1, 1, 1, columns};
    return net_input(n, name, dim, 2, Q_SYM_TOKENS, 0);
}

static q_edge net_ids(q_net *n, const char *name, uint32_t symbol, uint32_t limit)
{
    const uint32_t dim[Q_MAX_DIMS] = {1, 1, 1, 1};
    return net_input(n, name, dim, 3, symbol, limit);
}

q_edge q_net_tokens(q_net *n, const char *name, uint32_t vocab)
{
    return net_ids(n, name, Q_SYM_TOKENS, vocab);
}

q_edge q_net_labels(q_net *n, const char *name, uint32_t classes)
{
    return net_ids(n, name, Q_SYM_BATCH, classes + 1);
}

q_edge q_net_targets(q_net *n, const char *name, uint32_t classes)
{
    return net_ids(n, name, Q_SYM_TOKENS, classes + 1);
}

q_edge q_net_lengths(q_net *n, const char *name, uint32_t rows)
{
    return net_ids(n, name, Q_SYM_BATCH, rows + 1);
}

void q_net_output(q_net *n, const char *name, q_edge x)
{
    q_graph_output(n->graph, name, x.value);
}
