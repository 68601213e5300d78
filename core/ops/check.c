/* SPDX-License-Identifier: MIT */
/*
 * check.c: the checks of one operand: type, place, sizes, strides, and the bytes it spans.
 */
#include "check.h"

/* Largest stride for which (rows - 1) * stride + width, rows < 2^31 and width < 2^34, fits 64 bits
   by far. */
#define OP_STRIDE_QUICK (1u << 30)

/* What one row of an operand must be. */
typedef struct op_row {
    uint64_t width;    /* bytes */
    size_t data_align; /* powers of two */
    size_t row_align;
} op_row;

q_error_code q_op_check_context(const q_op_call *c)
{
    if (c->ctx == NULL) {
        return q_op_fail(c, Q_ERR_INVALID_ARG, "ctx", "NULL", 0, 0);
    }
    return q_op_fail(c, Q_ERR_INVALID_STATE, "ctx", "not initialised", Q_OP_MARK, c->ctx->mark);
}

/* ---- Place ----------------------------------------------------------------------------------- */

static q_error_code op_check_kind(const q_op_call *c, const char *name, const q_tensor *t,
                                  uint32_t dtype, uint32_t device)
{
    if (t == NULL) {
        return q_op_fail(c, Q_ERR_INVALID_ARG, name, "NULL", 0, 0);
    }
    if (t->dtype != dtype) {
        return q_op_fail(c, Q_ERR_INVALID_DTYPE, name, "dtype", dtype, t->dtype);
    }
    if (t->layout != Q_PLAIN) {
        return q_op_fail(c, Q_ERR_INVALID_LAYOUT, name, "layout", Q_PLAIN, t->layout);
    }
    if (t->device != device) {
        return q_op_fail(c, Q_ERR_INVALID_DEVICE, name, "device", device, t->device);
    }
    return Q_OK;
}

static q_error_code op_bad_size(const q_op_call *c, const char *name, const q_tensor *t)
{
    static const char *const fields[Q_MAX_DIMS] = {"ne[0]", "ne[1]", "ne[2]", "ne[3]"};
    uint32_t axis = 0;
    while (axis < Q_MAX_DIMS - 1 && t->ne[axis] != 0 && t->ne[axis] <= INT32_MAX) {
        axis++;
    }
    return q_op_fail(c, Q_ERR_INVALID_SIZE, name, fields[axis], t->ne[axis] == 0 ? 1 : INT32_MAX,
                     t->ne[axis]);
}

/* Every axis 1 .. 2^31 - 1: neither n nor n - 1 has bit 31. */
static q_error_code op_check_sizes(const q_op_call *c, const char *name, const q_tensor *t)
{
    const uint32_t *n = t->ne;
    uint32_t bits = n[0] | n[1] | n[2] | n[3] | (n[0] - 1) | (n[1] - 1) | (n[2] - 1) | (n[3] - 1);
    return Q_UNLIKELY(bits >> 31 != 0) ? op_bad_size(c, name, t) : Q_OK;
}

/* ---- Strides --------------------------------------------------------------------------------- */

static q_error_code op_bad_stride(const q_op_call *c, const char *name, const char *field,
                                  uint64_t need, uint64_t have)
{
    return q_op_fail(c, Q_ERR_INVALID_LAYOUT, name, field, need, have);
}

/* *to = inner + (n - 1) * stride. Division only where the quick bound does not show that it fits.
   */
static bool op_extend(uint64_t inner, uint32_t n, uint64_t stride, uint64_t *to)
{
    uint64_t steps;
    if (stride <= OP_STRIDE_QUICK && inner <= UINT64_MAX / 4) {
        *to = inner + (uint64_t)(n - 1) * stride;
        return true;
    }
    return q_mul_u64((uint64_t)n - 1, stride, &steps) && q_add_u64(inner, steps, to);
}

/* True if the head axis lies within the row axis: the heads of one row side by side. */
static bool op_heads_inside(const q_tensor *t, uint64_t width)
{
    uint64_t heads;
    return t->nb[1] >= width && op_extend(width, t->ne[1], t->nb[1], &heads) &&
           (t->ne[2] == 1 || t->nb[2] >= heads);
}

