/* SPDX-License-Identifier: MIT */
/* Calls out of order, classes, training and generators as a careless caller could have them: each ends in its error. */
#include "hostile.h"

#include <string.h>

/* ---- Calls out of order ---------------------------------------------------------------------------------------- */

static void build_planes(q_graph *g, const void *user)
{
    q_attention_config c = {1, 1, COLUMNS, 0, 1, 0};
    q_value planes = add_input(g, "planes", type_of(Q_REAL, 2, 1, Q_SYM_TOKENS, 8, 0), 0);
    q_node_desc d;
    (void)user;
    memset(&d, 0, sizeof(d));
    d.name = "attention";
    d.cls = &q_layer_attention;
    d.config = &c;
    d.n_in = 3;
    d.in[0] = d.in[1] = d.in[2] = token_rows(g, "x");
    q_graph_output(g, "y", add_node(g, "select", &q_layer_select_rows, NULL, q_graph_node(g, &d), Q_NONE, Q_NONE));
    q_graph_output(g, "planes", planes);
}

typedef struct again {
    bench *b;
    const void *const *inputs;
    uint32_t tried;
} again;

static q_error_code call_back(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    again *a = (again *)user;
    q_diag d;
    (void)first;
    (void)n;
    (void)rows;
    if (a->tried++ < 3) {
        check(step_of(a->b, a->inputs, 1, Q_SELECT_NONE, NULL, NULL) == Q_ERR_INVALID_STATE, "a step within a step");
        check(q_session_set_position(a->b->session, 63, &d) == Q_ERR_INVALID_STATE, "a position within a step");
        check(q_session_rewind(a->b->session, 0, &d) == Q_ERR_INVALID_STATE, "back within a step");
    }
    return Q_OK;
}

static void test_calls(void)
{
    enum { LONG = 11 };
    float planes[2 * LONG * 8];
    float x[LONG * COLUMNS];
    uint32_t list = 1;
    const void *inputs[2];
    again a;
    bench b;
    q_tensor out;
    q_step s;
    fill(planes, 2 * LONG * 8, 1);
    fill(x, LONG * COLUMNS, 2);
    inputs[0] = planes;
    inputs[1] = x;
    bench_init(&b);
    open_bench(&b, build_planes, NULL, "planes of tokens");
    a.b = &b;
    a.inputs = inputs;
    a.tried = 0;
    check(step_of(&b, inputs, LONG, Q_SELECT_ALL, call_back, &a) == Q_OK && a.tried == LONG, "rows of three chunks");
    check(q_session_position(b.session) == LONG, "the position");
    check(q_session_output(b.session, 1, &out, NULL) == Q_OK && out.ne[2] == 3 && out.nb[0] == out.nb[2] * 3 &&
              memcmp(out.data, planes + 8 * 8, 3 * 8 * sizeof(float)) == 0 &&
              memcmp((float *)out.data + 3 * 8, planes + (LONG + 8) * 8, 3 * 8 * sizeof(float)) == 0,
          "the last chunk of each plane");
    memset(&s, 0, sizeof(s));
    s.n_tokens = LONG;
    s.inputs = inputs;
    s.select = Q_SELECT_LIST;
    s.n_selected = 1;
    s.selected = &list;
    check(q_model_forward(b.session, &s, &b.diag) == Q_ERR_INVALID_ARG, "a row of an early chunk that nobody takes");
    inputs[1] = out.data;
    check(step_of(&b, inputs, 1, Q_SELECT_LAST, NULL, NULL) == Q_ERR_ALIASING, "an input that lies in SCRATCH");
}

static q_error_code no_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    (void)user;
    (void)first;
    return n <= rows->ne[2] ? Q_OK : Q_ERR_INVALID_STATE;
}

static void test_no_tail(void)
{
    float x[TOKENS * COLUMNS] = {0};
    uint32_t layout = Q_PLAIN;
    const void *inputs[1];
    bench b;
    inputs[0] = x;
    bench_init(&b);
    open_bench(&b, hostile_residual, &layout, "a graph without select_rows");
    check(step_of(&b, inputs, TOKENS, Q_SELECT_ALL, no_rows, NULL) == Q_ERR_INVALID_ARG, "rows where none are selected");
}

/* ---- A caller's class ------------------------------------------------------------------------------------------ */

static q_error_code odd_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    info->out[0].dim[1].n = *(const uint32_t *)info->config;
    info->out[0].dim[2].sym = ((const uint32_t *)info->config)[1];
    return Q_OK;
}

static void odd_sizes(const q_node_info *info, q_layer_sizes *out)
{
    (void)info;
    out->state = 64;
}

/* Adds one to its state, and fails when it is told to. */
static q_error_code odd_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)work;
    (void)stage;
    ++*(uint32_t *)layer->state;
    memcpy(layer->out[0]->data, layer->in[0]->data, layer->in[0]->nb[2] * work->run->n_tokens);
    return *(const float *)layer->in[0]->data > 100 ? Q_ERR_NON_FINITE : Q_OK;
}

