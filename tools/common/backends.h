/* SPDX-License-Identifier: MIT */
/*
 * backends.h: the backends that are built in, by name, slowest first. Needs no libc; the commands and the tests
 * choose among them with it.
 */
#ifndef QORUS_TOOLS_BACKENDS_H
#define QORUS_TOOLS_BACKENDS_H

#include "qorus/backend.h"
#include "qorus/port.h"

#define BACKEND_NAMES "scalar, avx2, avx2vnni, avx512"

/* Name of backend i, NULL beyond the last one. */
static inline const char *backend_name(uint32_t i)
{
    static const char *const names[] = {"scalar", "avx2", "avx2vnni", "avx512"};
    return i < sizeof(names) / sizeof(names[0]) ? names[i] : NULL;
}

static inline bool backend_is(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static inline bool backend_known(const char *name)
{
    uint32_t i = 0;
    while (backend_name(i) != NULL && !backend_is(backend_name(i), name)) {
        i++;
    }
    return backend_name(i) != NULL;
}

/* Fills a backend by name; false, out untouched, if it is not built in or `features` (Q_CPU_* bits) lack for it. */
static inline bool backend_make(q_backend *out, const char *name, uint64_t features)
{
    if (backend_is(name, "scalar")) {
        q_backend_scalar(out);
        return true;
    }
#if defined(__x86_64__) && !defined(Q_REAL_DOUBLE)
    if (backend_is(name, "avx2")) {
        return q_backend_avx2(out, features & ~(uint64_t)Q_CPU_AVX_VNNI);
    }
    if (backend_is(name, "avx2vnni")) {
        return (features & Q_CPU_AVX_VNNI) != 0 && q_backend_avx2(out, features);
    }
    if (backend_is(name, "avx512")) {
        return q_backend_avx512(out, features);
    }
#endif
    (void)features;
    return false;
}

/* The fastest that these features allow. */
static inline void backend_best(q_backend *out, uint64_t features)
{
    q_backend_scalar(out);
    for (uint32_t i = 1; backend_name(i) != NULL; i++) {
        (void)backend_make(out, backend_name(i), features);
    }
}

#endif /* QORUS_TOOLS_BACKENDS_H */
