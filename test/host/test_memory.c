/* SPDX-License-Identifier: MIT */
/* test_memory.c: arena and regions: exact sizes, one byte less, wrapping sizes, allocators that fail. */
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "host.h"

enum { POOL = 4096 };
static _Alignas(Q_ALIGN) uint8_t pool[POOL];

/* ---- Arena ------------------------------------------------------------------------------------------------ */

/* A mixture of sizes and alignments; pieces[] may hold NULLs. */
static void take_all(q_arena *arena, void *pieces[6])
{
    static const size_t sizes[6] = {1, 7, 64, 0, 100, 33};
    static const size_t aligns[6] = {1, 8, 64, 64, 4, 32};
    for (int i = 0; i < 6; i++) {
        pieces[i] = q_arena_alloc(arena, sizes[i], aligns[i]);
    }
}

static size_t counted_size(void)
{
    q_arena arena;
    void *pieces[6];
    assert_int_equal(q_arena_init(&arena, NULL, 0), Q_OK);
    take_all(&arena, pieces);
    assert_true(q_arena_ok(&arena));
    for (int i = 0; i < 6; i++) {
        assert_null(pieces[i]);
    }
    return arena.high;
}

static void counting_gives_the_exact_size(void **state)
{
    q_arena arena;
    void *pieces[6];
    size_t need = counted_size();
    (void)state;
    assert_int_equal(need, 128 + 100 + 28 + 33);
    assert_int_equal(q_arena_init(&arena, pool, need), Q_OK);
    take_all(&arena, pieces);
    assert_true(q_arena_ok(&arena));
    assert_int_equal(arena.high, need);
    assert_ptr_equal(pieces[0], pool);
    assert_ptr_equal(pieces[1], pool + 8);
    assert_ptr_equal(pieces[2], pool + 64);
    assert_ptr_equal(pieces[3], pool + 128);
    assert_ptr_equal(pieces[4], pool + 128);
    assert_ptr_equal(pieces[5], pool + 256);
}

static void every_byte_less_says_how_much(void **state)
{
    size_t need = counted_size();
    (void)state;
    for (size_t less = 1; less <= 33; less++) {
        q_arena arena;
        void *pieces[6];
        assert_int_equal(q_arena_init(&arena, pool, need - less), Q_OK);
        take_all(&arena, pieces);
        assert_false(q_arena_ok(&arena));
        assert_int_equal(arena.short_by, less);
        assert_null(pieces[5]);
        assert_non_null(pieces[4]);
        assert_true(arena.high <= arena.size);
    }
}

static void first_failure_is_the_one_kept(void **state)
{
    q_arena arena;
    (void)state;
    assert_int_equal(q_arena_init(&arena, pool, 10), Q_OK);
    assert_null(q_arena_alloc(&arena, 15, 1));
    assert_null(q_arena_alloc(&arena, 100, 1));
    assert_non_null(q_arena_alloc(&arena, 10, 1));
    assert_int_equal(arena.short_by, 5);
    assert_false(q_arena_ok(&arena));
}

static void reset_keeps_the_high_water_mark(void **state)
{
    q_arena arena;
    (void)state;
    assert_int_equal(q_arena_init(&arena, pool, POOL), Q_OK);
    void *first = q_arena_alloc(&arena, 100, 64);
    q_arena_reset(&arena);
    assert_ptr_equal(q_arena_alloc(&arena, 10, 64), first);
    assert_int_equal(arena.head, 10);
    assert_int_equal(arena.high, 100);
}

static void sizes_that_wrap_are_refused(void **state)
{
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 63, SIZE_MAX / 2 + 1};
    q_arena arena;
    (void)state;
    for (int counting = 0; counting < 2; counting++) {
        for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
            assert_int_equal(q_arena_init(&arena, counting ? NULL : pool, counting ? 0 : POOL), Q_OK);
            (void)q_arena_alloc(&arena, 65, 1);
            (void)q_arena_alloc(&arena, huge[i], 64);
            (void)q_arena_alloc(&arena, huge[i], 64);
            assert_false(q_arena_ok(&arena));
            assert_true(arena.head <= arena.high && arena.high <= arena.size);
        }
    }
}

