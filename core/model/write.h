/* SPDX-License-Identifier: MIT */
/* write.h: a file being written; private to write_plan.c, write_tables.c and write.c. */
#ifndef QORUS_CORE_MODEL_WRITE_H
#define QORUS_CORE_MODEL_WRITE_H

#include "graph.h"
#include "qorus/write.h"

enum { WRITE_CHUNK = 1024 }; /* reals of a plain tensor that are handed on at once, at least */

/* What goes into the file, and where the pieces of `work` lie. */
typedef struct write_plan {
    const q_write *w;
    const q_model *m;
    uint32_t n_inputs; /* of the file, as all counts here */
    uint32_t n_nodes;
    uint32_t n_values;
    uint32_t n_edges;
    uint32_t n_refs;    /* parameters named by nodes */
    uint32_t n_records; /* tensors */
    uint32_t n_outputs;
    uint32_t config_bytes;
    size_t string_bytes;
    uint64_t data_end;
    uint8_t *node_kept; /* [nodes] */
    uint8_t *other_use; /* [params] 1: some node reads it as other than a matrix */
    uint32_t *value;    /* [values] number in the file; Q_NONE: not in it */
    uint32_t *record;   /* [params] number in the file; Q_NONE: not in it */
    uint32_t *param;    /* [params] of each record, its parameter */
    uint8_t *tables;    /* at their full size */
    size_t tables_cap;
    float *reals;       /* 16 rows of the widest matrix: as F32, */
    uint8_t *plain;     /* in their type, plain, */
    uint8_t *panel;     /* and packed */
    size_t rows_bytes;  /* of each of the three */
    size_t work_size;
} write_plan;

static inline bool q_write_has_graph(const q_write *w)
{
    return w->arch == NULL && w->keeps == NULL;
}

/* Counts what there is at most and lays work out; work NULL: only work_size. */
q_error_code q_write_layout(const q_write *w, write_plan *p, void *work, size_t work_size, q_diag *diag);

/* Which nodes, inputs and tensors the file has, and their numbers. */
q_error_code q_write_select(write_plan *p, q_diag *diag);

/* Model output that file output i is, or Q_NONE. */
uint32_t q_write_output(const write_plan *p, uint32_t i);

/* Fills p->tables but for hashes, and checks them as q_file_open does. */
q_error_code q_write_tables(write_plan *p, q_diag *diag);

/* Bytes of a terminated string; 0 for NULL. */
size_t q_write_length(const char *s);

static inline q_file_header *q_write_header(const write_plan *p)
{
    return (q_file_header *)(void *)p->tables;
}

static inline q_file_tensor_record *q_write_records(const write_plan *p)
{
    return (q_file_tensor_record *)(void *)(p->tables + q_write_header(p)->section[Q_SECTION_TENSORS].offset.v);
}

#endif /* QORUS_CORE_MODEL_WRITE_H */
