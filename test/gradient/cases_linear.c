/* SPDX-License-Identifier: MIT */
/* Gradients of Linear: with and without bias, rows of a batch, of images and of tokens. */
#include "cases.h"

void cases_linear(void)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    rig_layer rows = {
        .name = "linear", .cls = &q_layer_linear, .config = &plain, .n_in = 1, .n_param = 2, .step = {.n_batch = 5}};
    rows.in[0].type = rig_rows(7);
    rows.param[0] = (rig_param){3, 7, 0, 0, false};
    rows.param[1] = (rig_param){1, 3, 0, 0, false};
    rig_check_layer(&rows);
    rows.name = "linear without bias, of an image";
    rows.n_param = 1;
    rows.in[0].type = rig_image(2, 3, 7);
    rig_check_layer(&rows);
    rows.name = "linear, weight frozen";
    rows.n_param = 2;
    rows.param[0].frozen = true;
    rig_check_layer(&rows);
    rows.name = "linear of tokens";
    rows.param[0].frozen = false;
    rows.in[0].type = rig_tokens(7);
    rows.step = (rig_step){.n_spans = 3, .span_rows = {4, 1, 6}};
    rig_check_layer(&rows);
}
