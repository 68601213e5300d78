/* SPDX-License-Identifier: MIT */
/*
 * conv2d_unfold.h: the unfolded image, a block at a time.
 */
#ifndef Q_X86_CONV2D_UNFOLD_H
#define Q_X86_CONV2D_UNFOLD_H

/* Up to VEC channels of `rows` pixels, `from_step` bytes apart. */
static inline void unfold_copy(const float *from, size_t from_step, uint32_t rows, uint32_t n, float *to, size_t pitch)
{
    const vec_tail m = vec_tail_of(n);
    for (uint32_t t = 0; t < rows && n >= VEC; t++) {
        vec_store(to, vec_load(from));
        from = conv_at(from, from_step);
        to += pitch;
    }
    for (uint32_t t = 0; t < rows && n < VEC; t++) {
        vec_store_tail(to, m, vec_load_tail(from, m));
        from = conv_at(from, from_step);
        to += pitch;
    }
}

static inline void unfold_copy_one(const float *from, size_t from_step, uint32_t rows, float *to, size_t pitch)
{
    for (uint32_t t = 0; t < rows; t++) {
        *to = *from;
        from = conv_at(from, from_step);
        to += pitch;
    }
}

static void unfold_zero(uint32_t rows, uint32_t n, float *to, size_t pitch)
{
    for (uint32_t t = 0; t < rows; t++, to += pitch) {
        for (uint32_t i = 0; i < n; i += VEC) {
            vec_store_n(to + i, n - i, vec_zero());
        }
    }
}

/* One tap of positions j .. j + rows - 1 of a row; from: the row of pixels it reads. */
static void unfold_tap(const conv_source *x, const float *from, uint32_t off, uint32_t j, uint32_t rows, uint32_t n,
                       float *to, size_t pitch)
{
    const q_conv_axis *w = &x->pass->w;
    uint32_t low;
    uint32_t high;
    q_conv_inside(w, off, j, j + rows, &low, &high);
    unfold_zero(low - j, n, to, pitch);
    if (low < high) {
        const float *at = conv_at(from, x->stride * (low * w->mul + off));
        if (n == 1) {
            unfold_copy_one(at, x->stride * w->mul, high - low, to + (low - j) * pitch, pitch);
        }
        for (uint32_t i = 0; i < n && n != 1; i += VEC) {
            unfold_copy(at + i, x->stride * w->mul, high - low, n - i, to + (low - j) * pitch + i, pitch);
        }
    }
    unfold_zero(j + rows - high, n, to + (high - j) * pitch, pitch);
}

/* All taps of row a of the kernel at once, n columns that lie behind one another in the image too. */
static void unfold_taps(const conv_source *x, const float *from, uint32_t j, uint32_t rows, uint32_t n, float *to,
                        size_t pitch)
{
    const q_conv_axis *w = &x->pass->w;
    uint32_t low;
    uint32_t high;
    uint32_t last_low;
    uint32_t last_high;
    q_conv_inside(w, w->off, j, j + rows, &low, &high);
    q_conv_inside(w, w->off + w->taps - 1u, j, j + rows, &last_low, &last_high);
    low = last_low > low ? last_low : low;
    high = last_high < high ? last_high : high;
    low = low < high ? low : high;
    for (uint32_t b = 0; b < w->taps; b++, to += x->channels) {
        unfold_tap(x, from, w->off + b, j, low - j, x->channels, to, pitch);
        unfold_tap(x, from, w->off + b, high, j + rows - high, x->channels, to + (high - j) * pitch, pitch);
    }
    to -= n;
    if (low < high) {
        unfold_copy(conv_at(from, x->stride * (low * w->mul + w->off)), x->stride * w->mul, high - low, n,
                    to + (low - j) * pitch, pitch);
    }
}

/* True where the columns k0 .. k0 + n - 1 are whole rows of the kernel that unfold_taps() can take. */
static bool unfold_in_rows(const conv_source *x, uint32_t k0, uint32_t n)
{
    uint32_t row = x->pass->w.taps * x->channels;
    return row <= VEC && x->pass->w.delta == 1 && x->stride == x->channels * sizeof(float) && k0 % row == 0 &&
           n % row == 0;
}

/* Positions of one row, all columns. */
static void unfold_row(const conv_source *x, uint32_t i, uint32_t j, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                       size_t pitch)
{
    const q_conv_axis *h = &x->pass->h;
    const q_conv_axis *w = &x->pass->w;
    uint32_t sample = i / h->positions;
    uint32_t place = i % h->positions * h->mul + h->off;
    uint32_t first = k0 % x->channels; /* of the tap's channels */
    uint32_t a = k0 / x->channels / w->taps;
    uint32_t b = k0 / x->channels % w->taps;
    if (unfold_in_rows(x, k0, n)) {
        uint32_t row = w->taps * x->channels;
        for (uint32_t k = 0; k < n; k += row, a++) {
            uint32_t at = place + a * h->delta;
            if (at < h->from) {
                unfold_taps(x, conv_at(x->from, x->stride * ((size_t)sample * h->from + at) * w->from), j, rows, row, to + k,
                            pitch);
            } else {
                unfold_zero(rows, row, to + k, pitch);
            }
        }
        return;
    }
    for (uint32_t k = 0; k < n;) {
        uint32_t channels = x->channels - first < n - k ? x->channels - first : n - k;
        uint32_t at = place + a * h->delta;
        if (at < h->from) {
            const float *from = conv_at(x->from + first, x->stride * ((size_t)sample * h->from + at) * w->from);
            unfold_tap(x, from, w->off + b * w->delta, j, rows, channels, to + k, pitch);
        } else {
            unfold_zero(rows, channels, to + k, pitch);
        }
        k += channels;
        first = 0;
        b++;
        if (b == w->taps) {
            b = 0;
            a++;
        }
    }
}

static void x86_conv_unfold(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                            size_t pitch)
{
    uint32_t i = r0 / x->pass->w.positions;
    uint32_t j = r0 % x->pass->w.positions;
    while (rows != 0 && n != 0) {
        uint32_t run = x->pass->w.positions - j < rows ? x->pass->w.positions - j : rows;
        unfold_row(x, i, j, run, k0, n, to, pitch);
        to += run * pitch;
        rows -= run;
        i++;
        j = 0;
    }
}

#endif /* Q_X86_CONV2D_UNFOLD_H */
