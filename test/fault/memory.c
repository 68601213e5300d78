/* SPDX-License-Identifier: MIT */
/* What the commands say of their memory is so: blocks they call zeroed hold nothing, whatever memory held before. */
#define _POSIX_C_SOURCE 200809L
#include "fault_suite.h"

#include <stdlib.h>
#include <string.h>

static bool only_zeros(const void *base, size_t n)
{
    const unsigned char *at = (const unsigned char *)base;
    size_t i = 0;
    while (i < n && at[i] == 0) {
        i++;
    }
    return i == n;
}

/* Memory of every kind that is written to and given back, so that the next has something to find. */
static void soil(size_t size)
{
    void *region = NULL;
    void *piece = malloc(size);
    q_diag d;
    CHECK_EQ(q_posix_region_alloc(size, Q_POSIX_HUGE, &region, &d), Q_OK);
    CHECK(piece != NULL);
    memset(region, 0xA5, size);
    memset(piece, 0xA5, size);
    q_posix_region_free(region, size);
    free(piece);
}

/* Small ones, large ones that come in huge pages, and the KV cache, which does not. */
static void r12_memory_of_the_commands_is_zeroed_as_they_say(void)
{
    static const size_t sizes[] = {1, 64, 4095, 4097, 1 << 16, (2u << 20) - 1, 2u << 20, 5u << 20};
    static const char *const names[] = {"state", "scratch"};
    static host h;
    const char *const no_words[] = {""};
    char error[128];
    options o;
    CHECK(options_parse(&o, FOR_RUN, no_words, 0, error, sizeof(error)));
    o.threads = 1;
    CHECK(host_start(&h, &o));
    CHECK(h.memory.zeroed);
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t k = 0; k < 2; k++) {
            void *base = NULL;
            soil(sizes[i]);
            CHECK_EQ(h.memory.take(h.memory.user, sizes[i], names[k], &base, &h.diag), Q_OK);
            CHECK(only_zeros(base, sizes[i]));
        }
    }
    host_stop(&h);
}

/* A session that clears nothing, as its regions say, has a clear cache. */
static void r12_a_cache_that_is_not_cleared_is_clear(void)
{
    static host h;
    const char *const no_words[] = {""};
    char error[128];
    options o;
    uint32_t n_states = 0;
    CHECK(options_parse(&o, FOR_RUN, no_words, 0, error, sizeof(error)));
    o.threads = 1;
    CHECK(host_start(&h, &o));
    soil(4u << 20);
    CHECK(host_session(&h, suite_model, &o, 1, NULL));
    for (uint32_t i = 0; i < h.engine.n_regions; i++) {
        const q_region *r = &h.engine.regions[i];
        CHECK_EQ(r->zeroed, 1);
        n_states += r->kind == Q_REGION_STATE;
        CHECK(r->kind != Q_REGION_STATE || only_zeros(r->base, r->size));
    }
    CHECK(n_states != 0);
    host_stop(&h);
}

void suite_memory(void)
{
    RUN(r12_memory_of_the_commands_is_zeroed_as_they_say);
    RUN(r12_a_cache_that_is_not_cleared_is_clear);
}
