/* SPDX-License-Identifier: MIT */
/*
 * write.h: a .qorus file (docs/FORMAT.md) from a model and the parameters a session holds.
 *
 *     q_write w = {.struct_size = sizeof(w), .dtype = Q_F32, .model = model, .session = session, .write = put, ...};
 *     q_write_work_size(&w, &n, &diag);      memory the other two calls need
 *     q_write_size(&w, work, n, &bytes, &diag);
 *     q_write_run(&w, work, n, &diag);
 *
 * What is written: the outputs asked for, the nodes and inputs they need, and the parameters of those nodes. So a model in
 * training gives the file of what was trained by naming its answer and not its loss. A language model has an architecture
 * record instead of nodes; its parameters must be the tensors that record demands (see q_file_arch).
 *
 * Types: a parameter of reals that linear and embedding layers alone read as their matrix becomes PANEL16 of `dtype`; any
 * other parameter of reals F32, plain; one of another type or layout keeps its bytes. In F32 the file's model computes the
 * bits of the session it came from. Parameters that were trained are marked trainable where they are F32.
 *
 * Classes of the library and of the caller are written alike, by id, name, version and bytes of their config; the caller's
 * must be given to q_build_from_file again. What plans insert has no place in a file. Blocks of recomputation
 * (q_graph_block) belong to a plan and are not written.
 */
#ifndef QORUS_WRITE_H
#define QORUS_WRITE_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_write {
    uint32_t struct_size; /* sizeof(q_write) */
    uint32_t dtype;       /* of matrices: Q_F32, Q_Q8_0, Q_Q4_0, Q_Q4_1, Q_F16 or Q_BF16 */
    const q_model *model;
    /* Holds the parameters in slots; its model is `model`, or another one with parameters of the same names and shapes.
       NULL: there are none in slots. */
    const q_session *session;
    const char *const *outputs; /* names, in the order they are to have; NULL: all of the model's */
    uint32_t n_outputs;
    uint32_t tokenizer_size;
    const void *tokenizer; /* (optional) section of q_tokenizer_open: copied */
    const char *meta;      /* (optional) text of META: UTF-8, terminated, lines "key: value" */
    const q_file_arch *arch;      /* language models; NULL: graph records */
    const uint8_t *layer_kinds;   /* with arch: a q_layer_kind for each of its n_layers */
    void *user;
    /* (optional; default: dtype) The type of a matrix; must say the same each time it is asked. */
    uint32_t (*type)(void *user, const char *name, const q_param_type *type);
    /* (optional) A file of the parameters it says yes to, and of nothing else: no nodes, no architecture. Adapters, say. */
    bool (*keeps)(void *user, const char *name);
    /* Takes n bytes of the new file. The calls cover it without gap or overlap; the tables come last. An error ends the
       writing and is returned. */
    Q_NODISCARD q_error_code (*write)(void *user, uint64_t offset, const void *bytes, size_t n);
    /* (optional) Called before each tensor and at the end, done = all. */
    void (*progress)(void *user, uint32_t done, uint32_t all);
} q_write;

/*
 * Bytes of work: the tables of a file of everything, 16 rows of the widest matrix in three forms, and marks of nodes,
 * values and parameters. Errors: Q_ERR_INVALID_ARG, INVALID_DTYPE, LIMIT (a cap of format.h), OVERFLOW. Cost: O(model).
 */
Q_NODISCARD q_error_code q_write_work_size(const q_write *write, size_t *work_bytes, q_diag *diag);

/*
 * Bytes of the file; its tables have been made in work and have passed the checks of q_file_open, so that it opens.
 * work: work_bytes at a multiple of Q_ALIGN.
 * Errors: those above; MISALIGNED, NO_SPACE (work); NOT_FOUND (an output, or a parameter in the session); UNSUPPORTED (a
 * class that has no place in a file); MISMATCH (a parameter whose shape in the session is another); INVALID_SIZE (columns
 * of a matrix do not fit its type, named); errors of q_file_open, such as an architecture whose tensors are not there.
 */
Q_NODISCARD q_error_code q_write_size(const q_write *write, void *work, size_t work_size, uint64_t *file_bytes,
                                      q_diag *diag);

/*
 * Writes it. Errors: those above; INVALID_STATE (a parameter in a slot and no session, or its plan does not use it);
 * NON_FINITE (a value that is infinite or no number, or does not fit the type: diag.what is the parameter, offset the
 * element); what `write` returns. Cost: O(bytes).
 */
Q_NODISCARD q_error_code q_write_run(const q_write *write, void *work, size_t work_size, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_WRITE_H */
