/* SPDX-License-Identifier: MIT */
/*
 * test_model [--brief] FOLDER/FILE.qorus [LARGE.qorus]: memory, sessions, layers, generation, graphs as files and hostile
 * ones, on a small Llama-family model with a tokenizer and the sample files beside it; a caller's layers in a large
 * model too. --brief: sequences in company in one precision only.
 */
#include "flow.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    bool brief = argc > 1 && strcmp(argv[1], "--brief") == 0;
    argc -= brief ? 1 : 0;
    argv += brief ? 1 : 0;
    if (argc != 2 && argc != 3) {
        (void)fprintf(stderr, "usage: test_model [--brief] FOLDER/FILE.qorus [LARGE.qorus]\n");
        return 2;
    }
    test_memory(argv[1]);
    test_session(argv[1]);
    test_sequences(argv[1], brief);
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