static const q_layer_class odd = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 9,
    .name = "odd",
    .config_size = 8,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_STATEFUL,
    .shape = odd_shape,
    .sizes = odd_sizes,
    .forward = odd_forward,
};

static uint32_t any_activation(const void *config)
{
    return *(const uint32_t *)config;
}

static uint32_t takes_activation(const q_node_info *info)
{
    (void)info;
    return Q_EPILOGUE_ACTIVATION;
}

/* Asks for the activation that is its config's first number, which its shape rule does not look at. */
static const q_layer_class activating = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 10,
    .name = "activating",
    .config_size = 8,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .shape = odd_shape,
    .epilogue = takes_activation,
    .activation = any_activation,
    .forward = odd_forward,
};

static void build_activating(q_graph *g, const void *user)
{
    q_graph_output(g, "y", add_node(g, "odd", &activating, user, token_rows(g, "x"), Q_NONE, Q_NONE));
}

static void build_activating_nowhere(q_graph *g, const void *user)
{
    q_layer_class c = activating;
    c.epilogue = NULL;
    (void)add_node(g, "odd", &c, user, token_rows(g, "x"), Q_NONE, Q_NONE);
}

static void build_activating_one_of_two(q_graph *g, const void *user)
{
    q_layer_class c = activating;
    c.n_out = 2;
    (void)add_node(g, "odd", &c, user, token_rows(g, "x"), Q_NONE, Q_NONE);
}

static void build_odd(q_graph *g, const void *user)
{
    q_graph_output(g, "y", add_node(g, "odd", &odd, user, token_rows(g, "x"), Q_NONE, Q_NONE));
}

static void build_odd_tail(q_graph *g, const void *user)
{
    q_value s = add_node(g, "select", &q_layer_select_rows, NULL, token_rows(g, "x"), Q_NONE, Q_NONE);
    q_graph_output(g, "y", add_node(g, "odd", &odd, user, s, Q_NONE, Q_NONE));
}

static void test_odd(void)
{
    static const uint32_t good[2] = {1, Q_SYM_TOKENS};
    static const uint32_t nothing[2] = {0, Q_SYM_TOKENS};
    static const uint32_t symbol[2] = {1, 17};
    static const uint32_t selected[2] = {1, Q_SYM_SELECTED};
    static const uint32_t unknown[2] = {Q_ACT_COUNT, Q_SYM_TOKENS};
    float x[TOKENS * COLUMNS] = {0};
    const void *inputs[1];
    bench b;
    inputs[0] = x;
    refused(build_odd, nothing, Q_ERR_INVALID_SHAPE, "a class whose output has no rows");
    refused(build_odd, symbol, Q_ERR_INVALID_SHAPE, "a class whose output has an unknown symbol");
    refused(build_activating_nowhere, good, Q_ERR_INVALID_ARG, "a class with an activation and no epilogue");
    refused(build_activating_one_of_two, good, Q_ERR_INVALID_ARG, "a class with an activation and two outputs");
    refused(build_activating, unknown, Q_ERR_INVALID_ARG, "an activation that there is not");
    refused(build_odd_tail, selected, Q_ERR_UNSUPPORTED, "state below select_rows");
    bench_init(&b);
    open_bench(&b, build_odd, good, "a class with a state of its own");
    check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_OK, "a step with state");
    x[0] = 200;
    check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_ERR_NON_FINITE, "a step that fails");
    x[0] = 0;
    check(step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_ERR_INVALID_STATE && q_session_position(b.session) == 2,
          "its state cannot go back, so nothing goes on");
    check(q_session_rewind(b.session, 2, &b.diag) == Q_ERR_UNSUPPORTED, "nor does rewinding to where it was help");
    check(q_session_rewind(b.session, 0, &b.diag) == Q_OK && step_of(&b, inputs, 2, Q_SELECT_NONE, NULL, NULL) == Q_OK,
          "but from the start it does");
}

/* ---- Training -------------------------------------------------------------------------------------------------- */

enum { PLAIN_LOSS, SIDE_BRANCH, ONE_WAY_BETWEEN, PANEL_ABOVE, WIDE_LOSS, LOSS_SCALED };

static void build_training(q_graph *g, const void *user)
{
    uint32_t kind = *(const uint32_t *)user;
    q_value x = token_rows(g, "x");
    q_value t = token_rows(g, "target");
    q_value h = product(g, "first", x, slot(g, "w", Q_PLAIN, COLUMNS, COLUMNS, true));
    q_value y = h;
    q_value loss;
    if (kind == ONE_WAY_BETWEEN) {
        static q_layer_class one_way;
        one_way = q_layer_silu;
        one_way.id = Q_LAYER_USER + 7;
        one_way.name = "one_way";
        one_way.backward_stages = 0;
        one_way.backward = NULL;
        y = add_node(g, "one_way", &one_way, NULL, y, Q_NONE, Q_NONE);
    }
    if (kind == PANEL_ABOVE) {
        y = product(g, "second", y, slot(g, "panel", Q_PANEL16, COLUMNS, COLUMNS, false));
    }
    loss = add_node(g, "loss", &q_layer_mse, NULL, y, t, Q_NONE);
    if (kind == LOSS_SCALED) {
        loss = product(g, "scale", loss, slot(g, "by", Q_PLAIN, 1, 1, true));
    }
    q_graph_output(g, "loss", kind == WIDE_LOSS ? h : loss);
    if (kind == SIDE_BRANCH) {
        q_graph_output(g, "side", product(g, "side", h, slot(g, "side_w", Q_PLAIN, COLUMNS, COLUMNS, true)));
    }
}

