/* SPDX-License-Identifier: MIT */
/* decoder.h: builders of the models that files describe; private to core/model. */
#ifndef QORUS_CORE_MODEL_DECODER_H
#define QORUS_CORE_MODEL_DECODER_H

#include "../core.h"

/* Puts the class the caller named for desc->cls->id in its place. */
void q_build_swap(const q_class_swap *swaps, size_t n_swaps, q_node_desc *desc);

#endif /* QORUS_CORE_MODEL_DECODER_H */
