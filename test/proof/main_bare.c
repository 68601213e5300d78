/* SPDX-License-Identifier: MIT */
/*
 * The proof with no operating system. Boot module 0 is a concatenation of blobs: before each, 64 bytes that hold its
 * size as a little-endian number; each blob padded to 64 bytes. A size of 0 ends it.
 */
#include "proof.h"

#include "../../port/bare-x86/bare.h"

#include "qorus/base/mem.h"

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    q_bare_write(line, n);
    q_bare_write("\n", 1);
}

int q_bare_main(const q_bare_boot *boot)
{
    proof_host h;
    const uint8_t *at = boot->n_modules != 0 ? (const uint8_t *)boot->modules[0].base : NULL;
    const uint8_t *end = at != NULL ? at + boot->modules[0].size : NULL;
    memset(&h, 0, sizeof(h));
    h.port = boot->port;
    h.print = print_line;
    h.work = q_bare_memory_take(PROOF_WORK, 4096);
    while (at != NULL && end - at > 64) {
        uint64_t size;
        memcpy(&size, at, sizeof(size));
        if (size == 0 || size > (uint64_t)(end - at) - 64) {
            break;
        }
        proof_blob(&h, at + 64, (size_t)size);
        at += 64 + (size + 63) / 64 * 64;
    }
    return proof_finish(&h) ? 0 : 1;
}
