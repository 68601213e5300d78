/* SPDX-License-Identifier: MIT */
/* inspect.h: checkpoints for qorus inspect. */
#ifndef QORUS_TOOLS_INSPECT_H
#define QORUS_TOOLS_INSPECT_H

#include "doc.h"
#include "host.h"
#include "qorus/checkpoint.h"

/* Is it a checkpoint, or a disk of two slots? *place is then where; a disk stays open. */
bool checkpoint_find(host *h, const char *path, q_checkpoint_place *place);

/* Reads it, its hash too, and shows what it says. An exit code. */
int checkpoint_show(host *h, const char *path, q_checkpoint_place *place, doc *d);

#endif /* QORUS_TOOLS_INSPECT_H */
