/* SPDX-License-Identifier: MIT */
/* Gradients of losses: of every input, with every option. */
#include "cases.h"

static const rig_step texts = {.n_spans = 3, .span_rows = {4, 1, 6}};

static void check_pairs(const char *name, const q_layer_class *cls, const void *config, double low, bool weights)
{
    rig_layer c = {.name = name, .cls = cls, .config = config, .n_in = 2, .flags = RIG_FIRST_OUTPUT};
    c.in[0] = (rig_input){.type = rig_rows(19), .low = -3, .high = 3};
    c.in[1] = (rig_input){.type = rig_rows(19), .low = low, .high = 1};
    c.step.n_batch = 5;
    c.n_param = weights ? 1 : 0;
    c.param[0] = (rig_param){1, 19, 0.2, 3, true};
    rig_check_layer(&c);
    c.in[1].constant = true;
    rig_check_layer(&c);
    c.in[0].type = c.in[1].type = rig_image(2, 3, 19);
    c.step.n_batch = 2;
    rig_check_layer(&c);
    c.in[0].type = c.in[1].type = rig_tokens(19);
    c.step = texts;
    rig_check_layer(&c);
}

/* Ignored classes are ordinary ones here: 1 in `classes` of the rows. */
static void check_entropy(uint32_t classes, q_cross_entropy_config config, bool weights)
{
    rig_layer c = {.name = "cross_entropy", .cls = &q_layer_cross_entropy, .config = &config, .n_in = 2};
    c.flags = RIG_FIRST_OUTPUT;
    c.in[0] = (rig_input){.type = rig_tokens(classes), .low = -4, .high = 4};
    c.in[1] = (rig_input){.type = rig_ids(), .limit = classes};
    c.n_param = weights ? 1 : 0;
    c.param[0] = (rig_param){1, classes, 0.2, 3, true};
    c.step = texts;
    rig_check_layer(&c);
    c.in[0].type = rig_rows(classes);
    c.in[1].type = rig_rows(1);
    c.in[1].type.dtype = Q_I32;
    c.step = (rig_step){.n_batch = 9};
    rig_check_layer(&c);
}

void cases_loss(void)
{
    static const q_huber_config deltas[] = {{1, 0}, {0.3f, 0}, {2.5f, 0}};
    check_pairs("mse", &q_layer_mse, NULL, -1, false);
    for (uint32_t i = 0; i < 3; i++) {
        check_pairs("huber", &q_layer_huber, &deltas[i], -1, false);
    }
    check_pairs("bce", &q_layer_bce, NULL, 0.01, false);
    check_pairs("bce", &q_layer_bce, NULL, 0.01, true);
    for (uint32_t i = 0; i < 8; i++) {
        q_cross_entropy_config config = {(i & 1u) != 0 ? 2 : -100, (i & 2u) != 0 ? 0.15f : 0};
        check_entropy(5, config, (i & 4u) != 0);
        check_entropy(19, config, (i & 4u) != 0);
    }
}
