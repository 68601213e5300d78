/* SPDX-License-Identifier: MIT */
/* test_pool.c: tensors taken and given back: sizes to the byte, no two share one, all of it comes back. */
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "qorus/pool.h"

enum { ROOM = 64 * 1024 };
static _Alignas(Q_ALIGN) uint8_t room[ROOM];

static void one_byte_less_is_refused(void **state)
{
    const uint32_t ne[4] = {2, 3, 5, 7};
    q_pool pool;
    q_tensor t;
    q_diag d;
    size_t n;
    (void)state;
    assert_int_equal(q_pool_bytes(Q_REAL, ne, &n, &d), Q_OK);
    assert_int_equal(n, 64 + (2 * 3 * 5 * 7 * sizeof(q_real) + 63) / 64 * 64);
    assert_int_equal(q_pool_init(&pool, (q_block){room, n}, &d), Q_OK);
    assert_int_equal(q_pool_take(&pool, &t, Q_REAL, ne, &d), Q_OK);
    assert_int_equal((uintptr_t)t.data % Q_ALIGN, 0);
    assert_int_equal(t.nb[2], 7 * sizeof(q_real));
    assert_int_equal(q_pool_init(&pool, (q_block){room, n - 1}, &d), Q_OK);
    t.data = room;
    assert_int_equal(q_pool_take(&pool, &t, Q_REAL, ne, &d), Q_ERR_NO_SPACE);
    assert_int_equal(d.need, n);
    assert_int_equal(d.have, n - 64);
    assert_ptr_equal(t.data, room); /* untouched */
}

/* Takes and gives at random; every tensor keeps the byte it was filled with. */
static void tensors_keep_apart(void **state)
{
    enum { SLOTS = 40 };
    static q_tensor held[SLOTS];
    static size_t bytes[SLOTS];
    uint32_t rng = 7;
    uint32_t refused = 0;
    q_pool pool;
    q_diag d;
    (void)state;
    assert_int_equal(q_pool_init(&pool, (q_block){room, ROOM / 2}, &d), Q_OK);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t k;
        rng = rng * 1664525u + 1013904223u;
        k = (rng >> 16) % SLOTS;
        if (held[k].data != NULL) {
            for (size_t j = 0; j < bytes[k]; j++) {
                assert_int_equal(((uint8_t *)held[k].data)[j], k);
            }
            assert_int_equal(q_pool_give(&pool, &held[k], &d), Q_OK);
            assert_null(held[k].data);
        } else {
            const uint32_t ne[4] = {1, 1, 1 + (rng >> 8) % 31, 1 + (rng >> 20) % 40};
            q_error_code e = q_pool_take(&pool, &held[k], Q_REAL, ne, &d);
            bytes[k] = (size_t)ne[2] * ne[3] * sizeof(q_real);
            refused += e == Q_ERR_NO_SPACE ? 1u : 0u;
            if (e == Q_OK) {
                memset(held[k].data, (int)k, bytes[k]);
            } else {
                assert_int_equal(e, Q_ERR_NO_SPACE);
                held[k].data = NULL;
            }
        }
    }
    assert_true(refused > 0 && pool.high > ROOM / 4);
    for (uint32_t k = 0; k < SLOTS; k++) {
        if (held[k].data != NULL) {
            assert_int_equal(q_pool_give(&pool, &held[k], &d), Q_OK);
        }
    }
    assert_int_equal(pool.taken, 0);
    assert_int_equal(pool.used, 0);
    {
        const uint32_t whole[4] = {1, 1, 1, (ROOM / 2 - 64) / sizeof(q_real)};
        q_tensor t;
        assert_int_equal(q_pool_take(&pool, &t, Q_REAL, whole, &d), Q_OK); /* one piece again */
    }
}

static void strangers_are_refused(void **state)
{
    const uint32_t ne[4] = {1, 1, 4, 16};
    const uint32_t none[4] = {1, 1, 0, 16};
    q_pool pool;
    q_tensor t;
    q_tensor twice;
    q_diag d;
    (void)state;
    assert_int_equal(q_pool_init(NULL, (q_block){room, ROOM}, &d), Q_ERR_INVALID_ARG);
    assert_int_equal(q_pool_init(&pool, (q_block){room + 1, ROOM - 1}, &d), Q_ERR_MISALIGNED);
    assert_int_equal(q_pool_init(&pool, (q_block){room, 63}, &d), Q_ERR_NO_SPACE);
    assert_int_equal(q_pool_init(&pool, (q_block){room, ROOM}, &d), Q_OK);
    assert_int_equal(q_pool_take(&pool, &t, Q_REAL, none, &d), Q_ERR_INVALID_SIZE);
    assert_int_equal(q_pool_take(&pool, &t, 99, ne, &d), Q_ERR_INVALID_DTYPE);
    assert_int_equal(q_pool_take(&pool, &t, Q_REAL, ne, &d), Q_OK);
    twice = t;
    assert_int_equal(q_pool_give(&pool, &t, &d), Q_OK);
    assert_int_equal(q_pool_give(&pool, &t, &d), Q_ERR_INVALID_ARG);
    assert_int_equal(q_pool_give(&pool, &twice, &d), Q_ERR_INVALID_ARG);
    twice.data = room + 64 + 4;
    assert_int_equal(q_pool_give(&pool, &twice, &d), Q_ERR_INVALID_ARG);
    twice.data = room + ROOM;
    assert_int_equal(q_pool_give(&pool, &twice, &d), Q_ERR_INVALID_ARG);
    twice.data = &pool;
    assert_int_equal(q_pool_give(&pool, &twice, &d), Q_ERR_INVALID_ARG);
}

int host_pool(unsigned *total)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_byte_less_is_refused),
        cmocka_unit_test(tensors_keep_apart),
        cmocka_unit_test(strangers_are_refused),
    };
    return HOST_RUN("pool", tests, total);
}
