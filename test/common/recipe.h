/* SPDX-License-Identifier: MIT */
/* recipe.h: the config of a training that tests start from: an optimizer, a constant rate, everything else off. */
#ifndef QORUS_TEST_COMMON_RECIPE_H
#define QORUS_TEST_COMMON_RECIPE_H

#include "qorus/train.h"

static inline q_train_config recipe_of(const q_optimizer_class *optimizer, double rate)
{
    q_train_config c = {.struct_size = sizeof(c)};
    c.optimizer.struct_size = sizeof(c.optimizer);
    c.optimizer.cls = optimizer;
    c.optimizer.learning_rate = rate;
    c.schedule.struct_size = sizeof(c.schedule);
    return c;
}

#endif /* QORUS_TEST_COMMON_RECIPE_H */
