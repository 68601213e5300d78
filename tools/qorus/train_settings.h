/* SPDX-License-Identifier: MIT */
/* train_settings.h: one setting of qorus train as its table has it; between the parts that read settings. */
#ifndef QORUS_TOOLS_TRAIN_SETTINGS_H
#define QORUS_TOOLS_TRAIN_SETTINGS_H

#include "train.h"

#define GIVEN_BY_OPTION UINT32_MAX

typedef enum setting_kind { SET_TEXT, SET_COUNT, SET_LONG, SET_REAL, SET_YES, SET_CHOICE, SET_SHAPE, SET_NETWORK, SET_FLAG } setting_kind;

enum { FREE = 1 }; /* may differ when a training goes on: the bits do not depend on it */

typedef struct setting {
    const char *name;
    const char *value;      /* how help calls it; SET_CHOICE: the choices, in the order of their numbers */
    const char *help;       /* NULL ends a group: name is the next one's heading */
    size_t offset;
    uint32_t kind;
    uint32_t flags;
    double low, high;
} setting;

/* By its name, in which '-' counts as '_'; NULL: there is none. */
const setting *setting_find(const char *name);
/* Where it was given: a line of the config file, GIVEN_BY_OPTION, or 0. */
uint32_t *setting_line(train_settings *s, const setting *k);
/* value: kept by the settings. line: where it stands, or GIVEN_BY_OPTION. Says what is wrong and returns false. */
bool setting_set(train_settings *s, const setting *k, char *value, uint32_t line);

#endif /* QORUS_TOOLS_TRAIN_SETTINGS_H */
