/* SPDX-License-Identifier: MIT */
/* main_posix.c: the perceptron trained here; prints the hash of its parameters. */
#include <stdio.h>

#include "mlp.h"

int main(void)
{
    uint8_t hash[Q_SHA256_BYTES];
    q_backend backend;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_backend_scalar(&backend);
    if (mlp_train(&backend, hash, &d) != Q_OK) {
        printf("%s: %s: %s\n", q_strerror(d.code), d.what, d.field);
        return 1;
    }
    for (size_t i = 0; i < sizeof(hash); i++) {
        printf("%02x", hash[i]);
    }
    return puts("") < 0;
}