static void train_bench(bench *b, uint32_t kind, const void *const *inputs)
{
    bench_init(b);
    b->config.mode = Q_PLAN_TRAIN;
    open_bench(b, build_training, &kind, "a graph to train");
    check(step_of(b, inputs, TOKENS, Q_SELECT_NONE, NULL, NULL) == Q_OK, "training goes forward");
}

static void test_training(void)
{
    static const uint32_t one_way = ONE_WAY_BETWEEN;
    float x[2 * TOKENS * COLUMNS];
    const void *inputs[2];
    q_tensor grads[2];
    bench b;
    inputs[0] = x;
    inputs[1] = x + TOKENS * COLUMNS;
    fill(x, 2 * TOKENS * COLUMNS, 3);
    bench_init(&b);
    b.config.mode = Q_PLAN_TRAIN;
    check(plan_of(&b, build_training, &one_way) == Q_ERR_UNSUPPORTED && strcmp(b.diag.what, "one_way") == 0,
          "a gradient that a class without backward would swallow");
    for (uint32_t i = 0; i < 2; i++) {
        train_bench(&b, i == 0 ? PLAIN_LOSS : SIDE_BRANCH, inputs);
        check(q_model_backward(b.session, true, &b.diag) == Q_OK, "gradients add to nothing at first");
        check(q_session_param_grad(b.session, 0, &grads[i], &b.diag) == Q_OK, "a gradient");
        check(q_model_backward(b.session, false, &b.diag) == Q_ERR_INVALID_STATE, "backward twice");
    }
    check(memcmp(grads[0].data, grads[1].data, COLUMNS * COLUMNS * sizeof(float)) == 0,
          "a branch beside the loss has no gradient");
    train_bench(&b, PANEL_ABOVE, inputs);
    check(q_model_backward(b.session, false, &b.diag) == Q_OK, "backward through panels");
    train_bench(&b, WIDE_LOSS, inputs);
    check(q_model_backward(b.session, false, &b.diag) == Q_ERR_INVALID_SHAPE, "a loss of many numbers");
    train_bench(&b, LOSS_SCALED, inputs);
    check(q_model_backward(b.session, false, &b.diag) == Q_OK, "a loss that is not the last word");
}

/* ---- Generating -------------------------------------------------------------------------------------------------- */

/* Two inputs, where a generator has one to give. */
static void build_two_inputs(q_graph *g, const void *user)
{
    q_embedding_config c = {1, 0};
    q_value ids = add_input(g, "ids", type_of(Q_I32, 1, 1, 0, 1, Q_SYM_TOKENS), 8);
    q_value y;
    (void)token_rows(g, "more");
    y = add_node(g, "embed", &q_layer_embedding, &c, ids, Q_NONE, slot(g, "w", Q_PLAIN, 8, *(const uint32_t *)user, false));
    q_graph_output(g, "y", add_node(g, "select", &q_layer_select_rows, NULL, y, Q_NONE, Q_NONE));
}

static void test_generator(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow f;
    q_tokenizer t;
    q_generate_config config;
    q_generator *g = NULL;
    const void *section;
    const void *inputs[1];
    int32_t ids[4];
    uint32_t columns;
    size_t n = 0;
    q_step step;
    bench b;
    flow_open(&f, &s, &flow_heap);
    section = q_file_section_data(&f.file, Q_SECTION_TOKENIZER, &n);
    check(q_tokenizer_open(&t, section, n, &f.diag) == Q_OK, "the tokenizer opens");
    q_generate_defaults(&config);
    columns = (uint32_t)q_tokenizer_n_vocab(&t);
    bench_init(&b);
    open_bench(&b, build_two_inputs, &columns, "a model with two inputs");
    check(q_generator_size(b.session, &t, &config, &n, &b.diag) == Q_ERR_MISMATCH, "it cannot generate: %d", (int)b.diag.code);
    check(q_generator_size(f.session, &t, &config, &n, &f.diag) == Q_OK &&
              q_generator_init(&g, (q_block){fresh(n), n}, f.session, &t, &config, &f.diag) == Q_OK,
          "a generator");
    flow_tokens(&f, ids, 4, 1);
    inputs[0] = ids;
    memset(&step, 0, sizeof(step));
    step.n_tokens = 4;
    step.inputs = inputs;
    check(q_model_forward(f.session, &step, &f.diag) == Q_OK, "tokens behind the generator's back");
    check(q_generator_feed(g, ids, 1, &f.diag) == Q_ERR_MISMATCH, "it sees that its history is not the session's");
}

void test_hostile_calls(const char *file)
{
    test_calls();
    test_no_tail();
    test_odd();
    test_training();
    test_generator(file);
}
