/* SPDX-License-Identifier: MIT */
/*
 * check.h: what the checks of checkkern share: random inputs, guarded buffers, running and
 * comparing.
 *
 * A check builds arguments twice, for the reference (scalar, one worker) and for the kernel under
 * test (any number of workers), runs both and compares outputs, gaps between rows and canaries bit
 * for bit. A NaN equals any NaN: which payload survives is the processor's choice.
 */
#ifndef QORUS_CHECKKERN_H
#define QORUS_CHECKKERN_H

#include "qorus/backend.h"
#include "qorus/base/bits.h"
#include "qorus/base/kv.h"
#include "qorus/base/panel.h"
#include "qorus/port.h"

/* How an input is filled. */
typedef enum check_fill {
    FILL_UNIT, /* uniform in [-1, 1] */
    FILL_WIDE, /* signs and exponents from 2^-40 to 2^40 */
    FILL_SPECIAL, /* one in eight is zero, subnormal, infinite, NaN or largest */
    FILL_BITS, /* any bit pattern */
    FILL_KINDS
} check_fill;

/* A kernel and a backend at work. */
typedef struct check {
    uint64_t rng;
    q_backend reference; /* scalar */
    q_backend tested;
    const char *kernel;
    uint32_t n_workers; /* of the tested kernel in the current case */
    uint32_t cases;     /* run so far for this kernel */
    uint32_t failures;  /* reported so far for this kernel */
    q_run run;          /* run block of the current case */
    void *workspace;
} check;

/* -- random numbers ---------------------------------------------------------------------------- */

uint32_t check_u32(check *c);
/* Uniform in [0, n). */
uint32_t check_below(check *c, uint32_t n);
/* One of the n values at list. */
uint32_t check_pick(check *c, const uint32_t *list, uint32_t n);
float check_real(check *c, check_fill fill);
/* A finite f16 of moderate size; with FILL_BITS any. */
uint16_t check_half(check *c, check_fill fill);
check_fill check_fill_any(check *c);

