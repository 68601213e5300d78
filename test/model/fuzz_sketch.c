/* SPDX-License-Identifier: MIT */
/* Numbers, values, inputs and parameters from a byte string: mostly what fits together, now and then what does not. */
#define _POSIX_C_SOURCE 200809L
#include "fuzz_sketch.h"

#include "qorus/base/panel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t fuzz_pick(source *s, uint32_t n)
{
    uint32_t byte = s->at < s->size ? s->data[s->at] : 0;
    s->at++;
    return n == 0 ? byte : byte % n;
}

/* True once in n. */
bool fuzz_rarely(source *s, uint32_t n)
{
    return fuzz_pick(s, n) == n - 1;
}

uint32_t fuzz_seed;

void fuzz_broken(const char *what, const q_diag *d)
{
    (void)printf("FAIL seed %u: %s (%d, %s: %s)\n", fuzz_seed, what, (int)d->code, d->what, d->field);
    (void)fflush(stdout);
    abort();
}

/* Memory of exactly so many bytes, filled with a pattern. */
void *fuzz_take(size_t size, int fill)
{
    void *p = NULL;
    if (posix_memalign(&p, 128, size != 0 ? size : 1) != 0) {
        exit(3);
    }
    memset(p, fill, size);
    return p;
}

const uint32_t sketch_columns[8] = {32, 64, 8, 16, 32, 24, 1, 3};
const uint32_t fuzz_extremes[8] = {0, 1, 2, 31, 65536, 1u << 20, 0x7fffffffu, UINT32_MAX};

static const char *next_name(sketch *k, char kind)
{
    (void)snprintf(k->name, sizeof(k->name), "%c%u", kind, k->n_names++);
    return k->name;
}

q_value_type sketch_type(uint32_t dtype, uint32_t d1, uint32_t d2, uint32_t sym2, uint32_t d3, uint32_t sym3)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = dtype;
    t.dim[0].n = 1;
    t.dim[1].n = d1;
    t.dim[2].n = d2;
    t.dim[2].sym = sym2;
    t.dim[3].n = d3;
    t.dim[3].sym = sym3;
    return t;
}

static q_value_type input_type(sketch *k, uint32_t kind)
{
    uint32_t c = sketch_columns[fuzz_pick(&k->s, 8)];
    switch (kind) {
    case 0:
        return sketch_type(Q_I32, 1, 1, Q_SYM_ONE, 1, Q_SYM_TOKENS);
    case 1:
    case 2:
        return sketch_type(Q_REAL, 1, 1, Q_SYM_TOKENS, c, Q_SYM_ONE);
    case 3:
        return sketch_type(Q_REAL, 1, 1, Q_SYM_BATCH, c, Q_SYM_ONE);
    case 4:
        return sketch_type(Q_REAL, 1 + fuzz_pick(&k->s, 3), 1, Q_SYM_TOKENS, c, Q_SYM_ONE);
    case 5:
        return sketch_type(Q_REAL, 1, 1 + fuzz_pick(&k->s, 3), fuzz_pick(&k->s, Q_SYM_COUNT), c, Q_SYM_ONE);
    case 6:
        return sketch_type(Q_I32, 1, 1 + fuzz_pick(&k->s, 3), Q_SYM_ONE, 1 + fuzz_pick(&k->s, 2), fuzz_pick(&k->s, Q_SYM_COUNT));
    default:
        break;
    }
    {
        q_value_type t;
        memset(&t, 0, sizeof(t));
        t.dtype = fuzz_pick(&k->s, 2) == 0 ? (uint32_t)Q_REAL : fuzz_pick(&k->s, Q_DTYPE_COUNT);
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            t.dim[d].n = fuzz_rarely(&k->s, 4) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : 1 + fuzz_pick(&k->s, 3);
            t.dim[d].sym = fuzz_rarely(&k->s, 4) ? fuzz_pick(&k->s, Q_SYM_COUNT + 1) : 0;
        }
        return t;
    }
}

static void keep(sketch *k, q_value v, const q_value_type *t)
{
    if (v != Q_NONE && k->n_values < MAX_VALUES) {
        k->types[k->n_values++] = *t;
    }
}

void sketch_input(sketch *k)
{
    static const uint32_t limits[] = {8, 8, 8, 5, 0, 9, 1u << 30, UINT32_MAX};
    uint32_t kind = fuzz_rarely(&k->s, 12) ? 7 : k->n_values == 0 ? fuzz_pick(&k->s, 3) + (k->r->trains ? 1u : 0u) : fuzz_pick(&k->s, 7);
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.type = input_type(k, kind);
    d.limit = limits[fuzz_pick(&k->s, 8)];
    d.name = next_name(k, 'i');
    if (d.type.dtype == Q_I32 && k->ids == Q_NONE) {
        k->ids = k->n_values;
    }
    keep(k, q_graph_input(k->g, &d), &d.type);
}

