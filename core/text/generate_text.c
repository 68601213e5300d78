/* SPDX-License-Identifier: MIT */
/* Text on its way out of a generator: held back while a stop string may be coming. */
#include "generate_inner.h"

size_t q_generate_stop_bytes(const char *s)
{
    size_t n = 0;
    while (n <= Q_GENERATE_MAX_STOP_BYTES && s[n] != '\0') {
        n++;
    }
    return n;
}

/* Index of the first stop string in held text, or n_held. */
static size_t find_stop(const q_generator *g)
{
    for (size_t at = 0; at < g->n_held; at++) {
        for (uint32_t i = 0; i < g->config.n_stops; i++) {
            size_t n = q_generate_stop_bytes(g->config.stops[i]);
            if (n <= g->n_held - at && memcmp(g->held + at, g->config.stops[i], n) == 0) {
                return at;
            }
        }
    }
    return g->n_held;
}

/* Bytes at the end of the held text that could still become a stop string. */
static size_t possible_stop(const q_generator *g)
{
    size_t longest = 0;
    for (uint32_t i = 0; i < g->config.n_stops; i++) {
        size_t n = q_generate_stop_bytes(g->config.stops[i]) - 1;
        for (n = n < g->n_held ? n : g->n_held; n > longest; n--) {
            if (memcmp(g->held + g->n_held - n, g->config.stops[i], n) == 0) {
                longest = n;
            }
        }
    }
    return longest;
}

/* Hands the first n held bytes out. False: the caller wants to stop. */
static bool hand_out(q_generator *g, size_t n)
{
    bool go_on = true;
    if (n != 0 && g->config.on_text != NULL) {
        go_on = g->config.on_text(g->config.user, g->held, n);
    }
    memmove(g->held, g->held + n, g->n_held - n);
    g->n_held -= n;
    return go_on;
}

q_stop_reason q_generate_emit(q_generator *g, int32_t token)
{
    size_t n = 0;
    size_t stop;
    if (q_tokenizer_stream(g->tokenizer, &g->utf8, token, Q_DECODE_SKIP_SPECIAL, g->held + g->n_held,
                           g->held_size - g->n_held, &n, NULL) != Q_OK) {
        n = 0; /* an id of a padded vocabulary: no text */
    }
    g->n_held += n;
    stop = find_stop(g);
    if (stop < g->n_held) {
        (void)hand_out(g, stop);
        g->n_held = 0;
        return Q_STOP_STRING;
    }
    return hand_out(g, g->n_held - possible_stop(g)) ? Q_STOP_NONE : Q_STOP_CALLER;
}

/* What is held back comes out when nothing more can follow. */
void q_generate_flush(q_generator *g)
{
    size_t n = 0;
    if (q_utf8_stream_flush(&g->utf8, g->held + g->n_held, g->held_size - g->n_held, &n) == Q_OK) {
        g->n_held += n;
    }
    (void)hand_out(g, g->n_held);
}
