/* SPDX-License-Identifier: MIT */
/* Networks described by qorus/net.h: names, sharing and errors; trained, written, loaded and trained on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../common/recipe.h"
#include "net.h"
#include "qorus/net.h"
#include "qorus/train.h"

enum { SIDE = 6, CLASSES = 3, STEPS = 3 };

/* ---- Describing -------------------------------------------------------------------------------------------- */

static q_edge tower(q_net *n, const char *name, q_edge x)
{
    uint32_t outer = q_net_enter(n, name, Q_NONE);
    x = q_net_dropout(n, q_net_rmsnorm(n, "norm", q_net_linear(n, "fc", x, 8, Q_ACT_GELU_ERF)), 0.25f);
    x = q_net_add(n, x, q_net_project(n, "again", q_net_project(n, "again", x, 8), 8));
    q_net_leave(n, outer);
    return x;
}

static bool not_bias(void *user, const char *name)
{
    (void)user;
    return strcmp(name + strlen(name) - 2, ".b") != 0;
}

/* Two inputs through one tower, and through another; two outputs. */
static void build_towers(q_graph *g, const void *frozen)
{
    q_net n;
    q_edge a;
    q_edge b;
    q_edge all[3];
    q_net_begin(&n, g);
    n.trains = not_bias;
    a = q_net_features(&n, "a", NET_IN);
    b = q_net_features(&n, "b", NET_IN);
    n.frozen = frozen != NULL;
    all[0] = tower(&n, "left", a);
    all[1] = tower(&n, "left", b);
    n.frozen = false;
    all[2] = tower(&n, "right", b);
    a = q_net_add(&n, all[0], q_net_drop_path(&n, q_net_mul(&n, all[1], all[2]), 0.5f));
    a = q_net_add(&n, a, q_net_project(&n, "joined", q_net_concat(&n, all, 3), 8));
    q_net_mse(&n, a, all[2]);
    q_net_output(&n, "a", a);
    q_net_output(&n, "b", all[1]);
}

static bool has_gradient(const net *n, const char *name)
{
    q_tensor t;
    q_diag d;
    q_param p = q_model_find_param(n->model, name);
    return p != Q_NONE && q_session_param_grad(n->session, p, &t, &d) == Q_OK;
}

