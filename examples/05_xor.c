/* SPDX-License-Identifier: MIT */
/* 05: a network learns exclusive or: 2 inputs, 8 hidden units, 1 output; Adam, 300 steps of all four samples. */
#include "training.h"

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge wanted;
    (void)unused;
    q_net_begin(&n, graph);
    x = q_net_features(&n, "x", 2);
    wanted = q_net_features(&n, "wanted", 1);
    x = q_net_linear(&n, "hidden", x, 8, Q_ACT_TANH);
    x = q_net_linear(&n, "out", x, 1, Q_ACT_NONE);
    q_net_bce(&n, x, wanted);
    q_net_output(&n, "answer", x);
}

int main(void)
{
    static const float x[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const float wanted[4] = {0, 1, 1, 0};
    static _Alignas(Q_ALIGN) unsigned char gathered[1024];
    q_table table = {.n = 4, .n_inputs = 2, .data = {x, wanted}, .bytes = {sizeof(x[0]), sizeof(wanted[0])},
                     .buffer = gathered, .size = sizeof(gathered)};
    const void *inputs[] = {x, wanted};
    q_step all = {.inputs = inputs, .n_batch = 4, .flags = Q_STEP_EVALUATE};
    q_train_config config = training_config(&q_optimizer_adam, 0.05);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = 4, .epochs = 300};
    q_dataset data = q_table_dataset(&table);
    q_fit_result result;
    q_tensor answer;
    training t;
    q_diag d;

    if (training_open(&t, build, NULL, &config, training_samples(4), &d) != Q_OK ||
        training_fit(&t, &fit, &data, NULL, &result, &d) != Q_OK ||
        q_model_forward(t.session, &all, &d) != Q_OK || q_session_output(t.session, 2, &answer, &d) != Q_OK) {
        return training_failed(&d);
    }
    for (size_t i = 0; i < 4; i++) {
        const float *logit = (const float *)(const void *)((const char *)answer.data + i * answer.nb[2]);
        printf("%.0f xor %.0f is %d\n", (double)x[i][0], (double)x[i][1], *logit > 0);
    }
    printf("loss %.4f after %llu steps\n", result.loss, (unsigned long long)result.steps);
    return 0;
}
