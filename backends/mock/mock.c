/* SPDX-License-Identifier: MIT */
/* The device of mock.h. */
#include "mock.h"

#include "qorus/base/mem.h"

/* ---- Opening memory, counting operations ------------------------------------------------------------------ */

static void mock_open(q_mock *m)
{
    if (m->depth++ == 0) {
        m->protect(m->user, m->base, m->size, true);
    }
}

static void mock_close(q_mock *m)
{
    if (--m->depth == 0) {
        m->protect(m->user, m->base, m->size, false);
    }
}

/* Counts an operation. True if it is the one to fail. */
static bool mock_fails(q_mock *m, uint32_t operation)
{
    m->counts[operation]++;
    m->n++;
    if (m->fail_at == 0 || m->n != m->fail_at) {
        return false;
    }
    m->failed = operation;
    return true;
}

static q_error_code mock_pending(q_mock *m)
{
    q_error_code e = m->pending;
    m->pending = Q_OK;
    return e;
}

/* ---- Buffer operations ------------------------------------------------------------------------------------ */

static bool mock_owns(const q_mock *m, const void *at, size_t n)
{
    uintptr_t offset = (uintptr_t)at - (uintptr_t)m->base;
    return (uintptr_t)at >= (uintptr_t)m->base && offset <= m->size && n <= m->size - offset;
}

static q_error_code mock_upload(void *state, void *to, const void *from, size_t n)
{
    q_mock *m = (q_mock *)state;
    if (mock_fails(m, Q_MOCK_UPLOAD)) {
        return m->fail_code;
    }
    if (!mock_owns(m, to, n) || mock_owns(m, from, 1)) {
        return Q_ERR_INVALID_DEVICE;
    }
    mock_open(m);
    memcpy(to, from, n);
    mock_close(m);
    return Q_OK;
}

static q_error_code mock_download(void *state, void *to, const void *from, size_t n)
{
    q_mock *m = (q_mock *)state;
    q_error_code e = mock_pending(m);
    if (mock_fails(m, Q_MOCK_DOWNLOAD)) {
        return m->fail_code;
    }
    if (!mock_owns(m, from, n) || mock_owns(m, to, 1)) {
        return Q_ERR_INVALID_DEVICE;
    }
    if (e == Q_OK) {
        mock_open(m);
        memcpy(to, from, n);
        mock_close(m);
    }
    return e;
}

static q_error_code mock_fill_zero(void *state, void *to, size_t n)
{
    q_mock *m = (q_mock *)state;
    if (mock_fails(m, Q_MOCK_FILL_ZERO)) {
        return m->fail_code;
    }
    if (!mock_owns(m, to, n)) {
        return Q_ERR_INVALID_DEVICE;
    }
    mock_open(m);
    memset(to, 0, n);
    mock_close(m);
    return Q_OK;
}

static q_error_code mock_finish(void *state)
{
    q_mock *m = (q_mock *)state;
    q_error_code e = mock_pending(m);
    return mock_fails(m, Q_MOCK_FINISH) ? m->fail_code : e;
}

/* ---- The run block: a copy at the start of the device's memory, the only one its kernels read --------------- */

static q_error_code mock_begin(void *state, const q_run *run)
{
    q_mock *m = (q_mock *)state;
    uint8_t *at = m->base + 256;
    size_t selected = run->n_selected * sizeof(uint32_t);
    size_t spans = run->n_spans * sizeof(q_span);
    q_run copy = *run;
    if (mock_fails(m, Q_MOCK_BEGIN)) {
        return m->fail_code;
    }
    if (selected + spans + 256 > m->reserve) {
        return Q_ERR_NO_SPACE;
    }
    mock_open(m);
    if (selected != 0) {
        memcpy(at, run->selected, selected);
        copy.selected = (const uint32_t *)(const void *)at;
    }
    if (spans != 0) {
        memcpy(at + selected, run->spans, spans);
        copy.spans = (const q_span *)(const void *)(at + selected);
    }
    memcpy(m->base, &copy, sizeof(copy));
    mock_close(m);
    return Q_OK;
}

/* ---- Parameters: a head, then the bytes from the last to the first, scrambled ------------------------------- */

typedef struct mock_head {
    uint64_t mark; /* MOCK_MARK ^ address */
    uint64_t bytes;
    uint8_t reserved[Q_ALIGN - 16];
} mock_head;

static const uint64_t MOCK_MARK = 0x6b636f6d2d73636fu;

static uint8_t mock_scramble(size_t i)
{
    return (uint8_t)(0xa5u + 7u * i);
}

