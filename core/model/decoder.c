/* SPDX-License-Identifier: MIT */
/*
 * The graph of a decoder-only language model, expanded from its architecture record. Per layer:
 *
 *   h = norm(x); q, k, v = h Wq, h Wk, h Wv; x += s attention(rope(q), rope(k), v) Wo
 *   h = norm(x); x += s (silu(h Wgate) * (h Wup)) Wdown
 *
 * then the rows whose logits are wanted, the final norm, and the product with the output matrix; logits times a scale,
 * and c tanh(logits/c) for a softcap c. A product W x with an adapter is W x + (alpha/rank) B (A x).
 */
#include "decoder.h"

enum { NAME_BYTES = 64 };

/* One decoder being built. */
typedef struct decoder {
    q_graph *g;
    const q_decoder_build *build;
    const q_file_arch *arch;
    const uint8_t *kinds;
    q_value table;       /* rope tables: full layers, and windowed ones where their base differs */
    q_value local_table;
    char name[NAME_BYTES];
} decoder;

/* "layers.N.part", or just "part" for layer Q_NONE. */
static const char *part_name(decoder *d, uint32_t layer, const char *part)
{
    q_text t;
    q_text_init(&t, d->name, sizeof(d->name));
    if (layer != Q_NONE) {
        q_text_str(&t, "layers.");
        q_text_u64(&t, layer, 0);
        q_text_str(&t, ".");
    }
    q_text_str(&t, part);
    return d->name;
}

/* Shape of a parameter and what it begins as. */
typedef struct decoder_param {
    const char *part;
    uint32_t rows;
    uint32_t columns;
    q_init init;
} decoder_param;

/* False, and *view as it was, where the file has no such tensor. */
static bool find_view(const q_file *file, const char *name, q_tensor *view)
{
    uint32_t index;
    size_t n = 0;
    while (name[n] != '\0') {
        n++;
    }
    if (q_file_find(file, name, n, &index) != Q_OK) {
        return false;
    }
    q_file_tensor(file, index, view);
    return true;
}

static bool is_trained(const decoder *d, const char *name)
{
    return d->build->trains != NULL ? d->build->trains(d->build->user, name) : d->build->file == NULL;
}

static q_param slot(decoder *d, const char *name, const decoder_param *p, bool trainable)
{
    q_param_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.name = name;
    desc.trainable = trainable;
    desc.type.dtype = Q_REAL;
    desc.type.ne[0] = desc.type.ne[1] = 1;
    desc.type.ne[2] = p->rows;
    desc.type.ne[3] = p->columns;
    desc.init = p->init;
    return q_graph_param(d->g, &desc);
}

/* A file's tensor in place. */
static q_param view_param(decoder *d, const q_file *file, const char *name)
{
    q_param_desc desc;
    q_tensor view;
    if (!find_view(file, name, &view)) {
        q_graph_fail(d->g, Q_ERR_NOT_FOUND, name, "tensor");
        return Q_NONE;
    }
    memset(&desc, 0, sizeof(desc));
    desc.name = name;
    desc.view = &view;
    desc.type.dtype = view.dtype;
    desc.type.layout = view.layout;
    memcpy(desc.type.ne, view.ne, sizeof(view.ne));
    return q_graph_param(d->g, &desc);
}

/* The file's tensor in place, or a slot: where it trains, and where there is no file. A core that only runs models has no
   slots of decoders. */
static q_param param(decoder *d, uint32_t layer, const decoder_param *p)
{
    const char *name = part_name(d, layer, p->part);
    bool trains = Q_TRAINING(is_trained(d, name));
    return Q_TRAINING(trains || d->build->file == NULL) ? slot(d, name, p, trains)
                                                        : view_param(d, d->build->file, name);
}

/* Of the file of adapters, or a slot that trains. */
static q_param adapter_param(decoder *d, uint32_t layer, const decoder_param *p)
{
    const char *name = part_name(d, layer, p->part);
    return d->build->adapters != NULL ? view_param(d, d->build->adapters, name) : slot(d, name, p, true);
}

static q_param matrix(decoder *d, uint32_t layer, const char *part, uint32_t rows, uint32_t columns, double deviation)
{
    const decoder_param p = {part, rows, columns, {Q_INIT_NORMAL, 0, deviation}};
    return param(d, layer, &p);
}

static q_param vector(decoder *d, uint32_t layer, const char *part, uint32_t columns, double value)
{
    const decoder_param p = {part, 1, columns, {Q_INIT_CONSTANT, 0, value}};
    return param(d, layer, &p);
}

