/* SPDX-License-Identifier: MIT */
/* Training as if in narrower types: weights as their file will have them. */
#include "rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qorus/quantize.h"

uint32_t passed;
uint32_t failed;

void check(bool ok, const char *what)
{
    passed += ok ? 1u : 0u;
    failed += ok ? 0u : 1u;
    if (!ok) {
        printf("FAIL %s\n", what);
    }
}

/* What was trained in a type and is written in it has the loss of the last evaluation, to the bit. */
static void test_file_has_the_loss(bool decoder, uint32_t type, const char *name)
{
    rig_options o = {.precision = Q_PRECISION_EXACT, .weights = type, .decoder = decoder};
    char text[96];
    rig r;
    double first;
    double last;
    rig_open(&r, &o);
    first = rig_train(&r, 1);
    last = rig_train(&r, 60);
    (void)snprintf(text, sizeof(text), "%s in %s: training lowers the loss", decoder ? "decoder" : "network", name);
    check(last < 0.5 * first, text);
    last = rig_loss(&r);
    (void)snprintf(text, sizeof(text), "%s in %s: the file has the loss of training", decoder ? "decoder" : "network", name);
    check(last == rig_file_loss(&r, type, Q_PRECISION_EXACT), text);
    (void)snprintf(text, sizeof(text), "%s in %s: reals have another loss", decoder ? "decoder" : "network", name);
    check(last != rig_file_loss(&r, Q_F32, Q_PRECISION_EXACT), text);
    rig_close(&r);
}

/* Fast mode: training multiplies reals that have been 8 bits, in the order of exact products; the file's products sum
   integers and scale each block. Both are off by some 2^-24 of the terms' magnitudes. */
static void test_fast_mode(bool decoder, uint32_t type)
{
    rig_options o = {.precision = Q_PRECISION_FAST, .weights = type, .decoder = decoder};
    rig r;
    double own;
    double fast;
    double exact;
    rig_open(&r, &o);
    (void)rig_train(&r, 20);
    own = rig_loss(&r);
    fast = rig_file_loss(&r, type, Q_PRECISION_FAST);
    exact = rig_file_loss(&r, type, Q_PRECISION_EXACT);
    check(fabs(own - fast) <= 2e-5 * own, "fast mode: the file has the loss of training within 2e-5");
    check(fabs(own - exact) > 10 * fabs(own - fast), "fast mode: activations of 8 bits make more of a difference");
    rig_close(&r);
}

static void dequantised(const q_tensor *w, uint32_t type, float *out)
{
    uint8_t blocks[RIG_HIDDEN * RIG_IN * 4];
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    must(q_quantize(type, (const float *)w->data, w->ne[2], w->ne[3], blocks, &d), &d);
    must(q_dequantize(type, blocks, w->ne[2], w->ne[3], out, &d), &d);
}

/* One block of values as so many planes of 8 bits: each takes what the ones before it have left. */
static void through_planes(double *x, uint32_t planes)
{
    double left[RIG_HIDDEN];
    memcpy(left, x, sizeof(left));
    for (uint32_t p = 0; p < planes; p++) {
        double most = 0;
        for (uint32_t i = 0; i < RIG_HIDDEN; i++) {
            most = fmax(most, fabs(left[i]));
        }
        for (uint32_t i = 0; i < RIG_HIDDEN && most != 0; i++) {
            left[i] -= nearbyint(left[i] * (127 / most)) * (most / 127);
        }
    }
    for (uint32_t i = 0; i < RIG_HIDDEN && planes != 0; i++) {
        x[i] -= left[i];
    }
}

/* Adds what sample s gives the gradients of both weights to g1 and g2. */
static void add_by_hand(const rig *r, uint32_t s, uint32_t planes, const float *w1, const float *b, const float *w2, double *g1,
                        double *g2)
{
    const float *x = r->x + s * RIG_IN;
    double h[RIG_HIDDEN];
    double dh[RIG_HIDDEN] = {0};
    bool active[RIG_HIDDEN];
    for (uint32_t i = 0; i < RIG_HIDDEN; i++) {
        h[i] = (double)b[i];
        for (uint32_t k = 0; k < RIG_IN; k++) {
            h[i] += (double)w1[i * RIG_IN + k] * (double)x[k];
        }
        h[i] = h[i] > 0 ? h[i] : 0;
        active[i] = h[i] > 0;
    }
    through_planes(h, planes);
    for (uint32_t i = 0; i < RIG_OUT; i++) {
        double y = -(double)r->target[s * RIG_OUT + i];
        for (uint32_t k = 0; k < RIG_HIDDEN; k++) {
            y += (double)w2[i * RIG_HIDDEN + k] * h[k];
        }
        for (uint32_t k = 0; k < RIG_HIDDEN; k++) {
            g2[i * RIG_HIDDEN + k] += 2 * y * h[k];
            dh[k] += active[k] ? 2 * y * (double)w2[i * RIG_HIDDEN + k] : 0;
        }
    }
    for (uint32_t i = 0; i < RIG_HIDDEN * RIG_IN; i++) {
        g1[i] += dh[i / RIG_IN] * (double)x[i % RIG_IN];
    }
}

