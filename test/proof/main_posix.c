/* SPDX-License-Identifier: MIT */
/*
 * proof [--features N] FILE...: the proof on the host, over files read into memory. --features: only these Q_CPU_* bits
 * of this CPU, so that a machine with fewer can be compared.
 */
#define _POSIX_C_SOURCE 200809L
#include "proof.h"

#include "../../port/posix/posix.h"
#include "../../port/x86/cpu_detect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    (void)printf("%.*s\n", (int)n, line);
}

static uint64_t allowed = UINT64_MAX;

static uint64_t allowed_features(void *user)
{
    (void)user;
    return q_cpu_detect() & allowed;
}

int main(int argc, char **argv)
{
    static q_posix posix;
    proof_host h;
    q_port port;
    q_diag d;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--features") == 0) {
        allowed = strtoull(argv[2], NULL, 0);
        first = 3;
    }
    memset(&h, 0, sizeof(h));
    h.print = print_line;
    if (q_posix_init(&posix, 1, &d) != Q_OK || q_posix_region_alloc(PROOF_WORK, 0, &h.work, &d) != Q_OK) {
        (void)fprintf(stderr, "proof: %s %s\n", d.what, d.field);
        return 1;
    }
    port = *q_posix_port(&posix);
    port.cpu_features = allowed_features;
    h.port = &port;
    for (int i = first; i < argc; i++) {
        q_posix_model file;
        if (q_posix_open_model(&posix, argv[i], NULL, &file, &d) != Q_OK) {
            (void)fprintf(stderr, "proof: %s: %s\n", argv[i], d.field);
            return 1;
        }
        proof_blob(&h, file.base, file.size);
        q_posix_close_model(&posix, &file);
    }
    return proof_finish(&h) ? 0 : 1;
}
