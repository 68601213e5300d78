/* SPDX-License-Identifier: MIT */
/*
 * Numbers at their edges: in ops on every backend this machine runs, in the weights of a model, and in what the
 * sampler is given. Each has a defined result or a defined verdict, the same everywhere.
 */
#include "rig.h"

#include "../../tools/common/backends.h"

#include "qorus/base/mem.h"
#include "qorus/ops.h"

enum { ROW = 48, LONG = 131072, BACKENDS = 8, NUMBERS_WORK = 1 << 19 };

/* ---- Ops ---------------------------------------------------------------------------------------------------- */

typedef struct numbers {
    rig *r;
    q_backend backend[BACKENDS];
    uint32_t n_backends;
    void *work; /* NUMBERS_WORK bytes */
    float *x;   /* ROW each */
    float *z;
    float *y;
    float *first; /* what the first backend gave */
} numbers;

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static bool is_nan(float x)
{
    return (bits_of(x) & 0x7fffffffu) > 0x7f800000u;
}

typedef enum number_op { OP_SOFTMAX, OP_EXP, OP_SILU, OP_ADD, OP_MUL, OP_DOT, OP_RMSNORM, OP_MAX, OP_SUM } number_op;

/* What element 0 must be: these bits, or any NaN. */
#define ANY_NAN 0xffffffffu
/* Any finite number. */
#define ANY_NUMBER 0xfffffffeu

typedef struct number_case {
    const char *id;
    uint32_t op;
    uint32_t x[4]; /* bits of x[0..4); zeros behind; OP_SOFTMAX: -infinity behind */
    uint32_t z[4]; /* of the second operand */
    uint32_t y[4]; /* expected */
} number_case;

#define F_0 0x00000000u
#define F_M0 0x80000000u
#define F_1 0x3f800000u
#define F_INF 0x7f800000u
#define F_MINF 0xff800000u
#define F_QNAN 0x7fc00000u
#define F_TINY 0x00000001u
#define F_88_8 0x42b1999au
#define F_M88_8 0xc2b1999au
#define F_1E30 0x7149f2cau
#define F_M1E30 0xf149f2cau
#define F_MAX 0x7f7fffffu
#define F_1E8 0x4cbebc20u
#define F_M1E8 0xccbebc20u

