/* SPDX-License-Identifier: MIT */
/*
 * reduce.h: out[r] = sum or maximum of a row, over 16 lanes and the tree 8-4-2-1.
 *
 * A lane of a sum is never -0 (it begins at +0), so the zeros of the tail change nothing; the tail of a maximum is
 * -infinity. Four rows at a time, for each is one chain.
 */
#ifndef Q_X86_REDUCE_H
#define Q_X86_REDUCE_H

enum { REDUCE_ROWS = 4 };

X86_INLINE void reduce_rows(const bool max, const uint32_t rows, const q_reduce_args *a, uint32_t r)
{
    const vec16 start = max ? vec16_set(q_float_u32(0xff800000u)) : vec16_zero();
    const float *x[REDUCE_ROWS];
    vec16 lane[REDUCE_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        x[t] = x86_row(a->x, a->x_stride, r + t);
        lane[t] = start;
    }
    for (; i + 16u <= a->dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            vec16 v = vec16_load(x[t] + i);
            lane[t] = max ? vec16_max(v, lane[t]) : vec16_add(lane[t], v);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        vec16 v = vec16_first(vec16_load_n(x[t] + i, a->dim - i), a->dim - i, start);
        lane[t] = max ? vec16_max(v, lane[t]) : vec16_add(lane[t], v);
        a->out[r + t] = max ? vec16_top(lane[t]) : vec16_sum(lane[t]);
    }
}

X86_INLINE void reduce_all(const bool max, const q_work *work, const q_reduce_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r + REDUCE_ROWS <= end; r += REDUCE_ROWS) {
        reduce_rows(max, REDUCE_ROWS, a, r);
    }
    for (; r < end; r++) {
        reduce_rows(max, 1, a, r);
    }
}

static void x86_reduce_sum(const q_work *work, const q_reduce_args *a)
{
    reduce_all(false, work, a);
}

static void x86_reduce_max(const q_work *work, const q_reduce_args *a)
{
    reduce_all(true, work, a);
}

#endif /* Q_X86_REDUCE_H */
