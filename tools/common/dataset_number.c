/* SPDX-License-Identifier: MIT */
/* Decimal numbers as text. */
#include "dataset_inner.h"

static double scale_by_ten(double m, int32_t exponent)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    for (; exponent > 22; exponent -= 22) {
        m *= 1e22;
    }
    for (; exponent < -22; exponent += 22) {
        m /= 1e22;
    }
    return exponent < 0 ? m / powers[-exponent] : m * powers[exponent];
}

/* Digits from *i on into *m (19 of them count); returns how many there are, and in *moved those that did not count. */
static uint32_t read_digits(const char *text, size_t n, size_t *i, uint64_t *m, int32_t *moved)
{
    uint32_t digits = 0;
    for (; *i < n && text[*i] >= '0' && text[*i] <= '9'; (*i)++, digits++) {
        if (*m < 1000000000000000000u) {
            *m = *m * 10 + (uint64_t)(text[*i] - '0');
        } else {
            (*moved)++;
        }
    }
    return digits;
}

bool dataset_number(const char *text, size_t n, double *out)
{
    size_t i = 0;
    uint64_t m = 0;
    int32_t exponent = 0;
    int32_t behind = 0;
    uint32_t digits;
    bool negative;
    double value;
    while (n > 0 && dataset_blank(text[n - 1])) {
        n--;
    }
    while (i < n && dataset_blank(text[i])) {
        i++;
    }
    negative = i < n && text[i] == '-';
    i += i < n && (text[i] == '-' || text[i] == '+') ? 1 : 0;
    digits = read_digits(text, n, &i, &m, &exponent);
    if (i < n && text[i] == '.') {
        uint32_t more;
        i++;
        more = read_digits(text, n, &i, &m, &behind);
        exponent += behind - (int32_t)more;
        digits += more;
    }
    if (digits == 0 || digits > 4096) {
        return false;
    }
    if (i < n && (text[i] == 'e' || text[i] == 'E')) {
        uint64_t e = 0;
        int32_t ignored = 0;
        bool down = i + 1 < n && text[i + 1] == '-';
        i += i + 1 < n && (down || text[i + 1] == '+') ? 2 : 1;
        if (read_digits(text, n, &i, &e, &ignored) == 0) {
            return false;
        }
        e = e > 10000 ? 10000 : e;
        exponent += down ? -(int32_t)e : (int32_t)e;
    }
    value = m == 0 ? 0 : scale_by_ten((double)m, exponent);
    *out = negative ? -value : value;
    return i == n && value <= 3.4028234663852886e38;
}