static q_error_code mock_prepare_size(void *state, const q_tensor *host, size_t n, size_t *bytes)
{
    q_mock *m = (q_mock *)state;
    (void)host;
    if (mock_fails(m, Q_MOCK_PREPARE_SIZE)) {
        return m->fail_code;
    }
    if (n > m->workspace) {
        return Q_ERR_NO_SPACE;
    }
    *bytes = sizeof(mock_head) + n;
    return Q_OK;
}

static q_error_code mock_prepare(void *state, void *to, const q_tensor *host, size_t n)
{
    q_mock *m = (q_mock *)state;
    const uint8_t *from = (const uint8_t *)host->data;
    uint8_t *bytes = (uint8_t *)to + sizeof(mock_head);
    mock_head head;
    if (mock_fails(m, Q_MOCK_PREPARE)) {
        return m->fail_code;
    }
    if (!mock_owns(m, to, sizeof(head) + n) || mock_owns(m, from, 1)) {
        return Q_ERR_INVALID_DEVICE;
    }
    memset(&head, 0, sizeof(head));
    head.mark = MOCK_MARK ^ (uintptr_t)to;
    head.bytes = n;
    mock_open(m);
    memcpy(to, &head, sizeof(head));
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(from[n - 1 - i] ^ mock_scramble(i));
    }
    mock_close(m);
    return Q_OK;
}

/* The parameter at `at` as the host lays it out, in workspace; `at` itself if it is none. */
static const void *mock_put_right(const q_work *work, const void *at)
{
    const uint8_t *bytes = (const uint8_t *)at + sizeof(mock_head);
    uint8_t *out = (uint8_t *)work->workspace;
    mock_head head;
    if (at == NULL) {
        return NULL;
    }
    memcpy(&head, at, sizeof(head));
    if (head.mark != (MOCK_MARK ^ (uintptr_t)at)) {
        return at;
    }
    for (size_t i = 0; i < head.bytes; i++) {
        out[head.bytes - 1 - i] = (uint8_t)(bytes[i] ^ mock_scramble(i));
    }
    return out;
}

/* A second one, behind the first's bytes. */
static const void *mock_put_right_behind(const q_work *work, size_t first, const void *at)
{
    q_work behind = *work;
    behind.workspace = (uint8_t *)work->workspace + (first + Q_ALIGN - 1) / Q_ALIGN * Q_ALIGN;
    return mock_put_right(&behind, at);
}

static size_t mock_bytes(const void *at)
{
    mock_head head;
    memcpy(&head, at, sizeof(head));
    return head.mark == (MOCK_MARK ^ (uintptr_t)at) ? (size_t)head.bytes : 0;
}

/* ---- Arguments: what of them is a parameter ----------------------------------------------------------------- */

static void mock_args_q_gemm_args(const q_work *w, q_gemm_args *a)
{
    a->epilogue.bias = (const q_real *)mock_put_right_behind(w, mock_bytes(a->weights), a->epilogue.bias);
    a->weights = mock_put_right(w, a->weights);
}

static void mock_args_q_matmul_args(const q_work *w, q_matmul_args *a)
{
    a->epilogue.bias = (const q_real *)mock_put_right_behind(w, mock_bytes(a->b), a->epilogue.bias);
    a->b = (const q_real *)mock_put_right(w, a->b);
}

static void mock_args_q_conv2d_args(const q_work *w, q_conv2d_args *a)
{
    a->epilogue.bias = (const q_real *)mock_put_right_behind(w, mock_bytes(a->weights), a->epilogue.bias);
    a->weights = (const q_real *)mock_put_right(w, a->weights);
}

static void mock_args_q_gather_args(const q_work *w, q_gather_args *a)
{
    a->weights = mock_put_right(w, a->weights);
}

static void mock_args_q_rmsnorm_args(const q_work *w, q_rmsnorm_args *a)
{
    a->weight = (const q_real *)mock_put_right(w, a->weight);
}

static void mock_args_q_layernorm_args(const q_work *w, q_layernorm_args *a)
{
    a->bias = (const q_real *)mock_put_right_behind(w, mock_bytes(a->weight), a->bias);
    a->weight = (const q_real *)mock_put_right(w, a->weight);
}

/* One row for all is a parameter. */
static void mock_args_q_binary_args(const q_work *w, q_binary_args *a)
{
    a->b = a->b_stride == 0 ? (const q_real *)mock_put_right(w, a->b) : a->b;
}

#define MOCK_NO_PARAMETER(type)                                                                                        \
    static void mock_args_##type(const q_work *w, type *a)                                                             \
    {                                                                                                                  \
        (void)w;                                                                                                       \
        (void)a;                                                                                                       \
    }

