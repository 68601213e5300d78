/* SPDX-License-Identifier: MIT */
/*
 * tensor.c: making views: a contiguous one over memory, and rows seen as heads.
 */
#include "../core.h"

#include "qorus/ops.h"

static q_error_code tensor_fail(q_diag *diag, q_error_code code, const char *field, uint64_t need,
                                uint64_t have)
{
    return q_fail(diag, code, "q_tensor", field, need, have);
}

static q_error_code tensor_check(const q_tensor *out, const void *data, uint32_t dtype,
                                 uint32_t layout, const uint32_t *ne, q_diag *diag)
{
    if (out == NULL || data == NULL || ne == NULL) {
        return tensor_fail(diag, Q_ERR_INVALID_ARG,
                           out == NULL    ? "out"
                           : data == NULL ? "data"
                                          : "ne",
                           0, 0);
    }
    if (dtype >= Q_DTYPE_COUNT || (layout == Q_PANEL16 && dtype > Q_BF16)) {
        return tensor_fail(diag, Q_ERR_INVALID_DTYPE, "dtype", Q_DTYPE_COUNT - 1, dtype);
    }
    if (layout >= Q_LAYOUT_COUNT) {
        return tensor_fail(diag, Q_ERR_INVALID_LAYOUT, "layout", Q_PANEL16, layout);
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        static const char *const fields[Q_MAX_DIMS] = {"ne[0]", "ne[1]", "ne[2]", "ne[3]"};
        uint32_t block = i < 3 ? 1u : q_dtype_is_a8(dtype) ? (uint32_t)Q_BLOCK : q_dtype_block(dtype);
        if (ne[i] == 0 || ne[i] > INT32_MAX || ne[i] % block != 0) {
            return tensor_fail(diag, Q_ERR_INVALID_SIZE, fields[i], block, ne[i]);
        }
    }
    return Q_OK;
}

q_error_code q_tensor_init(q_tensor *out, void *data, uint32_t dtype, uint32_t layout,
                           const uint32_t ne[Q_MAX_DIMS], q_diag *diag)
{
    uint64_t row = 0;
    uint64_t matrix = 0;
    uint64_t head;
    uint64_t batch;
    q_error_code code = tensor_check(out, data, dtype, layout, ne, diag);
    if (code != Q_OK) {
        return code;
    }
    if (layout == Q_PANEL16) {
        row = q_panel_bytes(dtype, ne[3]);
    }
    if ((layout == Q_PLAIN && !q_plain_row_bytes(dtype, ne[3], &row)) ||
        !q_matrix_bytes(dtype, layout, ne[2], ne[3], &matrix) || !q_mul_u64(matrix, ne[1], &head) ||
        !q_mul_u64(head, ne[0], &batch) || batch > SIZE_MAX / 2) {
        return tensor_fail(diag, Q_ERR_OVERFLOW, "bytes", SIZE_MAX / 2, 0);
    }
    memset(out, 0, sizeof(*out));
    out->data = data;
    memcpy(out->ne, ne, sizeof(out->ne));
    out->nb[3] = q_dtype_block_bytes(dtype);
    out->nb[2] = (size_t)row;
    out->nb[1] = (size_t)matrix;
    out->nb[0] = (size_t)head;
    out->dtype = (uint8_t)dtype;
    out->layout = (uint8_t)layout;
    out->scales = layout == Q_PANEL16 && q_dtype_is_quantised(dtype) ? data : NULL;
    return Q_OK;
}

q_error_code q_tensor_heads(q_tensor *out, const q_tensor *rows, uint32_t heads, q_diag *diag)
{
    q_tensor t;
    if (out == NULL || rows == NULL || heads == 0) {
        return tensor_fail(diag, Q_ERR_INVALID_ARG,
                           out == NULL    ? "out"
                           : rows == NULL ? "rows"
                                          : "heads",
                           1, 0);
    }
    if (rows->layout != Q_PLAIN || q_dtype_block(rows->dtype) != 1 ||
        q_dtype_block_bytes(rows->dtype) == 0) {
        return tensor_fail(diag, Q_ERR_INVALID_DTYPE, "rows", Q_REAL, rows->dtype);
    }
    if (rows->ne[1] != 1 || rows->ne[3] % heads != 0) {
        return tensor_fail(diag, Q_ERR_INVALID_SHAPE, rows->ne[1] != 1 ? "ne[1]" : "ne[3]", heads,
                           rows->ne[rows->ne[1] != 1 ? 1 : 3]);
    }
    t = *rows;
    t.ne[1] = heads;
    t.ne[3] = rows->ne[3] / heads;
    t.nb[1] = t.ne[3] * rows->nb[3];
    *out = t;
    return Q_OK;
}
