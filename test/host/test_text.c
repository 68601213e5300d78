/* SPDX-License-Identifier: MIT */
/* test_text.c: bounded formatting, held against snprintf. */
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "host.h"

enum { ROOM = 512, RANDOM_CASES = 20000 };

static void assert_fixed(double value, uint32_t decimals, uint32_t width)
{
    char have[ROOM];
    char want[ROOM];
    q_text t;
    q_text_init(&t, have, sizeof(have));
    q_text_fixed(&t, value, decimals, width);
    int n = snprintf(want, sizeof(want), "%*.*f", (int)width, (int)decimals, value);
    assert_string_equal(have, want);
    assert_int_equal(t.length, n);
}

static void fixed_equals_printf_on_edges(void **state)
{
    static const double values[] = {0.0,
                                    -0.0,
                                    0.5,
                                    1.5,
                                    2.5,
                                    0.125,
                                    0.375,
                                    -0.5,
                                    0.05,
                                    0.15,
                                    9.5,
                                    9.995,
                                    99.9999999999,
                                    999999999.5,
                                    1e9,
                                    4294967295.5,
                                    4294967296.0,
                                    9007199254740991.0,
                                    9007199254740993.0,
                                    18446744073709551615.0,
                                    1e22,
                                    1e23,
                                    1e300,
                                    1.7976931348623157e308,
                                    2.2250738585072014e-308,
                                    4.9406564584124654e-324,
                                    1e-9,
                                    5e-10,
                                    4.99e-18,
                                    5e-18,
                                    0.99999999999999989,
                                    0x1p-17,
                                    0x1p-18,
                                    0x1.8p-17,
                                    0x1p-64,
                                    0x1p-75};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        for (uint32_t decimals = 0; decimals <= Q_TEXT_MAX_DECIMALS; decimals++) {
            assert_fixed(values[i], decimals, 0);
            assert_fixed(-values[i], decimals, 24);
        }
    }
}

static void fixed_equals_printf_on_random_bits(void **state)
{
    uint64_t seed = 1;
    (void)state;
    for (int i = 0; i < RANDOM_CASES; i++) {
        uint64_t bits = host_random(&seed);
        uint64_t pick = host_random(&seed);
        if (i % 2 == 0) { /* exponents of everyday numbers */
            bits = (bits & 0x800fffffffffffffu) | (uint64_t)(1023 - 70 + pick % 140) << 52;
        }
        double value = q_double_u64(bits);
        if (value - value == 0.0) {
            assert_fixed(value, (uint32_t)(pick >> 32) % (Q_TEXT_MAX_DECIMALS + 1), (uint32_t)(pick >> 60));
        }
    }
}

static void fixed_names_what_is_no_number(void **state)
{
    char have[64];
    q_text t;
    (void)state;
    q_text_init(&t, have, sizeof(have));
    q_text_fixed(&t, q_double_u64(0x7ff0000000000000u), 3, 5);
    q_text_fixed(&t, q_double_u64(0xfff0000000000000u), 3, 5);
    q_text_fixed(&t, q_double_u64(0x7ff8000000000001u), 3, 5);
    q_text_fixed(&t, q_double_u64(0xfff8000000000001u), 3, 0);
    assert_string_equal(have, "  inf -inf  nannan");
}

static void integers_equal_printf(void **state)
{
    static const uint64_t values[] = {0, 1, 9, 10, 99, 4294967295u, 4294967296u, 9223372036854775808u, UINT64_MAX};
    char have[ROOM];
    char want[ROOM];
    q_text t;
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        for (uint32_t width = 0; width < 25; width += 4) {
            int64_t negative = (int64_t)(0u - values[i]);
            q_text_init(&t, have, sizeof(have));
            q_text_u64(&t, values[i], width);
            q_text_i64(&t, negative, width);
            q_text_hex(&t, values[i], width);
            (void)snprintf(want, sizeof(want), "%*llu%*lld%0*llx", (int)width, (unsigned long long)values[i],
                           (int)width, (long long)negative, width > 16 ? 16 : (int)width,
                           (unsigned long long)values[i]);
            assert_string_equal(have, want);
        }
    }
}

/* Whatever the size of the buffer: a prefix of the whole text, terminated, nothing written behind it. */
static void any_buffer_gets_a_prefix(void **state)
{
    static const char whole[] = "plan: 12345 00ff  3.14|left  |---";
    char have[64];
    q_text t;
    (void)state;
    for (size_t size = 0; size <= sizeof(whole) + 2; size++) {
        memset(have, 0x55, sizeof(have));
        q_text_init(&t, size == 0 ? NULL : have, size);
        q_text_str(&t, "plan: ");
        q_text_u64(&t, 12345, 0);
        q_text_bytes(&t, " ", 1);
        q_text_hex(&t, 255, 4);
        q_text_fixed(&t, 3.14159, 2, 6);
        q_text_str(&t, "|");
        q_text_left(&t, "left", 6);
        q_text_left(&t, "|", 0);
        q_text_repeat(&t, '-', 3);
        size_t stored = size == 0 ? 0 : size - 1 < sizeof(whole) - 1 ? size - 1 : sizeof(whole) - 1;
        assert_int_equal(t.length, sizeof(whole) - 1);
        assert_int_equal(q_text_fits(&t), size >= sizeof(whole));
        assert_memory_equal(have, whole, stored);
        if (size != 0) {
            assert_int_equal(have[stored], 0);
        }
        assert_int_equal(have[size], 0x55);
    }
}

static void length_stops_at_the_largest_size(void **state)
{
    char have[4];
    q_text t;
    (void)state;
    q_text_init(&t, have, sizeof(have));
    q_text_repeat(&t, 'x', SIZE_MAX - 1);
    q_text_repeat(&t, 'x', 5);
    assert_true(t.length == SIZE_MAX);
    assert_false(q_text_fits(&t));
    assert_string_equal(have, "xxx");
}

int host_text(unsigned *total)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_equals_printf_on_edges),
        cmocka_unit_test(fixed_equals_printf_on_random_bits),
        cmocka_unit_test(fixed_names_what_is_no_number),
        cmocka_unit_test(integers_equal_printf),
        cmocka_unit_test(any_buffer_gets_a_prefix),
        cmocka_unit_test(length_stops_at_the_largest_size),
    };
    return HOST_RUN("text", tests, total);
}
