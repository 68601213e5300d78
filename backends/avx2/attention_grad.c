/* SPDX-License-Identifier: MIT */
/*
 * attention_grad.c: gradients of attention, block of rows by block of keys (qorus/base/attention_grad.h). Five products
 * of 64 x 64 by head_dim meet in each pair:
 *
 *   s = q K^T, dp = dout V^T           lanes = keys, K and V turned
 *   dq += e K, dk += e^T q, dv += p^T dout    lanes = dimensions
 *
 * each a chain that continues from where it was stored, and between them p and e, by rows. Operands lie in the workspace
 * without gaps, up to 64 dimensions at a time; longer heads go through them in parts.
 */
#include "kernels_avx2.h"
#include "qorus/base/attention_grad.h"

enum {
    FLASHBACK_BLOCK = Q_ATTENTION_GRAD_BLOCK,
    FLASHBACK_DIMS = 64, /* of a part of a head */
    FLASHBACK_ROWS = 6   /* of a register tile, 6 x 16: 12 chains */
};

typedef struct flashback_space {
    float kt[FLASHBACK_DIMS][FLASHBACK_BLOCK];
    float vt[FLASHBACK_DIMS][FLASHBACK_BLOCK];
    float k[FLASHBACK_BLOCK][FLASHBACK_DIMS];
    float q[FLASHBACK_BLOCK][FLASHBACK_DIMS];
    float dout[FLASHBACK_BLOCK][FLASHBACK_DIMS];
    float p[FLASHBACK_BLOCK][FLASHBACK_BLOCK];
    float e[FLASHBACK_BLOCK][FLASHBACK_BLOCK]; /* dout.v, then e * scale */
} flashback_space;

Q_STATIC_ASSERT(sizeof(flashback_space) <= Q_AVX2_WORKSPACE, "blocks fit the workspace");

/* c[i][0 .. n - 1] = (fresh ? 0 : c) + sum over p < k of a[i*a_row + p*a_step] * b[p*b_row ..], i < m; in floats. */
typedef struct flashback_product {
    uint32_t m;
    uint32_t n;
    uint32_t k;
    bool fresh;
    const float *a;
    size_t a_row;
    size_t a_step;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
} flashback_product;

/* -- products ---------------------------------------------------------------------------------- */

/* Rows i .. and columns j .. of a product, `halves` of 8 columns; the last may have fewer. */
X86_INLINE void flashback_tile(const uint32_t rows, const uint32_t halves, const flashback_product *x,
                                  uint32_t i, uint32_t j)
{
    const float *a = x->a + x->a_row * i;
    const float *b = x->b + j;
    float *at = x->c + x->c_row * i + j;
    __m256 c[FLASHBACK_ROWS][2];
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            c[t][h] = x->fresh ? _mm256_setzero_ps() : vec_load_n(at + x->c_row * t + h * 8u, x->n - j - h * 8u);
        }
    }
    for (uint32_t p = 0; p < x->k; p++) {
        __m256 w[2];
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            w[h] = _mm256_load_ps(b + x->b_row * p + h * 8u);
        }
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m256 v = _mm256_broadcast_ss(a + x->a_row * t + x->a_step * p);
            X86_UNROLL
            for (uint32_t h = 0; h < halves; h++) {
                c[t][h] = _mm256_fmadd_ps(v, w[h], c[t][h]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            vec_store_n(at + x->c_row * t + h * 8u, x->n - j - h * 8u, c[t][h]);
        }
    }
}

X86_INLINE void flashback_columns(const uint32_t halves, const flashback_product *x, uint32_t j)
{
    uint32_t i = 0;
    for (; i + FLASHBACK_ROWS <= x->m; i += FLASHBACK_ROWS) {
        flashback_tile(FLASHBACK_ROWS, halves, x, i, j);
    }
    for (; i + 4u <= x->m; i += 4u) {
        flashback_tile(4, halves, x, i, j);
    }
    for (; i < x->m; i++) {
        flashback_tile(1, halves, x, i, j);
    }
}

static void flashback_multiply(const flashback_product *x)
{
    for (uint32_t j = 0; j < x->n; j += 16u) {
        if (x->n - j > 8u) {
            flashback_columns(2, x, j);
        } else {
            flashback_columns(1, x, j);
        }
    }
}

/* -- packing ----------------------------------------------------------------------------------- */

/* n values of each of `rows` rows, zeros up to a multiple of 8. */
static void flashback_copy(const float *from, size_t stride, uint32_t rows, uint32_t n, float (*to)[FLASHBACK_DIMS])
{
    for (uint32_t i = 0; i < rows; i++) {
        const float *v = x86_row(from, stride, i);
        for (uint32_t d = 0; d < n; d += 8u) {
            _mm256_store_ps(to[i] + d, vec_load_n(v + d, n - d));
        }
    }
}

