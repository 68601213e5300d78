/* SPDX-License-Identifier: MIT */
/* proof FILE...: the proof on the host, over files read into memory. */
#define _POSIX_C_SOURCE 200809L
#include "proof.h"

#include "../../port/posix/posix.h"

#include <stdio.h>
#include <string.h>

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    (void)printf("%.*s\n", (int)n, line);
}

int main(int argc, char **argv)
{
    static q_posix posix;
    proof_host h;
    q_diag d;
    memset(&h, 0, sizeof(h));
    h.print = print_line;
    if (q_posix_init(&posix, 1, &d) != Q_OK || q_posix_region_alloc(PROOF_WORK, 0, &h.work, &d) != Q_OK) {
        (void)fprintf(stderr, "proof: %s %s\n", d.what, d.field);
        return 1;
    }
    h.port = q_posix_port(&posix);
    for (int i = 1; i < argc; i++) {
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