static const number_case number_cases[] = {
    {"N07_softmax_of_88.8_and_its_negative", OP_SOFTMAX, {F_88_8, F_M88_8, F_MINF, F_MINF}, {0},
     {F_1, F_0, F_0, F_0}},
    {"N07_softmax_of_1e30_and_its_negative", OP_SOFTMAX, {F_1E30, F_M1E30, F_0, F_MINF}, {0}, {F_1, F_0, F_0, F_0}},
    {"N07_softmax_of_the_largest_number", OP_SOFTMAX, {F_MAX, 0xff7fffffu, F_MINF, F_MINF}, {0}, {F_1, F_0, F_0, F_0}},
    {"N07_softmax_all_-Inf_is_zeros", OP_SOFTMAX, {F_MINF, F_MINF, F_MINF, F_MINF}, {0}, {F_0, F_0, F_0, F_0}},
    {"N07_softmax_of_two_alike_beside_-Inf", OP_SOFTMAX, {F_88_8, F_88_8, F_MINF, F_MINF}, {0},
     {0x3f000000u, 0x3f000000u, F_0, F_0}},
    {"N07_softmax_with_Inf_is_NaN", OP_SOFTMAX, {F_INF, F_0, F_MINF, F_MINF}, {0},
     {ANY_NAN, ANY_NAN, ANY_NAN, ANY_NAN}},
    {"N07_softmax_with_NaN_is_NaN", OP_SOFTMAX, {F_QNAN, F_0, F_MINF, F_MINF}, {0},
     {ANY_NAN, ANY_NAN, ANY_NAN, ANY_NAN}},
    {"N10_sum_of_subnormals_is_exact", OP_ADD, {F_TINY, 0x00400000u, 0x007fffffu, F_TINY},
     {F_TINY, 0x00400000u, F_TINY, F_M0}, {0x00000002u, 0x00800000u, 0x00800000u, F_TINY}},
    {"N10_product_may_be_subnormal", OP_MUL, {0x1e3ce508u, 0x00800000u, F_TINY, 0x80000001u},
     {0x1e3ce508u, 0x3f000000u, 0x3f000000u, 0x3f800000u}, {0x000116c2u, 0x00400000u, F_0, 0x80000001u}},
    {"N10_norm_of_subnormals_is_finite", OP_RMSNORM, {F_TINY, F_TINY, 0x80000001u, F_0}, {F_1, F_1, F_1, F_1},
     {ANY_NUMBER, ANY_NUMBER, ANY_NUMBER, F_0}},
    {"N10_dot_of_subnormals", OP_DOT, {F_TINY, 0x007fffffu, F_0, F_0}, {F_1, F_1, F_0, F_0},
     {0x00800000u, F_0, F_0, F_0}},
    {"N11_cancellation_in_the_order_of_k", OP_DOT, {F_1E8, F_1, F_M1E8, F_0}, {F_1, F_1, F_1, F_0},
     {F_0, F_0, F_0, F_0}},
    {"N11_cancellation_before_the_small_one", OP_DOT, {F_1E8, F_M1E8, F_1, F_0}, {F_1, F_1, F_1, F_0},
     {F_1, F_0, F_0, F_0}},
    {"N11_fma_keeps_what_a_product_rounds", OP_DOT, {0xbf800000u, 0x3f800001u, F_0, F_0},
     {0x3f800002u, 0x3f800001u, F_0, F_0}, {0x28800000u, F_0, F_0, F_0}},
    {"N13_exp_of_zeros_and_infinities", OP_EXP, {F_0, F_M0, F_INF, F_MINF}, {0}, {F_1, F_1, F_INF, F_0}},
    {"N13_exp_of_NaN_and_subnormals", OP_EXP, {F_QNAN, F_TINY, 0x80000001u, 0xffc00000u}, {0},
     {ANY_NAN, F_1, F_1, ANY_NAN}},
    {"N13_exp_at_the_edge_of_overflow", OP_EXP, {0x42b17217u, 0x42b17218u, F_MAX, 0xff7fffffu}, {0},
     {ANY_NUMBER, F_INF, F_INF, F_0}},
    {"N13_silu_of_zeros_Inf_and_NaN", OP_SILU, {F_0, F_M0, F_INF, F_QNAN}, {0}, {F_0, F_M0, F_INF, ANY_NAN}},
    {"N13_max_of_signed_zeros_and_infinities", OP_MAX, {F_MINF, F_M1E30, F_INF, F_0}, {0}, {F_INF, F_0, F_0, F_0}},
    {"N13_sum_of_opposite_infinities_is_NaN", OP_SUM, {F_INF, F_MINF, F_0, F_0}, {0}, {ANY_NAN, F_0, F_0, F_0}},
    {"N12_row_all_masked_weighs_nothing", OP_DOT, {F_0, F_0, F_0, F_0}, {F_1E30, F_MAX, F_M1E30, F_1},
     {F_0, F_0, F_0, F_0}},
    {"N06_norm_of_1e30_overflows_its_sum", OP_RMSNORM, {F_1E30, F_1E30, F_0, F_0}, {F_1, F_1, F_1, F_1},
     {F_0, F_0, F_0, F_0}},
};

static q_error_code run_op(numbers *n, const number_case *c, const q_backend *backend)
{
    const uint32_t row[4] = {1, 1, 1, ROW};
    const uint32_t column[4] = {1, 1, ROW, 1};
    const uint32_t one[4] = {1, 1, 1, 1};
    bool reduces = c->op == OP_DOT || c->op == OP_MAX || c->op == OP_SUM;
    q_context context;
    q_op_context ops;
    q_block work = {n->work, NUMBERS_WORK};
    q_tensor x, z, y;
    q_error_code e;
    memset(&context, 0, sizeof(context));
    context.backend = backend;
    e = q_op_init(&ops, &context, work, &n->r->diag);
    e = e == Q_OK ? q_tensor_init(&x, n->x, Q_REAL, Q_PLAIN, row, &n->r->diag) : e;
    e = e == Q_OK ? q_tensor_init(&z, n->z, Q_REAL, Q_PLAIN, c->op == OP_DOT ? column : row, &n->r->diag) : e;
    e = e == Q_OK ? q_tensor_init(&y, n->y, Q_REAL, Q_PLAIN, reduces ? one : row, &n->r->diag) : e;
    if (e != Q_OK) {
        return e;
    }
    switch (c->op) {
    case OP_SOFTMAX:
        return q_op_softmax(&ops, &x, 1.0f, &y, &n->r->diag);
    case OP_EXP:
        return q_op_exp(&ops, &x, &y, &n->r->diag);
    case OP_SILU:
        return q_op_silu(&ops, &x, &y, &n->r->diag);
    case OP_ADD:
        return q_op_add(&ops, &x, &z, &y, &n->r->diag);
    case OP_MUL:
        return q_op_mul(&ops, &x, &z, &y, &n->r->diag);
    case OP_DOT:
        return q_op_matmul(&ops, &x, &z, 0, &y, &n->r->diag);
    case OP_RMSNORM:
        return q_op_rmsnorm(&ops, &x, &z, 1e-5f, 0.0f, &y, &n->r->diag);
    case OP_MAX:
        return q_op_reduce_max(&ops, &x, &y, &n->r->diag);
    default:
        return q_op_reduce_sum(&ops, &x, &y, &n->r->diag);
    }
}

