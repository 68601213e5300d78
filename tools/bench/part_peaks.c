/* SPDX-License-Identifier: MIT */
/* part_peaks.c: `parts read` and `parts peak`: what this machine can do at most. */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"
#include "peaks.h"

#include <stdio.h>
#include <string.h>

enum { READ_PASSES = 9, PEAK_PASSES = 7, PAGE = 4096 };
#define PEAK_ROUNDS 4000000u
#define MAX_FILE ((size_t)1 << 34)

uint64_t peak_read_words(const void *base, size_t n)
{
    const uint64_t *w = (const uint64_t *)base;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < n / 8; i += 8) {
        a += w[i] + w[i + 4];
        b += w[i + 1] + w[i + 5];
        c += w[i + 2] + w[i + 6];
        d += w[i + 3] + w[i + 7];
    }
    return a ^ b ^ c ^ d;
}

/* One word of each cache line: every byte comes, the processor does least. */
uint64_t peak_read_lines(const void *base, size_t n)
{
    const uint64_t *w = (const uint64_t *)base;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < n / 8; i += 32) {
        a += w[i];
        b += w[i + 8];
        c += w[i + 16];
        d += w[i + 24];
    }
    return a ^ b ^ c ^ d;
}

typedef struct read_kernel {
    const char *name;
    uint64_t needs;
    uint64_t (*read)(const void *base, size_t n);
} read_kernel;

typedef struct compute_kernel {
    const char *kind;
    const char *isa;
    uint64_t needs;
    uint32_t values; /* multiply-adds of a vector */
    uint64_t (*run)(uint64_t n);
} compute_kernel;

static const read_kernel read_kernels[] = {
    {"words", 0, peak_read_words},
    {"lines", 0, peak_read_lines},
#if defined(__x86_64__)
    {"m256", Q_CPU_AVX2, peak_read_m256},
    {"m256 in 4 streams", Q_CPU_AVX2, peak_read_m256_streams},
    {"m512", Q_CPU_AVX512, peak_read_m512},
#endif
};

static const compute_kernel compute_kernels[] = {
#if defined(__x86_64__)
    {"f32", "avx2", Q_CPU_AVX2, 8, peak_fma_m256},
    {"f32", "avx512", Q_CPU_AVX512, 16, peak_fma_m512},
    {"int8", "avx2", Q_CPU_AVX2, 32, peak_int8_m256},
    {"int8", "avx2vnni", Q_CPU_AVX2 | Q_CPU_AVX_VNNI, 32, peak_int8_vnni256},
    {"int8", "avx512", Q_CPU_AVX512 | Q_CPU_AVX512_VNNI, 64, peak_int8_vnni512},
#endif
    {NULL, NULL, 0, 0, NULL}};

typedef struct job {
    const read_kernel *reader;
    const compute_kernel *computer;
    const uint8_t *base;
    size_t bytes;
    uint64_t kept[Q_MAX_WORKERS];
} job;

static void read_share(void *arg, uint32_t worker, uint32_t n_workers)
{
    job *j = (job *)arg;
    size_t each = j->bytes / n_workers / PAGE * PAGE;
    j->kept[worker] = j->reader->read(j->base + worker * each, each);
}

static void compute_share(void *arg, uint32_t worker, uint32_t n_workers)
{
    job *j = (job *)arg;
    (void)n_workers;
    j->kept[worker] = j->computer->run(PEAK_ROUNDS);
}

static void measure_read(const q_port *port, uint32_t threads, const char *where, job *j)
{
    for (size_t i = 0; i < sizeof(read_kernels) / sizeof(read_kernels[0]); i++) {
        static series s;
        if ((port->cpu_features(port->user) & read_kernels[i].needs) != read_kernels[i].needs) {
            continue;
        }
        s.n = 0;
        j->reader = &read_kernels[i];
        for (uint32_t pass = 0; pass <= READ_PASSES; pass++) {
            double t = parts_seconds();
            uint32_t granted = port->parallel(port->user, threads, read_share, j);
            size_t bytes = j->bytes / granted / PAGE * PAGE * granted;
            t = parts_seconds() - t;
            if (pass != 0) {
                series_add(&s, (double)bytes / t * 1e-9);
            }
        }
        series_sort(&s);
        (void)printf("{\"part\":\"read\",\"where\":\"%s\",\"kernel\":\"%s\",\"threads\":%u,\"bytes\":%zu", where,
                     read_kernels[i].name, threads, j->bytes);
        series_print(&s, "gb_s");
        (void)printf("}\n");
    }
}

/* The file as a model is mapped, and its bytes in memory of the process. */
int part_read(const char *const *words, int n)
{
    static job j;
    uint32_t threads = parts_number(words[1], Q_MAX_WORKERS);
    const q_port *port = parts_port(threads);
    q_port_file file;
    const void *map;
    size_t size;
    uint8_t *copy;
    (void)n;
    if (port->file_open(port->user, words[0], Q_OPEN_READ, &file) != Q_OK ||
        port->map(port->user, file, &map, &size) != Q_OK) {
        parts_fail("cannot map the file");
    }
    if (size < PAGE * threads || size > MAX_FILE) {
        parts_fail("the file is too small or too large to read at");
    }
    j.base = (const uint8_t *)map;
    j.bytes = size;
    measure_read(port, threads, "file", &j);
    copy = (uint8_t *)parts_take(size);
    memcpy(copy, map, size);
    j.base = copy;
    measure_read(port, threads, "memory", &j);
    return 0;
}

int part_peak(const char *const *words, int n)
{
    static job j;
    uint32_t threads = parts_number(words[0], Q_MAX_WORKERS);
    const q_port *port = parts_port(threads);
    (void)n;
    for (const compute_kernel *k = compute_kernels; k->kind != NULL; k++) {
        static series s;
        if ((port->cpu_features(port->user) & k->needs) != k->needs) {
            (void)printf("{\"part\":\"peak\",\"kind\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"unavailable\":\"this "
                         "processor lacks it\"}\n",
                         k->kind, k->isa, threads);
            continue;
        }
        s.n = 0;
        j.computer = k;
        for (uint32_t pass = 0; pass < PEAK_PASSES; pass++) {
            double t = parts_seconds();
            uint32_t granted = port->parallel(port->user, threads, compute_share, &j);
            t = parts_seconds() - t;
            series_add(&s, 2.0 * k->values * PEAK_CHAINS * PEAK_ROUNDS * granted / t * 1e-9);
        }
        series_sort(&s);
        (void)printf("{\"part\":\"peak\",\"kind\":\"%s\",\"isa\":\"%s\",\"threads\":%u", k->kind, k->isa, threads);
        series_print(&s, "gop_s");
        (void)printf("}\n");
    }
    return 0;
}
