/* SPDX-License-Identifier: MIT */
/* dataset_inner.h: how the parts of dataset.h say what is wrong. */
#ifndef QORUS_TOOLS_DATASET_INNER_H
#define QORUS_TOOLS_DATASET_INNER_H

#include "dataset.h"
#include "qorus/base/checked.h"
#include "qorus/base/mem.h"
#include "qorus/base/text.h"

/* A message of pieces: strings and numbers in turn, ended by a NULL string. */
typedef struct dataset_said {
    q_text text;
    q_error_code code;
} dataset_said;

static inline dataset_said dataset_say(dataset_why *why, q_error_code code, const char *name)
{
    dataset_said s;
    q_text_init(&s.text, why != NULL ? why->text : NULL, why != NULL ? sizeof(why->text) : 0);
    s.code = code;
    q_text_str(&s.text, name);
    return s;
}

/* "NAME: what" */
static inline q_error_code dataset_refuse(dataset_why *why, q_error_code code, const char *name, const char *what)
{
    dataset_said s = dataset_say(why, code, name);
    q_text_str(&s.text, ": ");
    q_text_str(&s.text, what);
    return code;
}

/* "NAME: before A between B after" */
static inline q_error_code dataset_refuse_numbers(dataset_why *why, q_error_code code, const char *name, const char *before,
                                                  uint64_t a, const char *between, uint64_t b, const char *after)
{
    dataset_said s = dataset_say(why, code, name);
    q_text_str(&s.text, ": ");
    q_text_str(&s.text, before);
    q_text_u64(&s.text, a, 0);
    q_text_str(&s.text, between);
    q_text_u64(&s.text, b, 0);
    q_text_str(&s.text, after);
    return code;
}

static inline bool dataset_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

#endif /* QORUS_TOOLS_DATASET_INNER_H */
