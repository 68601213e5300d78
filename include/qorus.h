/* SPDX-License-Identifier: MIT */
/*
 * qorus.h: the whole public API of Qorus-IA, a deep-learning framework whose core needs nothing but memory.
 *
 *   format.h     open a .qorus file in place            model.h      graph -> model -> plan -> session
 *   layer.h      layer classes, the library's and yours  ops.h        checked operations on tensors
 *   tokenizer.h  text to tokens and back                 sampler.h    logits to the next token
 *   generate.h   the generation loop and chat            optim.h      optimizers
 *   memory.h     regions, arena, allocator               port.h       where it runs
 *   backend.h    how it computes                         quantize.h   float rows to storage types
 *   sha256.h     hashing                             snapshot.h   the state of a session as a file
 *   rewrite.h    a .qorus file in another weight type    train.h      trainer, whole trainings, metrics
 *   pool.h       tensors to take and give back           gradcheck.h  gradients against differences
 *   net.h        a network, layer by layer               checkpoint.h a training that survives power cuts
 */
#ifndef QORUS_H
#define QORUS_H

#include "qorus/backend.h"
#include "qorus/checkpoint.h"
#include "qorus/format.h"
#include "qorus/generate.h"
#include "qorus/gradcheck.h"
#include "qorus/kernels.h"
#include "qorus/layer.h"
#include "qorus/memory.h"
#include "qorus/model.h"
#include "qorus/net.h"
#include "qorus/ops.h"
#include "qorus/optim.h"
#include "qorus/pool.h"
#include "qorus/port.h"
#include "qorus/quantize.h"
#include "qorus/rewrite.h"
#include "qorus/sampler.h"
#include "qorus/sha256.h"
#include "qorus/snapshot.h"
#include "qorus/tokenizer.h"
#include "qorus/train.h"
#include "qorus_types.h"

#endif /* QORUS_H */