static bool number_is(float y, uint32_t expected)
{
    if (expected == ANY_NAN) {
        return is_nan(y);
    }
    return expected == ANY_NUMBER ? y - y == 0.0f : bits_of(y) == expected;
}

static bool number_right(numbers *n, const number_case *c, const q_backend *backend, bool first, q_error_code *e)
{
    bool good;
    for (uint32_t i = 0; i < ROW; i++) {
        n->x[i] = i < 4 ? from_bits(c->x[i]) : c->op == OP_SOFTMAX ? from_bits(F_MINF) : 0.0f;
        n->z[i] = i < 4 ? from_bits(c->z[i]) : 0.0f;
        n->y[i] = 0.0f;
    }
    *e = run_op(n, c, backend);
    good = *e == Q_OK;
    for (uint32_t i = 0; i < ROW; i++) {
        good = good && (i >= 4 || number_is(n->y[i], c->y[i]));
        good = good && (first || is_nan(n->y[i]) || bits_of(n->y[i]) == bits_of(n->first[i]));
    }
    if (first) {
        memcpy(n->first, n->y, ROW * sizeof(float));
    }
    return good;
}

static void run_number(numbers *n, const number_case *c)
{
    q_error_code e = Q_OK;
    bool good = true;
    for (uint32_t b = 0; b < n->n_backends; b++) {
        good = number_right(n, c, &n->backend[b], b == 0, &e) && good;
    }
    rig_report(n->r, good, c->id, e, &n->r->diag);
}

/* ---- Products of 8 bits ------------------------------------------------------------------------------------- */

/* k = 131072 with every product at its largest: an accumulator of 32 bits that ran over all of k would wrap. */
static void check_long_product(numbers *n)
{
    const uint32_t xs[4] = {1, 1, 1, LONG};
    const uint32_t ws[4] = {1, 1, 16, LONG};
    const uint32_t ys[4] = {1, 1, 1, 16};
    float *x = (float *)rig_take(n->r, LONG * sizeof(float));
    uint8_t *a8 = (uint8_t *)rig_take(n->r, LONG + LONG / 32 * 16 + 4096);
    uint8_t *w = (uint8_t *)rig_take(n->r, LONG / 32 * 16 * 2 + LONG * 16);
    bool good = x != NULL && a8 != NULL && w != NULL;
    q_error_code e = Q_ERR_NO_SPACE;
    for (uint32_t i = 0; good && i < LONG; i++) {
        x[i] = 127.0f;
    }
    for (uint32_t i = 0; good && i < LONG / 32 * 16; i++) {
        w[2 * i] = 0x00;
        w[2 * i + 1] = 0x3c; /* 1 in f16 */
    }
    if (good) {
        memset(w + LONG / 32 * 16 * 2, 0x80, (size_t)LONG * 16); /* -128 */
    }
    for (uint32_t b = 0; good && b < n->n_backends; b++) {
        q_context context;
        q_op_context ops;
        q_block work = {n->work, NUMBERS_WORK};
        q_tensor tx, ta, tw, ty;
        memset(&context, 0, sizeof(context));
        context.backend = &n->backend[b];
        e = q_op_init(&ops, &context, work, &n->r->diag);
        e = e == Q_OK ? q_tensor_init(&tx, x, Q_REAL, Q_PLAIN, xs, &n->r->diag) : e;
        e = e == Q_OK ? q_tensor_init(&ta, a8, Q_A8, Q_PLAIN, xs, &n->r->diag) : e;
        e = e == Q_OK ? q_tensor_init(&tw, w, Q_Q8_0, Q_PANEL16, ws, &n->r->diag) : e;
        e = e == Q_OK ? q_tensor_init(&ty, n->y, Q_REAL, Q_PLAIN, ys, &n->r->diag) : e;
        e = e == Q_OK ? q_op_quantize_activations(&ops, &tx, &ta, &n->r->diag) : e;
        e = e == Q_OK ? q_op_gemm(&ops, &ta, &tw, NULL, &ty, &n->r->diag) : e;
        good = e == Q_OK && n->y[0] == -2130706432.0f && n->y[15] == n->y[0]; /* -127 * 128 * 2^17 */
    }
    rig_report(n->r, good, "N14_products_of_8_bits_over_131072", e, &n->r->diag);
}

