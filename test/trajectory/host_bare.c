/* SPDX-License-Identifier: MIT */
/* Memory and processors for trainings with no operating system. */
#include "../../port/bare-x86/bare.h"
#include "host.h"

static const q_port *port;

void host_begin(const q_port *of)
{
    port = of;
}

const q_port *host_port(void)
{
    return port;
}

/* All of a training's memory, taken from one block piece by piece; empty again when the last piece is given back. */
enum { HEAP = 128 << 20 };
static uint8_t *heap;
static size_t used;
static uint32_t pieces;

void *host_take(size_t bytes)
{
    size_t size = (bytes + 255) / 128 * 128;
    void *at;
    if (heap == NULL) {
        heap = (uint8_t *)q_bare_memory_take(HEAP, 128);
    }
    if (size > HEAP - used) {
        host_fail("memory", "heap", size, HEAP - used);
    }
    at = heap + used;
    used += size;
    pieces++;
    return at;
}

void host_give(void *memory)
{
    (void)memory;
    if (--pieces == 0) {
        used = 0;
    }
}

void host_fail(const char *what, const char *field, uint64_t need, uint64_t have)
{
    q_bare_print("FAIL %s: %s (need %lu, have %lu)\n", what, field, (unsigned long)need, (unsigned long)have);
    q_bare_exit(1);
}
