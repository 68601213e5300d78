/* SPDX-License-Identifier: MIT */
/*
 * stranger.c: a program of somebody who copied qorus.h and qorus.c: prints, in hexadecimal, what the network of a
 * file answers; with WITH_AVX2, by that backend.
 *
 *   stranger FILE.qorus
 */
#include <stdio.h>
#include <string.h>

#include "qorus.h"
#ifdef WITH_AVX2
#include "port/x86/cpu_detect.h"
#endif

enum { ROWS = 5, COLUMNS = 4 };

static _Alignas(128) unsigned char file_bytes[8 << 10];
static _Alignas(128) unsigned char memory[5][256 << 10];

int main(int argc, char **argv)
{
    static const uint8_t kinds[] = {Q_REGION_STATE, Q_REGION_SCRATCH};
    FILE *in = argc == 2 ? fopen(argv[1], "rb") : NULL;
    size_t size = in != NULL ? fread(file_bytes, 1, sizeof(file_bytes), in) : 0;
    q_plan_config config = {.struct_size = sizeof(config), .max = {ROWS, 1, 1, 1, 1}, .n_workers = 1};
    float x[ROWS][COLUMNS];
    const void *inputs[] = {x};
    q_step step = {.inputs = inputs, .n_batch = ROWS};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_backend backend;
    q_context context = {NULL, &backend, 1, 0};
    q_region regions[2] = {{0}};
    q_file file;
    q_file_build build = {.file = &file};
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_tensor y;

    for (int i = 0; i < ROWS * COLUMNS; i++) {
        x[i / COLUMNS][i % COLUMNS] = (float)(i * 37 % 19) / 7.0f - 1.0f;
    }
    for (int i = 0; i < 2; i++) {
        regions[i].kind = kinds[i];
        regions[i].base = memory[i];
        regions[i].size = sizeof(memory[i]);
    }
    q_backend_scalar(&backend);
#ifdef WITH_AVX2
    if (!q_backend_avx2(&backend, q_cpu_detect())) {
        return 3;
    }
#endif
    config.workspace_size = backend.workspace_size;
    if (q_file_open(&file, file_bytes, size, NULL, 0, &d) != Q_OK ||
        q_model_init(&model, (q_block){memory[2], sizeof(memory[2])}, q_build_from_file, &build, &d) != Q_OK ||
        q_plan_init(&plan, (q_block){memory[3], sizeof(memory[3])}, model, &config, &d) != Q_OK ||
        q_session_init(&session, (q_block){memory[4], sizeof(memory[4])}, plan, &context, regions, 2, NULL, &d) != Q_OK ||
        q_model_forward(session, &step, &d) != Q_OK || q_session_output(session, 0, &y, &d) != Q_OK) {
        printf("%s: %s: %s (need %llu, have %llu)\n", q_strerror(d.code), d.what, d.field, (unsigned long long)d.need,
               (unsigned long long)d.have);
        return 1;
    }
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < y.ne[3]; c++) {
            uint32_t bits;
            memcpy(&bits, (const char *)y.data + r * y.nb[2] + c * sizeof(bits), sizeof(bits));
            printf("%08lx%c", (unsigned long)bits, c + 1 < y.ne[3] ? ' ' : '\n');
        }
    }
    return 0;
}
