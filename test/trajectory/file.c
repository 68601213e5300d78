/* SPDX-License-Identifier: MIT */
/* A file of vectors/train: see vectors/README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trajectory.h"

enum { HEADER_BYTES = 32, RECORD_BYTES = 96, NAME_BYTES = 64 };

static void wrong(const char *path, const char *what)
{
    printf("%s: %s\n", path, what);
    exit(1);
}

static uint32_t number_at(const trajectory *t, size_t at)
{
    uint32_t x;
    memcpy(&x, t->bytes + at, sizeof(x));
    return x;
}

static void read_all(trajectory *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    long size;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < HEADER_BYTES || fseek(f, 0, SEEK_SET) != 0) {
        wrong(path, "cannot be read");
        return;
    }
    t->size = (size_t)size;
    t->bytes = (uint8_t *)aligned_alloc(64, (t->size + 63) / 64 * 64);
    if (t->bytes == NULL || fread(t->bytes, 1, t->size, f) != t->size) {
        wrong(path, "cannot be read");
    }
    (void)fclose(f);
}

static void check_records(const trajectory *t, const char *path)
{
    uint32_t n = trajectory_n_records(t);
    if (memcmp(t->bytes, "QTRJ", 4) != 0 || number_at(t, 4) != 1 || number_at(t, 12) != t->size ||
        (t->size - HEADER_BYTES) / RECORD_BYTES < n) {
        wrong(path, "is no file of a trajectory");
    }
    for (uint32_t i = 0; i < n; i++) {
        size_t at = HEADER_BYTES + (size_t)i * RECORD_BYTES + NAME_BYTES;
        size_t width = number_at(t, at) == RECORD_F64 ? 8 : 4;
        size_t offset = number_at(t, at + 12);
        size_t bytes = number_at(t, at + 16);
        if (number_at(t, at) > RECORD_I32 || bytes != width * number_at(t, at + 4) * number_at(t, at + 8) ||
            offset > t->size || bytes > t->size - offset || offset % 32 != 0) {
            wrong(path, "has a record that is none");
        }
    }
}

void trajectory_open(trajectory *t, const char *folder, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s.qtrj", folder, name);
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
    read_all(t, path);
    check_records(t, path);
}

void trajectory_close(trajectory *t)
{
    free(t->bytes);
    t->bytes = NULL;
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
    (void)snprintf(wanted, sizeof(wanted), "%s/%s", group, name);
    for (uint32_t i = 0; i < trajectory_n_records(t); i++) {
        *out = trajectory_record(t, i);
        if (strcmp(out->name, wanted) == 0) {
            return true;
        }
    }
    return false;
}

record trajectory_need(const trajectory *t, const char *group, const char *name)
{
    record r;
    if (!trajectory_find(t, group, name, &r)) {
        printf("%s: no record %s/%s\n", t->name, group, name);
        exit(1);
    }
    return r;
}
