/* SPDX-License-Identifier: MIT */
/*
 * Memory: every object and region at exactly the size the query gave, between guard pages; one byte less fails and
 * says so; what memory held before never shows; the query is the high-water mark; regions split by tag.
 */
#define _DEFAULT_SOURCE
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ALIGN = 128, MAX_PIECES = 64 };

/* ---- Guarded memory -------------------------------------------------------------------------------------- */

typedef struct piece {
    void *map; /* with both guard pages */
    size_t map_size;
    unsigned char *base;
    size_t size;
    size_t slack; /* bytes behind it up to the guard page, because objects begin at multiples of 128 */
    char what[16];
} piece;

typedef struct guarded {
    bool right;         /* the end touches the guard page, else the beginning does */
    uint32_t pattern;   /* 32 bits the memory is filled with */
    piece pieces[MAX_PIECES];
    uint32_t n;
} guarded;

static void fill(unsigned char *at, size_t n, uint32_t pattern)
{
    for (size_t i = 0; i < n; i++) {
        at[i] = (unsigned char)(pattern >> i % 4 * 8);
    }
}

static void *take_guarded(void *user, size_t size, const char *what)
{
    guarded *g = (guarded *)user;
    size_t room = (size + ALIGN - 1) / ALIGN * ALIGN;
    size_t pages = (room + PAGE - 1) / PAGE;
    unsigned char *map = (unsigned char *)mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    piece *p = &g->pieces[g->n++];
    if (map == MAP_FAILED || mprotect(map + PAGE, pages * PAGE, PROT_READ | PROT_WRITE) != 0 || g->n > MAX_PIECES) {
        (void)printf("no guarded memory\n");
        exit(1);
    }
    fill(map + PAGE, pages * PAGE, g->pattern);
    p->map = map;
    p->map_size = (pages + 2) * PAGE;
    p->base = map + PAGE + (g->right ? pages * PAGE - room : 0);
    p->size = size;
    p->slack = g->right ? room - size : pages * PAGE - size;
    (void)snprintf(p->what, sizeof(p->what), "%s", what);
    return p->base;
}

static bool slack_untouched(const guarded *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const piece *p = &g->pieces[i];
        for (size_t k = 0; k < p->slack; k++) {
            if (p->base[p->size + k] != (unsigned char)(g->pattern >> (((uintptr_t)p->base + p->size + k) % 4 * 8))) {
                return false;
            }
        }
    }
    return true;
}

/* Distance from the last byte that changed to the end of the piece. */
static size_t unused_tail(const guarded *g, const piece *p)
{
    size_t n = p->size;
    while (n != 0 && p->base[n - 1] == (unsigned char)(g->pattern >> (((uintptr_t)p->base + n - 1) % 4 * 8))) {
        n--;
    }
    return p->size - n;
}

static void release(guarded *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        (void)munmap(g->pieces[i].map, g->pieces[i].map_size);
    }
    g->n = 0;
}

/* ---- Exact sizes, guards, patterns, high-water marks ------------------------------------------------------ */

static uint64_t guarded_hash(const flow_setup *s, bool right, uint32_t pattern)
{
    static guarded g;
    flow_memory memory = {take_guarded, &g};
    int32_t tokens[FLOW_TOKENS];
    q_error_code e;
    uint64_t h;
    flow f;
    memset(&g, 0, sizeof(g));
    g.right = right;
    g.pattern = pattern;
    flow_open(&f, s, &memory);
    flow_tokens(&f, tokens, FLOW_TOKENS, 7);
    h = flow_hash(&f, tokens, FLOW_TOKENS, &e);
    check(e == Q_OK, "R02 runs at exactly the sizes asked for");
    check(slack_untouched(&g), "R02 nothing is written behind the end");
    for (uint32_t i = 0; i < g.n && pattern != 0; i++) { /* zeros written over zeros would not show */
        check(unused_tail(&g, &g.pieces[i]) < Q_ALIGN, "R14 high-water mark of %s is the query (%zu bytes unused at the end)", g.pieces[i].what,
              unused_tail(&g, &g.pieces[i]));
    }
    release(&g);
    return h;
}

static void test_patterns(const flow_setup *s, const char *name)
{
    static const uint32_t patterns[] = {0x00000000u, 0xffffffffu, 0x7fa00001u, 0xa5a5a5a5u};
    flow f;
    int32_t tokens[FLOW_TOKENS];
    q_error_code e;
    uint64_t expected;
    flow_open(&f, s, &flow_heap);
    flow_tokens(&f, tokens, FLOW_TOKENS, 7);
    expected = flow_hash(&f, tokens, FLOW_TOKENS, &e);
    check(e == Q_OK, "%s runs", name);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        check(guarded_hash(s, true, patterns[i]) == expected, "R12 %s, memory of 0x%08x, right-aligned: same bits",
              name, (unsigned)patterns[i]);
        check(guarded_hash(s, false, patterns[i]) == expected, "R12 %s, memory of 0x%08x, left-aligned: same bits",
              name, (unsigned)patterns[i]);
    }
}

/* ---- One byte less ---------------------------------------------------------------------------------------- */

