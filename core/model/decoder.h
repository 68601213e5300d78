/* SPDX-License-Identifier: MIT */
/* decoder.h: builders of the models that files describe; private to core/model. */
#ifndef QORUS_CORE_MODEL_DECODER_H
#define QORUS_CORE_MODEL_DECODER_H

#include "../core.h"

/* Expands the architecture record of build->file. */
void q_build_decoder(q_graph *g, const q_file_build *build);

/* Puts the class the caller named for desc->cls->id in its place. */
void q_build_swap(const q_file_build *build, q_node_desc *desc);

#endif /* QORUS_CORE_MODEL_DECODER_H */
