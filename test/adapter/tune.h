/* SPDX-License-Identifier: MIT */
/* tune.h: a language model of a file under training: all of some parameters, or adapters. */
#ifndef QORUS_TEST_ADAPTER_TUNE_H
#define QORUS_TEST_ADAPTER_TUNE_H

#include "qorus/train.h"

enum { TUNE_TOKENS = 24, TUNE_SPANS = 2, TUNE_BLOCKS = 10 };

/* Bytes of a file at an address q_file_open takes; never given back. */
typedef struct tune_file {
    q_file file;
    uint8_t *bytes;
    size_t size;
} tune_file;

typedef struct tune {
    q_decoder_build decoder; /* what was asked for */
    q_model *model;
    q_session *session;
    q_trainer *trainer; /* NULL in plans for inference */
    q_backend backend;
    int32_t tokens[TUNE_TOKENS];
    int32_t targets[TUNE_TOKENS];
    const void *inputs[2];
    void *memory[TUNE_BLOCKS];
    uint32_t n_memory;
} tune;

void must(q_error_code e, const q_diag *d);
void check(bool ok, const char *what);

tune_file tune_read(const char *path);
tune_file tune_take(uint8_t *bytes, size_t size);

/* The decoder with cross-entropy behind it: outputs loss, count, logits. Adam at 0.01. Slots of parameters in the file are
   loaded, others drawn. */
void tune_open(tune *t, const q_decoder_build *decoder, bool trains, uint32_t workers);
void tune_close(tune *t);

/* One step of the optimizer over the fixed texts, in micro-batches of one text each; the mean loss before it. */
double tune_step(tune *t);
/* Gradients of the whole batch, summed. */
void tune_backward(tune *t);
/* Logits of all tokens, in evaluation. [TUNE_TOKENS][columns] */
const float *tune_logits(tune *t, uint32_t *columns);

/* A parameter by name, or its gradient; data NULL: there is none. */
q_tensor tune_param(const tune *t, const char *name);
q_tensor tune_gradient(const tune *t, const char *name);

#endif /* QORUS_TEST_ADAPTER_TUNE_H */
