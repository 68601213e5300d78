/* SPDX-License-Identifier: MIT */
/* Counting ticks, bytes and operations per node, and the tables made of them. */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

#include "qorus/base/panel.h"

enum { TOP_NODES = 16, MAX_CLASSES = 32 };

/* ---- Counting ---------------------------------------------------------------------------------
 */

static double tensor_bytes(const q_tensor *t)
{
    double rows = t->layout == Q_PANEL16 ? (double)((t->ne[2] + Q_PANEL_ROWS - 1) / Q_PANEL_ROWS)
                                         : (double)t->ne[2];
    return rows * (double)t->nb[2] * (double)t->ne[1] * (double)t->ne[0];
}

/* An embedding reads the rows it is asked for, any other layer all of its parameters. */
static double weight_bytes(const q_layer *l, uint32_t rows)
{
    double bytes = 0;
    for (uint32_t i = 0; i < l->n_param; i++) {
        double all = tensor_bytes(l->param[i]);
        bytes +=
            l->type == Q_LAYER_EMBEDDING ? all / (double)l->param[i]->ne[2] * (double)rows : all;
    }
    return bytes;
}

static double value_bytes(const q_tensor *t, uint32_t rows)
{
    return (double)rows * (double)t->nb[2];
}

/* Positions a step's rows look at, summed over rows; and how many of the cache it touches. */
static double positions_seen(const q_attention_config *c, const q_run *run, double *touched)
{
    double sum = 0;
    uint32_t end = run->position + run->n_tokens;
    for (uint32_t i = run->position; i < end; i++) {
        sum += c->window != 0 && i + 1 > c->window ? c->window : i + 1;
    }
    *touched = c->window != 0 && end > c->window + run->n_tokens ? c->window + run->n_tokens : end;
    return sum;
}

static void count_attention(profile_node *n, const q_layer *l, const q_run *run)
{
    const q_attention_config *c = (const q_attention_config *)l->config;
    double element = l->precision == Q_PRECISION_FAST ? 2 : sizeof(q_real);
    double touched;
    double seen = positions_seen(c, run, &touched);
    n->flops += 4.0 * c->heads * c->head_dim * seen;
    n->moved += 2.0 * c->kv_heads * c->head_dim * element * touched;
}

static void count(profile_node *n, const q_layer *l, const q_run *run)
{
    uint32_t rows = q_count_value(run, l->out_rows[0]);
    n->weights += weight_bytes(l, rows);
    for (uint32_t i = 0; i < l->n_in; i++) {
        bool chosen = l->type == Q_LAYER_SELECT_ROWS;
        n->moved += value_bytes(l->in[i], chosen ? rows : q_count_value(run, l->in_rows[i]));
    }
    for (uint32_t i = 0; i < l->n_out; i++) {
        n->moved += value_bytes(l->out[i], q_count_value(run, l->out_rows[i]));
    }
    if (l->residual != NULL) {
        n->moved += value_bytes(l->residual, rows);
    }
    for (uint32_t i = 0; i < 2 && l->addend[i] != NULL; i++) {
        n->moved += value_bytes(l->addend[i], rows);
    }
    if (l->type == Q_LAYER_ATTENTION) {
        count_attention(n, l, run);
    } else if (l->type == Q_LAYER_LINEAR) {
        n->flops += 2.0 * rows * l->param[0]->ne[2] * l->param[0]->ne[3];
    }
}

static bool make_room(profile *p, uint32_t node)
{
    uint32_t n = node + 1 > 2 * p->n ? node + 64 : 2 * p->n;
    profile_node *more;
    if (node < p->n) {
        return true;
    }
    more = (profile_node *)realloc(p->nodes, n * sizeof(*more));
    if (more == NULL) {
        return false;
    }
    memset(more + p->n, 0, (n - p->n) * sizeof(*more));
    p->nodes = more;
    p->n = n;
    return true;
}