/* The same turned: to[d][i]; columns up to a multiple of 8 beyond the last row become zeros. */
static void flashback_turn(const float *from, size_t stride, uint32_t rows, uint32_t n, float (*to)[FLASHBACK_BLOCK])
{
    for (uint32_t i = 0; i < rows; i += 8u) {
        for (uint32_t d = 0; d < n; d += 8u) {
            __m256 v[8];
            for (uint32_t l = 0; l < 8; l++) {
                v[l] = i + l < rows ? vec_load_n(x86_row(from, stride, i + l) + d, n - d) : _mm256_setzero_ps();
            }
            vec_turn(v);
            for (uint32_t l = 0; l < 8 && d + l < n; l++) {
                _mm256_store_ps(to[d + l] + i, v[l]);
            }
        }
    }
}

/* -- weights ----------------------------------------------------------------------------------- */

/* p and e of 8 keys, `seen` of which are visible. */
X86_INLINE void flashback_weight(const q_attention_grad_args *a, __m256 seen, float *p, float *e, __m256 lse,
                               __m256 delta)
{
    const __m256 scale = _mm256_set1_ps(a->scale);
    __m256 s = _mm256_mul_ps(_mm256_load_ps(p), scale);
    __m256 v = _mm256_sub_ps(_mm256_load_ps(e), delta);
    __m256 t = _mm256_setzero_ps();
    if (a->softcap > 0) {
        const __m256 cap = _mm256_set1_ps(a->softcap);
        t = vec_tanh(_mm256_div_ps(s, cap));
        s = _mm256_mul_ps(cap, t);
    }
    __m256 w = _mm256_and_ps(seen, vec_exp(_mm256_sub_ps(s, lse)));
    v = _mm256_mul_ps(w, v);
    if (a->softcap > 0) {
        v = _mm256_mul_ps(v, _mm256_fnmadd_ps(t, t, _mm256_set1_ps(1.0f)));
    }
    _mm256_store_ps(p, w);
    _mm256_store_ps(e, _mm256_and_ps(seen, _mm256_mul_ps(v, scale)));
}

static void flashback_weights(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                              const q_attention_grad_pair *x, flashback_space *space)
{
    for (uint32_t i = 0; i < x->rows; i++) {
        size_t at = (size_t)(u->span.row + x->i0 + i) * a->heads + x->head;
        const __m256 lse = _mm256_set1_ps(a->lse[at]);
        const __m256 delta = _mm256_set1_ps(a->delta[at]);
        uint32_t lo = q_attention_grad_first(a, x->i0 + i);
        uint32_t hi = q_attention_grad_end(a, u->span.rows, x->i0 + i);
        for (uint32_t j = 0; j < x->keys; j += 8u) {
            uint32_t key = x->j0 + j;
            __m256i seen = _mm256_andnot_si256(vec_mask(lo > key ? lo - key : 0), vec_mask(hi > key ? hi - key : 0));
            flashback_weight(a, _mm256_castsi256_ps(seen), space->p[i] + j, space->e[i] + j, lse, delta);
        }
    }
}

/* acc = fma(x, y, acc) of the first n of 8 values. */
static inline __m256 flashback_fma_n(const float *x, const float *y, uint32_t n, __m256 acc)
{
    __m256 sum = _mm256_fmadd_ps(vec_load_n(x, n), vec_load_n(y, n), acc);
    return _mm256_blendv_ps(acc, sum, _mm256_castsi256_ps(vec_mask(n)));
}

static float flashback_delta(const float *dout, const float *out, uint32_t n)
{
    __m256 lo = _mm256_setzero_ps();
    __m256 hi = _mm256_setzero_ps();
    for (uint32_t d = 0; d < n; d += 16u) {
        lo = flashback_fma_n(dout + d, out + d, n - d, lo);
        if (n - d > 8u) {
            hi = flashback_fma_n(dout + d + 8, out + d + 8, n - d - 8u, hi);
        }
    }
    return q_hsum16_m256(lo, hi);
}

static void flashback_deltas(const q_attention_grad_args *a, const q_attention_grad_unit *u)
{
    uint32_t group = a->heads / a->kv_heads;
    for (uint32_t r = u->span.row; r < u->span.row + u->span.rows; r++) {
        const float *dout = x86_row(a->dout, a->dout_stride, r);
        const float *out = x86_row(a->out, a->out_stride, r);
        for (uint32_t h = u->kv_head * group; h < (u->kv_head + 1u) * group; h++) {
            size_t column = (size_t)h * a->head_dim;
            a->delta[(size_t)r * a->heads + h] = flashback_delta(dout + column, out + column, a->head_dim);
        }
    }
}

/* -- one pair ---------------------------------------------------------------------------------- */