/* Strides of batch and head, for a tensor that has more than one of either. *bytes: from those of
   one plane to those of all. *flat: all rows nb[2] apart. */
static q_error_code op_check_planes(const q_op_call *c, const char *name, const q_tensor *t,
                                    const op_row *row, uint64_t *bytes, bool *flat)
{
    uint64_t rows = (uint64_t)t->ne[1] * t->ne[2];
    uint64_t plane = 0;
    bool even = op_extend(t->nb[2], t->ne[2], t->nb[2], &plane);
    if (t->ne[1] > 1 && t->nb[1] % row->row_align != 0) {
        return q_op_fail(c, Q_ERR_MISALIGNED, name, "nb[1]", row->row_align, t->nb[1]);
    }
    if (t->ne[0] > 1 && t->nb[0] % row->row_align != 0) {
        return q_op_fail(c, Q_ERR_MISALIGNED, name, "nb[0]", row->row_align, t->nb[0]);
    }
    if (t->ne[1] > 1 && t->nb[1] < *bytes && !op_heads_inside(t, row->width)) {
        return op_bad_stride(c, name, "nb[1]", *bytes, t->nb[1]);
    }
    if (!op_extend(*bytes, t->ne[1], t->nb[1], bytes)) {
        return q_op_fail(c, Q_ERR_OVERFLOW, name, "nb[1]", SIZE_MAX, t->nb[1]);
    }
    if (t->ne[0] > 1 && t->nb[0] < *bytes) {
        return op_bad_stride(c, name, "nb[0]", *bytes, t->nb[0]);
    }
    if (!op_extend(*bytes, t->ne[0], t->nb[0], bytes)) {
        return q_op_fail(c, Q_ERR_OVERFLOW, name, "nb[0]", SIZE_MAX, t->nb[0]);
    }
    even =
        even && (t->ne[1] == 1 || t->nb[1] == plane) && op_extend(plane, t->ne[1], plane, &plane);
    *flat = even && (t->ne[0] == 1 || t->nb[0] == plane) && rows <= INT32_MAX &&
            rows * t->ne[0] <= INT32_MAX;
    return Q_OK;
}

/* The span [data, data + bytes): not half of all memory, no wrap, and apart from the workspace. */
static q_error_code op_make_span(const q_op_call *c, const char *name, const q_tensor *t,
                                 uint64_t bytes, bool flat, q_op_span *out)
{
    const q_block *w = &c->ctx->workspace;
    uintptr_t begin = (uintptr_t)t->data;
    if (Q_UNLIKELY(begin == 0)) {
        return q_op_fail(c, Q_ERR_INVALID_ARG, name, "data", 0, 0);
    }
    if (Q_UNLIKELY(bytes > SIZE_MAX / 2 || bytes > UINTPTR_MAX - begin)) {
        return q_op_fail(c, Q_ERR_OVERFLOW, name, "data", UINTPTR_MAX - begin, bytes);
    }
    out->t = t;
    out->name = name;
    out->begin = begin;
    out->end = begin + (uintptr_t)bytes;
    out->flat = flat;
    if (Q_UNLIKELY(begin < (uintptr_t)w->base + w->size && (uintptr_t)w->base < out->end)) {
        return q_op_fail(c, Q_ERR_ALIASING, name, "workspace", 0, 0);
    }
    return Q_OK;
}

static q_error_code op_misaligned(const q_op_call *c, const char *name, const q_tensor *t,
                                  const op_row *row)
{
    if ((uintptr_t)t->data % row->data_align != 0) {
        return q_op_fail(c, Q_ERR_MISALIGNED, name, "data", row->data_align,
                         (uintptr_t)t->data % row->data_align);
    }
    return q_op_fail(c, Q_ERR_MISALIGNED, name, "nb[2]", row->row_align, t->nb[2]);
}