/* A view's memory: made once, found again whenever the builder runs. */
static void *view_memory(sketch *k, const q_param_type *t)
{
    uint64_t bytes;
    uint32_t i = k->views++;
    if (i >= MAX_VIEWS || !q_matrix_bytes(t->dtype, t->layout, (uint64_t)t->ne[0] * t->ne[1] * t->ne[2], t->ne[3], &bytes) ||
        bytes > MAX_BYTES || bytes == 0) {
        return NULL;
    }
    if (i >= k->r->n_views) {
        k->r->views[i] = fuzz_take((size_t)bytes, 0x3a);
        k->r->n_views = i + 1;
    }
    return k->r->views[i];
}

q_param sketch_param(sketch *k, uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t cols)
{
    q_param_desc d;
    q_tensor view;
    memset(&d, 0, sizeof(d));
    memset(&view, 0, sizeof(view));
    d.name = next_name(k, 'p');
    d.type.dtype = fuzz_rarely(&k->s, 60) ? fuzz_pick(&k->s, Q_DTYPE_COUNT + 1) : dtype;
    d.type.layout = fuzz_rarely(&k->s, 60) ? fuzz_pick(&k->s, 3) : layout;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = fuzz_rarely(&k->s, 60) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : rows;
    d.type.ne[3] = fuzz_rarely(&k->s, 60) ? fuzz_extremes[fuzz_pick(&k->s, 8)] : cols;
    if (fuzz_rarely(&k->s, 80)) {
        d.type.ne[1] = 2;
    }
    d.trainable = k->r->trains && !fuzz_rarely(&k->s, 5);
    if (fuzz_rarely(&k->s, 4)) {
        uint64_t row = 0;
        view.data = view_memory(k, &d.type);
        view.dtype = (uint8_t)d.type.dtype;
        view.layout = (uint8_t)d.type.layout;
        memcpy(view.ne, d.type.ne, sizeof(view.ne));
        if (d.type.layout == Q_PANEL16) {
            row = q_panel_bytes(d.type.dtype, d.type.ne[3]);
        } else {
            (void)q_plain_row_bytes(d.type.dtype, d.type.ne[3], &row);
        }
        view.nb[2] = (size_t)row;
        view.ne[2] += fuzz_rarely(&k->s, 40) ? 1u : 0u;
        d.view = &view;
        d.trainable = false;
    }
    return q_graph_param(k->g, &d);
}

/* ---- Values ------------------------------------------------------------------------------------------------- */

/* The newest value, or one of the others. */
static uint32_t some_value(sketch *k)
{
    uint32_t back = fuzz_pick(&k->s, 3) != 0 ? 0 : fuzz_pick(&k->s, k->n_values);
    return k->n_values - 1 - back;
}

uint32_t sketch_real_value(sketch *k)
{
    uint32_t v = some_value(k);
    for (uint32_t i = 0; i < k->n_values && k->types[v].dtype != Q_REAL; i++) {
        v = (v + 1) % k->n_values;
    }
    return v;
}

/* A value like v, other than it if there is one. */
uint32_t sketch_like(sketch *k, uint32_t v)
{
    uint32_t start = fuzz_pick(&k->s, k->n_values);
    if (fuzz_rarely(&k->s, 16)) {
        return fuzz_rarely(&k->s, 2) ? v : start;
    }
    for (uint32_t i = 0; i < k->n_values; i++) {
        uint32_t o = (start + i) % k->n_values;
        if (o != v && memcmp(&k->types[o], &k->types[v], sizeof(q_value_type)) == 0) {
            return o;
        }
    }
    return v;
}

void sketch_node(sketch *k, q_node_desc *d, const q_value_type *out)
{
    d->name = next_name(k, 'n');
    if (fuzz_rarely(&k->s, 60)) {
        d->in[fuzz_pick(&k->s, 2)] = fuzz_pick(&k->s, 40);
    }
    keep(k, q_graph_node(k->g, d), out);
}

/* The inputs, as the builder made them. */
uint32_t fuzz_inputs(const recipe *r, q_input_desc *inputs, uint32_t cap)
{
    sketch k;
    uint32_t n;
    memset(&k, 0, sizeof(k));
    k.s = r->bytes;
    k.ids = Q_NONE;
    n = 1 + fuzz_pick(&k.s, 3);
    for (uint32_t i = 0; i < n && i < cap; i++) {
        static const uint32_t limits[] = {8, 8, 8, 5, 0, 9, 1u << 30, UINT32_MAX};
        uint32_t kind = fuzz_rarely(&k.s, 12) ? 7 : i == 0 ? fuzz_pick(&k.s, 3) + (r->trains ? 1u : 0u) : fuzz_pick(&k.s, 7);
        inputs[i].type = input_type(&k, kind);
        inputs[i].limit = limits[fuzz_pick(&k.s, 8)];
    }
    return n;
}
