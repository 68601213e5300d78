/* SPDX-License-Identifier: MIT */
/*
 * test_gradient [TEXT]: gradients of layers and graphs against central differences, and the bits of every way to run them;
 * only cases whose name has TEXT.
 */
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
    return rig_end();
}
