/* SPDX-License-Identifier: MIT */
/* net.h: what the parts of the builder of networks share; private to core/model. */
#ifndef QORUS_CORE_MODEL_NET_H
#define QORUS_CORE_MODEL_NET_H

#include "../core.h"
#include "qorus/net.h"

/* Parameter NAME + part; matrices begin as q_net.init says, where it says something. */
q_weight q_net_part(q_net *n, const char *name, const char *part, uint32_t rows, uint32_t columns, q_init init);
/* The same for one that does not train, whatever is asked: running statistics. */
q_weight q_net_buffer(q_net *n, const char *name, const char *part, uint32_t columns, double value);

static inline q_weight q_net_vector(q_net *n, const char *name, const char *part, uint32_t columns, double value)
{
    const q_init init = {Q_INIT_CONSTANT, 0, value};
    return q_net_part(n, name, part, 1, columns, init);
}

/* A layer of one input. */
q_edge q_net_map(q_net *n, const q_layer_class *cls, const char *name, const void *config, q_edge x,
                 const q_weight *param, uint32_t n_param);
/* A layer of two inputs without parameters. */
q_edge q_net_join(q_net *n, const q_layer_class *cls, const void *config, q_edge a, q_edge b);

#endif /* QORUS_CORE_MODEL_NET_H */
