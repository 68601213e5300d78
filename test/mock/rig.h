/* SPDX-License-Identifier: MIT */
/* rig.h: a language model over mock devices, each with a block of memory that only itself may open. */
#ifndef QORUS_TEST_MOCK_RIG_H
#define QORUS_TEST_MOCK_RIG_H

#include "../../backends/mock/mock.h"
#include "../model/flow.h"

enum { RIG_DEVICES = 2, RIG_NAMES = 128 };

/* Which nodes run where. */
typedef enum rig_split {
    SPLIT_CPU,
    SPLIT_ALL,
    SPLIT_ALTERNATE,
    SPLIT_FIRST_HALF,
    SPLIT_SECOND_HALF,
    SPLIT_LINEARS,
    SPLIT_RANDOM,    /* by seed, one device */
    SPLIT_RANDOM_TWO /* by seed, both devices */
} rig_split;

typedef struct rig_device {
    q_mock mock;
    q_backend backend;
    size_t used; /* bytes of its memory handed out */
} rig_device;

typedef struct rig {
    rig_split split;
    uint32_t seed;
    uint32_t n_devices;
    uint32_t n_places; /* nodes placed so far */
    uint32_t n_nodes;
    rig_device device[RIG_DEVICES];
    q_devices devices;
    flow_setup setup;
    flow_memory memory;
    flow f;
} rig;

/* Devices and setup for the file; nothing of the model yet. */
void rig_init(rig *r, const char *file, uint32_t precision, rig_split split, uint32_t seed);
/* Model, plan and session as the setup has them. */
void rig_open(rig *r);
/* All memory of the devices goes back; that of the host never does. */
void rig_close(rig *r);
/* A session again over the same plan and memory. */
q_error_code rig_session(rig *r);
/* Node of that operation on demand: the n-th from now on fails with code. */
void rig_fail_at(rig *r, uint64_t n, q_error_code code);
/* Operations of all devices since the last rig_fail_at. */
uint64_t rig_operations(const rig *r);

/* A printed plan names what the devices do. */
void test_mock_printing(const char *file);

#endif /* QORUS_TEST_MOCK_RIG_H */
