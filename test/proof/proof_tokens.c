/* SPDX-License-Identifier: MIT */
/* Bad tokenizer sections, as part of the proof. */
#include "proof.h"

#include "../tokenizer/bad_tokens.h"

void proof_tokens(proof_host *h, const void *section, size_t size)
{
    bad_tokens_counts counts = {0, 0};
    bad_tokens_run(section, size, h->work, PROOF_WORK, h->print, h->user, &counts);
    h->passed += counts.passed;
    h->failed += counts.failed;
}
