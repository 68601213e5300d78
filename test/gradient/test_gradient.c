/* SPDX-License-Identifier: MIT */
/*
 * test_gradient [--first] [TEXT [N]]: gradients of layers and graphs against central differences, and the bits of every way
 * to run them; only cases whose name has TEXT, or one of several between bars (add|mul); N random graphs (200); --first
 * ends at the first failure.
 */
#include <stdlib.h>
#include <string.h>

#include "cases.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--first") == 0) {
        rig_end_at_failure();
        argc--;
        argv++;
    }
    if (argc > 1) {
        rig_only(argv[1]);
    }
    cases_gradcheck();
    cases_linear();
    cases_recurrent();
    cases_image();
    cases_language();
    cases_attention();
    cases_norm();
    cases_residual();
    cases_element();
    cases_loss();
    cases_shape();
    cases_models();
    cases_random(argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 200);
    return rig_end();
}