#define CHECK_PICK(c, ...)                           \
    check_pick((c), (const uint32_t[]){__VA_ARGS__}, \
               (uint32_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

/* -- buffers ----------------------------------------------------------------------------------- */

/* Begins a case: forgets all buffers, chooses the number of workers, clears the run block. */
void check_begin(check *c);

/*
 * `size` bytes that end, up to the next multiple of `align`, at an unmapped page, and begin behind
 * a canary. Contents: 0xA5. Valid until check_begin. Exits where memory is refused.
 */
void *check_alloc(check *c, size_t size, size_t align);

/* Rows of n reals, stride bytes apart, multiple of 4, filled; the stride includes a random gap. */
float *check_rows(check *c, uint32_t rows, uint32_t n, check_fill fill, size_t *stride);
/* n reals. */
float *check_reals(check *c, uint32_t n, check_fill fill);
/* Of samples of `rows` rows each how many count, in one case of two; else NULL: all. */
const int32_t *check_lengths(check *c, uint32_t samples, uint32_t rows);

/* Two outputs of the same shape and contents (0xA5, or the reals of `fill`). */
typedef struct check_pair {
    float *expected;
    float *got;
    size_t stride;
    size_t size;
} check_pair;

check_pair check_out(check *c, uint32_t rows, uint32_t n);
/* As check_out with reals in the rows: for outputs that are also inputs. */
check_pair check_in_out(check *c, uint32_t rows, uint32_t n, check_fill fill);

/* -- norms -------------------------------------------------------------------------------------- */

/* What a norm of rows x dim makes of its x, in half of the cases: x, which is *y where that is given. */
check_pair check_norm_sum(check *c, uint32_t rows, uint32_t dim, check_fill fill, const check_pair *y, q_norm_sum *expected,
                          q_norm_sum *got);
/* Where it hands its gradient on to, or not. */
void check_norm_pass(check *c, uint32_t rows, uint32_t dim, check_fill fill, check_pair to[2], q_norm_pass *expected,
                     q_norm_pass *got);

/* -- spans ------------------------------------------------------------------------------------- */

enum { CHECK_SEQUENCES = 9 };

/*
 * Gives the run block random spans of about `rows` rows, none reaching position `room`: one span of
 * sequence 0 without a list, many of one row, or a few of several, of any sequences below
 * CHECK_SEQUENCES. With a list run.position is a number no kernel may use. Returns the rows.
 */
uint32_t check_spans(check *c, uint32_t rows, uint32_t room);

/* -- running and comparing --------------------------------------------------------------------- */

/* The work of worker w of n; workspaces are filled with noise. */
q_work check_work(check *c, uint32_t w, uint32_t n, const q_backend *b);

/* What elements a buffer holds, so that NaN can be told. */
typedef enum check_element { ELEMENT_F32, ELEMENT_F16, ELEMENT_BYTE } check_element;

/* Compares, reports the first difference with `text`, counts. */
void check_same(check *c, const void *expected, const void *got, size_t size, check_element e,
                const char *text);
void check_pair_same(check *c, check_pair pair, const char *text);
/* Canaries of all buffers of this case. */
void check_canaries(check *c, const char *text);

/* Runs slot of the reference on `a` with one worker, and of the tested backend on `b` with all of
   them. */
#define CHECK_RUN(c, slot, a, b)                               \
    do {                                                       \
        q_work work_ = check_work((c), 0, 1, &(c)->reference); \
        (c)->reference.kernels.slot(&work_, (a));              \
        CHECK_RUN_TESTED(c, slot, b);                          \
    } while (0)

#define CHECK_RUN_TESTED(c, slot, b)                                            \
    do {                                                                        \
        for (uint32_t w_ = (c)->n_workers; w_-- > 0;) {                         \
            q_work tested_ = check_work((c), w_, (c)->n_workers, &(c)->tested); \
            (c)->tested.kernels.slot(&tested_, (b));                            \
        }                                                                       \
    } while (0)

/* -- weights ----------------------------------------------------------------------------------- */

/* Panels of m rows by k columns with random scales and quants (one case in four: only extreme
   ones). */
void *check_panels(check *c, uint32_t dtype, uint32_t m, uint32_t k, check_fill fill);
/* Plain rows. */
void *check_plain(check *c, uint32_t dtype, uint32_t rows, uint32_t k, check_fill fill,
                  size_t *stride);
/* Rows of quantize_a8 made of random reals; out_stride as the library lays them out. */
void *check_a8(check *c, uint32_t rows, uint32_t k, check_fill fill, size_t *stride, uint32_t planes);

/* -- timing ------------------------------------------------------------------------------------ */

double check_seconds(void);
/* Prints one row: seconds of one call, work in multiply-adds or values, bytes moved. */
void check_report(const check *c, const char *shape, double seconds, double items, double bytes);

/* Best time of one call of `slot` of the tested backend, one worker. */
#define CHECK_TIME(c, slot, args, seconds)                                                        \
    do {                                                                                          \
        q_work work_ = check_work((c), 0, 1, &(c)->tested);                                       \
        double best_ = 1e9;                                                                       \
        double begin_ = check_seconds();                                                          \
        for (uint32_t i_ = 0; i_ < 3 || (check_seconds() - begin_ < 0.25 && i_ < 100000); i_++) { \
            double t_ = check_seconds();                                                          \
            (c)->tested.kernels.slot(&work_, (args));                                             \
            t_ = check_seconds() - t_;                                                            \
            best_ = t_ < best_ ? t_ : best_;                                                      \
            if (best_ > 0.25) {                                                                   \
                break;                                                                            \
            }                                                                                     \
        }                                                                                         \
        (seconds) = best_;                                                                        \
    } while (0)

/* -- the checks: one of each per kernel -------------------------------------------------------- */

#define Q_KERNEL(slot, args)     \
    void check_##slot(check *c); \
    void bench_##slot(check *c);
#include "qorus/kernels.inc"
#undef Q_KERNEL

#endif /* QORUS_CHECKKERN_H */
