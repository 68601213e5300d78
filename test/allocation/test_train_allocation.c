/* SPDX-License-Identifier: MIT */
/*
 * Trains every network of the trajectories for 1,000 steps, in micro-batches, with two workers, while the kernel kills the
 * process at any call that could get memory (trap.h).
 *
 *   test_train_allocation FOLDER
 */
#include <stdio.h>

#include "test/trajectory/trajectory.h"
#include "trap.h"

enum { STEPS = 1000, WORKERS = 2, NETWORKS = 8 };

static int train(const char *folder, bool provoke)
{
    static const bench_options options = {"avx2", WORKERS, 3, 0};
    static const bench_options plain = {"scalar", WORKERS, 3, 0};
    static trajectory files[NETWORKS];
    static bench benches[NETWORKS];
    bool good = true;
    uint32_t n = 0;
    for (; n < NETWORKS && network_at(n) != NULL; n++) {
        const network *net = network_at(n);
        trajectory_open(&files[n], folder, net->name);
        bench_open(&benches[n], net, &files[n], net->hashed, bench_has("avx2") ? &options : &plain);
    }
    if (!trap_set()) {
        return TRAP_NONE;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t steps = provoke ? 1 : STEPS;
        for (uint32_t step = 0; step < steps; step++) {
            (void)bench_step(&benches[i], step);
        }
        good = good && q_trainer_steps(benches[i].trainer) == steps && benches[i].granted == WORKERS;
    }
    trap_end(good && network_at(n) == NULL, provoke);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: test_train_allocation FOLDER\n");
        return 2;
    }
    return trap_test(train, argv[1], "1,000 steps of every network");
}
