/* SPDX-License-Identifier: MIT */
/*
 * conv2d_depth.h: depthwise convolution and its gradients: lanes are channels, a tap is one load and one FMA.
 */
#ifndef Q_X86_CONV2D_DEPTH_H
#define Q_X86_CONV2D_DEPTH_H

enum { DEPTH_TILE = 8 };

typedef struct depth_space {
    float w[256][VEC]; /* of a tap, VEC channels */
    float acc[DEPTH_TILE][Q_PANEL_ROWS];
} depth_space;

/* VEC channels of a pass at work. */
typedef struct depth_block {
    const conv_depth *x;
    uint32_t c; /* first channel */
    uint32_t lanes;
    uint32_t low; /* positions [low, high) of a row whose taps are all within it */
    uint32_t high;
    depth_space *space;
} depth_block;

static void depth_begin(depth_block *k)
{
    const q_conv_axis *h = &k->x->source.pass->h;
    const q_conv_axis *w = &k->x->source.pass->w;
    k->low = 0;
    k->high = w->positions;
    for (uint32_t b = 0; b < w->taps; b++) {
        uint32_t low;
        uint32_t high;
        q_conv_inside(w, w->off + b * w->delta, 0, w->positions, &low, &high);
        k->low = low > k->low ? low : k->low;
        k->high = high < k->high ? high : k->high;
    }
    for (uint32_t tap = 0; tap < h->taps * w->taps; tap++) {
        uint32_t place = (h->tap + tap / w->taps * h->tap_step) * k->x->kernel_w + w->tap + tap % w->taps * w->tap_step;
        for (uint32_t l = 0; l < VEC; l++) {
            k->space->w[tap][l] =
                l < k->lanes ? x86_row(k->x->weights, k->x->weights_stride, k->c + l)[place] : 0.0f;
        }
    }
}

