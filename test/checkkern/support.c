/* SPDX-License-Identifier: MIT */
/*
 * support.c: random inputs, guarded buffers, comparison and timing for checkkern.
 */
#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "check.h"
#include "qorus/base/half.h"

enum {
    BUFFERS = 40,
    BUFFER_MAX = 256 << 20, /* reserved for each; only what is touched costs memory */
    PAGE = 4096,
    CANARY = 256,
    FRESH = 0xA5,
    GUARD = 0xC7
};

typedef struct buffer {
    uint8_t *base;  /* BUFFER_MAX bytes, then an unmapped page */
    uint8_t *start; /* what the case was given */
    size_t size;
} buffer;

static buffer buffers[BUFFERS];
static uint32_t buffers_used;

/* -- random numbers ---------------------------------------------------------------------------- */

/* splitmix64, Steele, Lea and Flood 2014. */
uint32_t check_u32(check *c)
{
    uint64_t z = c->rng += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

uint32_t check_below(check *c, uint32_t n)
{
    return (uint32_t)(((uint64_t)check_u32(c) * n) >> 32);
}

uint32_t check_pick(check *c, const uint32_t *list, uint32_t n)
{
    return list[check_below(c, n)];
}

check_fill check_fill_any(check *c)
{
    return (check_fill)check_below(c, FILL_KINDS);
}

static float check_special(check *c)
{
    static const uint32_t special[] = {0x00000000u, 0x80000000u, 0x00000001u, 0x807fffffu,
                                       0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc00000u,
                                       0x7f7fffffu, 0xff7fffffu, 0x00800000u, 0x3f800000u,
                                       0xbf800000u, 0x42fe0000u, 0x3effffffu, 0x3f000000u};
    return q_float_u32(special[check_below(c, 16)]);
}

float check_real(check *c, check_fill fill)
{
    uint32_t u = check_u32(c);
    float unit = (float)(int32_t)(u >> 7) * (1.0f / 16777216.0f) - 1.0f;
    switch (fill) {
    case FILL_WIDE:
        return unit * q_float_u32((127u - 40u + u % 81u) << 23);
    case FILL_SPECIAL:
        return u % 8u == 0 ? check_special(c) : unit;
    case FILL_BITS:
        return q_float_u32(u);
    default:
        return unit;
    }
}

uint16_t check_half(check *c, check_fill fill)
{
    uint32_t u = check_u32(c);
    if (fill == FILL_BITS || (fill == FILL_SPECIAL && u % 8u == 0)) {
        return (uint16_t)(u >> 16);
    }
    return (uint16_t)((u >> 16 & 0x83ffu) | ((5u + (u >> 4) % 12u) << 10));
}

/* -- buffers ----------------------------------------------------------------------------------- */

void check_begin(check *c)
{
    static const uint32_t workers[] = {1, 2, 3, 7};
    buffers_used = 0;
    c->n_workers = check_pick(c, workers, 4);
    memset(&c->run, 0, sizeof(c->run));
    c->run.n_batch = 1;
    c->run.n_tokens = 1;
    c->cases++;
}

static void buffer_map(buffer *b)
{
    void *p = mmap(NULL, (size_t)BUFFER_MAX + PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect((uint8_t *)p + BUFFER_MAX, PAGE, PROT_NONE) != 0) {
        perror("checkkern: mmap");
        exit(2);
    }
    b->base = (uint8_t *)p;
}

void *check_alloc(check *c, size_t size, size_t align)
{
    (void)c;
    size_t whole = (size + align - 1) / align * align;
    if (buffers_used == BUFFERS || whole + CANARY > BUFFER_MAX) {
        fprintf(stderr, "checkkern: a case needs more buffers than there are\n");
        exit(2);
    }
    buffer *b = &buffers[buffers_used++];
    if (b->base == NULL) {
        buffer_map(b);
    }
    b->start = b->base + BUFFER_MAX - whole;
    b->size = size;
    memset(b->start, FRESH, size);
    memset(b->start - CANARY, GUARD, CANARY);
    memset(b->start + size, GUARD, whole - size);
    return b->start;
}

void check_canaries(check *c, const char *text)
{
    for (uint32_t i = 0; i < buffers_used; i++) {
        const buffer *b = &buffers[i];
        bool same = true;
        for (const uint8_t *p = b->start - CANARY; p < b->start; p++) {
            same = same && *p == GUARD;
        }
        for (const uint8_t *p = b->start + b->size; p < b->base + BUFFER_MAX; p++) {
            same = same && *p == GUARD;
        }
        if (!same) {
            c->failures++;
            printf("    %s case %u: canary of buffer %u broken, %s\n", c->kernel, c->cases, i,
                   text);
        }
    }
}

float *check_reals(check *c, uint32_t n, check_fill fill)
{
    float *p = (float *)check_alloc(c, n * sizeof(float), sizeof(float));
    for (uint32_t i = 0; i < n; i++) {
        p[i] = check_real(c, fill);
    }
    return p;
}

const int32_t *check_lengths(check *c, uint32_t samples, uint32_t rows)
{
    int32_t *n = (int32_t *)check_alloc(c, samples * sizeof(int32_t), sizeof(int32_t));
    for (uint32_t i = 0; i < samples; i++) {
        n[i] = (int32_t)(1 + check_below(c, rows));
    }
    return check_below(c, 2) != 0 ? n : NULL;
}

static float *row_at(float *base, size_t stride, uint32_t r)
{
    return (float *)(void *)((uint8_t *)base + stride * r);
}

float *check_rows(check *c, uint32_t rows, uint32_t n, check_fill fill, size_t *stride)
{
    *stride = (n + check_below(c, 4) * check_below(c, 5)) * sizeof(float);
    float *p = (float *)check_alloc(c, rows == 0 ? 0 : (rows - 1) * *stride + n * sizeof(float),
                                    sizeof(float));
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < n; i++) {
            row_at(p, *stride, r)[i] = check_real(c, fill);
        }
    }
    return p;
}

