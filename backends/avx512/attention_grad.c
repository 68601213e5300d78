/* SPDX-License-Identifier: MIT */
/*
 * attention_grad.c: gradients of attention, block of rows by block of keys (qorus/base/attention_grad.h). Five products
 * of 64 x 64 by head_dim meet in each pair:
 *
 *   s = q K^T, dp = dout V^T           lanes = keys, K and V turned
 *   dq += e K, dk += e^T q, dv += p^T dout    lanes = dimensions
 *
 * each a chain that continues from where it was stored, and between them p and e, by rows. Operands lie in the workspace
 * without gaps, up to 128 dimensions at a time; longer heads go through them in parts.
 */
#include "kernels_avx512.h"
#include "qorus/base/attention_grad.h"

enum {
    RETRACE_BLOCK = Q_ATTENTION_GRAD_BLOCK,
    RETRACE_DIMS = 128, /* of a part of a head */
    RETRACE_ROWS = 8    /* of a register tile, 8 x 32: 16 chains */
};

typedef struct retrace_space {
    float kt[RETRACE_DIMS][RETRACE_BLOCK];
    float vt[RETRACE_DIMS][RETRACE_BLOCK];
    float k[RETRACE_BLOCK][RETRACE_DIMS];
    float q[RETRACE_BLOCK][RETRACE_DIMS];
    float dout[RETRACE_BLOCK][RETRACE_DIMS];
    float p[RETRACE_BLOCK][RETRACE_BLOCK];
    float e[RETRACE_BLOCK][RETRACE_BLOCK]; /* dout.v, then e * scale */
} retrace_space;

Q_STATIC_ASSERT(sizeof(retrace_space) <= Q_AVX512_WORKSPACE, "blocks fit the workspace");

/* c[i][0 .. n - 1] = (fresh ? 0 : c) + sum over p < k of a[i*a_row + p*a_step] * b[p*b_row ..], i < m; in floats. */
typedef struct retrace_product {
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
} retrace_product;

/* -- products ---------------------------------------------------------------------------------- */

/* Rows i .. and columns j .. of a product, `halves` of 16 columns; the last may have fewer. */
X86_INLINE void retrace_tile(const uint32_t rows, const uint32_t halves, const retrace_product *x,
                                  uint32_t i, uint32_t j)
{
    const float *a = x->a + x->a_row * i;
    const float *b = x->b + j;
    float *at = x->c + x->c_row * i + j;
    __mmask16 mask[2];
    __m512 c[RETRACE_ROWS][2];
    mask[0] = avx512_mask(x->n - j);
    mask[1] = halves > 1u ? avx512_mask(x->n - j - 16u) : (__mmask16)0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            c[t][h] = x->fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask[h], at + x->c_row * t + h * 16u);
        }
    }
    for (uint32_t p = 0; p < x->k; p++) {
        __m512 w[2];
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            w[h] = _mm512_load_ps(b + x->b_row * p + h * 16u);
        }
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512 v = _mm512_set1_ps(a[x->a_row * t + x->a_step * p]);
            X86_UNROLL
            for (uint32_t h = 0; h < halves; h++) {
                c[t][h] = _mm512_fmadd_ps(v, w[h], c[t][h]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            _mm512_mask_storeu_ps(at + x->c_row * t + h * 16u, mask[h], c[t][h]);
        }
    }
}

X86_INLINE void retrace_columns(const uint32_t halves, const retrace_product *x, uint32_t j)
{
    uint32_t i = 0;
    for (; i + RETRACE_ROWS <= x->m; i += RETRACE_ROWS) {
        retrace_tile(RETRACE_ROWS, halves, x, i, j);
    }
    for (; i + 4u <= x->m; i += 4u) {
        retrace_tile(4, halves, x, i, j);
    }
    for (; i < x->m; i++) {
        retrace_tile(1, halves, x, i, j);
    }
}

static void retrace_multiply(const retrace_product *x)
{
    for (uint32_t j = 0; j < x->n; j += 32u) {
        if (x->n - j > 16u) {
            retrace_columns(2, x, j);
        } else {
            retrace_columns(1, x, j);
        }
    }
}

/* -- packing ----------------------------------------------------------------------------------- */

/* n values of each of `rows` rows, zeros up to a multiple of 16. */
static void retrace_copy(const float *from, size_t stride, uint32_t rows, uint32_t n, float (*to)[RETRACE_DIMS])
{
    for (uint32_t i = 0; i < rows; i++) {
        const float *v = x86_row(from, stride, i);
        for (uint32_t d = 0; d < n; d += 16u) {
            _mm512_store_ps(to[i] + d, vec_load_n(v + d, n - d));
        }
    }
}

