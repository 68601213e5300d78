/* SPDX-License-Identifier: MIT */
/* predict.h: qorus run of models that read samples rather than text. */
#ifndef QORUS_TOOLS_PREDICT_H
#define QORUS_TOOLS_PREDICT_H

#include "dump.h"

/* Prints an answer for every sample of o->input. config: of the session; dumps: what its observer writes. Returns an exit code. */
int predict(host *h, const options *o, const q_session_config *config, const dump *dumps);

#endif /* QORUS_TOOLS_PREDICT_H */