/* Chains of n positions from (sample and row `at`, j); n constant; all taps lie within the row, or n is 1. */
X86_INLINE void depth_tile(const uint32_t n, const depth_block *k, uint32_t at, uint32_t j)
{
    const conv_source *s = &k->x->source;
    const q_conv_axis *h = &s->pass->h;
    const q_conv_axis *w = &s->pass->w;
    const vec_lanes m = vec_first(k->lanes);
    const float *weights = k->space->w[0];
    uint32_t sample = at / h->positions;
    vec acc[DEPTH_TILE];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        acc[t] = vec_load(k->space->acc[t]);
    }
    for (uint32_t a = 0; a < h->taps; a++) {
        uint32_t place = at % h->positions * h->mul + h->off + a * h->delta;
        for (uint32_t b = 0; b < w->taps; b++, weights += VEC) {
            uint32_t first = j * w->mul + w->off + b * w->delta;
            bool inside = place < h->from && first < w->from;
            const vec_lanes seen = inside ? m : vec_first(0);
            size_t pixel = inside ? ((size_t)sample * h->from + place) * w->from + first : 0;
            const float *from = conv_at(s->from + k->c, s->stride * pixel);
            const vec v = vec_load(weights);
            X86_UNROLL
            for (uint32_t t = 0; t < n; t++) {
                const float *p = conv_at(from, inside ? s->stride * w->mul * t : 0);
                acc[t] = vec_fma(vec_load_mask(p, seen), v, acc[t]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        vec_store(k->space->acc[t], acc[t]);
    }
}

/* Row of the output of position j of row `at`. */
static uint32_t depth_row(const q_conv_pass *p, uint32_t at, uint32_t j)
{
    uint32_t i = at / p->h.positions * p->h.to + p->h.first + at % p->h.positions * p->h.step;
    return i * p->w.to + p->w.first + j * p->w.step;
}

static void depth_positions(const depth_block *k, uint32_t at, uint32_t j, uint32_t n)
{
    const conv_depth *x = k->x;
    depth_space *space = k->space;
    uint32_t row = depth_row(x->source.pass, at, j);
    uint32_t step = x->source.pass->w.step;
    x86_tile_start(n, x->epilogue != NULL ? x->epilogue->bias : NULL, k->c, k->lanes, space->acc[0], Q_PANEL_ROWS);
    for (uint32_t t = 0; t < n && x->accumulate != 0; t++) {
        vec_store(space->acc[t], vec_load_n(x86_row(x->to, x->to_stride, row + t * step) + k->c, k->lanes));
    }
    if (n == DEPTH_TILE) {
        depth_tile(DEPTH_TILE, k, at, j);
    } else {
        depth_tile(1, k, at, j);
    }
    if (x->epilogue != NULL) {
        x86_tile_finish(x->epilogue, row, n, k->c, k->lanes, space->acc[0], Q_PANEL_ROWS, x->to, x->to_stride);
        return;
    }
    for (uint32_t t = 0; t < n; t++) {
        vec_store_n(x86_row_out(x->to, x->to_stride, row + t * step) + k->c, k->lanes, vec_load(space->acc[t]));
    }
}

static void x86_conv_depth(const q_work *work, const conv_depth *x)
{
    const q_conv_pass *pass = x->source.pass;
    uint32_t begin;
    uint32_t end;
    q_share(work, x->samples * pass->h.positions, &begin, &end);
    for (uint32_t c = 0; c < x->dim; c += VEC) {
        depth_block k = {x, c, x->dim - c < VEC ? x->dim - c : (uint32_t)VEC, 0, 0, (depth_space *)work->workspace};
        depth_begin(&k);
        for (uint32_t at = begin; at < end; at++) {
            for (uint32_t j = 0; j < pass->w.positions;) {
                uint32_t n = j >= k.low && j + DEPTH_TILE <= k.high ? DEPTH_TILE : 1u;
                depth_positions(&k, at, j, n);
                j += n;
            }
        }
    }
}

/* -- gradient of the weights ------------------------------------------------------------------- */

enum { DEPTH_TAPS = 9 };

/* Chains of taps over the pixels of a row of the output. */
typedef struct depth_chains {
    const float *row[DEPTH_TAPS]; /* the row of pixels that a tap reads, or NULL: outside */
    uint32_t off[DEPTH_TAPS];     /* place of position 0 in it */
    vec sum[DEPTH_TAPS];
} depth_chains;

/* Positions j .. end - 1, n taps, a constant; inside: no tap leaves its row. dy: of position j. */
X86_INLINE void depth_weight_run(const uint32_t n, const bool inside, const q_conv2d_grad_weight_args *a, uint32_t j,
                                 uint32_t end, const float *dy, vec_tail m, depth_chains *k)
{
    const float *x[DEPTH_TAPS];
    size_t step[DEPTH_TAPS];
    vec sum[DEPTH_TAPS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        sum[t] = k->sum[t];
        step[t] = inside ? a->x_stride * a->shape.stride_w : 0;
        x[t] = inside ? conv_at(k->row[t], a->x_stride * (j * a->shape.stride_w + k->off[t])) : NULL;
    }
    for (; j < end; j++, dy = conv_at(dy, a->dy_stride)) {
        const vec g = vec_load_tail(dy, m);
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            if (inside) {
                sum[t] = vec_fma(g, vec_load_tail(x[t], m), sum[t]);
                x[t] = conv_at(x[t], step[t]);
                continue;
            }
            uint32_t w = j * a->shape.stride_w + k->off[t];
            bool seen = k->row[t] != NULL && w < a->shape.in_w;
            sum[t] = vec_fma(g, seen ? vec_load_tail(conv_at(k->row[t], a->x_stride * w), m) : vec_zero(), sum[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        k->sum[t] = sum[t];
    }
}

/* Positions [*low, *high) of a row of the output, none of whose taps leaves its row. */
static void depth_weight_inside(const q_conv2d_shape *s, uint32_t *low, uint32_t *high)
{
    const q_conv_pass pass = q_conv_forward(s);
    *low = 0;
    *high = pass.w.positions;
    for (uint32_t b = 0; b < pass.w.taps; b++) {
        uint32_t from;
        uint32_t to;
        q_conv_inside(&pass.w, pass.w.off + b * pass.w.delta, 0, pass.w.positions, &from, &to);
        *low = from > *low ? from : *low;
        *high = to < *high ? to : *high;
    }
    *low = *low < *high ? *low : *high;
}

/* Chains of n taps, a constant, from `tap` on, over all pixels; channels from c. Most rows and positions have all their
   taps in the image, and look at none of them. */
X86_INLINE void depth_weight_taps(const uint32_t n, const q_conv2d_grad_weight_args *a, uint32_t samples, uint32_t c,
                                  uint32_t tap, float acc[][VEC])
{
    const q_conv2d_shape *s = &a->shape;
    const vec_tail m = vec_tail_of(s->in_c - c);
    depth_chains k;
    uint32_t low;
    uint32_t high;
    depth_weight_inside(s, &low, &high);
    for (uint32_t t = 0; t < n; t++) {
        k.sum[t] = vec_load(acc[t]);
        k.off[t] = (tap + t) % s->kernel_w * s->dilation_w - s->pad_w;
    }
    for (uint32_t i = 0; i < samples * s->out_h; i++) {
        const float *image = x86_row(a->x, a->x_stride * s->in_h * s->in_w, i / s->out_h) + c;
        const float *dy = x86_row(a->dy, a->dy_stride * s->out_w, i) + c;
        bool all = low < high;
        for (uint32_t t = 0; t < n; t++) {
            uint32_t h = i % s->out_h * s->stride_h + (tap + t) / s->kernel_w * s->dilation_h - s->pad_h;
            k.row[t] = h < s->in_h ? conv_at(image, a->x_stride * ((size_t)h * s->in_w)) : NULL;
            all = all && k.row[t] != NULL;
        }
        uint32_t from = all ? low : 0;
        uint32_t to = all ? high : 0;
        depth_weight_run(n, false, a, 0, from, dy, m, &k);
        if (all) {
            depth_weight_run(n, true, a, from, to, conv_at(dy, a->dy_stride * from), m, &k);
        }
        depth_weight_run(n, false, a, to, s->out_w, conv_at(dy, a->dy_stride * to), m, &k);
    }
    for (uint32_t t = 0; t < n; t++) {
        vec_store(acc[t], k.sum[t]);
    }
}

/* VEC channels from c. */
static void depth_weight_block(const q_conv2d_grad_weight_args *a, uint32_t samples, uint32_t c, float acc[][VEC])
{
    uint32_t taps = a->shape.kernel_h * a->shape.kernel_w;
    uint32_t lanes = a->shape.in_c - c < VEC ? a->shape.in_c - c : (uint32_t)VEC;
    uint32_t tap = 0;
    for (uint32_t t = 0; t < taps; t++) {
        for (uint32_t l = 0; l < VEC; l++) {
            acc[t][l] = l < lanes ? x86_row(a->grad, a->grad_stride, c + l)[t] : 0.0f;
        }
    }
    for (; tap + DEPTH_TAPS <= taps; tap += DEPTH_TAPS) {
        depth_weight_taps(DEPTH_TAPS, a, samples, c, tap, acc + tap);
    }
    for (; tap + 3u <= taps; tap += 3u) {
        depth_weight_taps(3, a, samples, c, tap, acc + tap);
    }
    for (; tap < taps; tap++) {
        depth_weight_taps(1, a, samples, c, tap, acc + tap);
    }
    for (uint32_t t = 0; t < taps; t++) {
        for (uint32_t l = 0; l < lanes; l++) {
            x86_row_out(a->grad, a->grad_stride, c + l)[t] = acc[t][l];
        }
    }
}

static void x86_conv_depth_weight(const q_work *work, const q_conv2d_grad_weight_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->shape.in_c, VEC), &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        depth_weight_block(a, q_count_value(work->run, a->samples), i * VEC, ((depth_space *)work->workspace)->w);
    }
}

#endif /* Q_X86_CONV2D_DEPTH_H */