static void expect_short(const flow *f, q_error_code e, size_t need, const char *what)
{
    check(e == Q_ERR_NO_SPACE && f->diag.code == Q_ERR_NO_SPACE && f->diag.need == need && f->diag.have == need - 1,
          "R01 %s with one byte less: no space, need %zu, have %zu (got %d, %llu, %llu)", what, need, need - 1, (int)e,
          (unsigned long long)f->diag.need, (unsigned long long)f->diag.have);
}

static void test_short(const flow_setup *s)
{
    flow f;
    void *spare;
    flow_open(&f, s, &flow_heap);
    spare = flow_heap.take(NULL, f.plan_size + f.model_size + f.session_size, "spare");
    {
        flow again = f;
        q_session *before = again.session;
        expect_short(&again, flow_model(&again, s, (q_block){spare, f.model_size - 1}), f.model_size, "model");
        expect_short(&again, flow_plan(&again, s, (q_block){spare, f.plan_size - 1}), f.plan_size, "plan");
        expect_short(&again, flow_session(&again, s, (q_block){spare, f.session_size - 1}), f.session_size, "session");
        check(again.session == before && again.plan == f.plan && again.model == f.model, "outputs are untouched");
    }
    for (size_t i = 0; i < f.n_regions; i++) {
        flow again = f;
        again.regions[i].size--;
        expect_short(&again, flow_session(&again, s, (q_block){spare, f.session_size}), f.regions[i].size,
                     f.regions[i].kind == Q_REGION_STATE ? "STATE" : "SCRATCH");
        again.regions[i].size = 0;
        again.regions[i].base = NULL;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_NO_SPACE,
              "R03 a region of size 0 is too small");
        again.n_regions = 0;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_NO_SPACE, "a missing region is no space");
    }
}

/* ---- Bad regions ------------------------------------------------------------------------------------------ */

static void test_bad_regions(const flow_setup *s)
{
    flow f;
    void *spare;
    flow_open(&f, s, &flow_heap);
    spare = flow_heap.take(NULL, f.session_size + 64, "spare");
    for (size_t off = 1; off < 64; off++) {
        flow again = f;
        again.regions[0].base = (char *)f.regions[0].base + off;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_MISALIGNED,
              "R05 region misaligned by %zu", off);
        check(flow_session(&again, s, (q_block){(char *)spare + off, f.session_size}) == Q_ERR_MISALIGNED,
              "R05 session memory misaligned by %zu", off);
    }
    {
        flow again = f;
        again.regions[0].base = NULL;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_INVALID_ARG, "R04 NULL with a size");
        again = f;
        again.regions[1].base = (char *)f.regions[0].base + f.regions[0].size - 64;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_ALIASING, "R07 regions overlap");
        again = f;
        again.regions[0].base = (void *)(uintptr_t)((uintptr_t)f.bytes / 64 * 64);
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_ALIASING, "R08 region over the file");
        again = f;
        check(flow_session(&again, s, (q_block){f.regions[0].base, f.session_size}) == Q_ERR_ALIASING,
              "R09 region over the session");
        again = f;
        again.regions[0].base = (void *)(UINTPTR_MAX - 63);
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_OVERFLOW, "R10 base + size wraps");
        again = f;
        again.regions[0].device = Q_DEVICE_CUDA;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_INVALID_DEVICE, "region on a device");
        again = f;
        again.regions[0].kind = Q_REGION_KINDS;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_INVALID_ARG, "unknown kind of region");
        again = f;
        again.regions[0].tag = Q_MAX_TAGS;
        check(flow_session(&again, s, (q_block){spare, f.session_size}) == Q_ERR_INVALID_ARG, "unknown tag");
    }
}

/* ---- Monotone queries ------------------------------------------------------------------------------------- */

static size_t total(const flow *f)
{
    size_t n = 0;
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_TAGS; tag++) {
            n += f->needs.bytes[kind][tag];
        }
    }
    return n;
}

static void test_monotone(const char *file)
{
    size_t last = 0;
    for (uint32_t chunk = 1; chunk <= 64; chunk *= 2) {
        flow_setup s = flow_defaults(file);
        flow f;
        s.chunk = chunk;
        flow_open(&f, &s, &flow_heap);
        check(total(&f) >= last, "R13 chunk %u needs at least as much as half of it", chunk);
        last = total(&f);
    }
}

/* ---- Tags ------------------------------------------------------------------------------------------------- */

/* Layer 1's state to memory 1, every second scratch piece to memory 2. */
static uint8_t split(void *user, q_region_kind kind, const char *name)
{
    (void)user;
    if (kind == Q_REGION_STATE) {
        return strncmp(name, "layers.1.", 9) == 0 ? 1 : 0;
    }
    return strlen(name) % 2 == 0 ? 2 : 0;
}

