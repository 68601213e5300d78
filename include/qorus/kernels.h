/* SPDX-License-Identifier: MIT */
/*
 * kernels.h: argument structs of the kernels, with the mathematics each one defines.
 *
 * A kernel is `void k(const q_work *work, const q_<op>_args *args)`. It checks nothing and cannot fail; the
 * caller (an op, or a layer inside a plan) has checked. Every worker of a parallel region calls it with the
 * same args; q_share() says which part is whose. Which worker computes a part never changes its bits.
 *
 * Order of operations (docs/NUMERICS.md): each output of a product is one chain acc = fma(a, b, acc), k
 * ascending; sums of norms, softmax and reductions run over 16 lanes (element i to lane i mod 16, zero tail)
 * joined by the tree 8-4-2-1; elementary functions are those of qorus/base/elementary.h. Every backend gives
 * the bits of the scalar one.
 *
 * Strides are in bytes and name the distance between rows. Counts that depend on the step are q_count.
 */
#ifndef QORUS_KERNELS_H
#define QORUS_KERNELS_H

#include "../qorus_types.h"
#include "kernels_recurrent.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What changes from step to step ------------------------------------------------------------------- */

/* Symbols a dimension may be multiplied with. */
typedef enum q_sym {
    Q_SYM_ONE = 0,      /* a constant */
    Q_SYM_BATCH = 1,    /* samples of this step */
    Q_SYM_TOKENS = 2,   /* tokens of this step */
    Q_SYM_ROWS = 3,     /* batch * tokens */
    Q_SYM_SELECTED = 4, /* rows whose logits are wanted */
    Q_SYM_COUNT = 5
} q_sym;

/* A count known when the plan runs: n * value(sym). */
typedef struct q_count {
    uint32_t n;
    uint32_t sym; /* q_sym */
} q_count;

/* Consecutive rows of a step that belong to one sequence and continue it. */
typedef struct q_span {
    uint32_t sequence; /* 0 .. max.sequences - 1: whose KV cache */
    uint32_t position; /* of the first row = tokens already in that cache */
    uint32_t row;      /* first row of the step */
    uint32_t rows;     /* >= 1 */
} q_span;

/* The run block: what one step differs in from the last. Kernels read it by pointer, so that a device can
   replay a recorded graph with new values. */
typedef struct q_run {
    uint32_t n_batch;
    uint32_t n_tokens;
    uint32_t n_selected;
    uint32_t position;        /* of the first token of this step = tokens already in the KV cache */
    const uint32_t *selected; /* [n_selected] row of this step, ascending */
    uint64_t seed;
    uint64_t step;            /* counts optimizer steps, from 0 */
    double learning_rate;
    uint32_t training;        /* 1: dropout and batch statistics on */
    uint32_t n_spans;         /* 0: all rows are one span of sequence 0 at `position` */
    const q_span *spans;      /* [n_spans] rows ascending, without a gap; a sequence occurs at most once */
    uint32_t first_sample;    /* of the optimizer step: samples in the micro-batches before this one */
    uint32_t reserved;
} q_run;

static inline uint32_t q_span_count(const q_run *run)
{
    return run->n_spans != 0 ? run->n_spans : 1u;
}

/* Span i of a step of `rows` rows. */
static inline q_span q_span_at(const q_run *run, uint32_t rows, uint32_t i)
{
    q_span s;
    if (run->n_spans != 0) {
        return run->spans[i];
    }
    s.sequence = 0;
    s.position = run->position;
    s.row = 0;
    s.rows = rows;
    return s;
}

/* The span that holds row r of a step of `rows` rows, r < rows; by bisection. The position of the row is
   span.position + (r - span.row). */
