/* SPDX-License-Identifier: MIT */
/* test_model FILE.qorus: memory, sessions, layers and generation on a small Llama-family model with a tokenizer. */
#include "flow.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: test_model FILE.qorus\n");
        return 2;
    }
    test_memory(argv[1]);
    test_session(argv[1]);
    test_layers(argv[1]);
    test_generate(argv[1]);
    return check_summary();
}
