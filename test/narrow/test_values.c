/* SPDX-License-Identifier: MIT */
/* Values and gradients rounded after every step; the audit of updates. */
#include "rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qorus/base/half.h"

/* ---- Rounding ---------------------------------------------------------------------------------------------- */

typedef struct watch {
    uint32_t type;
    uint64_t outputs;   /* reals looked at */
    uint64_t gradients;
    uint64_t wide;      /* that the type does not hold */
} watch;

static bool holds(uint32_t type, q_real x)
{
    float v = (float)x;
    return (type == Q_F16 ? q_f32_from_f16(q_f16_from_f32(v)) : q_f32_from_bf16(q_bf16_from_f32(v))) == v;
}

static void look(watch *w, const q_tensor *t, uint32_t rows, uint64_t *count)
{
    for (uint32_t i = 0; t != NULL && t->dtype == Q_REAL && i < rows * t->ne[3]; i++) {
        const uint8_t *row = (const uint8_t *)t->data + (size_t)(i / t->ne[3]) * t->nb[2];
        w->wide += holds(w->type, ((const q_real *)(const void *)row)[i % t->ne[3]]) ? 0u : 1u;
        ++*count;
    }
}

static q_error_code observe(void *user, const q_observation *seen)
{
    watch *w = (watch *)user;
    const q_layer *l = seen->layer;
    for (uint32_t i = 0; seen->backward == 0 && i < l->n_out && strcmp(l->name, "loss") != 0; i++) {
        look(w, l->out[i], q_count_value(seen->run, l->out_rows[i]), &w->outputs);
    }
    for (uint32_t i = 0; seen->backward != 0 && i < l->n_in; i++) {
        look(w, l->grad_in[i], q_count_value(seen->run, l->in_rows[i]), &w->gradients);
    }
    for (uint32_t i = 0; seen->backward != 0 && i < l->n_param; i++) {
        look(w, l->grad_param[i], l->param[i]->ne[2], &w->gradients);
    }
    return Q_OK;
}

static watch watched(rig *r, uint32_t type)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    watch w = {type, 0, 0, 0};
    q_session_config c = {.struct_size = sizeof(c), .observe = observe, .user = &w};
    must(q_session_configure(r->session, &c, &d), &d);
    must(rig_backward(r, &d), &d);
    return w;
}

static void test_every_value(bool decoder, uint32_t type)
{
    rig_options plain = {.precision = Q_PRECISION_EXACT, .decoder = decoder};
    rig_options o = {.precision = Q_PRECISION_EXACT, .decoder = decoder, .values = type, .gradients = type, .workers = 2};
    double share = type == Q_F16 ? 0.004 : 0.03;
    rig a;
    rig b;
    watch w;
    rig_open(&a, &plain);
    rig_open(&b, &o);
    check(rig_loss(&a) != rig_loss(&b) && fabs(rig_loss(&a) - rig_loss(&b)) < share * rig_loss(&a),
          "simulation: the loss differs, by little");
    w = watched(&b, type);
    check(w.outputs > 400 && w.gradients > 2000 && w.wide == 0, "simulation: every value and gradient is of the type");
    w = watched(&a, type);
    check(w.wide > 1000, "without simulation they are not");
    rig_close(&a);
    rig_close(&b);
    o.gradients = Q_F32;
    rig_open(&a, &o);
    w = watched(&a, type);
    check(w.wide > 1000, "gradients are kept where only values are rounded");
    rig_close(&a);
}

/* Two sessions over one PARAM region: what a precision costs, whenever one asks. */
static void test_cost_of_precision(void)
{
    rig_options o = {.precision = Q_PRECISION_EXACT, .decoder = true};
    double loss;
    rig a;
    rig b;
    rig_open(&a, &o);
    o.values = Q_BF16;
    o.weights = Q_Q4_0;
    o.share = &a;
    rig_open(&b, &o);
    (void)rig_train(&a, 30);
    loss = rig_loss(&b);
    check(loss != rig_loss(&a) && fabs(loss - rig_loss(&a)) < 0.5 * rig_loss(&a), "the cost of a precision, from shared slots");
    o.share = NULL;
    rig_close(&b);
    rig_open(&b, &o);
    for (q_param p = 0; p < q_model_n_params(a.model); p++) {
        q_tensor from = rig_param(&a, q_model_param_name(a.model, p));
        q_tensor to = rig_param(&b, q_model_param_name(a.model, p));
        memcpy(to.data, from.data, (size_t)to.ne[2] * to.ne[3] * sizeof(q_real));
    }
    check(loss == rig_loss(&b), "and it is that of the same slots");
    rig_close(&a);
    rig_close(&b);
}

