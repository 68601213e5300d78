/* SPDX-License-Identifier: MIT */
/* own_layers.h: classes of the test's own, in plain C, for layers that the networks need. */
#ifndef TEST_TRAJECTORY_OWN_LAYERS_H
#define TEST_TRAJECTORY_OWN_LAYERS_H

#include "qorus/layer.h"

/* [batch, height, width, channels] -> [batch, 1, 1, height*width*channels] */
extern const q_layer_class own_flatten;

#endif /* TEST_TRAJECTORY_OWN_LAYERS_H */