/* Rows of a plain tensor whose ne are right. */
static q_error_code op_check_strides(const q_op_call *c, const char *name, const q_tensor *t,
                                     const op_row *row, q_op_span *out)
{
    uint64_t bytes = 0;
    bool flat = true;
    if (Q_UNLIKELY((((uintptr_t)t->data & (row->data_align - 1)) |
                    (t->nb[2] & (row->row_align - 1))) != 0)) {
        return op_misaligned(c, name, t, row);
    }
    if (Q_UNLIKELY(t->nb[2] < row->width)) {
        return op_bad_stride(c, name, "nb[2]", row->width, t->nb[2]);
    }
    if (t->nb[2] <= OP_STRIDE_QUICK) {
        bytes = (uint64_t)(t->ne[2] - 1) * t->nb[2] + row->width;
    } else if (t->nb[2] > SIZE_MAX / 2 || !op_extend(row->width, t->ne[2], t->nb[2], &bytes)) {
        return q_op_fail(c, Q_ERR_OVERFLOW, name, "nb[2]", SIZE_MAX / 2, t->nb[2]);
    }
    if ((t->ne[0] | t->ne[1]) != 1) {
        Q_OP_TRY(op_check_planes(c, name, t, row, &bytes, &flat));
    }
    return op_make_span(c, name, t, bytes, flat, out);
}

/* ---- Kinds of operands ----------------------------------------------------------------------- */

q_error_code q_op_check_real_fully(const q_op_call *c, const char *name, const q_tensor *t,
                                   q_op_span *out)
{
    op_row row;
    Q_OP_TRY(op_check_kind(c, name, t, Q_REAL, c->ctx->context.backend->device));
    Q_OP_TRY(op_check_sizes(c, name, t));
    if (t->nb[3] != sizeof(q_real)) {
        return op_bad_stride(c, name, "nb[3]", sizeof(q_real), t->nb[3]);
    }
    row.width = (uint64_t)t->ne[3] * sizeof(q_real);
    row.data_align = sizeof(q_real);
    row.row_align = sizeof(q_real);
    return op_check_strides(c, name, t, &row, out);
}

q_error_code q_op_check_vector(const q_op_call *c, const char *name, const q_tensor *t, uint32_t n,
                               q_op_span *out)
{
    Q_OP_TRY(q_op_check_real(c, name, t, out));
    Q_OP_TRY(q_op_expect_axis(c, out, 0, 1));
    Q_OP_TRY(q_op_expect_axis(c, out, 1, 1));
    Q_OP_TRY(q_op_expect_axis(c, out, 2, 1));
    return q_op_expect_axis(c, out, 3, n);
}

q_error_code q_op_check_a8(const q_op_call *c, const char *name, const q_tensor *t, q_op_span *out)
{
    op_row row;
    uint32_t dtype = t != NULL && t->dtype == Q_A8X2 ? Q_A8X2 : Q_A8;
    Q_OP_TRY(op_check_kind(c, name, t, dtype, c->ctx->context.backend->device));
    Q_OP_TRY(op_check_sizes(c, name, t));
    row.width = 0;
    if (!q_plain_row_bytes(dtype, t->ne[3], &row.width)) {
        return q_op_fail(c, Q_ERR_INVALID_SIZE, name, "ne[3]", Q_BLOCK, t->ne[3]);
    }
    row.data_align = Q_ALIGN;
    row.row_align = Q_ALIGN;
    return op_check_strides(c, name, t, &row, out);
}

q_error_code q_op_check_list(const q_op_call *c, const char *name, const q_tensor *t,
                             uint32_t dtype, uint32_t device, uint32_t *n, q_op_span *out)
{
    op_row row;
    size_t element = q_dtype_block_bytes(dtype);
    uint64_t count;
    Q_OP_TRY(op_check_kind(c, name, t, dtype, device));
    Q_OP_TRY(op_check_sizes(c, name, t));
    if (t->nb[3] != element) {
        return op_bad_stride(c, name, "nb[3]", element, t->nb[3]);
    }
    row.width = (uint64_t)t->ne[3] * element;
    row.data_align = element;
    row.row_align = element;
    Q_OP_TRY(op_check_strides(c, name, t, &row, out));
    Q_OP_TRY(q_op_check_flat(c, out));
    if ((t->ne[0] | t->ne[1] | t->ne[2]) != 1 && t->nb[2] != row.width) {
        return op_bad_stride(c, name, "nb[2]", row.width, t->nb[2]);
    }
    count = (uint64_t)t->ne[0] * t->ne[1] * t->ne[2] *
            t->ne[3]; /* flat: the first three are below 2^31 */
    if (count > INT32_MAX) {
        return q_op_fail(c, Q_ERR_INVALID_SIZE, name, "elements", INT32_MAX, count);
    }
    *n = (uint32_t)count;
    return Q_OK;
}

