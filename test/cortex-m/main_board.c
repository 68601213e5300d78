/* SPDX-License-Identifier: MIT */
/* main_board.c: on the board: a perceptron trained, its parameters' hash printed; then all golden vectors. */
#include "port/cortex-m/board.h"
#include "mlp.h"
#include "test/vectors/runner.h"

extern const unsigned char vectors_pack[];
extern const unsigned char vectors_pack_end[];

static _Alignas(128) unsigned char work[3 << 20];

static void line(void *user, const char *text, size_t n)
{
    (void)user;
    board_print(text, n);
    board_print("\n", 1);
}

uint32_t board_main(void)
{
    static q_vectors_result result;
    static q_backend backend;
    static char hex[2 * Q_SHA256_BYTES];
    uint8_t hash[Q_SHA256_BYTES];
    q_diag d = {Q_OK, "", "", 0, 0, 0};

    q_backend_scalar(&backend);
    if (mlp_train(&backend, hash, &d) != Q_OK) {
        line(NULL, "training failed", 15);
        return 1;
    }
    for (size_t i = 0; i < sizeof(hex); i++) {
        hex[i] = "0123456789abcdef"[hash[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    line(NULL, hex, sizeof(hex));
    q_vectors_run(&backend, vectors_pack, (size_t)((uintptr_t)vectors_pack_end - (uintptr_t)vectors_pack), work,
                  sizeof(work), line, NULL, &result);
    return q_vectors_finish(line, NULL, &result) ? 0 : 1;
}