/* A node of a library class, or of the class the caller wants in its place. */
static q_value node(decoder *d, const q_layer_class *cls, const void *config, uint32_t layer, const char *part,
                    const q_value *in, uint32_t n_in, const q_param *param, uint32_t n_param)
{
    q_node_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.cls = cls;
    desc.config = config;
    desc.name = part_name(d, layer, part);
    desc.n_in = n_in;
    desc.n_param = n_param;
    memcpy(desc.in, in, n_in * sizeof(*in));
    if (n_param != 0) {
        memcpy(desc.param, param, n_param * sizeof(*param));
    }
    q_build_swap(d->build->swaps, d->build->n_swaps, &desc);
    return q_graph_node(d->g, &desc);
}

static q_value norm(decoder *d, uint32_t layer, const char *part, q_value x, uint32_t group)
{
    q_rmsnorm_config c = {d->arch->norm_eps, d->arch->norm_offset, group, 0};
    q_param w = vector(d, layer, part, group != 0 ? group : d->arch->d_model, 1.0 - (double)d->arch->norm_offset);
    return node(d, &q_layer_rmsnorm, &c, layer, part, &x, 1, &w, 1);
}

/* factor * x, which is x itself for 1. */
static q_value scaled(decoder *d, uint32_t layer, const char *part, float factor, q_value x)
{
    const q_scale_config c = {factor, 0};
    return factor == 1.0f ? x : node(d, &q_layer_scale, &c, layer, part, &x, 1, NULL, 0);
}

static q_value binary(decoder *d, const q_layer_class *cls, uint32_t layer, const char *part, q_value a, q_value b)
{
    q_value in[2];
    in[0] = a;
    in[1] = b;
    return node(d, cls, NULL, layer, part, in, 2, NULL, 0);
}

/* A product of the decoder. */
typedef struct decoder_product {
    const char *part;
    const char *bias; /* or NULL */
    uint32_t rows;
    uint32_t columns;
    uint32_t activation;
    double deviation; /* of its first weights */
} decoder_product;

/* ---- Adapters --------------------------------------------------------------------------------------------- */

/* "q" and ".lora_a" make "q.lora_a". */
static const char *joined(char name[NAME_BYTES], const char *part, const char *more)
{
    q_text t;
    q_text_init(&t, name, NAME_BYTES);
    q_text_str(&t, part);
    q_text_str(&t, more);
    return name;
}

/* W x, with first weights of that deviation. */
static q_value plain_product(decoder *d, uint32_t layer, const char *part, uint32_t rows, uint32_t columns,
                             double deviation, q_value x)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    const decoder_param p = {part, rows, columns, {Q_INIT_NORMAL, 0, deviation}};
    q_param w = adapter_param(d, layer, &p);
    return node(d, &q_layer_linear, &plain, layer, part, &x, 1, &w, 1);
}

/* Rank of the adapter of a product; 0: it has none. */
static uint32_t adapter_rank(decoder *d, uint32_t layer, const char *part)
{
    const q_decoder_build *b = d->build;
    char name[NAME_BYTES];
    q_tensor a;
    if (b->adapters != NULL) {
        return find_view(b->adapters, part_name(d, layer, joined(name, part, ".lora_a")), &a) ? a.ne[2] : 0;
    }
    return b->adapts != NULL && b->adapts(b->user, part_name(d, layer, part)) ? b->lora_rank : 0;
}

/* (alpha/rank) B (A x), where product p has an adapter; else Q_NONE. */
static q_value adapter(decoder *d, uint32_t layer, const decoder_product *p, q_value x)
{
    uint32_t rank = adapter_rank(d, layer, p->part);
    char name[NAME_BYTES];
    if (rank == 0) {
        return Q_NONE;
    }
    if (p->activation != Q_ACT_NONE) {
        q_graph_fail(d->g, Q_ERR_UNSUPPORTED, part_name(d, layer, p->part), "adapter of a product with an activation");
        return Q_NONE;
    }
    x = plain_product(d, layer, joined(name, p->part, ".lora_a"), rank, p->columns,
                      1.0 / q_sqrt_f64((double)p->columns), x);
    x = plain_product(d, layer, joined(name, p->part, ".lora_b"), p->rows, rank, 0, x);
    return scaled(d, layer, joined(name, p->part, ".lora_scale"), (float)(d->build->lora_alpha / rank), x);
}