/* ---- Positions ---------------------------------------------------------------------------------------------- */

static void check_positions(numbers *n)
{
    static const uint32_t places[] = {1u << 24, 0x7fffffffu, 0xfffffffeu};
    static const char *const ids[] = {"A10_rope_at_position_2_24", "A10_rope_at_position_2_31_less_1",
                                      "A10_rope_at_the_last_position"};
    static const double frequencies[] = {1.0, 0.31622776601683794, 1e-4, 1e-300};
    const uint32_t fs[4] = {1, 1, 1, 4};
    const uint32_t ts[4] = {1, 1, 1, 8};
    for (uint32_t p = 0; p < 3; p++) {
        q_error_code e = Q_OK;
        bool good = true;
        for (uint32_t b = 0; b < n->n_backends; b++) {
            q_context context;
            q_op_context ops;
            q_block work = {n->work, NUMBERS_WORK};
            q_tensor tf, tt;
            memset(&context, 0, sizeof(context));
            context.backend = &n->backend[b];
            e = q_op_init(&ops, &context, work, &n->r->diag);
            memcpy(n->z, frequencies, sizeof(frequencies));
            e = e == Q_OK ? q_tensor_init(&tf, n->z, Q_F64, Q_PLAIN, fs, &n->r->diag) : e;
            e = e == Q_OK ? q_tensor_init(&tt, n->y, Q_REAL, Q_PLAIN, ts, &n->r->diag) : e;
            e = e == Q_OK ? q_op_rope_table(&ops, &tf, 1.0, places[p], &tt, &n->r->diag) : e;
            good = good && e == Q_OK && (b == 0 || memcmp(n->y, n->first, 8 * sizeof(float)) == 0);
            for (uint32_t i = 0; i < 4; i++) {
                float one = n->y[i] * n->y[i] + n->y[4 + i] * n->y[4 + i];
                good = good && one > 0.999999f && one < 1.000001f;
            }
            good = good && n->y[3] == 1.0f;
            memcpy(n->first, n->y, 8 * sizeof(float));
        }
        rig_report(n->r, good, ids[p], e, &n->r->diag);
    }
}

/* ---- Weights ------------------------------------------------------------------------------------------------ */

/* One number of a model's weights, the rest as it is. */
typedef struct weight_case {
    const char *id;
    const char *tensor;
    uint32_t at;
    uint32_t width;
    uint32_t value;
    q_error_code code;   /* of drawing a token after 4 fed, in fast mode */
    const char *field;
    uint64_t offset;
    const char *node; /* what Q_SESSION_CHECK_FINITE names; NULL: all is finite */
} weight_case;

enum { SCALE_5 = 5 * 2, QUANT_5 = 64 + 5 * 4 }; /* of row 5, block 0, K = 64: 2 blocks of 16 scales */

static const weight_case weight_cases[] = {
    {"M69_weights_accepted_twin", "embed", SCALE_5, 0, 0, Q_OK, "", 0, NULL},
    {"M69_scale_NaN", "embed", SCALE_5, 2, 0x7e00, Q_ERR_NON_FINITE, "logits", 5, "logits"},
    {"M69_scale_signalling_NaN", "embed", SCALE_5, 2, 0x7d01, Q_ERR_NON_FINITE, "logits", 5, "logits"},
    {"M69_scale_negative_NaN", "embed", SCALE_5, 2, 0xfe00, Q_ERR_NON_FINITE, "logits", 5, "logits"},
    {"M69_scale_-0_accepted", "embed", SCALE_5, 2, 0x8000, Q_OK, "", 0, NULL},
    {"M69_scale_smallest_subnormal_accepted", "embed", SCALE_5, 2, 0x0001, Q_OK, "", 0, NULL},
    {"M70_scale_0_accepted", "embed", SCALE_5, 2, 0x0000, Q_OK, "", 0, NULL},
    {"M71_scale_65504_accepted", "embed", SCALE_5, 2, 0x7bff, Q_OK, "", 0, NULL},
    {"M72_quants_of_-128_accepted", "embed", QUANT_5, 4, 0x80808080u, Q_OK, "", 0, NULL},
    {"M76_norm_weight_subnormal_accepted", "norm", 8, 4, 0x00000001u, Q_OK, "", 0, NULL},
    {"M76_norm_weight_infinite", "norm", 8, 4, F_INF, Q_ERR_NON_FINITE, "logits", 0, "norm"},
};