/* Gradients of both weights, from what weights, in their type, and activations, in so many planes, are, by hand. */
static void test_straight_through(uint32_t type, uint32_t planes)
{
    rig_options o = {.precision = Q_PRECISION_EXACT, .weights = type, .fake = planes};
    static float w1[RIG_HIDDEN * RIG_IN];
    static float w2[RIG_OUT * RIG_HIDDEN];
    static double g1[RIG_HIDDEN * RIG_IN];
    static double g2[RIG_OUT * RIG_HIDDEN];
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    double worst = 0;
    const float *b;
    q_tensor t;
    rig r;
    rig_open(&r, &o);
    memset(g1, 0, sizeof(g1));
    memset(g2, 0, sizeof(g2));
    t = rig_param(&r, "first.w");
    dequantised(&t, type, w1);
    t = rig_param(&r, "second.w");
    dequantised(&t, type, w2);
    t = rig_param(&r, "first.b");
    b = (const float *)t.data;
    for (uint32_t s = 0; s < RIG_BATCH; s++) {
        add_by_hand(&r, s, planes, w1, b, w2, g1, g2);
    }
    must(rig_backward(&r, &d), &d);
    t = rig_grad(&r, "first.w");
    for (uint32_t i = 0; i < RIG_HIDDEN * RIG_IN; i++) {
        worst = fmax(worst, fabs(g1[i] - (double)((const float *)t.data)[i]));
    }
    t = rig_grad(&r, "second.w");
    for (uint32_t i = 0; i < RIG_OUT * RIG_HIDDEN; i++) {
        worst = fmax(worst, fabs(g2[i] - (double)((const float *)t.data)[i]));
    }
    check(worst < 2e-5, "gradients are those of the weights in their type, straight through");
    rig_close(&r);
}

static void test_same_bits(void)
{
    static const char *const backends[] = {"scalar", "avx2", "avx512"};
    uint64_t hash = 0;
    for (uint32_t i = 0; i < 9; i++) {
        rig_options o = {.precision = Q_PRECISION_FAST, .weights = Q_Q4_0, .decoder = true};
        rig r;
        o.backend = backends[i / 3];
        o.workers = 1 + i % 3;
        o.plan_flags = i % 3 == 2 ? Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE : 0;
        o.vectors = Q_BF16;
        if (!rig_has_backend(o.backend)) {
            continue;
        }
        rig_open(&r, &o);
        (void)rig_train(&r, 5);
        hash = i == 0 ? rig_hash(&r) : hash;
        check(hash == rig_hash(&r), "casts: every backend, number of workers and plan makes the same bits");
        rig_close(&r);
    }
}

/* A fake_quantize of the graph's own: training in exact mode sees what fast mode would; inference leaves it out. */
static void test_own_node(void)
{
    rig_options plain = {.precision = Q_PRECISION_EXACT};
    rig_options fake = {.precision = Q_PRECISION_EXACT, .fake = 1};
    rig a;
    rig b;
    rig_open(&a, &plain);
    rig_open(&b, &fake);
    check(rig_loss(&a) != rig_loss(&b), "fake_quantize rounds in training");
    check(fabs(rig_loss(&a) - rig_loss(&b)) < 0.02 * rig_loss(&a), "fake_quantize stays near");
    check(rig_train(&b, 60) < 0.5 * rig_loss(&a), "gradients pass fake_quantize");
    rig_close(&b);
    fake.infer = true;
    plain.infer = true;
    rig_close(&a);
    rig_open(&a, &plain);
    rig_open(&b, &fake);
    check(rig_loss(&a) == rig_loss(&b), "plans for inference leave fake_quantize out");
    rig_close(&a);
    rig_close(&b);
}

static void test_refused(void)
{
    rig_options o = {.precision = Q_PRECISION_EXACT, .weights = Q_Q8_0, .infer = true};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_tensor t;
    rig r;
    check(rig_plan(&r, &o, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "weight_type") == 0, "weight_type only in training");
    rig_close(&r);
    o.infer = false;
    o.weights = Q_I32;
    check(rig_plan(&r, &o, &d) == Q_ERR_INVALID_DTYPE && strcmp(d.what, "first.w") == 0, "weight_type names the parameter");
    rig_close(&r);
    o.weights = Q_F32;
    o.values = Q_Q8_0;
    check(rig_plan(&r, &o, &d) == Q_ERR_INVALID_DTYPE && strcmp(d.what, "first") == 0, "value_type names the node");
    rig_close(&r);
    o.values = Q_F32;
    o.weights = Q_F16;
    rig_open(&r, &o);
    t = rig_param(&r, "second.w");
    ((q_real *)t.data)[3] = (q_real)1e6;
    check(rig_backward(&r, &d) == Q_ERR_NON_FINITE && strcmp(d.what, "second.w") == 0, "a weight beyond its type is named");
    ((q_real *)t.data)[3] = 0;
    check(rig_backward(&r, &d) == Q_OK, "and training goes on without it");
    rig_close(&r);
}

void test_weights(void)
{
    static const struct {
        uint32_t type;
        const char *name;
    } types[] = {{Q_Q8_0, "Q8_0"}, {Q_Q4_0, "Q4_0"}, {Q_Q4_1, "Q4_1"}, {Q_F16, "F16"}, {Q_BF16, "BF16"}};
    for (uint32_t i = 0; i < 10; i++) {
        test_file_has_the_loss(i >= 5, types[i % 5].type, types[i % 5].name);
    }
    for (uint32_t i = 0; i < 4; i++) {
        test_fast_mode(i >= 2, i % 2 == 0 ? Q_Q8_0 : Q_Q4_0);
    }
    test_straight_through(Q_Q8_0, 0);
    test_straight_through(Q_Q4_0, 0);
    test_straight_through(Q_BF16, 0);
    test_straight_through(Q_Q8_0, 1);
    test_straight_through(Q_BF16, 2);
    test_same_bits();
    test_own_node();
    test_refused();
}

int main(void)
{
    test_weights();
    test_values();
    test_audit();
    printf("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
