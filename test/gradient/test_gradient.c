/* SPDX-License-Identifier: MIT */
/*
 * test_gradient [TEXT [N]]: gradients of layers and graphs against central differences, and the bits of every way to run
 * them; only cases whose name has TEXT; N random graphs (200).
 */
#include <stdlib.h>

#include "cases.h"

int main(int argc, char **argv)
{
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
    cases_element();
    cases_loss();
    cases_shape();
    cases_models();
    cases_random(argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 200);
    return rig_end();
}
