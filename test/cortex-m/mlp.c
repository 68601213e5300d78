/* SPDX-License-Identifier: MIT */
/* mlp.c: see mlp.h. */
#include "mlp.h"

enum { SAMPLES = 4, STEPS = 3 };

static _Alignas(128) unsigned char mlp_memory[256 << 10];
static size_t mlp_used;

static q_block mlp_block(size_t size)
{
    size_t left = sizeof(mlp_memory) - mlp_used;
    size_t whole = (size + 127) / 128 * 128;
    q_block block = {mlp_memory + mlp_used, size < left ? size : left};
    mlp_used += whole < left ? whole : left;
    return block;
}

static void mlp_build(q_graph *graph, const void *unused)
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
}

static q_error_code mlp_session(q_session **session, const q_backend *backend, uint32_t moments, q_diag *d)
{
    static const uint8_t kinds[] = {Q_REGION_PARAM, Q_REGION_SCRATCH, Q_REGION_TRAIN, Q_REGION_STATE};
    q_plan_config c = {.struct_size = sizeof(c), .mode = Q_PLAN_TRAIN, .precision = Q_PRECISION_EXACT,
                       .max = {SAMPLES, 1, 1, 1, 1}, .n_workers = 1, .workspace_size = backend->workspace_size,
                       .moments = moments};
    q_context context = {NULL, backend, 1, 0};
    q_region region[4] = {{0}};
    q_needs needs;
    q_model *model;
    q_plan *plan;
    size_t n = 0;
    q_error_code e = q_model_size(mlp_build, NULL, &n, d);
    e = e == Q_OK ? q_model_init(&model, mlp_block(n), mlp_build, NULL, d) : e;
    e = e == Q_OK ? q_plan_size(model, &c, &n, d) : e;
    e = e == Q_OK ? q_plan_init(&plan, mlp_block(n), model, &c, d) : e;
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(plan, &needs);
    for (int i = 0; i < 4; i++) {
        q_block block = mlp_block(needs.bytes[kinds[i]][0]);
        region[i].kind = kinds[i];
        region[i].base = block.base;
        region[i].size = block.size;
    }
    e = q_session_size(plan, &n, d);
    e = e == Q_OK ? q_session_init(session, mlp_block(n), plan, &context, region, 4, NULL, d) : e;
    return e == Q_OK ? q_session_init_params(*session, 1, d) : e;
}

q_error_code mlp_train(const q_backend *backend, uint8_t hash[Q_SHA256_BYTES], q_diag *d)
{
    static const float x[SAMPLES][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const float wanted[SAMPLES] = {0, 1, 1, 0};
    const void *inputs[] = {x, wanted};
    q_step all = {.inputs = inputs, .n_batch = SAMPLES};
    q_train_config config = {.struct_size = sizeof(config)};
    q_session *session;
    q_trainer *trainer;
    q_tensor t;
    q_sha256 sum;
    size_t n = 0;
    q_error_code e;

    mlp_used = 0;
    config.optimizer = (q_optimizer_config){.struct_size = sizeof(config.optimizer), .cls = &q_optimizer_adam,
                                            .learning_rate = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    config.schedule.struct_size = sizeof(config.schedule);
    e = mlp_session(&session, backend, q_train_moments(&config), d);
    e = e == Q_OK ? q_trainer_size(session, &config, &n, d) : e;
    e = e == Q_OK ? q_trainer_init(&trainer, mlp_block(n), session, &config, d) : e;
    for (int i = 0; i < STEPS && e == Q_OK; i++) {
        e = q_trainer_backward(trainer, &all, NULL, d);
        e = e == Q_OK ? q_trainer_update(trainer, NULL, d) : e;
    }
    q_sha256_init(&sum);
    for (q_param p = 0; p < 4 && e == Q_OK; p++) {
        e = q_session_param(session, p, &t, d);
        if (e == Q_OK) {
            q_sha256_update(&sum, t.data, (size_t)(t.ne[2] * t.ne[3]) * sizeof(float));
        }
    }
    q_sha256_final(&sum, hash);
    return e;
}
