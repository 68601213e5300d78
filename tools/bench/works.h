/* SPDX-License-Identifier: MIT */
/*
 * works.h: the five trainings that are timed beside PyTorch (train_torch.py has the same), numbers for them that both
 * sides make alike; and, for `parts fusion`, decoders with dropout or a norm before each addition.
 */
#ifndef QORUS_TOOLS_BENCH_WORKS_H
#define QORUS_TOOLS_BENCH_WORKS_H

#include "qorus/net.h"
#include "qorus/train.h"

/* Samples are rows of the batch or, of language models, spans of tokens. */
typedef struct work work;
struct work {
    const char *name;
    q_edge (*draw)(q_net *n, const work *w, q_edge x); /* its logits */
    uint32_t batch;   /* samples of a step */
    uint32_t rows;    /* of a sample in its inputs */
    uint32_t height;  /* of an image, whose pixels they are; else 1 */
    uint32_t columns; /* of x; 0: tokens */
    uint32_t labels;  /* of a sample */
    uint32_t classes; /* and, of language models, the vocabulary */
    uint32_t layers;  /* of language models, as the next three; else 0 */
    uint32_t width;
    uint32_t heads;
    uint32_t ffn;
    double forward;   /* multiplications of products in a forward pass of a sample */
    double first;     /* of them those whose input needs no gradient */
};

/* Inputs x (or tokens) and labels; outputs loss, count, logits. user: the work. */
void work_build(q_graph *g, const void *user);

/* The work of that name, or NULL. */
const work *work_find(const char *name);
/* Operations (2 a multiplication) of the products of a training step: forward, and twice that going back. */
double work_operations(const work *w);

/*
 * Number i of the stream `name`: h(fnv(name) + i * 0x9e3779b9), where fnv is the 32-bit hash of Fowler, Noll and Vo (1a) and
 * h the finalizer of MurmurHash3.
 */
uint32_t work_number(const char *name, uint32_t i);
/* Numbers of the stream, evenly in [-scale, scale). */
void work_reals(const char *name, double scale, float *out, size_t n);
/* What parameter `name` begins as: 1 in norms, else reals of scale 1/sqrt(columns), of vectors 1/16. */
void work_parameter(const char *name, uint32_t rows, uint32_t columns, float *out);

#endif /* QORUS_TOOLS_BENCH_WORKS_H */