/* ---- Weights --------------------------------------------------------------------------------- */

static q_error_code op_check_weight_kind(const q_op_call *c, const char *name, const q_tensor *t)
{
    if (t == NULL) {
        return q_op_fail(c, Q_ERR_INVALID_ARG, name, "NULL", 0, 0);
    }
    if (t->dtype > Q_BF16) {
        return q_op_fail(c, Q_ERR_INVALID_DTYPE, name, "dtype", Q_BF16, t->dtype);
    }
    if (t->layout >= Q_LAYOUT_COUNT) {
        return q_op_fail(c, Q_ERR_INVALID_LAYOUT, name, "layout", Q_PANEL16, t->layout);
    }
    if (t->device != c->ctx->context.backend->device) {
        return q_op_fail(c, Q_ERR_INVALID_DEVICE, name, "device", c->ctx->context.backend->device,
                         t->device);
    }
    Q_OP_TRY(op_check_sizes(c, name, t));
    if (t->ne[3] % q_dtype_block(t->dtype) != 0) {
        return q_op_fail(c, Q_ERR_INVALID_SIZE, name, "ne[3]", Q_BLOCK, t->ne[3]);
    }
    return Q_OK;
}

/* Panels are read as they come: one behind the other, each as long as it is. */
static q_error_code op_check_panels(const q_op_call *c, const char *name, const q_tensor *t,
                                    q_op_span *out)
{
    uint64_t panel = q_panel_bytes(t->dtype, t->ne[3]);
    uint64_t bytes;
    if (((uintptr_t)t->data & (Q_ALIGN - 1)) != 0) {
        return q_op_fail(c, Q_ERR_MISALIGNED, name, "data", Q_ALIGN, (uintptr_t)t->data % Q_ALIGN);
    }
    if (t->nb[2] != panel) {
        return op_bad_stride(c, name, "nb[2]", panel, t->nb[2]);
    }
    if (t->scales != NULL && (t->scales != t->data || !q_dtype_is_quantised(t->dtype))) {
        return op_bad_stride(c, name, "scales", 0, 0);
    }
    /* panel < 2^37, fewer than 2^28 panels */
    bytes = panel * q_ceil_div_u32(t->ne[2], Q_PANEL_ROWS);
    return op_make_span(c, name, t, bytes, true, out);
}

q_error_code q_op_check_weights(const q_op_call *c, const char *name, const q_tensor *t,
                                q_op_span *out)
{
    op_row row;
    Q_OP_TRY(op_check_weight_kind(c, name, t));
    out->t = t;
    out->name = name;
    Q_OP_TRY(q_op_expect_axis(c, out, 0, 1));
    Q_OP_TRY(q_op_expect_axis(c, out, 1, 1));
    if (t->layout == Q_PANEL16) {
        return op_check_panels(c, name, t, out);
    }
    if (t->nb[3] != q_dtype_block_bytes(t->dtype)) {
        return op_bad_stride(c, name, "nb[3]", q_dtype_block_bytes(t->dtype), t->nb[3]);
    }
    row.width = (uint64_t)(t->ne[3] / q_dtype_block(t->dtype)) * t->nb[3];
    row.data_align = t->dtype == Q_F32 ? 4 : 2;
    row.row_align = row.data_align;
    return op_check_strides(c, name, t, &row, out);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

q_error_code q_op_bad_number(const q_op_call *c, const char *name, bool finite)
{
    return q_op_fail(c, Q_ERR_INVALID_ARG, name, finite ? "not positive" : "not finite", 0, 0);
}