static void bad_alignments_are_refused(void **state)
{
    static const size_t bad[] = {0, 3, 48, 128, SIZE_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        q_arena arena;
        assert_int_equal(q_arena_init(&arena, pool, POOL), Q_OK);
        assert_null(q_arena_alloc(&arena, 1, bad[i]));
        assert_false(q_arena_ok(&arena));
    }
}

static void init_refuses_bad_blocks(void **state)
{
    q_arena arena;
    q_arena before;
    (void)state;
    memset(&arena, 0x5a, sizeof(arena));
    before = arena;
    assert_int_equal(q_arena_init(NULL, pool, 1), Q_ERR_INVALID_ARG);
    assert_int_equal(q_arena_init(&arena, NULL, 1), Q_ERR_INVALID_ARG);
    assert_int_equal(q_arena_init(&arena, pool + 32, 1), Q_ERR_MISALIGNED);
    assert_int_equal(q_arena_init(&arena, pool, SIZE_MAX), Q_ERR_OVERFLOW);
    assert_memory_equal(&arena, &before, sizeof(arena));
    assert_int_equal(q_arena_init(&arena, pool, 0), Q_OK);
    assert_null(q_arena_alloc(&arena, 1, 1));
    assert_int_equal(arena.short_by, 1);
}

/* ---- The caller's allocator ------------------------------------------------------------------------------- */

typedef struct counting_heap {
    int live;
    int calls;
    int fail_at; /* number of the call that fails; < 0: none */
    size_t skew; /* added to every address */
} counting_heap;

static void *heap_alloc(void *user, size_t size, size_t align)
{
    counting_heap *heap = (counting_heap *)user;
    if (heap->calls++ == heap->fail_at) {
        return NULL;
    }
    uint8_t *p = (uint8_t *)aligned_alloc(align, (size + 2 * align) / align * align);
    assert_non_null(p);
    heap->live++;
    return p + heap->skew;
}

static void heap_free(void *user, void *base, size_t size)
{
    counting_heap *heap = (counting_heap *)user;
    assert_true(size != 0);
    heap->live--;
    free((uint8_t *)base - heap->skew);
}

static void fill_regions(q_region regions[4])
{
    static const size_t sizes[4] = {100, 0, 64, 4096};
    memset(regions, 0, 4 * sizeof(regions[0]));
    for (int i = 0; i < 4; i++) {
        regions[i].size = sizes[i];
        regions[i].kind = (uint8_t)(Q_REGION_PARAM + i);
        regions[i].base = pool;
    }
}

static void allocator_fills_and_takes_back(void **state)
{
    counting_heap heap = {0, 0, -1, 0};
    q_allocator allocator = {&heap, heap_alloc, heap_free};
    q_region regions[4];
    (void)state;
    fill_regions(regions);
    assert_int_equal(q_regions_alloc(&allocator, regions, 4, NULL), Q_OK);
    assert_int_equal(heap.live, 3);
    assert_null(regions[1].base);
    assert_int_equal(q_regions_check(regions, 4, NULL), Q_OK);
    q_regions_free(&allocator, regions, 4);
    assert_int_equal(heap.live, 0);
    for (int i = 0; i < 4; i++) {
        assert_null(regions[i].base);
    }
}

static void any_failing_call_gives_all_back(void **state)
{
    static const uint64_t need[3] = {100, 64, 4096};
    static const uint64_t index[3] = {0, 2, 3};
    (void)state;
    for (int n = 0; n < 3; n++) {
        counting_heap heap = {0, 0, n, 0};
        q_allocator allocator = {&heap, heap_alloc, heap_free};
        q_region regions[4];
        q_diag diag;
        fill_regions(regions);
        assert_int_equal(q_regions_alloc(&allocator, regions, 4, &diag), Q_ERR_NO_SPACE);
        assert_int_equal(diag.need, need[n]);
        assert_int_equal(diag.offset, index[n]);
        assert_int_equal(heap.live, 0);
        for (int i = 0; i < 4; i++) {
            assert_null(regions[i].base);
        }
    }
}

