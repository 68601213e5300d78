/* SPDX-License-Identifier: MIT */
/*
 * core.h: the one header that sources of the core include: the public API and what the core keeps to itself.
 */
#ifndef QORUS_CORE_CORE_H
#define QORUS_CORE_CORE_H

#include "qorus/backend.h"
#include "qorus/base/bits.h"
#include "qorus/base/checked.h"
#include "qorus/base/elementary.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#include "qorus/base/mem.h"
#include "qorus/base/panel.h"
#include "qorus/base/text.h"
#include "qorus/format.h"
#include "qorus/kernels.h"
#include "qorus/layer.h"
#include "qorus/memory.h"
#include "qorus/model.h"
#include "qorus/port.h"
#include "qorus/sha256.h"
#include "qorus/tokenizer.h"

#include "base/diag.h"
#include "base/fpenv.h"
#include "memory/block.h"

#endif /* QORUS_CORE_CORE_H */