/* Dimensions d0 .. d0 + n - 1 of the pair's operands. Keys stay from pair to pair where a head is one part. */
static void flashback_pack(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                           const q_attention_grad_pair *x, uint32_t d0, uint32_t n, flashback_space *space)
{
    size_t key = (size_t)u->kv_head * a->head_dim + d0;
    size_t query = (size_t)x->head * a->head_dim + d0;
    uint32_t row = u->span.row;
    if (x->fresh != 0 || a->head_dim > FLASHBACK_DIMS) {
        const float *k = x86_row(a->k, a->k_stride, row + x->j0) + key;
        flashback_turn(k, a->k_stride, x->keys, n, space->kt);
        flashback_turn(x86_row(a->v, a->v_stride, row + x->j0) + key, a->v_stride, x->keys, n, space->vt);
        flashback_copy(k, a->k_stride, x->keys, n, space->k);
    }
    flashback_copy(x86_row(a->q, a->q_stride, row + x->i0) + query, a->q_stride, x->rows, n, space->q);
    flashback_copy(x86_row(a->dout, a->dout_stride, row + x->i0) + query, a->dout_stride, x->rows, n, space->dout);
}

static void flashback_scores(const q_attention_grad_pair *x, uint32_t d0, uint32_t n, flashback_space *space)
{
    uint32_t columns = (x->keys + 7u) / 8u * 8u;
    flashback_product s = {x->rows, columns, n, d0 == 0, space->q[0], FLASHBACK_DIMS, 1, space->kt[0], FLASHBACK_BLOCK,
                      space->p[0], FLASHBACK_BLOCK};
    flashback_multiply(&s);
    s.a = space->dout[0];
    s.b = space->vt[0];
    s.c = space->e[0];
    flashback_multiply(&s);
}

static void flashback_gradients(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                                const q_attention_grad_pair *x, uint32_t d0, uint32_t n, flashback_space *space)
{
    size_t key = (size_t)u->kv_head * a->head_dim + d0;
    uint32_t row = u->span.row;
    if (a->dq != NULL) {
        float *to = x86_row_out(a->dq, a->dq_stride, row + x->i0) + (size_t)x->head * a->head_dim + d0;
        flashback_product dq = {x->rows, n, x->keys, false, space->e[0], FLASHBACK_BLOCK, 1, space->k[0], FLASHBACK_DIMS,
                           to, a->dq_stride / sizeof(float)};
        flashback_multiply(&dq);
    }
    if (a->dk != NULL) {
        float *to = x86_row_out(a->dk, a->dk_stride, row + x->j0) + key;
        flashback_product dk = {x->keys, n, x->rows, false, space->e[0], 1, FLASHBACK_BLOCK, space->q[0], FLASHBACK_DIMS,
                           to, a->dk_stride / sizeof(float)};
        flashback_multiply(&dk);
    }
    if (a->dv != NULL) {
        float *to = x86_row_out(a->dv, a->dv_stride, row + x->j0) + key;
        flashback_product dv = {x->keys, n, x->rows, false, space->p[0], 1, FLASHBACK_BLOCK, space->dout[0], FLASHBACK_DIMS,
                           to, a->dv_stride / sizeof(float)};
        flashback_multiply(&dv);
    }
}

static void flashback_pair(const q_attention_grad_args *a, const q_attention_grad_unit *u, const q_attention_grad_pair *x,
                      flashback_space *space)
{
    bool parts = a->head_dim > FLASHBACK_DIMS;
    for (uint32_t d = 0; d < a->head_dim; d += FLASHBACK_DIMS) {
        uint32_t n = a->head_dim - d < FLASHBACK_DIMS ? a->head_dim - d : (uint32_t)FLASHBACK_DIMS;
        flashback_pack(a, u, x, d, n, space);
        flashback_scores(x, d, n, space);
    }
    flashback_weights(a, u, x, space);
    for (uint32_t d = 0; d < a->head_dim; d += FLASHBACK_DIMS) {
        uint32_t n = a->head_dim - d < FLASHBACK_DIMS ? a->head_dim - d : (uint32_t)FLASHBACK_DIMS;
        if (parts) {
            flashback_pack(a, u, x, d, n, space);
        }
        flashback_gradients(a, u, x, d, n, space);
    }
}

void q_attention_grad_avx2(const q_work *work, const q_attention_grad_args *a)
{
    flashback_space *space = (flashback_space *)work->workspace;
    q_attention_grad_unit u = q_attention_grad_begin(work, a);
    while (q_attention_grad_next(work, a, &u)) {
        q_attention_grad_pair x = {0, 0, 0, 0, 0, 0};
        q_attention_grad_clear(a, &u);
        flashback_deltas(a, &u);
        while (q_attention_grad_next_pair(a, &u, &x)) {
            flashback_pair(a, &u, &x, space);
        }
    }
}