static q_value product(decoder *d, uint32_t layer, const decoder_product *p, q_value x)
{
    q_linear_config c = {p->activation, 0};
    q_param w[2];
    uint32_t n = 1;
    char name[NAME_BYTES];
    q_value more = Q_TRAINING(1) ? adapter(d, layer, p, x) : Q_NONE; /* before the product, which then adds it */
    w[0] = matrix(d, layer, p->part, p->rows, p->columns, p->deviation);
    if (p->bias != NULL) {
        w[n++] = vector(d, layer, p->bias, p->rows, 0);
    }
    x = node(d, &q_layer_linear, &c, layer, p->part, &x, 1, w, n);
    return more == Q_NONE ? x : binary(d, &q_layer_add, layer, joined(name, p->part, ".lora_add"), more, x);
}

static q_value rope_table(decoder *d, const char *part, double base, q_value tokens)
{
    const q_file_arch *a = d->arch;
    q_rope_table_config c;
    memset(&c, 0, sizeof(c));
    c.n_pairs = a->rope_dims / 2;
    c.scaling = a->rope_scaling;
    c.original_context = a->rope_original_context;
    c.base = base;
    c.factor = a->rope_factor;
    c.low = a->rope_low;
    c.high = a->rope_high;
    c.magnitude = a->rope_magnitude;
    return node(d, &q_layer_rope_table, &c, Q_NONE, part, &tokens, 1, NULL, 0);
}

static q_value rotate(decoder *d, uint32_t layer, const char *part, uint32_t heads, q_value x)
{
    q_rope_config c = {heads, d->arch->head_dim};
    q_value table = d->kinds[layer] == Q_LAYER_WINDOW ? d->local_table : d->table;
    q_value in[2];
    if (d->kinds[layer] == Q_LAYER_NO_ROPE) {
        return x;
    }
    in[0] = x;
    in[1] = table;
    return node(d, &q_layer_rope, &c, layer, part, in, 2, NULL, 0);
}

static q_value attention(decoder *d, uint32_t layer, q_value h)
{
    const q_file_arch *a = d->arch;
    bool bias = (a->flags & Q_ARCH_QKV_BIAS) != 0;
    q_attention_config c;
    q_value in[3];
    const decoder_product q = {"q", bias ? "q_bias" : NULL, a->n_heads * a->head_dim, a->d_model, Q_ACT_NONE, 0.02};
    const decoder_product k = {"k", bias ? "k_bias" : NULL, a->n_kv_heads * a->head_dim, a->d_model, Q_ACT_NONE, 0.02};
    const decoder_product v = {"v", bias ? "v_bias" : NULL, a->n_kv_heads * a->head_dim, a->d_model, Q_ACT_NONE, 0.02};
    in[0] = product(d, layer, &q, h);
    in[1] = product(d, layer, &k, h);
    in[2] = product(d, layer, &v, h);
    if ((a->flags & Q_ARCH_QK_NORM) != 0) {
        in[0] = norm(d, layer, "q_norm", in[0], a->head_dim);
        in[1] = norm(d, layer, "k_norm", in[1], a->head_dim);
    }
    in[0] = rotate(d, layer, "q_rope", a->n_heads, in[0]);
    in[1] = rotate(d, layer, "k_rope", a->n_kv_heads, in[1]);
    memset(&c, 0, sizeof(c));
    c.heads = a->n_heads;
    c.kv_heads = a->n_kv_heads;
    c.head_dim = a->head_dim;
    c.window = d->kinds[layer] == Q_LAYER_WINDOW ? a->window : 0;
    c.scale = a->attn_scale;
    c.softcap = a->attn_softcap;
    return node(d, &q_layer_attention, &c, layer, "attention", in, 3, NULL, 0);
}

/* What enters the residual stream begins smaller, the deeper the model is. */
static double residual_deviation(const decoder *d)
{
    return Q_TRAINING(1) ? 0.02 / q_sqrt_f64(2.0 * d->arch->n_layers) : 0;
}

/* SwiGLU has a kernel of its own; any other gate is the epilogue of its product. */
static q_value feed_forward(decoder *d, uint32_t layer, q_value h)
{
    const q_file_arch *a = d->arch;
    bool silu = a->activation == Q_ACT_SILU;
    const decoder_product gate = {"gate", NULL, a->d_ffn, a->d_model, silu ? (uint32_t)Q_ACT_NONE : a->activation, 0.02};
    const decoder_product up = {"up", NULL, a->d_ffn, a->d_model, Q_ACT_NONE, 0.02};
    const decoder_product down = {"down", NULL, a->d_model, a->d_ffn, Q_ACT_NONE, residual_deviation(d)};
    q_value x = product(d, layer, &gate, h);
    q_value y = product(d, layer, &up, h);
    x = silu ? binary(d, &q_layer_silu_mul, layer, "silu_mul", x, y) : binary(d, &q_layer_mul, layer, "gate_mul", x, y);
    return product(d, layer, &down, x);
}