check_pair check_out(check *c, uint32_t rows, uint32_t n)
{
    check_pair pair;
    pair.stride = (n + check_below(c, 4) * check_below(c, 5)) * sizeof(float);
    pair.size = rows == 0 ? 0 : (rows - 1) * pair.stride + n * sizeof(float);
    pair.expected = (float *)check_alloc(c, pair.size, sizeof(float));
    pair.got = (float *)check_alloc(c, pair.size, sizeof(float));
    return pair;
}

check_pair check_in_out(check *c, uint32_t rows, uint32_t n, check_fill fill)
{
    check_pair pair = check_out(c, rows, n);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < n; i++) {
            row_at(pair.expected, pair.stride, r)[i] = check_real(c, fill);
        }
    }
    memcpy(pair.got, pair.expected, pair.size);
    return pair;
}

/* -- spans ------------------------------------------------------------------------------------- */

/* Where a span of n rows begins: near the edges of panels, blocks and chunks, or anywhere. */
static uint32_t any_position(check *c, uint32_t n, uint32_t room)
{
    uint32_t p = CHECK_PICK(c, 0, 1, 14, 16, 63, 64, 250, 256);
    uint32_t last = room > n ? room - n : 0;
    return check_below(c, 2) != 0 && p <= last ? p : check_below(c, last + 1u);
}

