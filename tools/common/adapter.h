/* SPDX-License-Identifier: MIT */
/*
 * adapter.h: files of adapters (LoRA): what is in them, and how they go into the weights of the model they belong to.
 * Such a file holds the tensors "<product>.lora_a" [rank, columns] and "<product>.lora_b" [rows, rank], and in META the
 * lines "lora_rank: N" and "lora_alpha: X". Needs no libc.
 */
#ifndef QORUS_TOOLS_ADAPTER_H
#define QORUS_TOOLS_ADAPTER_H

#include "qorus/rewrite.h"

enum { ADAPTER_NOTE_BYTES = 96 };

/* q_write.keeps of a file of adapters. */
bool adapter_keeps(void *unused, const char *name);

/* Its META; text has ADAPTER_NOTE_BYTES. */
void adapter_note(char *text, uint32_t rank, double alpha);

/* alpha as META tells it. Q_ERR_NOT_FOUND: this is no file of adapters. */
q_error_code adapter_alpha(const q_file *adapters, double *alpha, q_diag *diag);

enum { ADAPTER_KEEP_TYPES = 0xff };

/* A rewrite that merges: W becomes W + (alpha/rank) B A, each element one sum in double, ranks ascending, rounded to F32
   once and then to the type. dtype: of all matrices, or ADAPTER_KEEP_TYPES: each keeps its own. */
typedef struct adapter_merge {
    const q_file *model;
    const q_file *adapters;
    double alpha;
    uint32_t dtype;
    uint32_t n_merged; /* written by adapter_check */
    q_rewrite_change change;
} adapter_merge;

/* Every adapter must have its matrix, and shapes that fit. Fills n_merged and the change to give to a q_rewrite.
   Q_ERR_NOT_FOUND, INVALID_SHAPE, INVALID_LAYOUT: name the tensor. */
q_error_code adapter_check(adapter_merge *merge, q_diag *diag);

#endif /* QORUS_TOOLS_ADAPTER_H */