static void test_tags(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow whole;
    flow parts;
    int32_t tokens[FLOW_TOKENS];
    q_error_code e;
    uint64_t expected;
    flow_open(&whole, &s, &flow_heap);
    s.tag = split;
    flow_open(&parts, &s, &flow_heap);
    check(parts.needs.bytes[Q_REGION_STATE][1] != 0 && parts.needs.bytes[Q_REGION_SCRATCH][2] != 0,
          "pieces go to the memories their tags name");
    check(parts.needs.bytes[Q_REGION_STATE][0] + parts.needs.bytes[Q_REGION_STATE][1] ==
              whole.needs.bytes[Q_REGION_STATE][0],
          "the KV cache splits without loss");
    flow_tokens(&whole, tokens, FLOW_TOKENS, 3);
    expected = flow_hash(&whole, tokens, FLOW_TOKENS, &e);
    check(flow_hash(&parts, tokens, FLOW_TOKENS, &e) == expected && e == Q_OK, "split memory: same bits");
}

/* ---- Zeroed memory ---------------------------------------------------------------------------------------- */

static bool all_are(const q_region *r, unsigned char value)
{
    const unsigned char *at = (const unsigned char *)r->base;
    size_t n = 0;
    while (n < r->size && at[n] == value) {
        n++;
    }
    return n == r->size;
}

/* A session over memory of one byte, of whose kinds and tags some are said to be zeroed. */
static uint32_t begin_over(flow *f, const flow_setup *s, void *memory, unsigned char value, bool (*zeroed)(const q_region *r))
{
    uint32_t n_states = 0;
    for (size_t i = 0; i < f->n_regions; i++) {
        memset(f->regions[i].base, value, f->regions[i].size);
        f->regions[i].zeroed = zeroed(&f->regions[i]);
        n_states += f->regions[i].kind == Q_REGION_STATE;
    }
    check(flow_session(f, s, (q_block){memory, f->session_size}) == Q_OK, "a session over memory of 0x%02x", value);
    return n_states;
}

static bool none_zeroed(const q_region *r)
{
    return r->base == NULL;
}

static bool every_zeroed(const q_region *r)
{
    return r->base != NULL;
}

static bool only_states_zeroed(const q_region *r)
{
    return r->kind == Q_REGION_STATE;
}

static bool others_zeroed(const q_region *r)
{
    return r->kind != Q_REGION_STATE;
}

static bool first_zeroed(const q_region *r)
{
    return r->tag == 0;
}

/* What a region says of itself is believed, and nothing is believed that it does not say. */
static void test_zeroed(const flow_setup *s, uint32_t want_states)
{
    static const struct {
        bool (*zeroed)(const q_region *r);
        bool cleared; /* STATE that is not said to be zeroed */
        const char *what;
    } rows[] = {{none_zeroed, true, "nothing is said to be zeroed"},
                {others_zeroed, true, "all but STATE is said to be zeroed"},
                {first_zeroed, true, "one part is said to be zeroed"},
                {only_states_zeroed, false, "STATE is said to be zeroed"},
                {every_zeroed, false, "all is said to be zeroed"}};
    int32_t tokens[FLOW_TOKENS];
    q_error_code e;
    uint64_t expected;
    void *memory;
    flow f;
    flow_open(&f, s, &flow_heap);
    memory = flow_heap.take(NULL, f.session_size, "session");
    flow_tokens(&f, tokens, FLOW_TOKENS, 7);
    expected = flow_hash(&f, tokens, FLOW_TOKENS, &e);
    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        check(begin_over(&f, s, memory, 0xA5, rows[k].zeroed) == want_states, "%u regions of STATE", want_states);
        for (size_t i = 0; i < f.n_regions; i++) {
            if (f.regions[i].kind == Q_REGION_STATE && !f.regions[i].zeroed) {
                check(all_are(&f.regions[i], 0), "R12 %s: STATE %u, of which that is not said, is cleared", rows[k].what,
                      (unsigned)f.regions[i].tag);
            }
            if (f.regions[i].kind == Q_REGION_STATE && !rows[k].cleared) {
                check(all_are(&f.regions[i], 0xA5), "R12 %s: STATE %u is left alone", rows[k].what, (unsigned)f.regions[i].tag);
            }
        }
        check(!rows[k].cleared || (flow_hash(&f, tokens, FLOW_TOKENS, &e) == expected && e == Q_OK), "R12 %s: same bits",
              rows[k].what);
    }
    (void)begin_over(&f, s, memory, 0, every_zeroed);
    check(flow_hash(&f, tokens, FLOW_TOKENS, &e) == expected && e == Q_OK, "R12 memory that is zeroed and says so: same bits");
}

void test_memory(const char *file)
{
    flow_setup s = flow_defaults(file);
    test_patterns(&s, "fast");
    test_short(&s);
    test_bad_regions(&s);
    s.sequences = 3;
    test_patterns(&s, "fast, three sequences");
    test_short(&s);
    s.sequences = 1;
    s.precision = Q_PRECISION_EXACT;
    test_patterns(&s, "exact");
    s.plan_flags = Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE;
    test_patterns(&s, "exact, plain plan");
    test_monotone(file);
    test_tags(file);
    s = flow_defaults(file);
    test_zeroed(&s, 1);
    s.sequences = 3;
    s.tag = split;
    test_zeroed(&s, 2);
}
