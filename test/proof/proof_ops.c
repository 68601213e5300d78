/* SPDX-License-Identifier: MIT */
/* Bad calls of the checked ops, as part of the proof. */
#include "proof.h"

#include "../ops/bad_ops.h"

#include "qorus/base/mem.h"

void proof_ops(proof_host *h)
{
    bad_ops_counts counts = {0, 0, 0};
    bad_ops_host host;
    q_backend backend;
    q_context context;
    memset(&host, 0, sizeof(host));
    memset(&context, 0, sizeof(context));
    host.user = h->user;
    host.print = h->print;
    host.verdicts = true;
    q_backend_scalar(&backend);
    context.port = h->port;
    context.backend = &backend;
    context.n_workers = 1;
    q_bad_ops_run(&context, h->work, PROOF_WORK, &host, &counts);
    h->passed += counts.passed;
    h->failed += counts.failed;
    h->skipped += counts.skipped;
}
