/* SPDX-License-Identifier: MIT */
/*
 * 07: a layer of your own, with its backward, in 60 lines: PReLU, y = x for x > 0, else slope*x, with a slope for each
 * column (He et al. 2015, arXiv:1502.01852). It trains, is saved in a file, loaded from it, and trained on: the parameters
 * are those of a training that never stopped, bit for bit.
 */
#include "flash.h"

static float *row_of(const q_tensor *t, uint32_t r)
{
    return (float *)(void *)((char *)t->data + r * t->nb[2]);
}

static q_error_code prelu_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag; /* the library adds the node's name to what a class says, or says so itself */
    info->out[0] = info->in[0];
    return info->param[0].ne[3] == info->in[0].dim[3].n ? Q_OK : Q_ERR_INVALID_SHAPE;
}

static q_error_code prelu_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const float *slope = row_of(layer->param[0], 0);
    (void)stage;
    for (uint32_t r = 0; r < q_count_value(work->run, layer->in_rows[0]); r++) {
        const float *x = row_of(layer->in[0], r);
        float *y = row_of(layer->out[0], r);
        for (uint32_t c = 0; c < layer->in[0]->ne[3]; c++) {
            y[c] = x[c] > 0 ? x[c] : slope[c] * x[c];
        }
    }
    return Q_OK;
}

static q_error_code prelu_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const float *slope = row_of(layer->param[0], 0);
    (void)stage;
    for (uint32_t r = 0; r < q_count_value(work->run, layer->in_rows[0]); r++) {
        const float *x = row_of(layer->in[0], r);
        const float *dy = row_of(layer->grad_out[0], r);
        for (uint32_t c = 0; c < layer->in[0]->ne[3]; c++) {
            if (layer->grad_param[0] != NULL) { /* else it is frozen */
                row_of(layer->grad_param[0], 0)[c] += x[c] > 0 ? 0 : dy[c] * x[c];
            }
            if (layer->grad_in[0] != NULL) { /* else nothing trains upstream */
                float *dx = &row_of(layer->grad_in[0], r)[c];
                *dx = ((layer->accumulate & 1u) != 0 ? *dx : 0) + (x[c] > 0 ? dy[c] : slope[c] * dy[c]);
            }
        }
    }
    return Q_OK;
}

static const q_layer_class prelu = {
    .struct_size = sizeof(q_layer_class), .id = Q_LAYER_USER + 1, .name = "prelu",
    .min_in = 1, .max_in = 1, .n_out = 1, .min_param = 1, .max_param = 1,
    .forward_stages = 1, .backward_stages = 1, .saves = 1, /* backward reads input 0 */
    .shape = prelu_shape, .forward = prelu_forward, .backward = prelu_backward,
};

/* ---- A network with it --------------------------------------------------------------------------------------- */

enum { IN = 3, HIDDEN = 8, BATCH = 16, STEPS = 200 };

static void build(q_graph *graph, const void *unused)
{
    static const q_init quarter = {Q_INIT_CONSTANT, 0, 0.25};
    q_net n;
    q_edge x;
    q_edge wanted;
    q_weight slope;
    (void)unused;
    q_net_begin(&n, graph);
    wanted = q_net_features(&n, "wanted", 1);
    x = q_net_linear(&n, "hidden", q_net_features(&n, "x", IN), HIDDEN, Q_ACT_NONE);
    slope = q_net_weight(&n, "slope", 1, HIDDEN, quarter);
    x = q_net_layer(&n, &(q_net_layer_desc){.cls = &prelu, .name = "prelu", .in = &x, .n_in = 1, .param = &slope, .n_param = 1});
    x = q_net_linear(&n, "out", x, 1, Q_ACT_NONE);
    q_net_mse(&n, x, wanted);
    q_net_output(&n, "answer", x);
}

/* The network of a file, which has the answer alone, with the loss behind it again. */
static void build_again(q_graph *graph, const void *file)
{
    q_net n;
    q_edge wanted;
    q_edge answer;
    q_net_begin(&n, graph);
    wanted = answer = q_net_features(&n, "wanted", 1);
    answer.value = q_graph_file(graph, (const q_file_build *)file, "answer");
    q_net_mse(&n, answer, wanted);
}

static bool everything(void *user, const char *name)
{
    (void)user;
    (void)name;
    return true;
}

static q_error_code train(training *t, uint32_t steps, q_train_report *report, q_diag *d)
{
    float x[BATCH][IN];
    float wanted[BATCH];
    const void *inputs[] = {wanted, x};
    q_step step = {.inputs = inputs, .n_batch = BATCH};
    q_error_code e = Q_OK;
    for (uint32_t i = 0; i < BATCH; i++) {
        for (uint32_t c = 0; c < IN; c++) {
            x[i][c] = (float)((i * 7 + c * 5) % 11) / 5.0f - 1;
        }
        wanted[i] = x[i][0] > 0 ? x[i][1] : -x[i][2];
    }
    for (uint32_t i = 0; i < steps && e == Q_OK; i++) {
        e = q_trainer_backward(t->trainer, &step, NULL, d);
        e = e == Q_OK ? q_trainer_update(t->trainer, report, d) : e;
    }
    return e;
}

int main(void)
{
    static const q_layer_class *const own[] = {&prelu};
    q_file file;
    q_file_build again = {.file = &file, .classes = own, .n_classes = 1, .trains = everything};
    q_train_config config = training_config(&q_optimizer_sgd, 0.1);
    q_train_report first;
    q_train_report last;
    q_train_report resumed;
    training whole;
    training half;
    training loaded;
    size_t size = 0;
    q_diag d;

    if (training_open(&whole, build, NULL, &config, training_samples(BATCH), &d) != Q_OK ||
        train(&whole, 1, &first, &d) != Q_OK || train(&whole, STEPS - 1, &last, &d) != Q_OK ||
        training_open(&half, build, NULL, &config, training_samples(BATCH), &d) != Q_OK ||
        train(&half, STEPS / 2, &resumed, &d) != Q_OK || flash_save(&half, &size, &d) != Q_OK ||
        q_file_open(&file, flash, size, NULL, 0, &d) != Q_OK ||
        training_open(&loaded, build_again, &again, &config, training_samples(BATCH), &d) != Q_OK ||
        q_session_load_params(loaded.session, &file, NULL, &d) != Q_OK) {
        return training_failed(&d);
    }
    q_trainer_set_steps(loaded.trainer, STEPS / 2);
    if (train(&loaded, STEPS / 2, &resumed, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("loss %.4f, after %d steps %.4f; saved half way and trained on: %s\n", first.loss, STEPS, last.loss,
           training_same(&whole, &loaded) && resumed.loss == last.loss ? "the same bits" : "other bits");
    again.n_classes = 0; /* a file with a layer of your own needs its class */
    printf("without the class: %s: %s\n", q_strerror(q_model_size(build_again, &again, &(size_t){0}, &d)), d.what);
    return 0;
}
