/* SPDX-License-Identifier: MIT */
/* values.c: the operands of values.h. */
#include <string.h>

#include "values.h"

float values_random(void)
{
    return (float)((double)(ops_random() >> 40) / (1 << 21) - 4.0);
}

void values_fill(uint32_t buffer)
{
    float *to = (float *)(void *)ops_buffer(buffer);
    for (uint32_t i = 0; i < OPS_BUFFER / 4; i++) {
        to[i] = values_random();
    }
}

q_tensor values_view(uint32_t buffer, lie how, uint32_t b, uint32_t h, uint32_t r, uint32_t c)
{
    q_tensor t;
    size_t row = c * sizeof(q_real) + (how == ROWS_APART ? 20 : 0);
    memset(&t, 0, sizeof(t));
    t.data = ops_buffer(buffer) + 64;
    t.dtype = Q_REAL;
    t.ne[0] = b;
    t.ne[1] = h;
    t.ne[2] = r;
    t.ne[3] = c;
    t.nb[3] = sizeof(q_real);
    t.nb[2] = how == HEADS_INSIDE ? row * h : row;
    t.nb[1] = how == HEADS_INSIDE ? row : row * r + (how == PLANES_APART ? 12 : 0);
    t.nb[0] = how == HEADS_INSIDE ? row * h * r : t.nb[1] * h + (how == PLANES_APART ? 28 : 0);
    return t;
}

q_tensor values_like(uint32_t buffer, lie how, const uint32_t ne[4])
{
    return values_view(buffer, how, ne[0], ne[1], ne[2], ne[3]);
}

float *values_row(const q_tensor *t, uint32_t b, uint32_t h, uint32_t r)
{
    b = t->ne[0] == 1 ? 0 : b;
    h = t->ne[1] == 1 ? 0 : h;
    return (float *)(void *)((uint8_t *)t->data + b * t->nb[0] + h * t->nb[1] + r * t->nb[2]);
}

/* The view of the reference that `out` has of the output. */
q_tensor values_reference(const q_tensor *out)
{
    q_tensor t = *out;
    t.data = ops_buffer(REFERENCE) + ((uint8_t *)out->data - ops_buffer(OUT));
    return t;
}

void values_begin(void)
{
    uint8_t *out = ops_buffer(OUT);
    for (uint32_t i = 0; i < OPS_BUFFER; i++) {
        out[i] = (uint8_t)(i * 31u + 7u);
    }
    memcpy(ops_buffer(REFERENCE), ops_buffer(OUT), OPS_BUFFER);
}

bool values_right(void)
{
    return memcmp(ops_buffer(REFERENCE), ops_buffer(OUT), OPS_BUFFER) == 0;
}