static bool has_node(const net *n, const char *name)
{
    for (uint32_t i = 0; i < q_model_n_nodes(n->model); i++) {
        if (strcmp(q_model_node_name(n->model, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static void test_sharing(void)
{
    static const bool yes = true;
    net n;
    net_open(&n, build_towers, NULL, Q_PLAN_TRAIN);
    check(q_model_n_params(n.model) == 9, "a scope used twice shares its parameters, another has its own");
    check(q_model_n_outputs(n.model) == 4, "loss, count and two outputs");
    check(has_node(&n, "left.fc") && has_node(&n, "left.fc#1") && has_node(&n, "left.again#3"), "nodes of shared layers differ");
    check(has_gradient(&n, "left.fc.w") && has_gradient(&n, "right.again"), "parameters train");
    check(!has_gradient(&n, "left.fc.b"), "frozen by name");
    net_close(&n);
    net_open(&n, build_towers, &yes, Q_PLAN_TRAIN);
    check(!has_gradient(&n, "left.fc.w") && has_gradient(&n, "right.fc.w"), "frozen while it was built");
    net_close(&n);
}

static void build_wrong(q_graph *g, const void *which)
{
    const uint32_t k = *(const uint32_t *)which;
    char name[Q_CAP_NAME + 3];
    q_net n;
    q_edge x;
    q_edge y;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    q_net_begin(&n, g);
    x = q_net_images(&n, "x", SIDE, SIDE, 2);
    y = q_net_linear(&n, "first", x, 4, Q_ACT_NONE);
    if (k == 0) {
        y = q_net_add(&n, x, y);
    } else if (k == 1) {
        y = q_net_conv2d(&n, "conv", x, 4, SIDE + 1, 1, 0);
    } else if (k == 2) {
        y = q_net_linear(&n, "first", y, 4, Q_ACT_NONE);
    } else if (k == 3) {
        y = q_net_linear(&n, name, y, 4, Q_ACT_NONE);
    } else if (k == 4) {
        y.value = 77;
        y = q_net_activate(&n, y, Q_ACT_RELU);
    } else if (k == 5) {
        for (uint32_t i = 0; i <= Q_NET_PARAMS; i++) {
            uint32_t outer = q_net_enter(&n, "many", i);
            y = q_net_rmsnorm(&n, "norm", y);
            q_net_leave(&n, outer);
        }
    } else if (k < 9) {
        static const q_conv2d_config wrong[] = {{65536, 65536, 1, 1, 0, 0, 1, 1, 1, Q_ACT_NONE},
                                                {0, 1, 1, 1, 0, 0, 1, 1, 1, Q_ACT_NONE},
                                                {1, 1, 1, 1, 0, 0, 1, 1, 0, Q_ACT_NONE}};
        y = q_net_convolve(&n, "conv", x, 4, &wrong[k - 6]);
    } else {
        y = q_net_lstm(&n, "lstm", q_net_reshape(&n, x, 1, SIDE, 2 * SIDE), 1u << 30);
    }
    q_net_output(&n, "y", q_net_softmax(&n, y));
}

static void test_errors(void)
{
    static const struct {
        q_error_code code;
        const char *what; /* begins so */
        const char *field; /* "": any */
        const char *about;
    } want[] = {
        {Q_ERR_INVALID_SHAPE, "add", "", "an addition of two shapes names its node"},
        {Q_ERR_INVALID_ARG, "conv", "config.kernel_h", "a kernel larger than the image names its node"},
        {Q_ERR_INVALID_SHAPE, "first.w", "", "a parameter shared in another shape is named"},
        {Q_ERR_LIMIT, "nnnn", "", "a name too long"},
        {Q_ERR_INVALID_ARG, "activation", "", "an edge that is none names the node"},
        {Q_ERR_LIMIT, "many.", "", "more parameters than a q_net knows"},
        {Q_ERR_INVALID_ARG, "conv", "config.kernel_h", "a kernel whose size needs more than 32 bits"},
        {Q_ERR_INVALID_ARG, "conv", "config.kernel_h", "a kernel of nothing"},
        {Q_ERR_INVALID_ARG, "conv", "config.groups", "channels in no group"},
        {Q_ERR_INVALID_SHAPE, "lstm.w_hh", "type.ne", "gates whose number needs more than 32 bits"},
    };
    for (uint32_t k = 0; k < sizeof(want) / sizeof(want[0]); k++) {
        q_diag d = {Q_OK, "", "", 0, 0, 0};
        q_model *model;
        size_t size = 0;
        q_error_code e = q_model_size(build_wrong, &k, &size, &d);
        void *memory = e == Q_OK ? aligned_alloc(128, (size + 127) / 128 * 128) : NULL;
        if (memory != NULL) {
            e = q_model_init(&model, (q_block){memory, size}, build_wrong, &k, &d);
        }
        check(e == want[k].code && d.code == e && strncmp(d.what, want[k].what, strlen(want[k].what)) == 0, want[k].about);
        check(want[k].field[0] == '\0' || strcmp(d.field, want[k].field) == 0, want[k].about);
        free(memory);
    }
}

/* ---- Training on what was written --------------------------------------------------------------------------- */

static void build_cnn(q_graph *g, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge labels;
    (void)unused;
    q_net_begin(&n, g);
    labels = q_net_labels(&n, "labels", CLASSES);
    x = q_net_images(&n, "x", SIDE, SIDE, 1);
    x = q_net_batchnorm(&n, "bn", q_net_conv2d(&n, "conv", x, 4, 3, 1, 1), Q_ACT_RELU);
    x = q_net_linear(&n, "head", q_net_flatten(&n, q_net_max_pool(&n, x, 2)), CLASSES, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, labels);
    q_net_output(&n, "logits", x);
}

static bool every(void *user, const char *name)
{
    (void)user;
    (void)name;
    return true;
}

/* The file's network with the loss of build_cnn behind it. */
static void build_on(q_graph *g, const void *file_build)
{
    q_net n;
    q_edge labels;
    q_edge logits;
    q_net_begin(&n, g);
    labels = q_net_labels(&n, "labels", CLASSES);
    logits = labels;
    logits.type.dtype = Q_REAL;
    logits.type.dim[0].sym = Q_SYM_BATCH;
    logits.type.dim[3] = (q_count){CLASSES, Q_SYM_ONE};
    logits.value = q_graph_file(g, (const q_file_build *)file_build, "logits");
    q_net_cross_entropy(&n, logits, labels);
}

static void train(const net *n)
{
    float x[NET_BATCH * SIDE * SIDE];
    const int32_t labels[NET_BATCH] = {0, 2, 1, 2};
    const void *inputs[2] = {labels, x};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_train_config c = recipe_of(&q_optimizer_sgd, 0.05);
    q_trainer *trainer;
    q_step step;
    size_t size;
    void *memory;
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.n_batch = NET_BATCH;
    for (uint32_t i = 0; i < NET_BATCH * SIDE * SIDE; i++) {
        x[i] = (float)((int)(i * 37 % 23) - 11) / 8.0f;
    }
    must(q_trainer_size(n->session, &c, &size, &d), &d);
    memory = aligned_alloc(128, (size + 127) / 128 * 128);
    must(q_trainer_init(&trainer, (q_block){memory, size}, n->session, &c, &d), &d);
    for (uint32_t i = 0; i < STEPS; i++) {
        must(q_trainer_backward(trainer, &step, NULL, &d), &d);
        must(q_trainer_update(trainer, NULL, &d), &d);
    }
    free(memory);
}

static bool same_params(const net *a, const net *b)
{
    bool same = q_model_n_params(a->model) == q_model_n_params(b->model);
    for (q_param p = 0; same && p < q_model_n_params(a->model); p++) {
        q_tensor t[2];
        q_diag d;
        q_param twin = q_model_find_param(b->model, q_model_param_name(a->model, p));
        must(q_session_param(a->session, p, &t[0], &d), &d);
        same = twin != Q_NONE && q_session_param(b->session, twin, &t[1], &d) == Q_OK &&
               memcmp(t[0].ne, t[1].ne, sizeof(t[0].ne)) == 0 &&
               memcmp(t[0].data, t[1].data, (size_t)t[0].ne[2] * t[0].ne[3] * sizeof(q_real)) == 0;
    }
    return same;
}

static void test_training_on(void)
{
    static const char *const answer[] = {"logits"};
    net first;
    net loaded;
    sink s;
    q_file file;
    q_file_build fb;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w;
    uint32_t n = 0;
    net_open(&first, build_cnn, NULL, Q_PLAN_TRAIN);
    must(q_session_init_params(first.session, 7, &d), &d);
    train(&first);
    w = write_of(&first, &s);
    w.outputs = answer;
    w.n_outputs = 1;
    check(net_write(&w, &s, &d), "a described network is written");
    must(q_file_open(&file, s.bytes, (size_t)s.size, NULL, 0, &d), &d);
    memset(&fb, 0, sizeof(fb));
    fb.file = &file;
    fb.trains = every;
    net_open(&loaded, build_on, &fb, Q_PLAN_TRAIN);
    must(q_session_load_params(loaded.session, &file, &n, &d), &d);
    check(n == 8 && same_params(&first, &loaded), "the file's parameters are in slots, running statistics too");
    train(&first);
    check(!same_params(&first, &loaded), "training moves parameters");
    train(&loaded);
    check(same_params(&first, &loaded), "training on from a file gives the bits of training on");
    net_close(&loaded);
    sink_free(&s);
    net_close(&first);
}

/* ---- Padding ------------------------------------------------------------------------------------------------ */

enum { ROWS = 6, SHORT = 4, WIDTH = 16 };

typedef struct padded {
    uint32_t rows;
    bool lengths;
    bool causal;
    bool tokens; /* rows of texts, which have no lengths */
} padded;

static void build_padded(q_graph *g, const void *user)
{
    const padded *p = (const padded *)user;
    q_net_attention_config c = {.heads = 2, .kv_heads = 1, .full = !p->causal};
    q_edge lengths;
    q_edge x;
    q_net n;
    q_net_begin(&n, g);
    if (p->lengths) {
        lengths = q_net_lengths(&n, "lengths", p->rows);
        c.lengths = &lengths;
    }
    x = p->tokens ? q_net_rows(&n, "x", WIDTH) : q_net_sequences(&n, "x", p->rows, WIDTH);
    q_net_output(&n, "y", q_net_attention(&n, q_net_rmsnorm(&n, "norm", x), &c));
}

/* What a step of two samples makes: [2][rows][WIDTH]. */
static q_error_code run_padded(const net *n, const int32_t *lengths, const float *x, q_tensor *y, q_diag *d)
{
    const void *inputs[2] = {lengths, x};
    q_step step = {.n_batch = 2, .inputs = lengths != NULL ? inputs : inputs + 1};
    q_error_code e = q_model_forward(n->session, &step, d);
    return e == Q_OK ? q_session_output(n->session, 0, y, d) : e;
}

/* Samples of SHORT rows, and the same in ROWS rows with anything behind: the same bits, also from a file. */
static void test_padding(void)
{
    static const padded all = {ROWS, true, false, false};
    static const padded alone = {SHORT, false, false, false};
    static const padded texts = {ROWS, true, false, true};
    static const padded causal = {ROWS, true, true, false};
    const int32_t lengths[2] = {SHORT, SHORT};
    const int32_t wrong[][2] = {{0, SHORT}, {SHORT, ROWS + 1}};
    static float x[2][ROWS][WIDTH];
    static float cut[2][SHORT][WIDTH];
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_file file;
    q_file_build fb = {.file = &file};
    net nets[3];
    q_tensor y[3];
    bool same = true;
    size_t size;
    sink s;
    q_write w;
    for (uint32_t i = 0; i < 2 * ROWS * WIDTH; i++) {
        uint32_t row = i / WIDTH % ROWS;
        (&x[0][0][0])[i] = row < SHORT ? (float)((int)(i * 37 % 23) - 11) / 8.0f : (float)NAN;
        cut[i / WIDTH / ROWS][row < SHORT ? row : 0][i % WIDTH] = row < SHORT ? x[i / WIDTH / ROWS][row][i % WIDTH]
                                                                              : cut[i / WIDTH / ROWS][0][i % WIDTH];
    }
    net_open(&nets[0], build_padded, &all, Q_PLAN_INFER);
    net_open(&nets[1], build_padded, &alone, Q_PLAN_INFER);
    w = write_of(&nets[0], &s);
    check(net_write(&w, &s, &d) && q_file_open(&file, s.bytes, (size_t)s.size, NULL, 0, &d) == Q_OK, "lengths are written");
    net_open(&nets[2], q_build_from_file, &fb, Q_PLAN_INFER);
    must(run_padded(&nets[0], lengths, &x[0][0][0], &y[0], &d), &d);
    must(run_padded(&nets[1], NULL, &cut[0][0][0], &y[1], &d), &d);
    must(run_padded(&nets[2], lengths, &x[0][0][0], &y[2], &d), &d);
    for (uint32_t i = 0; i < 2 * ROWS * WIDTH; i++) {
        uint32_t row = i / WIDTH % ROWS;
        float got = ((const float *)y[0].data)[i];
        float want = row < SHORT ? ((const float *)y[1].data)[(i / WIDTH / ROWS * SHORT + row) * WIDTH + i % WIDTH] : 0;
        same = same && got == want && got == ((const float *)y[2].data)[i];
    }
    check(same, "a padded sample has the bits it has alone, whatever the padding is, which becomes 0");
    for (uint32_t k = 0; k < 2; k++) {
        check(run_padded(&nets[0], wrong[k], &x[0][0][0], &y[0], &d) != Q_OK &&
                  (k == 1 ? strcmp(d.what, "lengths") == 0 : strncmp(d.what, "attention", 9) == 0),
              "a length that is none names the input, or the node");
    }
    check(q_model_size(build_padded, &texts, &size, &d) == Q_ERR_INVALID_SHAPE && strcmp(d.field, "lengths: of samples") == 0,
          "texts have no lengths");
    check(q_model_size(build_padded, &causal, &size, &d) == Q_ERR_INVALID_ARG && strncmp(d.what, "attention", 9) == 0 &&
              strcmp(d.field, "n_in") == 0, "nor has what looks back alone");
    for (uint32_t i = 0; i < 3; i++) {
        net_close(&nets[i]);
    }
    sink_free(&s);
}

void test_built(void)
{
    test_padding();
    test_sharing();
    test_errors();
    test_training_on();
}