/* The same turned: to[d][i]; columns up to a multiple of 16 beyond the last row become zeros. */
static void retrace_turn(const float *from, size_t stride, uint32_t rows, uint32_t n, float (*to)[RETRACE_BLOCK])
{
    for (uint32_t i = 0; i < rows; i += 16u) {
        for (uint32_t d = 0; d < n; d += 16u) {
            __m512 v[16];
            for (uint32_t l = 0; l < 16; l++) {
                v[l] = i + l < rows ? vec_load_n(x86_row(from, stride, i + l) + d, n - d) : _mm512_setzero_ps();
            }
            vec_turn(v);
            for (uint32_t l = 0; l < 16 && d + l < n; l++) {
                _mm512_store_ps(to[d + l] + i, v[l]);
            }
        }
    }
}

/* -- weights ----------------------------------------------------------------------------------- */

/* p and e of 16 keys. */
X86_INLINE void retrace_weight(const q_attention_grad_args *a, __mmask16 seen, float *p, float *e, __m512 lse,
                                 __m512 delta)
{
    const __m512 scale = _mm512_set1_ps(a->scale);
    __m512 s = _mm512_mul_ps(_mm512_load_ps(p), scale);
    __m512 v = _mm512_sub_ps(_mm512_load_ps(e), delta);
    __m512 t = _mm512_setzero_ps();
    if (a->softcap > 0) {
        const __m512 cap = _mm512_set1_ps(a->softcap);
        t = vec_tanh(_mm512_div_ps(s, cap));
        s = _mm512_mul_ps(cap, t);
    }
    __m512 w = _mm512_maskz_mov_ps(seen, vec_exp(_mm512_sub_ps(s, lse)));
    v = _mm512_mul_ps(w, v);
    if (a->softcap > 0) {
        v = _mm512_mul_ps(v, _mm512_fnmadd_ps(t, t, _mm512_set1_ps(1.0f)));
    }
    _mm512_store_ps(p, w);
    _mm512_store_ps(e, _mm512_maskz_mul_ps(seen, v, scale));
}

static void retrace_weights(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                            const q_attention_grad_pair *x, retrace_space *space)
{
    for (uint32_t i = 0; i < x->rows; i++) {
        size_t at = (size_t)(u->span.row + x->i0 + i) * a->heads + x->head;
        const __m512 lse = _mm512_set1_ps(a->lse[at]);
        const __m512 delta = _mm512_set1_ps(a->delta[at]);
        uint32_t lo = q_attention_grad_first(a, x->i0 + i);
        uint32_t hi = q_attention_grad_end(a, u->span.rows, x->i0 + i);
        for (uint32_t j = 0; j < x->keys; j += 16u) {
            uint32_t key = x->j0 + j;
            uint32_t from = lo > key ? lo - key : 0;
            uint32_t to = hi > key ? hi - key : 0;
            __mmask16 seen = avx512_mask(to);
            seen = (__mmask16)(seen & ~(uint32_t)avx512_mask(from));
            retrace_weight(a, seen, space->p[i] + j, space->e[i] + j, lse, delta);
        }
    }
}

static float retrace_delta(const float *dout, const float *out, uint32_t n)
{
    __m512 lane = _mm512_setzero_ps();
    for (uint32_t d = 0; d < n; d += 16u) {
        __m512 v = vec_load_n(dout + d, n - d);
        lane = _mm512_mask3_fmadd_ps(v, vec_load_n(out + d, n - d), lane, avx512_mask(n - d));
    }
    return avx512_lane_sum(lane);
}

static void retrace_deltas(const q_attention_grad_args *a, const q_attention_grad_unit *u)
{
    uint32_t group = a->heads / a->kv_heads;
    for (uint32_t r = u->span.row; r < u->span.row + u->span.rows; r++) {
        const float *dout = x86_row(a->dout, a->dout_stride, r);
        const float *out = x86_row(a->out, a->out_stride, r);
        for (uint32_t h = u->kv_head * group; h < (u->kv_head + 1u) * group; h++) {
            size_t column = (size_t)h * a->head_dim;
            a->delta[(size_t)r * a->heads + h] = retrace_delta(dout + column, out + column, a->head_dim);
        }
    }
}

/* -- one pair ---------------------------------------------------------------------------------- */

