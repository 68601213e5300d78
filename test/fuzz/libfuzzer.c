/* SPDX-License-Identifier: MIT */
/* libfuzzer.c: the targets under libFuzzer. QORUS_FUZZ names the target: file, tokenizer, snapshot. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

static const fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("QORUS_FUZZ");
    (void)argc;
    (void)argv;
    target = fuzz_find(name != NULL ? name : "");
    if (target == NULL) {
        (void)fprintf(stderr, "QORUS_FUZZ names no target: file, tokenizer, snapshot\n");
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    q_diag diag;
    target->run(data, size, &diag);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    fuzz_random r = {seed};
    return target->mutate(data, size, max, &r);
}