static size_t name_length(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
    }
    return n;
}

static bool same_word(const char *a, const char *b)
{
    size_t n = name_length(a);
    return n == name_length(b) && memcmp(a, b, n) == 0;
}

/* Draws one token from the model as it is. */
static q_error_code draw(rig *r)
{
    q_error_code e;
    rig_reset(r);
    r->args.fed = 4;
    r->args.generate_value.max_tokens = 1;
    e = rig_run(r, RIG_RUN);
    return e;
}

static q_error_code look(rig *r)
{
    q_session_config config;
    q_error_code e;
    memset(&config, 0, sizeof(config));
    config.struct_size = sizeof(config);
    config.flags = Q_SESSION_CHECK_FINITE;
    e = q_session_configure(r->session, &config, &r->diag);
    if (e == Q_OK) {
        rig_reset(r);
        e = rig_run(r, RIG_FORWARD);
        config.flags = 0;
    }
    return q_session_configure(r->session, &config, NULL) == Q_OK ? e : Q_ERR_INVALID_STATE;
}

/* r's file lies at `bytes`, which may be written. */
static void run_weight(rig *r, uint8_t *bytes, const weight_case *c)
{
    uint32_t index = 0;
    uint8_t old[4];
    uint8_t *at;
    q_error_code e;
    bool good = q_file_find(&r->file, c->tensor, name_length(c->tensor), &index) == Q_OK;
    at = bytes + q_file_record(&r->file, index)->offset.v + c->at;
    memcpy(old, at, sizeof(old));
    memcpy(at, &c->value, c->width);
    e = look(r);
    good = good && e == (c->node == NULL ? Q_OK : Q_ERR_NON_FINITE);
    good = good && (c->node == NULL || same_word(r->diag.what, c->node));
    e = draw(r);
    good = good && e == c->code;
    if (e != Q_OK) {
        good = good && same_word(r->diag.field, c->field) && r->diag.offset == c->offset;
    }
    memcpy(at, old, sizeof(old));
    rig_report(r, good, c->id, e, &r->diag);
}

static void check_weights(rig *r)
{
    uint8_t *bytes = (uint8_t *)rig_take(r, r->blob_size);
    uintptr_t next = ((uintptr_t)r->memory + 4095) / 4096 * 4096;
    size_t left = r->memory_size - (size_t)(next - (uintptr_t)r->memory);
    rig *w;
    if (bytes == NULL) {
        rig_report(r, false, "M69_weights_copied", Q_ERR_NO_SPACE, NULL);
        return;
    }
    memcpy(bytes, r->blob, r->blob_size);
    w = rig_open(r->host, bytes, r->blob_size, (void *)next, left);
    for (size_t i = 0; w != NULL && i < sizeof(weight_cases) / sizeof(weight_cases[0]); i++) {
        run_weight(w, bytes, &weight_cases[i]);
    }
    rig_report(r, memcmp(bytes, r->blob, r->blob_size) == 0, "M80_model_untouched_by_its_use", Q_OK, NULL);
}

void rig_numbers(rig *r)
{
    const q_port *port = r->host->port;
    uint64_t features = port != NULL && port->cpu_features != NULL ? port->cpu_features(port->user) : 0;
    numbers n;
    memset(&n, 0, sizeof(n));
    n.r = r;
    n.work = rig_take(r, NUMBERS_WORK);
    n.x = (float *)rig_take(r, ROW * sizeof(float));
    n.z = (float *)rig_take(r, ROW * sizeof(float));
    n.y = (float *)rig_take(r, ROW * sizeof(float));
    n.first = (float *)rig_take(r, ROW * sizeof(float));
    for (uint32_t i = 0; backend_name(i) != NULL && n.n_backends < BACKENDS; i++) {
        n.n_backends += backend_make(&n.backend[n.n_backends], backend_name(i), features) ? 1u : 0u;
    }
    for (size_t i = 0; i < sizeof(number_cases) / sizeof(number_cases[0]); i++) {
        run_number(&n, &number_cases[i]);
    }
    check_positions(&n);
    check_long_product(&n);
    check_weights(r);
}