static inline uint32_t q_span_index_of_row(const q_run *run, uint32_t r)
{
    uint32_t low = 0;
    uint32_t high = q_span_count(run);
    while (high - low > 1u) {
        uint32_t middle = low + (high - low) / 2u;
        if (run->spans[middle].row <= r) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static inline q_span q_span_of_row(const q_run *run, uint32_t rows, uint32_t r)
{
    return q_span_at(run, rows, q_span_index_of_row(run, r));
}

/* The same where, for per_sample != 0, every sample of the batch is a span of that many rows from position 0. */
static inline uint32_t q_parts_count(const q_run *run, uint32_t rows, uint32_t per_sample)
{
    return per_sample != 0 ? rows / per_sample : q_span_count(run);
}

static inline q_span q_part_at(const q_run *run, uint32_t rows, uint32_t per_sample, uint32_t i)
{
    q_span s;
    if (per_sample == 0) {
        return q_span_at(run, rows, i);
    }
    s.sequence = i;
    s.position = 0;
    s.row = i * per_sample;
    s.rows = per_sample;
    return s;
}

static inline q_span q_part_of_row(const q_run *run, uint32_t rows, uint32_t per_sample, uint32_t r)
{
    return q_part_at(run, rows, per_sample, per_sample != 0 ? r / per_sample : q_span_index_of_row(run, r));
}

/* A row as random numbers are keyed by it, so that they do not depend on how a batch is cut into micro-batches. */
typedef struct q_sample_row {
    uint32_t sample; /* of the optimizer step */
    uint32_t row;    /* within the sample */
} q_sample_row;

/* Row r of `rows`: per_sample rows are one sample of the batch; or, for 0, a sample is a span. */
static inline q_sample_row q_sample_of_row(const q_run *run, uint32_t rows, uint32_t per_sample, uint32_t r)
{
    q_sample_row s;
    if (per_sample != 0) {
        s.sample = run->first_sample + r / per_sample;
        s.row = r % per_sample;
        return s;
    }
    s.row = r - q_span_of_row(run, rows, r).row;
    s.sample = run->first_sample + q_span_index_of_row(run, r);
    return s;
}

static inline uint32_t q_sym_value(const q_run *run, uint32_t sym)
{
    switch (sym) {
    case Q_SYM_BATCH:
        return run->n_batch;
    case Q_SYM_TOKENS:
        return run->n_tokens;
    case Q_SYM_ROWS:
        return run->n_batch * run->n_tokens;
    case Q_SYM_SELECTED:
        return run->n_selected;
    default:
        return 1;
    }
}

static inline uint32_t q_count_value(const q_run *run, q_count count)
{
    return count.n * q_sym_value(run, count.sym);
}

/* One worker's place in a parallel region. */
typedef struct q_work {
    uint32_t worker;    /* 0 .. n_workers - 1 */
    uint32_t n_workers; /* >= 1 */
    const q_run *run;
    void *workspace;        /* this worker's own, Q_ALIGN aligned */
    size_t workspace_size;  /* q_backend.workspace_size bytes */
    void *state;            /* the backend's, NULL on CPUs */
} q_work;

/* Share of worker: items [*begin, *end) of n, contiguous, sizes differing by at most one. */
static inline void q_share(const q_work *w, uint32_t n, uint32_t *begin, uint32_t *end)
{
    *begin = (uint32_t)((uint64_t)n * w->worker / w->n_workers);
    *end = (uint32_t)((uint64_t)n * (w->worker + 1u) / w->n_workers);
}

/* ---- Products ----------------------------------------------------------------------------------------- */

typedef enum q_activation {
    Q_ACT_NONE = 0,
    Q_ACT_RELU = 1,
    Q_ACT_SILU = 2,
    Q_ACT_GELU_TANH = 3,
    Q_ACT_GELU_ERF = 4,
    Q_ACT_SIGMOID = 5,
    Q_ACT_TANH = 6,
    Q_ACT_COUNT = 7
} q_activation;

/*
 * What happens to an output y[r][m] before it is stored; every part is optional (NULL, Q_ACT_NONE). In order:
 *   the chain starts from bias[m] instead of 0
 *   y = y*scale[m] + shift[m]           (two roundings)
 *   y = activation(y)
 *   y = y * gate[r][m]
 *   y = residual[r][m] + y
 */
typedef struct q_epilogue {
    const q_real *bias;
    const q_real *scale;
    const q_real *shift;
    const q_real *gate;
    const q_real *residual;
    size_t gate_stride;
    size_t residual_stride;
    uint32_t activation; /* q_activation */
    uint32_t reserved;
} q_epilogue;

/*
 * y[r][m] = sum over k of x[r][k] * w[m][k], weights in panel16 (qorus/base/panel.h).
 *
 * gemm_<dtype>, exact: x is real [rows][k]; the weight is made real on the fly (Q4_0: d*(q-8), Q8_0: d*q,
 *   Q4_1: d*q rounded, + m rounded); acc = fma(x, w, acc), k ascending.
 * gemm_a8_<dtype>, fast: x is Q_A8 or Q_A8X2 (quantize_a8); per block of 32, ascending, and within it per plane:
 *   i = sum of q_x*q_w as exact i32 (Q4_0: q_w - 8); acc = acc + f32(i) * (d_w*d_x), each operation rounded;
 *   Q4_1: i with q_w = 0..15, then also acc = acc + (m_w*d_x) * f32(sum of q_x).
 */
typedef struct q_gemm_args {
    q_count rows;
    uint32_t m; /* rows of the weight matrix = columns of y */
    uint32_t k; /* multiple of 32 for quantised weights */
    const void *weights;
    const void *x;
    size_t x_stride;
    q_real *y; /* [rows][m] */
    size_t y_stride;
    q_epilogue epilogue;
    uint32_t planes; /* gemm_a8: 2 uses both planes of Q_A8X2, anything else the first */
    uint32_t reserved;
} q_gemm_args;

/*
 * c[i][j] = (accumulate ? c[i][j] : bias[j] or 0) + sum over p of A[i][p]*B[p][j], p ascending, one fma chain.
 * A[i][p] lies at a + (transpose_a ? p*a_stride + i : i*a_stride + p), B[p][j] at
 * b + (transpose_b ? j*b_stride + p : p*b_stride + j); strides in bytes, columns contiguous. With Q_MATMUL_PANELS B
 * lies in panels of 16 columns, each [k][16] and 64-byte aligned, b_stride apart: at b + j/16*b_stride + p*16 + j%16; all
 * 16 columns of the last one are there.
 * The epilogue applies to the finished chain and is empty when accumulate is set.
 */
enum { Q_MATMUL_PANELS = 2 /* a value of transpose_b */ };

typedef struct q_matmul_args {
    q_count m;
    q_count n;
    q_count k;
    const q_real *a;
    size_t a_stride;
    const q_real *b;
    size_t b_stride;
    q_real *c;
    size_t c_stride;
    uint8_t transpose_a;
    uint8_t transpose_b;
    uint8_t accumulate;
    uint8_t reserved[5];
    q_epilogue epilogue;
} q_matmul_args;

/* ---- Weight rows -------------------------------------------------------------------------------------- */

/* out[r][k] = scale * real(w[ids[r]][k]); ids NULL: row r. scale 1 multiplies nothing. Plain rows of gather_f32 are
   reals. */
typedef struct q_gather_args {
    q_count rows;
    uint32_t k;
    uint32_t layout; /* q_layout of the weights */
    const void *weights;
    size_t weights_stride; /* row stride (plain) or panel stride (panel16) */
    const int32_t *ids;
    q_real *out;
    size_t out_stride;
    q_real scale;
} q_gather_args;

/*
 * Activations to 8 bits, per block of 32: amax = max|x|, d = amax/127 (f32), q = rint(x * (127/amax)), half to
 * even; amax 0 gives d = 0, q = 0. A NaN counts as 0 in amax's max and gives q = 0; an infinity in a block
 * gives d = infinity and q = 0 for the finite values and NaN products downstream. Also stores the sum of the
 * bytes of each block. Row of out: [k] i8, [k/32] f32 d, [k/32] i32 sum. With two planes a second such row follows
 * at once: x - f32(q)*d of every value (product and difference rounded), quantised in the same way.
 */
typedef struct q_quantize_a8_args {
    q_count rows;
    uint32_t k; /* multiple of 32 */
    const q_real *x;
    size_t x_stride;
    void *out;
    size_t out_stride;
    uint32_t planes; /* 1, or 2: out is Q_A8X2 */
    uint32_t reserved;
} q_quantize_a8_args;

/* ---- Elementwise, reductions --------------------------------------------------------------------------- */

/* out[r][i] = a op b. add: a+b; mul: a*b; silu_mul: silu(a)*b (SwiGLU, Shazeer 2020, arXiv:2002.05202).
   out may equal a or b. */
typedef struct q_binary_args {
    q_count rows;
    uint32_t dim;
    const q_real *a;
    size_t a_stride;
    const q_real *b;
    size_t b_stride;
    q_real *out;
    size_t out_stride;
} q_binary_args;

/* out[r][i] = exp(x[r][i]). out may equal x. */
typedef struct q_unary_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    q_real *out;
    size_t out_stride;
} q_unary_args;

/* out = e / sum(e), e = exp(x*scale - max(x*scale)), along the row. A row of only -infinity gives zeros.
   out may equal x. */
typedef struct q_softmax_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    q_real *out;
    size_t out_stride;
    q_real scale;
} q_softmax_args;

