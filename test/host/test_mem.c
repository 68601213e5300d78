/* SPDX-License-Identifier: MIT */
/*
 * test_mem.c: the core's own memcpy, memmove, memset and memcmp, under other names, against byte loops, at every
 * alignment and length around the word sizes.
 */
#define memcpy own_memcpy
#define memmove own_memmove
#define memset own_memset
#define memcmp own_memcmp
#include "core/base/mem.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp

#include "host.h"

enum { ROOM = 96, LONGEST = 40 };

static void fill(unsigned char *p, unsigned seed)
{
    for (unsigned i = 0; i < ROOM; i++) {
        p[i] = (unsigned char)(i * 7u + seed);
    }
}

static void copies_exactly(void **state)
{
    _Alignas(16) unsigned char from[ROOM];
    _Alignas(16) unsigned char to[ROOM];
    _Alignas(16) unsigned char want[ROOM];
    (void)state;
    for (unsigned a = 0; a < 9; a++) {
        for (unsigned b = 0; b < 9; b++) {
            for (unsigned n = 0; n <= LONGEST; n++) {
                fill(from, 1);
                fill(to, 101);
                fill(want, 101);
                for (unsigned i = 0; i < n; i++) {
                    want[b + i] = from[a + i];
                }
                assert_ptr_equal(own_memcpy(to + b, from + a, n), to + b);
                assert_memory_equal(to, want, ROOM);
            }
        }
    }
}

static void moves_over_itself(void **state)
{
    _Alignas(16) unsigned char all[ROOM];
    _Alignas(16) unsigned char want[ROOM];
    (void)state;
    for (unsigned a = 0; a < 40; a++) {
        for (unsigned b = 0; b < 40; b++) {
            for (unsigned n = 0; n <= LONGEST; n++) {
                fill(all, 3);
                fill(want, 3);
                for (unsigned i = 0; i < n; i++) {
                    want[b + i] = (unsigned char)((a + i) * 7u + 3u);
                }
                assert_ptr_equal(own_memmove(all + b, all + a, n), all + b);
                assert_memory_equal(all, want, ROOM);
            }
        }
    }
}

static void sets_exactly(void **state)
{
    static const int bytes[] = {0, 1, 0x80, 0xff, -1, 0x1a5};
    _Alignas(16) unsigned char to[ROOM];
    _Alignas(16) unsigned char want[ROOM];
    (void)state;
    for (unsigned k = 0; k < sizeof(bytes) / sizeof(bytes[0]); k++) {
        for (unsigned b = 0; b < 9; b++) {
            for (unsigned n = 0; n <= LONGEST; n++) {
                fill(to, 5);
                fill(want, 5);
                for (unsigned i = 0; i < n; i++) {
                    want[b + i] = (unsigned char)bytes[k];
                }
                assert_ptr_equal(own_memset(to + b, bytes[k], n), to + b);
                assert_memory_equal(to, want, ROOM);
            }
        }
    }
}

static void compares_as_unsigned(void **state)
{
    unsigned char a[LONGEST];
    unsigned char b[LONGEST];
    (void)state;
    assert_int_equal(own_memcmp("", "x", 0), 0);
    for (unsigned n = 1; n <= LONGEST; n++) {
        for (unsigned at = 0; at < n; at++) {
            for (unsigned i = 0; i < LONGEST; i++) {
                a[i] = b[i] = (unsigned char)i;
            }
            assert_int_equal(own_memcmp(a, b, n), 0);
            a[at] = 0xff;
            assert_true(own_memcmp(a, b, n) > 0);
            assert_true(own_memcmp(b, a, n) < 0);
            assert_int_equal(own_memcmp(a, b, at), 0);
        }
    }
}

int host_mem(unsigned *total)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_exactly),
        cmocka_unit_test(moves_over_itself),
        cmocka_unit_test(sets_exactly),
        cmocka_unit_test(compares_as_unsigned),
    };
    return HOST_RUN("mem", tests, total);
}
