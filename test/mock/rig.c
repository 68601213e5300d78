/* SPDX-License-Identifier: MIT */
/* Mock devices over mmap and mprotect. */
#define _DEFAULT_SOURCE
#include "rig.h"

#include "../../port/posix/posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RESERVE = 4096, DEVICE_BYTES = 16 << 20, LARGEST_PARAMETER = 256 << 10 };

static void rig_protect(void *user, void *base, size_t size, bool open)
{
    (void)user;
    if (mprotect(base, size, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
        perror("mprotect");
        abort();
    }
}

static uint32_t rig_random(uint32_t seed, uint32_t n)
{
    uint32_t x = (seed * 2654435761u) ^ (n * 2246822519u + 374761393u);
    x = (x ^ (x >> 15)) * 2654435761u;
    return x ^ (x >> 13);
}

static bool rig_is_linear(const char *name)
{
    static const char *const last[] = {"q", "k", "v", "o", "gate", "up", "down", "logits", "head", "lm_head"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        if (strcmp(dot != NULL ? dot + 1 : name, last[i]) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t rig_place(void *user, const char *node)
{
    rig *r = (rig *)user;
    uint32_t n = r->n_places++ % r->n_nodes;
    switch (r->split) {
    case SPLIT_ALL:
        return 1;
    case SPLIT_ALTERNATE:
        return n % 2;
    case SPLIT_FIRST_HALF:
        return n < r->n_nodes / 2 ? 1 : 0;
    case SPLIT_SECOND_HALF:
        return n < r->n_nodes / 2 ? 0 : 1;
    case SPLIT_LINEARS:
        return rig_is_linear(node) ? 1 : 0;
    case SPLIT_RANDOM:
        return rig_random(r->seed, n) % 2;
    case SPLIT_RANDOM_TWO:
        return rig_random(r->seed, n) % 3;
    default:
        return 0;
    }
}

/* Memory of devices is handed out in the order of their tags, that of device 0 first for every kind. */
static void *rig_take(void *user, size_t size, const char *what)
{
    rig *r = (rig *)user;
    if (strcmp(what, "device") == 0) {
        uint32_t d = r->f.regions[r->f.n_regions].tag - (uint32_t)Q_MAX_TAGS;
        rig_device *device = &r->device[d];
        uint8_t *at = device->mock.base + device->used;
        device->used += (size + Q_ALIGN - 1) / Q_ALIGN * Q_ALIGN;
        if (device->used > device->mock.size) {
            (void)printf("a device's memory is too small\n");
            exit(1);
        }
        return at;
    }
    return flow_heap.take(NULL, size, what);
}

void rig_init(rig *r, const char *file, uint32_t precision, rig_split split, uint32_t seed)
{
    const q_backend *backends[RIG_DEVICES];
    memset(r, 0, sizeof(*r));
    r->split = split;
    r->seed = seed;
    r->n_nodes = 1;
    r->n_devices = split == SPLIT_RANDOM_TWO ? 2 : 1;
    for (uint32_t i = 0; i < r->n_devices; i++) {
        rig_device *d = &r->device[i];
        d->mock.base = mmap(NULL, DEVICE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        d->mock.size = DEVICE_BYTES;
        d->mock.reserve = d->used = RESERVE;
        d->mock.workspace = LARGEST_PARAMETER;
        d->mock.protect = rig_protect;
        if (d->mock.base == MAP_FAILED) {
            perror("mmap");
            exit(1);
        }
        q_backend_mock(&d->backend, &d->mock);
        backends[i] = &d->backend;
    }
    r->setup = flow_defaults(file);
    r->setup.precision = precision;
    if (q_devices_init(&r->devices, backends, r->n_devices, rig_place, r, NULL) != Q_OK) {
        (void)printf("q_devices_init\n");
        exit(1);
    }
    r->setup.devices = split == SPLIT_CPU ? NULL : &r->devices;
    r->memory.take = rig_take;
    r->memory.user = r;
}

void rig_open(rig *r)
{
    flow probe;
    flow_setup plain = r->setup;
    plain.devices = NULL;
    flow_open(&probe, &plain, &flow_heap);
    r->n_nodes = q_model_n_nodes(probe.model);
    flow_open(&r->f, &r->setup, &r->memory);
    rig_fail_at(r, 0, Q_OK);
}

void rig_close(rig *r)
{
    for (uint32_t i = 0; i < r->n_devices; i++) {
        (void)munmap(r->device[i].mock.base, r->device[i].mock.size);
    }
}

q_error_code rig_session(rig *r)
{
    q_block memory = {flow_heap.take(NULL, r->f.session_size, "session"), r->f.session_size};
    return flow_session(&r->f, &r->setup, memory);
}

void rig_fail_at(rig *r, uint64_t n, q_error_code code)
{
    for (uint32_t i = 0; i < r->n_devices; i++) {
        r->device[i].mock.n = 0;
        r->device[i].mock.fail_at = i == 0 ? n : 0;
        r->device[i].mock.fail_code = code;
    }
}

uint64_t rig_operations(const rig *r)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < r->n_devices; i++) {
        n += r->device[i].mock.n;
    }
    return n;
}
