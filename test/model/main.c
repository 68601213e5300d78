/* SPDX-License-Identifier: MIT */
/*
 * test_model FOLDER/FILE.qorus [LARGE.qorus]: memory, sessions, layers, generation, graphs as files and hostile
 * ones, on a small Llama-family model with a tokenizer and the sample files beside it; a caller's layers in a large
 * model too.
 */
#include "flow.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        (void)fprintf(stderr, "usage: test_model FOLDER/FILE.qorus [LARGE.qorus]\n");
        return 2;
    }
    test_memory(argv[1]);
    test_session(argv[1]);
    test_sequences(argv[1]);
    test_layers(argv[1]);
    test_decoder(argv[1]);
    test_generate(argv[1]);
    test_files(argv[1]);
    test_recurrent();
    test_image();
    test_shape();
    test_drop();
    test_hostile(argv[1]);
    if (argc == 3) {
        test_large(argv[2]);
    }
    return check_summary();
}
