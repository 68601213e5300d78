/* SPDX-License-Identifier: MIT */
/*
 * onednn_gemm.c: products of f32 with oneDNN (API of version 3), as `parts gemm` does them with ours.
 *
 *   onednn_gemm M N K        y[M][N] = x[M][K] * w[N][K]^T; threads by OMP_NUM_THREADS, instructions by ONEDNN_MAX_CPU_ISA
 *
 * Two ways: dnnl_sgemm with the weights as they are, and a matmul primitive with weights in the order oneDNN likes best,
 * put in order before the clock starts. One JSON line each.
 */
#define _POSIX_C_SOURCE 200809L
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIN_PASSES = 15, MAX_PASSES = 4096 };
#define GEMM_SECONDS 0.6

typedef struct product {
    dnnl_dim_t m, n, k;
    float *x, *w, *y;
} product;

typedef struct packed_product {
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3];
} packed_product;

static void must(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success) {
        (void)fprintf(stderr, "onednn_gemm: %s: status %d\n", what, (int)status);
        exit(1);
    }
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float *filled(dnnl_dim_t n)
{
    float *x = aligned_alloc(4096, ((size_t)n * sizeof(float) + 4095) / 4096 * 4096);
    uint32_t state = 88172645u;
    for (dnnl_dim_t i = 0; x != NULL && i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static void run_plain(void *of)
{
    const product *p = of;
    must(dnnl_sgemm('N', 'T', p->m, p->n, p->k, 1.0f, p->x, p->k, p->w, p->k, 0.0f, p->y, p->n), "sgemm");
}

static void run_packed(void *of)
{
    const packed_product *p = of;
    must(dnnl_primitive_execute(p->primitive, p->stream, 3, p->args), "execute");
    must(dnnl_stream_wait(p->stream), "wait");
}

static void measure(const char *way, const product *p, void (*run)(void *of), void *of)
{
    static double rate[MAX_PASSES];
    int n = 0;
    double begin;
    run(of);
    run(of);
    begin = seconds();
    while (n < MIN_PASSES || (n < MAX_PASSES && seconds() - begin < GEMM_SECONDS)) {
        double t = seconds();
        run(of);
        rate[n++] = 2.0 * (double)p->m * (double)p->n * (double)p->k / (seconds() - t) * 1e-9;
    }
    qsort(rate, (size_t)n, sizeof(rate[0]), ascending);
    (void)printf("{\"part\":\"onednn\",\"way\":\"%s\",\"m\":%lld,\"n\":%lld,\"k\":%lld,\"gflop_s\":%.6g,\"gflop_s_min\":%.6g,"
                 "\"gflop_s_max\":%.6g}\n",
                 way, (long long)p->m, (long long)p->n, (long long)p->k, (rate[(n - 1) / 2] + rate[n / 2]) / 2, rate[0],
                 rate[n - 1]);
}

static dnnl_memory_desc_t describe(dnnl_dim_t rows, dnnl_dim_t columns, dnnl_format_tag_t tag)
{
    const dnnl_dims_t dims = {rows, columns};
    dnnl_memory_desc_t d;
    must(dnnl_memory_desc_create_with_tag(&d, 2, dims, dnnl_f32, tag), "descriptor");
    return d;
}

static void prepare(packed_product *out, const product *p)
{
    dnnl_engine_t engine;
    dnnl_primitive_desc_t plan, order_plan;
    dnnl_primitive_t order;
    dnnl_memory_t x, w_plain, w, y;
    dnnl_memory_desc_t dx = describe(p->m, p->k, dnnl_ab);
    dnnl_memory_desc_t dw = describe(p->k, p->n, dnnl_ba);
    dnnl_memory_desc_t any = describe(p->k, p->n, dnnl_format_tag_any);
    dnnl_memory_desc_t dy = describe(p->m, p->n, dnnl_ab);
    dnnl_exec_arg_t order_args[2];
    must(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    must(dnnl_stream_create(&out->stream, engine, dnnl_stream_default_flags), "stream");
    must(dnnl_matmul_primitive_desc_create(&plan, engine, dx, any, NULL, dy, NULL), "matmul");
    must(dnnl_memory_create(&x, dx, engine, p->x), "x");
    must(dnnl_memory_create(&w_plain, dw, engine, p->w), "w");
    must(dnnl_memory_create(&w, dnnl_primitive_desc_query_md(plan, dnnl_query_weights_md, 0), engine, DNNL_MEMORY_ALLOCATE),
         "ordered w");
    must(dnnl_memory_create(&y, dy, engine, p->y), "y");
    must(dnnl_reorder_primitive_desc_create(&order_plan, dw, engine,
                                            dnnl_primitive_desc_query_md(plan, dnnl_query_weights_md, 0), engine, NULL),
         "reorder");
    must(dnnl_primitive_create(&order, order_plan), "reorder");
    order_args[0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, w_plain};
    order_args[1] = (dnnl_exec_arg_t){DNNL_ARG_TO, w};
    must(dnnl_primitive_execute(order, out->stream, 2, order_args), "reorder");
    must(dnnl_stream_wait(out->stream), "reorder");
    must(dnnl_primitive_create(&out->primitive, plan), "matmul");
    out->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, x};
    out->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, w};
    out->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, y};
}

int main(int argc, char **argv)
{
    product p;
    packed_product packed;
    if (argc != 4) {
        (void)fprintf(stderr, "usage: onednn_gemm M N K\n");
        return 2;
    }
    p.m = atoll(argv[1]);
    p.n = atoll(argv[2]);
    p.k = atoll(argv[3]);
    p.x = filled(p.m * p.k);
    p.w = filled(p.n * p.k);
    p.y = filled(p.m * p.n);
    if (p.m <= 0 || p.n <= 0 || p.k <= 0 || p.x == NULL || p.w == NULL || p.y == NULL) {
        (void)fprintf(stderr, "onednn_gemm: bad sizes or no memory\n");
        return 1;
    }
    measure("sgemm", &p, run_plain, &p);
    prepare(&packed, &p);
    measure("matmul, weights in its own order", &p, run_packed, &packed);
    return 0;
}
