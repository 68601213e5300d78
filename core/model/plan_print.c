/* SPDX-License-Identifier: MIT */
/* Printing a plan: the pieces that its forms share. No pointer is ever printed. */
#include "plan_print.h"

enum { LONGEST_NUMBER = 20 };

void q_print_flush(plan_out *out)
{
    if (out->text.length != 0) {
        out->emit(out->user, out->buffer, out->text.length);
    }
    q_text_init(&out->text, out->buffer, sizeof(out->buffer));
}

/* Invariant: the text in the buffer always fits it. */
static void print_bytes(plan_out *out, const char *s, size_t n)
{
    if (n >= sizeof(out->buffer) - out->text.length) {
        q_print_flush(out);
    }
    if (n >= sizeof(out->buffer)) {
        out->emit(out->user, s, n);
        return;
    }
    q_text_bytes(&out->text, s, n);
}

void q_print_str(plan_out *out, const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
    }
    print_bytes(out, s, n);
}

void q_print_u64(plan_out *out, uint64_t value)
{
    if (sizeof(out->buffer) - out->text.length <= LONGEST_NUMBER) {
        q_print_flush(out);
    }
    q_text_u64(&out->text, value, 0);
}

void q_print_count(plan_out *out, const char *before, uint64_t value, const char *after)
{
    q_print_str(out, before);
    q_print_u64(out, value);
    q_print_str(out, after);
}

void q_print_escaped(plan_out *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            print_bytes(out, "\\", 1);
        }
        if ((uint8_t)*s < 0x20) {
            char unit[8];
            q_text t;
            q_text_init(&t, unit, sizeof(unit));
            q_text_str(&t, "\\u");
            q_text_hex(&t, (uint8_t)*s, 4);
            print_bytes(out, unit, t.length);
        } else {
            print_bytes(out, s, 1);
        }
    }
}

void q_print_quoted(plan_out *out, const char *s)
{
    q_print_str(out, "\"");
    q_print_escaped(out, s);
    q_print_str(out, "\"");
}

static void print_dim(q_text *t, q_count dim)
{
    if (dim.sym == Q_SYM_ONE || dim.n != 1) {
        q_text_u64(t, dim.n, 0);
    }
    if (dim.sym != Q_SYM_ONE) {
        q_text_str(t, dim.n != 1 ? "*" : "");
        q_text_str(t, q_print_sym(dim.sym));
    }
}

void q_print_shape(char shape[PLAN_SHAPE], const q_value_type *type)
{
    q_text t;
    uint32_t first = 0;
    q_text_init(&t, shape, PLAN_SHAPE);
    while (first + 1 < Q_MAX_DIMS && type->dim[first].n == 1 && type->dim[first].sym == Q_SYM_ONE) {
        first++;
    }
    for (uint32_t i = first; i < Q_MAX_DIMS; i++) {
        q_text_str(&t, i == first ? "" : "\xc3\x97");
        print_dim(&t, type->dim[i]);
    }
}

const char *q_print_dtype(uint32_t dtype)
{
    static const char *const names[Q_DTYPE_COUNT] = {"f32", "q8_0", "q4_0", "q4_1", "f16", "bf16", "i32", "f64", "a8", "a8x2"};
    return dtype < Q_DTYPE_COUNT ? names[dtype] : "?";
}

const char *q_print_layout(uint32_t layout)
{
    static const char *const names[Q_LAYOUT_COUNT] = {"plain", "panel16"};
    return layout < Q_LAYOUT_COUNT ? names[layout] : "?";
}

const char *q_print_region(uint32_t kind)
{
    static const char *const names[Q_REGION_KINDS] = {"file", "param", "prepared", "state", "scratch", "train"};
    return kind < Q_REGION_KINDS ? names[kind] : "?";
}

const char *q_print_activation(uint32_t activation)
{
    static const char *const names[Q_ACT_COUNT] = {"none", "relu", "silu", "gelu_tanh", "gelu_erf", "sigmoid", "tanh"};
    return activation < Q_ACT_COUNT ? names[activation] : "?";
}

const char *q_print_sym(uint32_t sym)
{
    static const char *const names[Q_SYM_COUNT] = {"one", "batch", "tokens", "rows", "selected"};
    return sym < Q_SYM_COUNT ? names[sym] : "?";
}

const char *q_print_precision(const q_plan *plan)
{
    return plan->config.precision == Q_PRECISION_EXACT ? "exact" : "fast";
}

const char *q_print_mode(const q_plan *plan)
{
    return plan->config.mode == Q_PLAN_TRAIN ? "train" : "infer";
}

uint64_t q_print_param_bytes(const model_param *param)
{
    uint64_t rows = (uint64_t)param->type.ne[0] * param->type.ne[1] * param->type.ne[2];
    uint64_t bytes = 0;
    return q_matrix_bytes(param->type.dtype, param->type.layout, rows, param->type.ne[3], &bytes) ? bytes : 0;
}

void q_plan_print(const q_plan *plan, q_plan_format format, q_emit_fn emit, void *user)
{
    plan_out out;
    out.plan = plan;
    out.emit = emit;
    out.user = user;
    q_text_init(&out.text, out.buffer, sizeof(out.buffer));
    switch (format) {
    case Q_PLAN_DOT:
        q_print_plan_dot(&out);
        break;
    case Q_PLAN_JSON:
        q_print_plan_json(&out);
        break;
    case Q_PLAN_SVG:
        q_print_plan_svg(&out);
        break;
    default:
        q_print_plan_text(&out);
        break;
    }
    q_print_flush(&out);
}
