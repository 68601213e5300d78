/* SPDX-License-Identifier: MIT */
/*
 * The trainings of fingerprints.txt with no operating system: boot module 0 is the files of all networks, one behind the
 * other. For every backend of this processor, with one worker and with all, a line of the hash, the network, the recipe, the
 * backend and the workers.
 */
#include "../../port/bare-x86/bare.h"
#include "qorus/base/mem.h"
#include "../../tools/common/backends.h"
#include "trajectory.h"

enum { HASHED_STEPS = 100 };

static void print_hash(const network *net, const trajectory *t, const bench_options *o)
{
    char hex[2 * Q_SHA256_BYTES + 1];
    bench b;
    bench_open(&b, net, t, net->hashed, o);
    for (uint32_t step = 0; step < HASHED_STEPS; step++) {
        (void)bench_step(&b, step);
    }
    session_hash(b.session, hex);
    q_bare_print("%s %s %s %s %lu\n", hex, net->name, net->hashed, o->backend, (unsigned long)b.granted);
    bench_close(&b);
}

static void print_hashes(const network *net, const trajectory *t, uint32_t n_cpus)
{
    for (uint32_t k = 0; backend_name(k) != NULL; k++) {
        bench_options o = {backend_name(k), 1, 0, 0};
        if (!bench_has(o.backend)) {
            continue;
        }
        print_hash(net, t, &o);
        for (o.workers = 2; o.workers <= n_cpus; o.workers++) {
            o.each = net->splits ? 3 : 0;
            print_hash(net, t, &o);
        }
    }
}

int q_bare_main(const q_bare_boot *boot)
{
    const uint8_t *at = boot->n_modules != 0 ? (const uint8_t *)boot->modules[0].base : NULL;
    size_t left = at != NULL ? boot->modules[0].size : 0;
    host_begin(boot->port);
    for (uint32_t i = 0; network_at(i) != NULL; i++) {
        size_t size = trajectory_size(at, left);
        trajectory t;
        trajectory_use(&t, network_at(i)->name, at, size);
        print_hashes(network_at(i), &t, boot->n_cpus);
        at += size;
        left -= size;
    }
    return 0;
}
