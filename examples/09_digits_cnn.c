/* SPDX-License-Identifier: MIT */
/*
 * 09: a convolutional network learns handwritten digits from IDX files, and is tried on those held out.
 *
 *   make digits && cd build/digits
 *   09_digits_cnn train-images.idx train-labels.idx test-images.idx test-labels.idx
 */
#include "digits.h"

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge labels;
    (void)unused;
    q_net_begin(&n, graph);
    n.bias = false; /* batchnorm has one */
    x = q_net_images(&n, "x", SIDE, SIDE, 1);
    labels = q_net_labels(&n, "labels", CLASSES);
    x = q_net_conv2d(&n, "conv1", x, 16, 3, 1, 1);
    x = q_net_max_pool(&n, q_net_batchnorm(&n, "norm1", x, Q_ACT_RELU), 2);
    x = q_net_conv2d(&n, "conv2", x, 32, 3, 1, 1);
    x = q_net_max_pool(&n, q_net_batchnorm(&n, "norm2", x, Q_ACT_RELU), 2);
    n.bias = true;
    x = q_net_dropout(&n, q_net_flatten(&n, x), 0.3f);
    x = q_net_linear(&n, "head", x, CLASSES, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, labels);
    q_net_output(&n, "logits", x);
}

int main(int argc, char **argv)
{
    return digits_main(argc, argv, build, 0.005, 12);
}