/* What of x training drops, where it drops any. */
static q_value dropped(decoder *d, const q_layer_class *cls, uint32_t layer, const char *part, float rate, q_value x)
{
    const q_dropout_config c = {rate, 0};
    return rate == 0 ? x : node(d, cls, &c, layer, part, &x, 1, NULL, 0);
}

/* What one of a layer's two parts made of the residual stream x joins it. */
static q_value join(decoder *d, uint32_t layer, const char *part, q_value x, q_value y)
{
    const q_decoder_build *b = d->build;
    char name[NAME_BYTES];
    if ((d->arch->flags & Q_ARCH_POST_NORMS) != 0) {
        y = norm(d, layer, joined(name, part, "_post_norm"), y, 0);
    }
    y = scaled(d, layer, joined(name, part, "_scale"), d->arch->residual_scale, y);
    if (Q_TRAINING(1)) {
        float deep = (float)(layer + 1) / (float)d->arch->n_layers;
        y = dropped(d, &q_layer_dropout, layer, joined(name, part, "_drop"), b->dropout, y);
        y = dropped(d, &q_layer_drop_path, layer, joined(name, part, "_path"), b->drop_path * deep, y);
    }
    return binary(d, &q_layer_add, layer, joined(name, part, "_add"), x, y);
}

static q_value block(decoder *d, uint32_t layer, q_value x)
{
    const decoder_product o = {"o",        NULL, d->arch->d_model, d->arch->n_heads * d->arch->head_dim,
                               Q_ACT_NONE, residual_deviation(d)};
    x = join(d, layer, "attn", x, product(d, layer, &o, attention(d, layer, norm(d, layer, "attn_norm", x, 0))));
    return join(d, layer, "ffn", x, feed_forward(d, layer, norm(d, layer, "ffn_norm", x, 0)));
}

static q_value embed(decoder *d, q_value tokens, q_param *weight)
{
    q_embedding_config c = {d->arch->embed_scale, 0};
    *weight = matrix(d, Q_NONE, "embed", d->arch->n_vocab, d->arch->d_model, 0.02);
    return node(d, &q_layer_embedding, &c, Q_NONE, "embed", &tokens, 1, weight, 1);
}

/* c * tanh(x/c), x/c as a product with 1/c. */
static q_value capped(decoder *d, float cap, q_value x)
{
    static const q_activation_config tanh = {Q_ACT_TANH, 0};
    x = scaled(d, Q_NONE, "softcap_in", 1.0f / cap, x);
    x = node(d, &q_layer_activation, &tanh, Q_NONE, "softcap_tanh", &x, 1, NULL, 0);
    return scaled(d, Q_NONE, "softcap_out", cap, x);
}

static q_value head(decoder *d, q_value x, q_param embedding)
{
    /* The error of one plane would go straight into the logits: a third of what a whole model adds up to. */
    q_linear_config c = {Q_ACT_NONE, 2};
    bool tied = (d->arch->flags & Q_ARCH_TIED) != 0;
    q_param w = tied ? embedding : matrix(d, Q_NONE, "output", d->arch->n_vocab, d->arch->d_model, 0.02);
    if ((d->build->flags & Q_DECODER_ALL_ROWS) == 0) {
        x = node(d, &q_layer_select_rows, NULL, Q_NONE, "select_rows", &x, 1, NULL, 0);
    }
    x = norm(d, Q_NONE, "norm", x, 0);
    x = node(d, &q_layer_linear, &c, Q_NONE, "logits", &x, 1, &w, 1);
    x = scaled(d, Q_NONE, "logit_scale", d->arch->logit_scale, x);
    return d->arch->logit_softcap != 0 ? capped(d, d->arch->logit_softcap, x) : x;
}

/* What the format can say and this builder does not do yet, by field. */
static const char *unsupported_field(const q_file_arch *a)
{
    if (a->kind != Q_ARCH_DECODER) {
        return "kind";
    }
    return a->rope_scaling > Q_ROPE_LLAMA3 ? "rope_scaling" : NULL;
}

