/* SPDX-License-Identifier: MIT */
/*
 * tok_util.c: counting, guarded memory and vector files of the tokenizer's tests.
 */
#define _DEFAULT_SOURCE
#include "tok_test.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

tok_tally tally;

bool tok_check(bool ok, const char *file, int line, const char *format, ...)
{
    if (ok) {
        tally.passed++;
        return true;
    }
    tally.failed++;
    if (tally.failed <= 50) {
        va_list args;
        fprintf(stderr, "FAILED %s:%d: ", file, line);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
    }
    return false;
}

void tok_skip(const char *what, const char *why)
{
    tally.skipped++;
    printf("skipped: %s (%s)\n", what, why);
}

/* ---- Guarded memory -------------------------------------------------------------------------- */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t pages_for(size_t size)
{
    return (size + page_bytes() - 1) / page_bytes() * page_bytes();
}

void *guard_new(size_t size, bool at_end)
{
    size_t page = page_bytes();
    size_t body = pages_for(size);
    char *base = (char *)mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED ||
        (body != 0 && mprotect(base + page, body, PROT_READ | PROT_WRITE) != 0)) {
        perror("guard_new");
        exit(1);
    }
    return base + page + (at_end ? body - size : 0);
}

static char *guard_body(void *p)
{
    return (char *)p - (uintptr_t)p % page_bytes();
}

void guard_seal(void *p, size_t size)
{
    if (size != 0 && mprotect(guard_body(p), pages_for(size), PROT_READ) != 0) {
        perror("guard_seal");
        exit(1);
    }
}

void guard_free(void *p, size_t size)
{
    munmap(guard_body(p) - page_bytes(), pages_for(size) + 2 * page_bytes());
}

/* ---- Files ----------------------------------------------------------------------------------- */

tok_bytes tok_read(const char *path)
{
    tok_bytes out = {NULL, 0};
    FILE *file = fopen(path, "rb");
    long size;
    if (file == NULL) {
        return out;
    }
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    out.data = (unsigned char *)malloc((size_t)size + 1);
    out.n = fread(out.data, 1, (size_t)size, file);
    fclose(file);
    return out;
}

bool tok_open_file(const char *path, q_tokenizer *t, tok_bytes *section)
{
    tok_bytes file = tok_read(path);
    q_diag diag = {0};
    q_error_code code;
    if (!CHECK(file.data != NULL, "cannot read %s", path)) {
        return false;
    }
    section->n = file.n;
    section->data = (unsigned char *)guard_new(file.n, true);
    memcpy(section->data, file.data, file.n);
    free(file.data);
    guard_seal(section->data, section->n);
    code = q_tokenizer_open(t, section->data, section->n, &diag);
    return CHECK(code == Q_OK, "%s: code %d, field %s, offset %llu, need %llu, have %llu", path,
                 code, diag.field, (unsigned long long)diag.offset, (unsigned long long)diag.need,
                 (unsigned long long)diag.have);
}

static uint32_t read_u32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static size_t read_u16(const unsigned char *p)
{
    return p[0] | (size_t)p[1] << 8;
}

bool tok_strings_load(tok_strings *s, const char *path)
{
    const unsigned char *at;
    s->file = tok_read(path);
    if (s->file.data == NULL || memcmp(s->file.data, "QTS1", 4) != 0) {
        return false;
    }
    s->n = read_u32(s->file.data + 4);
    s->n_valid = read_u32(s->file.data + 8);
    s->text = (const unsigned char **)calloc(s->n, sizeof *s->text);
    s->length = (size_t *)calloc(s->n, sizeof *s->length);
    at = s->file.data + 12 + 2 * (size_t)s->n;
    for (uint32_t i = 0; i < s->n; i++) {
        s->text[i] = at;
        s->length[i] = read_u16(s->file.data + 12 + 2 * (size_t)i);
        at += s->length[i];
    }
    return at == s->file.data + s->file.n;
}

bool tok_ids_load(tok_ids *out, const char *path, const tok_ids *base)
{
    const unsigned char *at;
    int32_t *next;
    out->file = tok_read(path);
    if (out->file.data == NULL || memcmp(out->file.data, "QTI1", 4) != 0) {
        return false;
    }
    out->n = read_u32(out->file.data + 4);
    out->ids = (const int32_t **)calloc(out->n, sizeof *out->ids);
    out->count = (size_t *)calloc(out->n, sizeof *out->count);
    out->all = next = (int32_t *)malloc(out->file.n * sizeof *next);
    at = out->file.data + 8 + 2 * (size_t)out->n;
    for (uint32_t i = 0; i < out->n; i++) {
        size_t count = read_u16(out->file.data + 8 + 2 * (size_t)i);
        if (count == 0xFFFF) {
            out->ids[i] = base->ids[i];
            out->count[i] = base->count[i];
            continue;
        }
        out->ids[i] = next;
        out->count[i] = count;
        for (size_t k = 0; k < count; k++, at += 2) {
            *next++ = (int32_t)read_u16(at);
        }
    }
    return at == out->file.data + out->file.n;
}

void tok_strings_free(tok_strings *s)
{
    free(s->file.data);
    free((void *)s->text);
    free(s->length);
}

void tok_ids_free(tok_ids *ids)
{
    free(ids->file.data);
    free((void *)ids->ids);
    free(ids->count);
    free(ids->all);
}

bool tok_hash_line(const char *path, const char *name, char hex[65], size_t *count)
{
    char found[64];
    bool ok = false;
    FILE *file = fopen(path, "r");
    while (file != NULL && !ok && fscanf(file, "%63s %64s %zu", found, hex, count) == 3) {
        ok = strcmp(found, name) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return ok;
}