q_error_code profile_see(void *user, const q_observation *seen)
{
    profile *p = (profile *)user;
    profile_node *n;
    if (!make_room(p, seen->node)) {
        return Q_ERR_NO_SPACE;
    }
    n = &p->nodes[seen->node];
    if (n->cls == NULL) {
        n->cls = seen->layer->cls->name;
        (void)snprintf(n->name, sizeof(n->name), "%s", seen->layer->name);
    }
    n->calls++;
    n->ticks += seen->ticks;
    count(n, seen->layer, seen->run);
    return Q_OK;
}

double profile_weights(const profile *p)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        sum += p->nodes[i].weights;
    }
    return sum;
}

void profile_clear(profile *p)
{
    free(p->nodes);
    memset(p, 0, sizeof(*p));
}

/* ---- Tables -----------------------------------------------------------------------------------
 */

static int slower(const void *a, const void *b)
{
    uint64_t x = ((const profile_node *)a)->ticks;
    uint64_t y = ((const profile_node *)b)->ticks;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void print_row(FILE *to, const profile_node *n, const char *name, double second,
                      double total)
{
    double seconds = (double)n->ticks * second;
    double scale = seconds > 0 ? 1e-9 / seconds : 0;
    (void)fprintf(to, "  %-28s %7llu %10.3f %6.1f%% %8.2f ", name, (unsigned long long)n->calls,
                  seconds * 1e3, total > 0 ? 100 * (double)n->ticks / total : 0,
                  (n->weights + n->moved) * scale);
    if (n->flops > 0) {
        (void)fprintf(to, "%9.2f\n", n->flops * scale);
    } else {
        (void)fprintf(to, "%9s\n", "-");
    }
}

static void print_head(FILE *to, const char *what)
{
    (void)fprintf(to, "  %-28s %7s %10s %7s %8s %9s\n", what, "calls", "ms", "share", "GB/s",
                  "GFLOP/s");
}

static void add_to_class(profile_node *classes, uint32_t *n_classes, const profile_node *n)
{
    uint32_t i = 0;
    while (i < *n_classes && strcmp(classes[i].cls, n->cls) != 0) {
        i++;
    }
    if (i == MAX_CLASSES) {
        return;
    }
    *n_classes += i == *n_classes ? 1 : 0;
    classes[i].cls = n->cls;
    classes[i].calls += n->calls;
    classes[i].ticks += n->ticks;
    classes[i].weights += n->weights;
    classes[i].moved += n->moved;
    classes[i].flops += n->flops;
}

void profile_print(const profile *p, const host *h, FILE *to)
{
    static profile_node classes[MAX_CLASSES];
    double second = (double)h->port->ns_num / (double)h->port->ns_den * 1e-9;
    uint32_t n_classes = 0;
    double total = 0;
    memset(classes, 0, sizeof(classes));
    for (uint32_t i = 0; i < p->n; i++) {
        total += (double)p->nodes[i].ticks;
        if (p->nodes[i].cls != NULL) {
            add_to_class(classes, &n_classes, &p->nodes[i]);
        }
    }
    qsort(classes, n_classes, sizeof(classes[0]), slower);
    print_head(to, "class");
    for (uint32_t i = 0; i < n_classes; i++) {
        print_row(to, &classes[i], classes[i].cls, second, total);
    }
    (void)fprintf(to, "  %-28s %7s %10.3f\n\n", "all", "", total * second * 1e3);
    if (p->n != 0) {
        qsort(p->nodes, p->n, sizeof(p->nodes[0]), slower);
    }
    print_head(to, "slowest nodes");
    for (uint32_t i = 0; i < p->n && i < TOP_NODES && p->nodes[i].cls != NULL; i++) {
        print_row(to, &p->nodes[i], p->nodes[i].name, second, total);
    }
    (void)fputs(
        "  GB/s counts weights and activations; observed nodes do not overlap, so their sum "
        "exceeds an ordinary run\n",
        to);
}