static void test_simulated_training(void)
{
    rig_options o = {.precision = Q_PRECISION_EXACT, .values = Q_BF16, .gradients = Q_BF16, .weights = Q_BF16,
                     .vectors = Q_BF16, .decoder = true};
    uint64_t hash = 0;
    for (uint32_t i = 0; i < 6; i++) {
        rig r;
        double first;
        o.backend = i < 3 ? "scalar" : "avx2";
        o.workers = 1 + i % 3;
        o.plan_flags = i % 3 == 1 ? Q_PLAN_NO_IN_PLACE : i % 3 == 2 ? Q_PLAN_RECOMPUTE : 0;
        if (!rig_has_backend(o.backend)) {
            continue;
        }
        rig_open(&r, &o);
        first = rig_train(&r, 1);
        check(rig_train(&r, 40) < 0.5 * first, "all in BF16: training lowers the loss");
        hash = i == 0 ? rig_hash(&r) : hash;
        check(hash == rig_hash(&r), "all in BF16: every backend, number of workers and plan makes the same bits");
        rig_close(&r);
    }
}

void test_values(void)
{
    test_every_value(false, Q_BF16);
    test_every_value(false, Q_F16);
    test_every_value(true, Q_BF16);
    test_every_value(true, Q_F16);
    test_simulated_training();
    test_cost_of_precision();
}

/* ---- Audit ------------------------------------------------------------------------------------------------- */

typedef struct heard {
    uint32_t n;
    q_audit first_w;
    q_audit first_b;
    uint64_t non_finite;
} heard;

static void hear(void *user, const q_audit *a)
{
    heard *h = (heard *)user;
    h->n++;
    h->non_finite += a->non_finite;
    h->first_w = strcmp(a->name, "first.w") == 0 ? *a : h->first_w;
    h->first_b = strcmp(a->name, "first.b") == 0 ? *a : h->first_b;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

static void check_against_tensors(const q_audit *a, const q_tensor *grad, const q_real *before, const q_tensor *after)
{
    double count = RIG_BATCH; /* the rig names no output "count": samples */
    double sums[3] = {0, 0, 0};
    double top = 0;
    uint64_t zeros = 0;
    for (uint32_t i = 0; i < RIG_HIDDEN * RIG_IN; i++) {
        double g = (double)((const q_real *)grad->data)[i] / count;
        double w = (double)before[i];
        double step = (double)((const q_real *)after->data)[i] - w;
        sums[0] += g * g;
        sums[1] += w * w;
        sums[2] += step * step;
        top = fmax(top, fabs(g));
        zeros += g == 0 ? 1u : 0u;
    }
    check(a->n == RIG_HIDDEN * RIG_IN && a->zeros == zeros && a->non_finite == 0 && a->group == 0, "audit counts");
    check(near(a->norm, sqrt(sums[0])) && near(a->max, top), "audit of the gradient");
    check(near(a->weight_norm, sqrt(sums[1])) && near(a->update_norm, sqrt(sums[2])), "audit of weights and update");
}

void test_audit(void)
{
    static q_real before[RIG_HIDDEN * RIG_IN];
    rig_options o = {.precision = Q_PRECISION_EXACT, .workers = 2};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    heard h;
    q_tensor grad;
    q_tensor w;
    rig a;
    rig b;
    memset(&h, 0, sizeof(h));
    rig_open(&a, &o);
    rig_open(&b, &o);
    (void)rig_train(&a, 1);
    (void)rig_train(&b, 1);
    w = rig_param(&b, "first.w");
    memcpy(before, w.data, sizeof(before));
    q_trainer_audit(b.trainer, hear, &h);
    must(rig_backward(&b, &d), &d);
    grad = rig_grad(&b, "first.w");
    must(q_trainer_update(b.trainer, NULL, &d), &d);
    check(h.n == 3 && h.first_b.n == RIG_HIDDEN && h.first_b.group == 1, "audit hears of every parameter");
    check_against_tensors(&h.first_w, &grad, before, &w);
    (void)rig_train(&a, 4);
    (void)rig_train(&b, 3);
    check(h.n == 12 && rig_hash(&a) == rig_hash(&b), "an audited training makes the same bits");
    must(rig_backward(&b, &d), &d);
    ((q_real *)grad.data)[5] = (q_real)NAN;
    check(q_trainer_update(b.trainer, NULL, &d) == Q_ERR_NON_FINITE && h.non_finite == 1 && h.first_w.update_norm == 0 &&
              rig_hash(&a) == rig_hash(&b),
          "audit tells of what is not finite, and nothing moves");
    q_trainer_audit(b.trainer, NULL, NULL);
    (void)rig_train(&b, 1);
    check(h.n == 15, "audit ends");
    rig_close(&a);
    rig_close(&b);
}