uint32_t check_spans(check *c, uint32_t rows, uint32_t room)
{
    uint32_t kind = check_below(c, 3);
    uint32_t order[CHECK_SEQUENCES];
    uint32_t most = rows < CHECK_SEQUENCES ? rows : (uint32_t)CHECK_SEQUENCES;
    if (kind == 0) {
        c->run.position = any_position(c, rows, room);
        return rows;
    }
    for (uint32_t i = 0; i < CHECK_SEQUENCES; i++) {
        uint32_t at = check_below(c, i + 1u);
        order[i] = order[at];
        order[at] = i;
    }
    c->run.n_spans = kind == 1 ? 1u + check_below(c, CHECK_SEQUENCES) : 1u + check_below(c, most);
    q_span *spans = (q_span *)check_alloc(c, c->run.n_spans * sizeof(q_span), sizeof(uint32_t));
    uint32_t row = 0;
    for (uint32_t i = 0; i < c->run.n_spans; i++) {
        uint32_t n = kind == 1 ? 1u : 1u + check_below(c, 2u * rows / c->run.n_spans);
        spans[i].sequence = order[i];
        spans[i].position = any_position(c, n, room);
        spans[i].row = row;
        spans[i].rows = n;
        row += n;
    }
    c->run.position = 0x7ffffff0u;
    c->run.spans = spans;
    return row;
}

/* -- running and comparing --------------------------------------------------------------------- */

q_work check_work(check *c, uint32_t w, uint32_t n, const q_backend *b)
{
    q_work work;
    work.worker = w;
    work.n_workers = n;
    work.run = &c->run;
    work.workspace = c->workspace;
    work.workspace_size = b->workspace_size;
    work.state = b->state;
    memset(c->workspace, 0xff, b->workspace_size);
    return work;
}

static bool is_nan_f32(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof(u));
    return (u & 0x7fffffffu) > 0x7f800000u;
}

static bool is_nan_f16(const uint8_t *p)
{
    uint16_t u;
    memcpy(&u, p, sizeof(u));
    return (u & 0x7fffu) > 0x7c00u;
}

static bool same_element(const uint8_t *a, const uint8_t *b, size_t n, check_element e)
{
    if (memcmp(a, b, n) == 0) {
        return true;
    }
    if (e == ELEMENT_F32) {
        return is_nan_f32(a) && is_nan_f32(b);
    }
    return e == ELEMENT_F16 && is_nan_f16(a) && is_nan_f16(b);
}

void check_same(check *c, const void *expected, const void *got, size_t size, check_element e,
                const char *text)
{
    static const size_t bytes[] = {4, 2, 1};
    const uint8_t *a = (const uint8_t *)expected;
    const uint8_t *b = (const uint8_t *)got;
    if (memcmp(a, b, size) == 0) {
        return;
    }
    for (size_t i = 0; i < size; i += bytes[e]) {
        if (!same_element(a + i, b + i, bytes[e], e)) {
            uint32_t x = 0;
            uint32_t y = 0;
            memcpy(&x, a + i, bytes[e]);
            memcpy(&y, b + i, bytes[e]);
            c->failures++;
            printf(
                "    %s case %u, %u workers, %s: element %zu of %zu is %08x (%g), not %08x (%g)\n",
                c->kernel, c->cases, c->n_workers, text, i / bytes[e], size / bytes[e], y,
                (double)q_float_u32(y), x, (double)q_float_u32(x));
            return;
        }
    }
}

void check_pair_same(check *c, check_pair pair, const char *text)
{
    check_same(c, pair.expected, pair.got, pair.size, ELEMENT_F32, text);
    check_canaries(c, text);
}

/* -- weights ----------------------------------------------------------------------------------- */

static void fill_halves(check *c, uint16_t *p, size_t n, check_fill fill)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = check_half(c, fill);
    }
}

/* Quants: any bytes, or only those at the ends of the range. */
static void fill_quants(check *c, uint8_t *p, size_t n)
{
    static const uint8_t extreme[] = {0x80, 0x7f, 0xff, 0x00, 0xf0, 0x0f, 0x81, 0x88};
    uint32_t kind = check_below(c, 4);
    uint8_t same = extreme[check_below(c, 8)];
    for (size_t i = 0; i < n; i++) {
        uint32_t u = check_u32(c);
        p[i] = kind == 0 ? same : kind == 1 ? extreme[u % 8u] : (uint8_t)u;
    }
}

