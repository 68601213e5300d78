/* SPDX-License-Identifier: MIT */
/* The library's optimizers: from hyper-parameters to the factors of a kernel's step. */
#include "../core.h"
#include "power.h"
#include "qorus/optim.h"

static double or_default(double value, double fallback)
{
    return value == 0 ? fallback : value;
}

static q_optimizer_args args_of(const q_update *u)
{
    q_optimizer_args a;
    memset(&a, 0, sizeof(a));
    a.n = u->n;
    a.w = u->w;
    a.grad = u->grad;
    a.grad_scale = (q_real)u->grad_scale;
    a.limit = (q_real)u->limit;
    a.keep = 1;
    a.rate = (q_real)u->learning_rate;
    return a;
}

static void set_betas(q_optimizer_args *a, double beta1, double beta2)
{
    a->beta1 = (q_real)beta1;
    a->rest1 = (q_real)(1 - beta1);
    a->beta2 = (q_real)beta2;
    a->rest2 = (q_real)(1 - beta2);
}

static uint32_t sgd_moments(const q_optimizer_config *config)
{
    return config->momentum != 0 ? 1 : 0;
}

static void sgd_update(const q_kernels *kernels, const q_work *work, const q_update *u)
{
    q_optimizer_args a = args_of(u);
    a.decay = (q_real)u->weight_decay;
    a.m = u->config->momentum != 0 ? u->moment[0] : NULL;
    a.beta1 = (q_real)u->config->momentum;
    a.nesterov = (u->config->flags & Q_OPTIMIZER_NESTEROV) != 0 ? 1u : 0u;
    kernels->sgd(work, &a);
}

static uint32_t two_moments(const q_optimizer_config *config)
{
    (void)config;
    return 2;
}

static void adam_step(const q_kernels *kernels, const q_work *work, const q_update *u, q_optimizer_args *a)
{
    double beta1 = or_default(u->config->beta1, 0.9);
    double beta2 = or_default(u->config->beta2, 0.999);
    uint64_t n = u->step != UINT64_MAX ? u->step + 1 : u->step;
    set_betas(a, beta1, beta2);
    a->m = u->moment[0];
    a->v = u->moment[1];
    a->eps = (q_real)or_default(u->config->eps, 1e-8);
    a->rate = (q_real)(u->learning_rate / (1 - q_power(beta1, n)));
    a->correction = (q_real)(1 / q_sqrt_f64(1 - q_power(beta2, n)));
    kernels->adam(work, a);
}

static void adam_update(const q_kernels *kernels, const q_work *work, const q_update *u)
{
    q_optimizer_args a = args_of(u);
    a.decay = (q_real)u->weight_decay;
    adam_step(kernels, work, u, &a);
}

static void adamw_update(const q_kernels *kernels, const q_work *work, const q_update *u)
{
    q_optimizer_args a = args_of(u);
    a.keep = (q_real)(1 - u->learning_rate * u->weight_decay);
    adam_step(kernels, work, u, &a);
}

static uint32_t one_moment(const q_optimizer_config *config)
{
    (void)config;
    return 1;
}

static void lion_update(const q_kernels *kernels, const q_work *work, const q_update *u)
{
    q_optimizer_args a = args_of(u);
    set_betas(&a, or_default(u->config->beta1, 0.9), or_default(u->config->beta2, 0.99));
    a.keep = (q_real)(1 - u->learning_rate * u->weight_decay);
    a.m = u->moment[0];
    kernels->lion(work, &a);
}

const q_optimizer_class q_optimizer_sgd = {sizeof(q_optimizer_class), 0, "sgd", sgd_moments, sgd_update};
const q_optimizer_class q_optimizer_adam = {sizeof(q_optimizer_class), 0, "adam", two_moments, adam_update};
const q_optimizer_class q_optimizer_adamw = {sizeof(q_optimizer_class), 0, "adamw", two_moments, adamw_update};
const q_optimizer_class q_optimizer_lion = {sizeof(q_optimizer_class), 0, "lion", one_moment, lion_update};

const q_optimizer_class *q_optimizer_find(const char *name)
{
    static const q_optimizer_class *const classes[] = {&q_optimizer_sgd, &q_optimizer_adam, &q_optimizer_adamw,
                                                       &q_optimizer_lion};
    for (size_t i = 0; name != NULL && i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (q_names_equal(classes[i]->name, name)) {
            return classes[i];
        }
    }
    return NULL;
}

/* The hyper-parameter that is not in [0, below); NaN is in no interval. */
static const char *bad_number(const q_optimizer_config *config)
{
    const double huge = 1.7976931348623157e308;
    const struct {
        const char *name;
        double value;
        double below;
    } numbers[] = {
        {"learning_rate", config->learning_rate, huge}, {"weight_decay", config->weight_decay, huge},
        {"momentum", config->momentum, 1},              {"beta1", config->beta1, 1},
        {"beta2", config->beta2, 1},                    {"eps", config->eps, huge},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (!(numbers[i].value >= 0 && numbers[i].value < numbers[i].below)) {
            return numbers[i].name;
        }
    }
    return NULL;
}

q_error_code q_optimizer_check(const q_optimizer_config *config, q_diag *diag)
{
    const char *who = "q_optimizer_config";
    if (config == NULL || config->struct_size != sizeof(*config)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "struct_size", sizeof(*config), config != NULL ? config->struct_size : 0);
    }
    if (config->cls == NULL || config->cls->struct_size != sizeof(q_optimizer_class)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "cls", sizeof(q_optimizer_class), 0);
    }
    if ((config->flags & ~(uint32_t)Q_OPTIMIZER_NESTEROV) != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "flags", Q_OPTIMIZER_NESTEROV, config->flags);
    }
    if (bad_number(config) != NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, bad_number(config), 0, 0);
    }
    if (config->cls->moments(config) >= Q_MAX_MOMENTS) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "cls: moments", Q_MAX_MOMENTS - 1, config->cls->moments(config));
    }
    return Q_OK;
}
