/* SPDX-License-Identifier: MIT */
/*
 * fingerprint.h: one SHA-256 over every logit of a fixed piece of work: a prompt, of 256 tokens unless told
 * otherwise, and 64 tokens decoded greedily after it. Any two machines, ports, backends, thread counts and chunk sizes must agree on it.
 */
#ifndef QORUS_TOOLS_FINGERPRINT_H
#define QORUS_TOOLS_FINGERPRINT_H

#include "engine.h"

enum { FINGERPRINT_PROMPT = 256, FINGERPRINT_ROWS = 16, FINGERPRINT_DECODED = 64 };

/*
 * Runs it on a session at position 0 whose context holds n_prompt + FINGERPRINT_DECODED positions. The prompt is a
 * fixed text in the model's tokens, begun again as often as needed. Of a graph that reads no text every output of one step
 * is hashed: of a sample, or a sequence of FINGERPRINT_ROWS rows, of fixed numbers. hex receives 64 digits and a terminator.
 */
q_error_code fingerprint_run(engine *e, const engine_memory *memory, uint32_t n_prompt, char hex[65], q_diag *diag);

/* Name of a fingerprint: fast or exact, and behind it the type of the KV cache where one was asked for and a prompt
   length that is not the usual one: fast-q8_0-1200. */
void fingerprint_name(bool exact, const char *kv, uint32_t n_prompt, char name[24]);

#endif /* QORUS_TOOLS_FINGERPRINT_H */
