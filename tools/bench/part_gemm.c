/* SPDX-License-Identifier: MIT */
/* part_gemm.c: `parts gemm`: one product of f32 through q_op_gemm, weights in panels. */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"

#include "../common/backends.h"
#include "qorus/base/panel.h"
#include "qorus/ops.h"

#include <stdio.h>
#include <string.h>

enum { GEMM_PASSES = 15, MAX_SIDE = 1 << 16 };
#define GEMM_SECONDS 0.6

static void fill(float *x, size_t n)
{
    uint32_t state = 88172645u;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
}

static q_tensor tensor_of(uint32_t layout, uint32_t rows, uint32_t columns)
{
    uint32_t padded = layout == Q_PANEL16 ? (rows + Q_PANEL_ROWS - 1) / Q_PANEL_ROWS * Q_PANEL_ROWS : rows;
    size_t values = (size_t)padded * columns;
    const uint32_t ne[Q_MAX_DIMS] = {1, 1, rows, columns};
    float *data = (float *)parts_take(values * sizeof(float));
    q_tensor t;
    q_diag diag;
    fill(data, values);
    if (q_tensor_init(&t, data, Q_F32, layout, ne, &diag) != Q_OK) {
        parts_fail(diag.field);
    }
    return t;
}

int part_gemm(const char *const *words, int n)
{
    static series s;
    static q_backend backend;
    static q_op_context ctx;
    uint32_t threads = parts_number(words[1], Q_MAX_WORKERS);
    uint32_t rows = parts_number(words[2], MAX_SIDE);
    uint32_t columns = parts_number(words[3], MAX_SIDE);
    uint32_t k = parts_number(words[4], MAX_SIDE);
    const q_port *port = parts_port(threads);
    q_context context = {port, &backend, threads, 0};
    q_block workspace;
    q_tensor x, w, y;
    q_diag diag;
    double begin;
    (void)n;
    if (!backend_make(&backend, words[0], port->cpu_features(port->user))) {
        (void)printf("{\"part\":\"gemm\",\"backend\":\"%s\",\"unavailable\":\"not on this machine\"}\n", words[0]);
        return 0;
    }
    x = tensor_of(Q_PLAIN, rows, k);
    w = tensor_of(Q_PANEL16, columns, k);
    y = tensor_of(Q_PLAIN, rows, columns);
    if (q_op_workspace_size(&context, &workspace.size, &diag) != Q_OK) {
        parts_fail(diag.field);
    }
    workspace.base = parts_take(workspace.size + 1);
    if (q_op_init(&ctx, &context, workspace, &diag) != Q_OK) {
        parts_fail(diag.field);
    }
    begin = parts_seconds();
    for (uint32_t i = 0; i < GEMM_PASSES || parts_seconds() - begin < GEMM_SECONDS; i++) {
        double t = parts_seconds();
        if (q_op_gemm(&ctx, &x, &w, NULL, &y, &diag) != Q_OK) {
            parts_fail(diag.field);
        }
        t = parts_seconds() - t;
        if (i >= 2) {
            series_add(&s, 2.0 * rows * columns * k / t * 1e-9);
        }
    }
    series_sort(&s);
    (void)printf("{\"part\":\"gemm\",\"backend\":\"%s\",\"threads\":%u,\"m\":%u,\"n\":%u,\"k\":%u", words[0], threads,
                 rows, columns, k);
    series_print(&s, "gflop_s");
    (void)printf("}\n");
    return 0;
}
