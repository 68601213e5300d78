/* SPDX-License-Identifier: MIT */
/* plan_print.h: what the forms of a printed plan share; private to core/model. */
#ifndef QORUS_CORE_MODEL_PLAN_PRINT_H
#define QORUS_CORE_MODEL_PLAN_PRINT_H

#include "plan.h"

/* Pieces of text on their way to the caller: what fits the buffer is collected, the rest goes out at once. */
typedef struct plan_out {
    const q_plan *plan;
    q_emit_fn emit;
    void *user;
    q_text text;
    char buffer[256];
} plan_out;

void q_print_flush(plan_out *out);
void q_print_str(plan_out *out, const char *s);
void q_print_u64(plan_out *out, uint64_t value);

/* Three pieces in one call: text, number, text. */
void q_print_count(plan_out *out, const char *before, uint64_t value, const char *after);

/* Text between double quotes, escaped so that JSON and DOT read it alike. */
void q_print_quoted(plan_out *out, const char *s);
void q_print_escaped(plan_out *out, const char *s);

/* "64", "tokens×576", "2*batch×8": leading ones left out. Terminated; at most 4 * (19 + 2) bytes. */
enum { PLAN_SHAPE = 96 };
void q_print_shape(char shape[PLAN_SHAPE], const q_value_type *type);

/* Names of what a number stands for; "?" where it stands for nothing. */
const char *q_print_dtype(uint32_t dtype);
const char *q_print_layout(uint32_t layout);
const char *q_print_region(uint32_t kind);
const char *q_print_activation(uint32_t activation);
const char *q_print_sym(uint32_t sym);
const char *q_print_precision(const q_plan *plan);
const char *q_print_mode(const q_plan *plan);

/* Bytes of a parameter where it lies. */
uint64_t q_print_param_bytes(const model_param *param);

/* The forms. */
void q_print_plan_text(plan_out *out);
void q_print_plan_json(plan_out *out);
void q_print_plan_dot(plan_out *out);
void q_print_plan_svg(plan_out *out);

#endif /* QORUS_CORE_MODEL_PLAN_PRINT_H */
