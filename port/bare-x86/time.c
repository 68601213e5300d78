/* SPDX-License-Identifier: MIT */
/* time.c: how fast the time-stamp counter runs, and nanoseconds made of it. */
#include "internal.h"

enum {
    PIT_HZ = 1193182,
    PIT_COUNTER = 0x42,
    PIT_COMMAND = 0x43,
    PIT_GATE = 0x61,
    PIT_SPAN = 30000, /* counts: 25 ms of the 55 ms a 16-bit count lasts */
    PIT_TRIES = 5,
    PIT_ATTEMPTS = 8,
    PIT_READ_LIMIT = 200000
};

__extension__ typedef unsigned __int128 time_u128;

static uint64_t time_base;
/* Nanoseconds per tick, times 2^32. */
static uint64_t time_scale;

/* A reading of the counter and the time-stamp counter together; `width` bounds how far apart they
   were. */
typedef struct pit_sample {
    uint64_t tsc;
    uint64_t width;
    uint32_t count;
} pit_sample;

static pit_sample pit_read(void)
{
    pit_sample s = {0, 0, 0};
    const uint64_t before = read_tsc();
    out8(PIT_COMMAND, 0x80); /* latch channel 2 */
    const uint64_t after = read_tsc();
    s.count = in8(PIT_COUNTER);
    s.count |= (uint32_t)in8(PIT_COUNTER) << 8;
    s.tsc = before + (after - before) / 2;
    s.width = after - before;
    return s;
}

/* The tightest of a few readings: the others may have been interrupted by a hypervisor. */
static pit_sample pit_read_best(void)
{
    pit_sample best = pit_read();
    for (uint32_t i = 1; i < PIT_TRIES; i++) {
        const pit_sample s = pit_read();
        best = s.width < best.width ? s : best;
    }
    return best;
}

/* Counts down once from 65535 on channel 2 (mode 0, speaker off). 0 if the span was missed. */
static uint64_t pit_measure(void)
{
    out8(PIT_GATE, (uint8_t)((in8(PIT_GATE) & ~2u) | 1u));
    out8(PIT_COMMAND, 0xB0);
    out8(PIT_COUNTER, 0xFF);
    out8(PIT_COUNTER, 0xFF);
    const pit_sample first = pit_read_best();
    pit_sample last = first;
    for (uint32_t i = 0; i < PIT_READ_LIMIT && first.count - last.count < PIT_SPAN; i++) {
        last = pit_read();
        if (last.count > first.count) {
            return 0; /* went past zero: too late to tell how often */
        }
    }
    last = pit_read_best();
    if (last.count >= first.count || first.count - last.count < PIT_SPAN) {
        return 0;
    }
    /* About 2^30 ticks at most, so the product has room. */
    return (last.tsc - first.tsc) * PIT_HZ / (first.count - last.count);
}

/* A busy host can make one count miss its span. */
static uint64_t tsc_hz_from_pit(void)
{
    uint64_t hz = 0;
    for (uint32_t i = 0; i < PIT_ATTEMPTS && hz == 0; i++) {
        hz = pit_measure();
    }
    return hz;
}

uint64_t q_bare_time_init(const char **source)
{
    uint64_t hz = q_bare_cpu.tsc_hz;
    *source = q_bare_cpu.tsc_source;
    if (hz == 0) {
        hz = tsc_hz_from_pit();
        *source = "PIT";
    }
    if (hz == 0) {
        *source = "none";
    }
    time_scale = hz != 0 ? (1000000000ull << 32) / hz : 1ull << 32;
    time_base = read_tsc();
    return hz;
}

uint64_t q_bare_time_ns(void *user)
{
    (void)user;
    return (uint64_t)((time_u128)(read_tsc() - time_base) * time_scale >> 32);
}

void q_bare_time_delay(uint64_t ns)
{
    const uint64_t start = q_bare_time_ns(NULL);
    while (q_bare_time_ns(NULL) - start < ns) {
        cpu_pause();
    }
}