/* x[r][c] = -infinity where c > position of row r in its sequence; x is [rows][cols]. */
typedef struct q_causal_mask_args {
    q_count rows;
    uint32_t cols;
    uint32_t reserved;
    q_real *x;
    size_t x_stride;
} q_causal_mask_args;

/* out[r] = sum or maximum of x[r][0..dim). The maximum of a row with NaN ignores it; of only NaN is -infinity. */
typedef struct q_reduce_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    q_real *out;
} q_reduce_args;

/* out[s] = x[run.selected[s]], s < run.n_selected; rows of dim reals. */
typedef struct q_select_rows_args {
    uint32_t dim;
    uint32_t reserved;
    const q_real *x;
    size_t x_stride;
    q_real *out;
    size_t out_stride;
} q_select_rows_args;

/* ---- Positions and attention -------------------------------------------------------------------------- */

/* table[r][0..n_pairs) = cos(t), [n_pairs..2*n_pairs) = sin(t), t = position of row r * inv_freq[i], computed in
   double and rounded once, times magnitude. RoPE: Su et al. 2021, arXiv:2104.09864. */
typedef struct q_rope_table_args {
    q_count rows;
    uint32_t n_pairs;
    const double *inv_freq; /* [n_pairs] */
    double magnitude;
    q_real *table;
    size_t table_stride;
} q_rope_table_args;

/*
 * Rotates each head's first 2*n_pairs values; the rest is copied. Pair i is (i, i + n_pairs) [half-split]:
 *   out_i = fma(x_i, cos_i, -(x_j*sin_i)),  out_j = fma(x_j, cos_i, x_i*sin_i)
 * x and out are [rows][heads*head_dim]; out may equal x.
 */
typedef struct q_rope_args {
    q_count rows;
    uint32_t heads;
    uint32_t head_dim;
    uint32_t n_pairs;
    const q_real *x;
    size_t x_stride;
    const q_real *table;
    size_t table_stride;
    q_real *out;
    size_t out_stride;
} q_rope_args;

#include "kernels_attention.h"
#include "kernels_element.h"
#include "kernels_image.h"
#include "kernels_loss.h"
#include "kernels_norm.h"
#include "kernels_train.h"

/* ---- The table ---------------------------------------------------------------------------------------- */

typedef struct q_kernels {
#define Q_KERNEL(slot, args) void (*slot)(const q_work *work, const args *a);
#include "kernels.inc"
#undef Q_KERNEL
} q_kernels;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_H */
