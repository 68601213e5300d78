/* SPDX-License-Identifier: MIT */
/*
 * The training of digits.h with no operating system: boot module 0 is the pack, the command line names the backends. For each
 * of them, with all processors, a line: hash of the parameters, images that are right, of how many, backend, workers.
 */
#include "../../port/bare-x86/bare.h"
#include "../../tools/common/backends.h"
#include "digits.h"

enum { MAX_WORDS = 8 };

int q_bare_main(const q_bare_boot *boot)
{
    char store[256];
    const char *words[MAX_WORDS];
    uint32_t n = 0;
    q_backend backend;
    host_begin(boot->port);
    if (boot->n_modules == 0 || q_bare_split(boot->cmdline, store, sizeof(store), words, MAX_WORDS, &n) != Q_OK || n == 0) {
        host_fail("digits", "a boot module and names of backends", 1, 0);
    }
    for (uint32_t i = 0; i < n; i++) {
        digits_outcome o;
        if (!backend_make(&backend, words[i], boot->port->cpu_features(boot->port->user))) {
            host_fail(words[i], "backend", 1, 0);
        }
        o = digits_train(boot->modules[0].base, boot->modules[0].size, &backend, boot->n_cpus, NULL);
        q_bare_print("%s %lu %lu %s %lu\n", o.hex, (unsigned long)o.right, (unsigned long)o.images, words[i],
                     (unsigned long)o.workers);
    }
    return 0;
}
