/* SPDX-License-Identifier: MIT */
/* Describing a network: transformers, of the layers of net_layers.c. Names are those of a decoder's file (decoder.c). */
#include "net.h"

q_edge q_net_rope_table(q_net *n, q_edge tokens, uint32_t head_dim, double base)
{
    q_rope_table_config config;
    memset(&config, 0, sizeof(config));
    config.n_pairs = head_dim / 2;
    config.base = base;
    config.factor = config.low = config.high = config.magnitude = 1;
    return q_net_map(n, &q_layer_rope_table, NULL, &config, tokens, NULL, 0);
}

static q_edge net_rotate(q_net *n, const q_net_attention_config *c, uint32_t heads, uint32_t head_dim, q_edge x)
{
    const q_rope_config config = {heads, head_dim};
    return c->table != NULL ? q_net_join(n, &q_layer_rope, &config, x, *c->table) : x;
}

/* What the product behind attention reads; q, k and v in this order. */
static q_edge net_attend(q_net *n, q_edge x, const q_net_attention_config *c)
{
    uint32_t kv_heads = c->kv_heads != 0 ? c->kv_heads : c->heads;
    uint32_t columns = x.type.dim[3].n;
    uint32_t head_dim = c->head_dim != 0 || c->heads == 0 ? c->head_dim : columns / c->heads;
    q_attention_config config;
    q_net_layer_desc desc;
    q_edge in[4];
    in[0] = q_net_project(n, "q", x, c->heads * head_dim);
    in[1] = q_net_project(n, "k", x, kv_heads * head_dim);
    in[2] = q_net_project(n, "v", x, kv_heads * head_dim);
    in[0] = net_rotate(n, c, c->heads, head_dim, in[0]);
    in[1] = net_rotate(n, c, kv_heads, head_dim, in[1]);
    in[3] = c->lengths != NULL ? *c->lengths : in[2];
    memset(&config, 0, sizeof(config));
    config.heads = c->heads;
    config.kv_heads = kv_heads;
    config.head_dim = head_dim;
    config.window = c->window;
    config.scale = (float)(1 / q_sqrt_f64((double)(head_dim != 0 ? head_dim : 1)));
    memset(&desc, 0, sizeof(desc));
    desc.cls = c->full ? &q_layer_attention_full : &q_layer_attention;
    desc.config = &config;
    desc.in = in;
    desc.n_in = c->lengths != NULL ? 4 : 3;
    return q_net_layer(n, &desc);
}

/* The product that enters the residual stream, from `init` on unless the caller has said how matrices begin. */
static q_edge net_residual(q_net *n, const char *name, q_edge x, uint32_t columns, const q_init *init)
{
    q_init before = n->init;
    n->init = init != NULL ? *init : before;
    x = q_net_project(n, name, x, columns);
    n->init = before;
    return x;
}

q_edge q_net_attention(q_net *n, q_edge x, const q_net_attention_config *config)
{
    return q_net_project(n, "o", net_attend(n, x, config), x.type.dim[3].n);
}

static q_edge net_gated(q_net *n, q_edge x, uint32_t width)
{
    q_edge gate = q_net_project(n, "gate", x, width);
    return q_net_silu_mul(n, gate, q_net_project(n, "up", x, width));
}

q_edge q_net_swiglu(q_net *n, q_edge x, uint32_t width)
{
    return q_net_project(n, "down", net_gated(n, x, width), x.type.dim[3].n);
}

static q_edge net_block(q_net *n, q_edge x, const q_net_transformer_config *c, const q_init *init)
{
    uint32_t columns = x.type.dim[3].n;
    q_edge h = net_attend(n, q_net_rmsnorm(n, "attn_norm", x), &c->attention);
    x = q_net_add(n, x, net_residual(n, "o", h, columns, init));
    h = net_gated(n, q_net_rmsnorm(n, "ffn_norm", x), c->width);
    return q_net_add(n, x, net_residual(n, "down", h, columns, init));
}

q_edge q_net_transformer(q_net *n, const char *name, q_edge x, const q_net_transformer_config *config)
{
    const q_init before = n->init;
    const q_init into_residual = {Q_INIT_NORMAL, 0, 0.02 / q_sqrt_f64(2.0 * (config->layers != 0 ? config->layers : 1))};
    bool usual = before.kind == Q_INIT_NONE;
    if (usual) {
        n->init = (q_init){Q_INIT_NORMAL, 0, 0.02};
    }
    for (uint32_t i = 0; i < config->layers; i++) {
        uint32_t outer = q_net_enter(n, name, i);
        q_graph_block(n->graph, ++n->n_blocks);
        x = net_block(n, x, config, usual ? &into_residual : NULL);
        q_net_leave(n, outer);
    }
    q_graph_block(n->graph, 0);
    n->init = before;
    return x;
}
