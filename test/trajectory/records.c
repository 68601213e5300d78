/* SPDX-License-Identifier: MIT */
/* A file of vectors/train: see vectors/README.md. Needs no libc. */
#include "qorus/base/mem.h"
#include "qorus/base/text.h"

#include "trajectory.h"

enum { HEADER_BYTES = 32, RECORD_BYTES = 96, NAME_BYTES = 64 };

static uint32_t number_at(const trajectory *t, size_t at)
{
    uint32_t x;
    memcpy(&x, t->bytes + at, sizeof(x));
    return x;
}

static void check_records(const trajectory *t)
{
    uint32_t n = t->size >= HEADER_BYTES ? trajectory_n_records(t) : 0;
    if (t->size < HEADER_BYTES || memcmp(t->bytes, "QTRJ", 4) != 0 || number_at(t, 4) != 1 || number_at(t, 12) != t->size ||
        (t->size - HEADER_BYTES) / RECORD_BYTES < n) {
        host_fail(t->name, "is no file of a trajectory", HEADER_BYTES, t->size);
    }
    for (uint32_t i = 0; i < n; i++) {
        size_t at = HEADER_BYTES + (size_t)i * RECORD_BYTES + NAME_BYTES;
        size_t width = number_at(t, at) == RECORD_F64 ? 8 : 4;
        size_t offset = number_at(t, at + 12);
        size_t bytes = number_at(t, at + 16);
        if (number_at(t, at) > RECORD_I32 || bytes != width * number_at(t, at + 4) * number_at(t, at + 8) ||
            offset > t->size || bytes > t->size - offset || offset % 32 != 0) {
            host_fail(t->name, "has a record that is none", n, i);
        }
    }
}

void trajectory_use(trajectory *t, const char *name, const void *bytes, size_t size)
{
    q_text text;
    q_text_init(&text, t->name, sizeof(t->name));
    q_text_str(&text, name);
    t->bytes = (const uint8_t *)bytes;
    t->size = size;
    check_records(t);
}

size_t trajectory_size(const void *bytes, size_t left)
{
    uint32_t size = 0;
    if (left >= HEADER_BYTES) {
        memcpy(&size, (const uint8_t *)bytes + 12, sizeof(size));
    }
    return size <= left ? size : 0;
}

uint32_t trajectory_n_records(const trajectory *t)
{
    return number_at(t, 8);
}

record trajectory_record(const trajectory *t, uint32_t i)
{
    size_t at = HEADER_BYTES + (size_t)i * RECORD_BYTES;
    record r;
    memcpy(r.name, t->bytes + at, NAME_BYTES);
    r.name[NAME_BYTES - 1] = '\0';
    r.type = number_at(t, at + NAME_BYTES);
    r.rows = number_at(t, at + NAME_BYTES + 4);
    r.columns = number_at(t, at + NAME_BYTES + 8);
    r.data = t->bytes + number_at(t, at + NAME_BYTES + 12);
    return r;
}

bool trajectory_find(const trajectory *t, const char *group, const char *name, record *out)
{
    char wanted[NAME_BYTES];
    q_text text;
    q_text_init(&text, wanted, sizeof(wanted));
    q_text_str(&text, group);
    q_text_str(&text, "/");
    q_text_str(&text, name);
    for (uint32_t i = 0; i < trajectory_n_records(t); i++) {
        *out = trajectory_record(t, i);
        if (text.length < sizeof(wanted) && memcmp(out->name, wanted, text.length + 1) == 0) {
            return true;
        }
    }
    return false;
}

record trajectory_need(const trajectory *t, const char *group, const char *name)
{
    record r;
    if (!trajectory_find(t, group, name, &r)) {
        host_fail(group, name, 1, 0);
    }
    return r;
}