static void fill_floats(check *c, uint32_t dtype, void *p, size_t n, check_fill fill)
{
    for (size_t i = 0; i < n; i++) {
        if (dtype == Q_F32) {
            ((float *)p)[i] = check_real(c, fill);
        } else {
            ((uint16_t *)p)[i] =
                dtype == Q_F16 ? check_half(c, fill) : q_bf16_from_f32(check_real(c, fill));
        }
    }
}

void *check_panels(check *c, uint32_t dtype, uint32_t m, uint32_t k, check_fill fill)
{
    size_t panel = (size_t)q_panel_bytes(dtype, k);
    size_t scales = (size_t)q_panel_scale_bytes(dtype, k);
    uint32_t panels = q_ceil_div_u32(m, Q_PANEL_ROWS);
    uint8_t *base = (uint8_t *)check_alloc(c, panel * panels, Q_ALIGN);
    for (uint32_t p = 0; p < panels; p++) {
        uint8_t *at = base + p * panel;
        if (q_dtype_is_quantised(dtype)) {
            fill_halves(c, (uint16_t *)(void *)at, scales / 2u, fill);
            fill_quants(c, at + scales, panel - scales);
        } else {
            fill_floats(c, dtype, at, (size_t)k * Q_PANEL_ROWS, fill);
        }
    }
    return base;
}

void *check_plain(check *c, uint32_t dtype, uint32_t rows, uint32_t k, check_fill fill,
                  size_t *stride)
{
    uint32_t block = q_dtype_block_bytes(dtype);
    *stride = (size_t)(k / q_dtype_block(dtype)) * block;
    uint8_t *base = (uint8_t *)check_alloc(c, rows * *stride, block % 4u == 0 ? 4 : 2);
    if (!q_dtype_is_quantised(dtype)) {
        fill_floats(c, dtype, base, (size_t)rows * k, fill);
        return base;
    }
    fill_quants(c, base, rows * *stride);
    for (size_t i = 0; i < rows * *stride; i += block) {
        fill_halves(c, (uint16_t *)(void *)(base + i), dtype == Q_Q4_1 ? 2 : 1, fill);
    }
    return base;
}

void *check_a8(check *c, uint32_t rows, uint32_t k, check_fill fill, size_t *stride, uint32_t planes)
{
    uint64_t bytes = 0;
    bool ok = q_plain_row_bytes(planes == 2 ? Q_A8X2 : Q_A8, k, &bytes);
    q_quantize_a8_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = ok ? rows : 0;
    a.k = k;
    a.planes = planes;
    a.x = check_rows(c, rows, k, fill, &a.x_stride);
    a.out_stride = (size_t)bytes;
    a.out = check_alloc(c, rows * a.out_stride, Q_ALIGN);
    q_work work = check_work(c, 0, 1, &c->reference);
    c->reference.kernels.quantize_a8(&work, &a);
    *stride = a.out_stride;
    if (check_below(c, 4) == 0) {
        /* worst case: every byte at an end of the range, so that sums reach their bounds */
        for (uint32_t r = 0; r < rows * planes; r++) {
            int8_t *q = (int8_t *)a.out + r / planes * a.out_stride + r % planes * (k / 4 * 5);
            int32_t *sum = (int32_t *)(void *)(q + k + k / Q_BLOCK * sizeof(float));
            int8_t end = check_below(c, 2) != 0 ? 127 : -127;
            memset(q, end, k);
            for (uint32_t b = 0; b < k / Q_BLOCK; b++) {
                sum[b] = end * Q_BLOCK;
            }
        }
    }
    return a.out;
}

/* -- timing ------------------------------------------------------------------------------------ */

double check_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void check_report(const check *c, const char *shape, double seconds, double items, double bytes)
{
    printf("%-8s %-14s %-34s %10.2f us %9.2f G/s %8.2f GB/s\n", c->tested.name, c->kernel, shape,
           seconds * 1e6, items / seconds * 1e-9, bytes / seconds * 1e-9);
    (void)fflush(stdout);
}
