/* SPDX-License-Identifier: MIT */
/*
 * 02: regions filled by an allocator of the caller's own: here one that takes the KV cache from "fast" memory and
 * the rest from "slow" memory, and counts.
 *
 *   02_own_allocator MODEL.qorus
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus.h"

typedef struct heap {
    size_t given;
    size_t blocks;
} heap;

static void *heap_alloc(void *user, size_t size, size_t align)
{
    heap *h = (heap *)user;
    h->given += size;
    h->blocks++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void heap_free(void *user, void *base, size_t size)
{
    heap *h = (heap *)user;
    h->given -= size;
    h->blocks--;
    free(base);
}

/* Tag 1, the fast memory, for the KV cache of layer 0; tag 0 for all else. */
static uint8_t choose(void *user, q_region_kind kind, const char *name)
{
    (void)user;
    return kind == Q_REGION_STATE && strncmp(name, "layers.0.", 9) == 0 ? 1 : 0;
}

static int give_up(const q_diag *d)
{
    printf("%s: %s: %s\n", q_strerror(d->code), d->what, d->field);
    return 1;
}

/* The plan says how many bytes of which memory. */
static q_error_code take_regions(const q_plan *plan, const q_allocator *fast, const q_allocator *slow, q_region region[3],
                                 q_diag *d)
{
    q_error_code e = Q_OK;
    q_needs needs;
    q_plan_needs(plan, &needs);
    for (uint32_t i = 0; i < 3 && e == Q_OK; i++) {
        region[i].kind = (uint8_t)(i < 2 ? Q_REGION_STATE : Q_REGION_SCRATCH);
        region[i].tag = (uint8_t)(i == 1);
        region[i].size = needs.bytes[region[i].kind][region[i].tag];
        e = q_regions_alloc(region[i].tag == 1 ? fast : slow, &region[i], 1, d);
    }
    return e;
}

int main(int argc, char **argv)
{
    static _Alignas(128) unsigned char file_bytes[128 << 10];
    FILE *in = argc == 2 ? fopen(argv[1], "rb") : NULL;
    size_t size = in != NULL ? fread(file_bytes, 1, sizeof(file_bytes), in) : 0;
    heap fast = {0, 0}, slow = {0, 0};
    const q_allocator from_fast = {&fast, heap_alloc, heap_free};
    const q_allocator from_slow = {&slow, heap_alloc, heap_free};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_file file;
    q_file_build build = {.file = &file};
    q_backend backend;
    q_context context = {NULL, &backend, 1, 0};
    q_plan_config config = {.struct_size = sizeof(config), .max = {1, 4, 1, 64, 1}, .n_workers = 1, .tag = choose};
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_region object[3] = {{0}}, region[3] = {{0}};
    const int32_t tokens[] = {1, 2, 3};
    const void *inputs[] = {tokens};
    q_step step = {0};
    q_tensor logits;

    if (in == NULL) {
        printf("usage: 02_own_allocator MODEL.qorus\n");
        return 2;
    }
    fclose(in);
    q_backend_scalar(&backend);
    /* objects: ask, allocate, build */
    if (q_file_open(&file, file_bytes, size, NULL, 0, &d) != Q_OK ||
        q_model_size(q_build_from_file, &build, &object[0].size, &d) != Q_OK ||
        q_regions_alloc(&from_slow, &object[0], 1, &d) != Q_OK ||
        q_model_init(&model, (q_block){object[0].base, object[0].size}, q_build_from_file, &build, &d) != Q_OK ||
        q_plan_size(model, &config, &object[1].size, &d) != Q_OK ||
        q_regions_alloc(&from_slow, &object[1], 1, &d) != Q_OK ||
        q_plan_init(&plan, (q_block){object[1].base, object[1].size}, model, &config, &d) != Q_OK ||
        q_session_size(plan, &object[2].size, &d) != Q_OK ||
        q_regions_alloc(&from_slow, &object[2], 1, &d) != Q_OK) {
        return give_up(&d);
    }
    if (take_regions(plan, &from_fast, &from_slow, region, &d) != Q_OK) {
        return give_up(&d);
    }
    step.n_tokens = 3;
    step.inputs = inputs;
    step.select = Q_SELECT_LAST;
    if (q_session_init(&session, (q_block){object[2].base, object[2].size}, plan, &context, region, 3, NULL, &d) != Q_OK ||
        q_model_forward(session, &step, &d) != Q_OK || q_session_output(session, 0, &logits, &d) != Q_OK) {
        return give_up(&d);
    }
    printf("first logit %.6f; fast memory %lu bytes in %lu blocks, slow %lu in %lu\n", (double)*(float *)logits.data,
           (unsigned long)fast.given, (unsigned long)fast.blocks, (unsigned long)slow.given, (unsigned long)slow.blocks);
    /* nothing to close: give the memory back and it is over */
    q_regions_free(&from_slow, object, 3);
    q_regions_free(&from_slow, &region[0], 1);
    q_regions_free(&from_fast, &region[1], 1);
    q_regions_free(&from_slow, &region[2], 1);
    return fast.given + slow.given != 0;
}
