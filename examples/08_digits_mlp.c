/* SPDX-License-Identifier: MIT */
/*
 * 08: a multi-layer perceptron learns handwritten digits from IDX files, and is tried on those held out.
 *
 *   make digits && cd build/digits
 *   08_digits_mlp train-images.idx train-labels.idx test-images.idx test-labels.idx
 */
#include "digits.h"

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge labels;
    (void)unused;
    q_net_begin(&n, graph);
    x = q_net_features(&n, "x", PIXELS);
    labels = q_net_labels(&n, "labels", CLASSES);
    x = q_net_linear(&n, "hidden", x, 128, Q_ACT_RELU);
    x = q_net_dropout(&n, x, 0.2f);
    x = q_net_linear(&n, "head", x, CLASSES, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, labels);
    q_net_output(&n, "logits", x);
}

int main(int argc, char **argv)
{
    return digits_main(argc, argv, build, 0.003, 30);
}
