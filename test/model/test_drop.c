/* SPDX-License-Identifier: MIT */
/* Dropout where nothing is dropped: plans for inference leave it out, evaluation hands on what comes in; and how much it
   drops in training. */
#include <stdio.h>
#include <string.h>

#include "flow.h"
#include "port/x86/cpu_detect.h"
#include "tools/common/backends.h"

enum { ROWS = 40, COLUMNS = 50, ROOM = 1 << 18 };

static void build_drop(q_graph *g, const void *user)
{
    static const q_dropout_config half = {0.5f, 0};
    static const q_activation_config relu = {Q_ACT_RELU, 0};
    q_input_desc in;
    q_node_desc d;
    memset(&in, 0, sizeof(in));
    memset(&d, 0, sizeof(d));
    in.name = "x";
    in.type.dtype = Q_REAL;
    in.type.dim[0] = (q_count){1, Q_SYM_BATCH};
    in.type.dim[1] = in.type.dim[2] = (q_count){1, Q_SYM_ONE};
    in.type.dim[3] = (q_count){COLUMNS, Q_SYM_ONE};
    d.name = "drop";
    d.cls = (const q_layer_class *)user;
    d.config = &half;
    d.n_in = 1;
    d.in[0] = q_graph_input(g, &in);
    d.in[0] = q_graph_node(g, &d);
    d.name = "relu";
    d.cls = &q_layer_activation;
    d.config = &relu;
    q_graph_output(g, "y", q_graph_node(g, &d));
}

static void keep_text(void *user, const char *text, size_t n)
{
    char *all = (char *)user;
    size_t have = strlen(all);
    if (have + n < 4096) {
        memcpy(all + have, text, n);
        all[have + n] = '\0';
    }
}

/* Runs a step; *y: what came out, until the next run. Returns whether the plan left a node out. */
static bool run_drop(const q_layer_class *cls, uint32_t mode, uint32_t flags, const float *x, const float **y)
{
    static _Alignas(128) uint8_t memory[5][ROOM];
    static q_backend backend;
    q_context context = {NULL, &backend, 1, 0};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    char text[4096] = "";
    q_plan_config c;
    q_region regions[2];
    const void *inputs[1];
    q_model *m = NULL;
    q_plan *p = NULL;
    q_session *s = NULL;
    q_step step;
    q_tensor out;
    q_needs needs;
    memset(&c, 0, sizeof(c));
    memset(regions, 0, sizeof(regions));
    memset(&step, 0, sizeof(step));
    memset(&out, 0, sizeof(out));
    c.struct_size = sizeof(c);
    c.mode = mode;
    c.max = (q_maxima){ROWS, 1, 1, 0, 0};
    c.n_workers = 1;
    regions[0].kind = Q_REGION_SCRATCH;
    regions[0].base = memory[2];
    regions[0].size = ROOM;
    inputs[0] = x;
    step.inputs = inputs;
    step.n_batch = ROWS;
    step.flags = flags;
    step.seed = 3;
    check(backend_make(&backend, "scalar", q_cpu_detect()) &&
              q_model_init(&m, (q_block){memory[0], ROOM}, build_drop, cls, &d) == Q_OK &&
              q_plan_init(&p, (q_block){memory[1], ROOM}, m, &c, &d) == Q_OK, "%s: plan: %s", cls->name, d.field);
    q_plan_needs(p, &needs);
    check(q_session_init(&s, (q_block){memory[3], ROOM}, p, &context, regions, 1, NULL, &d) == Q_OK &&
              q_model_forward(s, &step, &d) == Q_OK && q_session_output(s, 0, &out, &d) == Q_OK, "%s: step: %s %s", cls->name,
          d.what, d.field);
    q_plan_print(p, Q_PLAN_TEXT, keep_text, text);
    *y = (const float *)out.data;
    return strstr(text, "1 pruned") != NULL;
}

void test_drop(void)
{
    static const q_layer_class *const classes[] = {&q_layer_dropout, &q_layer_drop_path};
    static float x[ROWS * COLUMNS];
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++) {
        x[i] = 1.0f + (float)i;
    }
    for (uint32_t k = 0; k < 2; k++) {
        const char *name = classes[k]->name;
        const float *y;
        uint32_t dropped = 0;
        uint32_t wrong = 0;
        uint32_t parted = 0;
        check(run_drop(classes[k], Q_PLAN_INFER, 0, x, &y) && memcmp(x, y, sizeof(x)) == 0, "%s: inference leaves it out", name);
        check(!run_drop(classes[k], Q_PLAN_TRAIN, Q_STEP_EVALUATE, x, &y) && memcmp(x, y, sizeof(x)) == 0,
              "%s: evaluation drops nothing", name);
        (void)run_drop(classes[k], Q_PLAN_TRAIN, 0, x, &y);
        for (uint32_t i = 0; i < ROWS * COLUMNS; i++) {
            dropped += y[i] == 0 ? 1u : 0u;
            wrong += y[i] == 0 || y[i] == 2 * x[i] ? 0u : 1u;
            parted += (y[i] == 0) != (y[i / COLUMNS * COLUMNS] == 0) ? 1u : 0u;
        }
        check(wrong == 0, "%s: what is kept grows by 1/(1 - rate)", name);
        check(dropped > ROWS * COLUMNS / 4 && dropped < ROWS * COLUMNS * 3 / 4, "%s: about half is dropped: %u", name, dropped);
        check((parted == 0) == (k == 1), "%s: samples whole, or not", name);
    }
}