/* Dimensions d0 .. d0 + n - 1 of the pair's operands. Keys stay from pair to pair where a head is one part. */
static void retrace_pack(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                         const q_attention_grad_pair *x, uint32_t d0, uint32_t n, retrace_space *space)
{
    size_t key = (size_t)u->kv_head * a->head_dim + d0;
    size_t query = (size_t)x->head * a->head_dim + d0;
    uint32_t row = u->span.row;
    if (x->fresh != 0 || a->head_dim > RETRACE_DIMS) {
        const float *k = x86_row(a->k, a->k_stride, row + x->j0) + key;
        retrace_turn(k, a->k_stride, x->keys, n, space->kt);
        retrace_turn(x86_row(a->v, a->v_stride, row + x->j0) + key, a->v_stride, x->keys, n, space->vt);
        retrace_copy(k, a->k_stride, x->keys, n, space->k);
    }
    retrace_copy(x86_row(a->q, a->q_stride, row + x->i0) + query, a->q_stride, x->rows, n, space->q);
    retrace_copy(x86_row(a->dout, a->dout_stride, row + x->i0) + query, a->dout_stride, x->rows, n, space->dout);
}

static void retrace_scores(const q_attention_grad_pair *x, uint32_t d0, uint32_t n, retrace_space *space)
{
    uint32_t columns = (x->keys + 15u) / 16u * 16u;
    retrace_product s = {x->rows, columns, n, d0 == 0, space->q[0], RETRACE_DIMS, 1, space->kt[0], RETRACE_BLOCK,
                      space->p[0], RETRACE_BLOCK};
    retrace_multiply(&s);
    s.a = space->dout[0];
    s.b = space->vt[0];
    s.c = space->e[0];
    retrace_multiply(&s);
}

static void retrace_gradients(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                              const q_attention_grad_pair *x, uint32_t d0, uint32_t n, retrace_space *space)
{
    size_t key = (size_t)u->kv_head * a->head_dim + d0;
    uint32_t row = u->span.row;
    if (a->dq != NULL) {
        float *to = x86_row_out(a->dq, a->dq_stride, row + x->i0) + (size_t)x->head * a->head_dim + d0;
        retrace_product dq = {x->rows, n, x->keys, false, space->e[0], RETRACE_BLOCK, 1, space->k[0], RETRACE_DIMS,
                           to, a->dq_stride / sizeof(float)};
        retrace_multiply(&dq);
    }
    if (a->dk != NULL) {
        float *to = x86_row_out(a->dk, a->dk_stride, row + x->j0) + key;
        retrace_product dk = {x->keys, n, x->rows, false, space->e[0], 1, RETRACE_BLOCK, space->q[0], RETRACE_DIMS,
                           to, a->dk_stride / sizeof(float)};
        retrace_multiply(&dk);
    }
    if (a->dv != NULL) {
        float *to = x86_row_out(a->dv, a->dv_stride, row + x->j0) + key;
        retrace_product dv = {x->keys, n, x->rows, false, space->p[0], 1, RETRACE_BLOCK, space->dout[0], RETRACE_DIMS,
                           to, a->dv_stride / sizeof(float)};
        retrace_multiply(&dv);
    }
}

static void retrace_pair(const q_attention_grad_args *a, const q_attention_grad_unit *u, const q_attention_grad_pair *x,
                      retrace_space *space)
{
    bool parts = a->head_dim > RETRACE_DIMS;
    for (uint32_t d = 0; d < a->head_dim; d += RETRACE_DIMS) {
        uint32_t n = a->head_dim - d < RETRACE_DIMS ? a->head_dim - d : (uint32_t)RETRACE_DIMS;
        retrace_pack(a, u, x, d, n, space);
        retrace_scores(x, d, n, space);
    }
    retrace_weights(a, u, x, space);
    for (uint32_t d = 0; d < a->head_dim; d += RETRACE_DIMS) {
        uint32_t n = a->head_dim - d < RETRACE_DIMS ? a->head_dim - d : (uint32_t)RETRACE_DIMS;
        if (parts) {
            retrace_pack(a, u, x, d, n, space);
        }
        retrace_gradients(a, u, x, d, n, space);
    }
}

void q_attention_grad_avx512(const q_work *work, const q_attention_grad_args *a)
{
    retrace_space *space = (retrace_space *)work->workspace;
    q_attention_grad_unit u = q_attention_grad_begin(work, a);
    while (q_attention_grad_next(work, a, &u)) {
        q_attention_grad_pair x = {0, 0, 0, 0, 0, 0};
        q_attention_grad_clear(a, &u);
        retrace_deltas(a, &u);
        while (q_attention_grad_next_pair(a, &u, &x)) {
            retrace_pair(a, &u, &x, space);
        }
    }
}