MOCK_NO_PARAMETER(q_quantize_a8_args)
MOCK_NO_PARAMETER(q_unary_args)
MOCK_NO_PARAMETER(q_activate_args)
MOCK_NO_PARAMETER(q_activate_grad_args)
MOCK_NO_PARAMETER(q_scale_args)
MOCK_NO_PARAMETER(q_dropout_args)
MOCK_NO_PARAMETER(q_round_args)
MOCK_NO_PARAMETER(q_pair_loss_args)
MOCK_NO_PARAMETER(q_cross_entropy_args)
MOCK_NO_PARAMETER(q_softmax_args)
MOCK_NO_PARAMETER(q_causal_mask_args)
MOCK_NO_PARAMETER(q_reduce_args)
MOCK_NO_PARAMETER(q_select_rows_args)
MOCK_NO_PARAMETER(q_rope_table_args)
MOCK_NO_PARAMETER(q_rope_args)
MOCK_NO_PARAMETER(q_kv_store_args)
MOCK_NO_PARAMETER(q_attention_args)
MOCK_NO_PARAMETER(q_cell_args)
MOCK_NO_PARAMETER(q_cell_grad_args)
MOCK_NO_PARAMETER(q_conv2d_grad_input_args)
MOCK_NO_PARAMETER(q_conv2d_grad_weight_args)
MOCK_NO_PARAMETER(q_pool2d_args)
MOCK_NO_PARAMETER(q_pool2d_grad_args)
MOCK_NO_PARAMETER(q_layernorm_grad_args)
MOCK_NO_PARAMETER(q_layernorm_grad_param_args)
MOCK_NO_PARAMETER(q_batchnorm_blocks_args)
MOCK_NO_PARAMETER(q_batchnorm_join_args)
MOCK_NO_PARAMETER(q_batchnorm_fold_args)
MOCK_NO_PARAMETER(q_batchnorm_args)
MOCK_NO_PARAMETER(q_batchnorm_grad_args)
MOCK_NO_PARAMETER(q_mse_args)
MOCK_NO_PARAMETER(q_bias_grad_args)
MOCK_NO_PARAMETER(q_optimizer_args)
MOCK_NO_PARAMETER(q_sum_squares_args)
MOCK_NO_PARAMETER(q_rescale_args)
MOCK_NO_PARAMETER(q_average_args)
MOCK_NO_PARAMETER(q_gemm_grad_args)
MOCK_NO_PARAMETER(q_embedding_grad_args)
MOCK_NO_PARAMETER(q_select_rows_grad_args)
MOCK_NO_PARAMETER(q_rmsnorm_grad_args)
MOCK_NO_PARAMETER(q_binary_grad_args)
MOCK_NO_PARAMETER(q_softmax_grad_args)
MOCK_NO_PARAMETER(q_rope_grad_args)
MOCK_NO_PARAMETER(q_attention_grad_args)

/* ---- Kernels ------------------------------------------------------------------------------------------------ */

/* Opens the memory. False: this kernel fails, and says so later. */
static bool mock_kernel_begins(const q_work *work, q_work *inner)
{
    q_mock *m = (q_mock *)work->state;
    if (mock_fails(m, Q_MOCK_KERNEL)) {
        m->pending = m->pending == Q_OK ? m->fail_code : m->pending;
        return false;
    }
    mock_open(m);
    *inner = *work;
    inner->run = (const q_run *)(const void *)m->base;
    return true;
}

#define Q_KERNEL(slot, type)                                                                                           \
    static void mock_##slot(const q_work *work, const type *args)                                                      \
    {                                                                                                                  \
        q_mock *m = (q_mock *)work->state;                                                                             \
        q_work inner;                                                                                                  \
        type copy = *args;                                                                                             \
        if (mock_kernel_begins(work, &inner)) {                                                                        \
            mock_args_##type(&inner, &copy);                                                                           \
            m->scalar.slot(&inner, &copy);                                                                             \
            mock_close(m);                                                                                             \
        }                                                                                                              \
    }
#include "qorus/kernels.inc"
#undef Q_KERNEL

void q_backend_mock(q_backend *out, q_mock *mock)
{
    q_backend scalar;
    q_backend_scalar(&scalar);
    mock->scalar = scalar.kernels;
    mock->pending = Q_OK;
    mock->depth = 0;
    memset(out, 0, sizeof(*out));
    out->struct_size = (uint32_t)sizeof(*out);
    out->device = Q_DEVICE_MOCK;
    out->name = "mock";
    out->workspace_size = 2 * mock->workspace;
    out->state = mock;
    out->upload = mock_upload;
    out->download = mock_download;
    out->fill_zero = mock_fill_zero;
    out->finish = mock_finish;
    out->begin = mock_begin;
    out->prepare_size = mock_prepare_size;
    out->prepare = mock_prepare;
#define Q_KERNEL(slot, type) out->kernels.slot = mock_##slot;
#include "qorus/kernels.inc"
#undef Q_KERNEL
}