static bool is_share(float x)
{
    return x >= 0 && x < 1;
}

static const char *bad_adapter_field(const q_decoder_build *b)
{
    bool any = b->adapts != NULL || b->adapters != NULL;
    if (any && (!(b->lora_alpha - b->lora_alpha == 0) || b->lora_alpha == 0)) {
        return "lora_alpha";
    }
    if (b->adapters != NULL) {
        return b->file == NULL || b->adapts != NULL ? "adapters" : NULL;
    }
    return b->adapts != NULL && (b->lora_rank == 0 || b->lora_rank > Q_CAP_WIDTH) ? "lora_rank" : NULL;
}

/* True if what the caller asks can be built; otherwise the build has failed. */
static bool request_is_good(q_graph *g, const q_decoder_build *b)
{
    q_diag d;
    const char *field = NULL;
    if (b == NULL || b->struct_size != sizeof(*b)) {
        field = "struct_size";
    } else if ((b->flags & ~(uint32_t)Q_DECODER_ALL_ROWS) != 0) {
        field = "flags";
    } else if (b->reserved != 0) {
        field = "reserved";
    } else if (b->file == NULL ? Q_TRAINING(b->arch) == NULL : b->arch == NULL && q_file_get_arch(b->file) == NULL) {
        field = "arch";
    } else if (Q_TRAINING(!is_share(b->dropout) || !is_share(b->drop_path))) {
        field = is_share(b->dropout) ? "drop_path" : "dropout";
    } else if (Q_TRAINING(1)) {
        field = bad_adapter_field(b);
    }
    if (field != NULL) {
        q_graph_fail(g, Q_ERR_INVALID_ARG, "q_decoder_build", field);
        return false;
    }
    if (b->arch != NULL && (b->arch->n_layers > Q_CAP_LAYERS || q_file_arch_check(b->arch, b->arch->n_layers, &d) != Q_OK)) {
        q_graph_fail(g, b->arch->n_layers > Q_CAP_LAYERS ? Q_ERR_LIMIT : d.code, "architecture",
                     b->arch->n_layers > Q_CAP_LAYERS ? "n_layers" : d.field);
        return false;
    }
    field = unsupported_field(b->arch != NULL ? b->arch : q_file_get_arch(b->file));
    if (field != NULL) {
        q_graph_fail(g, Q_ERR_UNSUPPORTED, "architecture", field);
    }
    return field == NULL;
}

q_value q_graph_decoder(q_graph *g, const q_decoder_build *build, q_value tokens)
{
    decoder d;
    q_value x;
    q_param embedding;
    if (!request_is_good(g, build)) {
        return Q_NONE;
    }
    memset(&d, 0, sizeof(d));
    d.g = g;
    d.build = build;
    d.arch = build->arch != NULL ? build->arch : q_file_get_arch(build->file);
    d.kinds = (const uint8_t *)d.arch + sizeof(*d.arch);
    d.table = rope_table(&d, "rope_table", d.arch->rope_base, tokens);
    d.local_table = d.table;
    if (d.arch->rope_local_base != 0 && d.arch->rope_local_base != d.arch->rope_base) {
        d.local_table = rope_table(&d, "rope_local_table", d.arch->rope_local_base, tokens);
    }
    x = embed(&d, tokens, &embedding);
    x = Q_TRAINING(1) ? dropped(&d, &q_layer_dropout, Q_NONE, "embed_drop", build->dropout, x) : x;
    for (uint32_t layer = 0; layer < d.arch->n_layers; layer++) {
        q_graph_block(g, layer + 1);
        x = block(&d, layer, x);
    }
    q_graph_block(g, 0);
    return head(&d, x, embedding);
}

void q_build_decoder(q_graph *g, const void *decoder_build)
{
    const q_decoder_build *build = (const q_decoder_build *)decoder_build;
    q_input_desc desc;
    q_value logits;
    if (!request_is_good(g, build)) {
        return;
    }
    memset(&desc, 0, sizeof(desc));
    desc.name = "tokens";
    desc.type.dtype = Q_I32;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        desc.type.dim[i].n = 1;
    }
    desc.type.dim[3].sym = Q_SYM_TOKENS;
    desc.limit = build->arch != NULL ? build->arch->n_vocab : q_file_get_arch(build->file)->n_vocab;
    logits = q_graph_decoder(g, build, q_graph_input(g, &desc));
    q_graph_output(g, "logits", logits);
}