static void misaligned_memory_is_given_back(void **state)
{
    counting_heap heap = {0, 0, -1, 16};
    q_allocator allocator = {&heap, heap_alloc, heap_free};
    q_region regions[4];
    q_diag diag;
    (void)state;
    fill_regions(regions);
    assert_int_equal(q_regions_alloc(&allocator, regions, 4, &diag), Q_ERR_MISALIGNED);
    assert_int_equal(heap.live, 0);
    assert_null(regions[3].base);
}

static void incomplete_allocators_are_refused(void **state)
{
    q_allocator none = {NULL, NULL, heap_free};
    q_allocator no_free = {NULL, heap_alloc, NULL};
    q_region regions[4];
    (void)state;
    fill_regions(regions);
    assert_int_equal(q_regions_alloc(NULL, regions, 4, NULL), Q_ERR_INVALID_ARG);
    assert_int_equal(q_regions_alloc(&none, regions, 4, NULL), Q_ERR_INVALID_ARG);
    assert_int_equal(q_regions_alloc(&no_free, regions, 4, NULL), Q_ERR_INVALID_ARG);
    assert_ptr_equal(regions[0].base, pool);
}

/* ---- Checking --------------------------------------------------------------------------------------------- */

static q_region region_at(void *base, size_t size)
{
    q_region r;
    memset(&r, 0, sizeof(r));
    r.base = base;
    r.size = size;
    r.kind = Q_REGION_SCRATCH;
    return r;
}

static void assert_refused(q_region second, q_error_code code, const char *field)
{
    q_region regions[2];
    q_diag diag;
    regions[0] = region_at(pool, 128);
    regions[1] = second;
    assert_int_equal(q_regions_check(regions, 2, &diag), code);
    assert_int_equal(diag.code, code);
    assert_int_equal(diag.offset, 1);
    assert_string_equal(diag.field, field);
}

static void each_defect_is_named(void **state)
{
    q_region r = region_at(pool + 128, 64);
    (void)state;
    r.kind = Q_REGION_KINDS;
    assert_refused(r, Q_ERR_INVALID_ARG, "kind");
    r = region_at(pool + 128, 64);
    r.tag = Q_MAX_TAGS;
    assert_refused(r, Q_ERR_INVALID_ARG, "tag");
    assert_refused(region_at(NULL, 64), Q_ERR_INVALID_ARG, "base");
    assert_refused(region_at(pool + 136, 64), Q_ERR_MISALIGNED, "base");
    assert_refused(region_at(pool + 128, SIZE_MAX - 64), Q_ERR_OVERFLOW, "size");
    assert_refused(region_at(pool + 64, 64), Q_ERR_ALIASING, "base");
    assert_refused(region_at(pool, 1), Q_ERR_ALIASING, "base");
    assert_int_equal(q_regions_check(NULL, 1, NULL), Q_ERR_INVALID_ARG);
}

static void neighbours_and_empty_regions_pass(void **state)
{
    q_region regions[5];
    (void)state;
    regions[0] = region_at(pool, 128);
    regions[1] = region_at(pool + 128, 1);
    regions[2] = region_at(NULL, 0);
    regions[3] = region_at(pool + 64, 0);
    regions[4] = region_at(pool, 128); /* the same numbers on another device are other memory */
    regions[4].device = Q_DEVICE_MOCK;
    assert_int_equal(q_regions_check(regions, 5, NULL), Q_OK);
    assert_int_equal(q_regions_check(NULL, 0, NULL), Q_OK);
}

int host_memory(unsigned *total)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counting_gives_the_exact_size),
        cmocka_unit_test(every_byte_less_says_how_much),
        cmocka_unit_test(first_failure_is_the_one_kept),
        cmocka_unit_test(reset_keeps_the_high_water_mark),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(bad_alignments_are_refused),
        cmocka_unit_test(init_refuses_bad_blocks),
        cmocka_unit_test(allocator_fills_and_takes_back),
        cmocka_unit_test(any_failing_call_gives_all_back),
        cmocka_unit_test(misaligned_memory_is_given_back),
        cmocka_unit_test(incomplete_allocators_are_refused),
        cmocka_unit_test(each_defect_is_named),
        cmocka_unit_test(neighbours_and_empty_regions_pass),
    };
    return HOST_RUN("memory", tests, total);
}
