/* SPDX-License-Identifier: MIT */
/* test_base.c: version, words of error codes, diagnostics, the floating-point control word. */
#include <fenv.h>
#include <string.h>

#include "core/core.h"
#include "host.h"

static const int base_codes[] = {0,   -10, -11, -12, -13, -14, -15, -16, -17, -18, -19, -20, -30, -31, -32,
                                 -33, -34, -35, -36, -37, -38, -40, -41, -42, -43, -44, -50, -51, -52, -53};

static void version_is_the_headers(void **state)
{
    (void)state;
    assert_int_equal(q_version(), Q_VERSION_MAJOR * 65536 + Q_VERSION_MINOR * 256 + Q_VERSION_PATCH);
}

static void every_code_has_words_of_its_own(void **state)
{
    size_t n = sizeof(base_codes) / sizeof(base_codes[0]);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        const char *words = q_strerror((q_error_code)base_codes[i]);
        assert_string_not_equal(words, "unknown error code");
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(words, q_strerror((q_error_code)base_codes[j]));
        }
    }
}

static void other_numbers_are_unknown(void **state)
{
    static const int others[] = {1, -1, -9, -21, -29, -39, -45, -49, -54, -1000, INT32_MAX, INT32_MIN};
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        q_error_code code;
        memcpy(&code, &others[i], sizeof(code));
        assert_string_equal(q_strerror(code), "unknown error code");
    }
}

static void fail_fills_every_field(void **state)
{
    q_diag d;
    (void)state;
    memset(&d, 0xff, sizeof(d));
    assert_int_equal(q_fail(&d, Q_ERR_NO_SPACE, "SCRATCH", "region", 100, 99), Q_ERR_NO_SPACE);
    assert_int_equal(d.code, Q_ERR_NO_SPACE);
    assert_string_equal(d.what, "SCRATCH");
    assert_string_equal(d.field, "region");
    assert_int_equal(d.offset, 0);
    assert_int_equal(d.need, 100);
    assert_int_equal(d.have, 99);
    assert_int_equal(q_fail(&d, Q_ERR_IO, NULL, NULL, 1, 2), Q_ERR_IO);
    assert_string_equal(d.what, "");
    assert_string_equal(d.field, "");
    assert_int_equal(q_fail(NULL, Q_ERR_HASH, "x", "y", 1, 2), Q_ERR_HASH);
}

static void long_names_are_cut_between_characters(void **state)
{
    char name[128];
    q_diag d;
    (void)state;
    for (size_t lead = 40; lead < 56; lead++) {
        memset(name, 'a', lead);
        memcpy(name + lead, "\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9zzzzzzzzzzzz", 22);
        size_t whole = lead + 3 > 51 ? lead : lead + 7 > 51 ? lead + 3 : lead + 9 > 51 ? lead + 7 : 51;
        q_error_code e = q_fail(&d, Q_ERR_CORRUPT, name, name, 0, 0);
        assert_int_equal(e, Q_ERR_CORRUPT);
        size_t want = whole > 51 ? 51 : whole;
        want = lead > 51 ? 51 : want;
        assert_int_equal(strlen(d.what), want);
        assert_memory_equal(d.what, name, want);
        assert_true(strlen(d.field) <= 39);
    }
}

#if defined(__SSE__)
/* Subnormals survive and rounding is to nearest even inside; the caller's word is back afterwards. */
static void control_word_is_set_and_restored(void **state)
{
    const unsigned caller = 0x1f80u | 0x8040u | 0x6000u; /* FTZ, DAZ, towards zero */
    volatile float tiny = 1e-40f;
    volatile float one = 1.0f;
    volatile float third = 0x1.8p-24f;
    (void)state;
    __builtin_ia32_ldmxcsr(caller);
    q_fp_state fp = q_fp_enter();
    volatile float kept = tiny * one;
    volatile float up = one + third;
    q_fp_leave(fp);
    unsigned after = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1f80u);
    assert_true(kept == tiny);
    assert_true(up == 0x1.000002p0f);
    assert_int_equal(after & 0xffc0u, caller & 0xffc0u);
}
#else
static void control_word_is_set_and_restored(void **state)
{
    volatile float one = 1.0f;
    volatile float third = 0x1.8p-24f;
    (void)state;
    assert_int_equal(fesetround(FE_TOWARDZERO), 0);
    q_fp_state fp = q_fp_enter();
    volatile float up = one + third;
    q_fp_leave(fp);
    int after = fegetround();
    (void)fesetround(FE_TONEAREST);
    assert_true(up == 0x1.000002p0f);
    assert_int_equal(after, FE_TOWARDZERO);
}
#endif

int host_base(unsigned *total)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_the_headers),
        cmocka_unit_test(every_code_has_words_of_its_own),
        cmocka_unit_test(other_numbers_are_unknown),
        cmocka_unit_test(fail_fills_every_field),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(control_word_is_set_and_restored),
    };
    return HOST_RUN("base", tests, total);
}
