/* SPDX-License-Identifier: MIT */
/*
 * bad_defects.c: the defects that every operand can have.
 */
#include "bad_inner.h"

/* Defects any operand can have. */
typedef enum bad_defect {
    DEFECT_NULL,
    DEFECT_DATA_NULL,
    DEFECT_DTYPE_UNKNOWN,
    DEFECT_DTYPE_OTHER,
    DEFECT_LAYOUT,
    DEFECT_DEVICE,
    DEFECT_ZERO,                      /* + axis */
    DEFECT_HUGE = DEFECT_ZERO + 4,    /* + axis */
    DEFECT_ELEMENT = DEFECT_HUGE + 4, /* nb[3] */
    DEFECT_NARROW,                    /* nb[2] below the width */
    DEFECT_NEGATIVE,                  /* nb[2] */
    DEFECT_NEGATIVE_HEAD,             /* nb[1] */
    DEFECT_NEGATIVE_BATCH,            /* nb[0] */
    DEFECT_HEADS_MEET,                /* nb[1] */
    DEFECT_BATCHES_MEET,              /* nb[0] */
    DEFECT_ODD_DATA,
    DEFECT_HALF_DATA, /* by half of its alignment */
    DEFECT_ODD_ROW,
    DEFECT_ODD_HEAD,
    DEFECT_ODD_BATCH,
    DEFECT_WRAPS,
    DEFECT_WORKSPACE,
    DEFECT_SAME,                              /* + operand: output on it */
    DEFECT_MEETS = DEFECT_SAME + BAD_TENSORS, /* + operand: output begins just before it */
    DEFECT_TAIL = DEFECT_MEETS + BAD_TENSORS, /* + operand: output begins in its last bytes */
    DEFECTS = DEFECT_TAIL + BAD_TENSORS
} bad_defect;

static const char *const defect_ids[DEFECTS] = {"A01 NULL",
                                                "A01 data NULL",
                                                "dtype unknown",
                                                "dtype of another kind",
                                                "layout",
                                                "device",
                                                "A20 ne[0] 0",
                                                "A20 ne[1] 0",
                                                "A20 ne[2] 0",
                                                "A20 ne[3] 0",
                                                "A21 ne[0] 2^31",
                                                "A21 ne[1] 2^31",
                                                "A21 ne[2] 2^31",
                                                "A21 ne[3] 2^31",
                                                "A22 nb[3] off by one",
                                                "A22 row stride below the width",
                                                "A23 row stride negative",
                                                "A23 head stride negative",
                                                "A23 batch stride negative",
                                                "A22 heads overlap",
                                                "A22 batches overlap",
                                                "A25 data off by 1",
                                                "A25 data off by half",
                                                "A25 row stride off by 1",
                                                "A25 head stride off by 1",
                                                "A25 batch stride off by 1",
                                                "R10 data wraps",
                                                "R07 on the workspace",
                                                "A24 output on operand 0",
                                                "A24 output on operand 1",
                                                "A24 output on operand 2",
                                                "A24 output on operand 3",
                                                "A24 output overlaps operand 0",
                                                "A24 output overlaps operand 1",
                                                "A24 output overlaps operand 2",
                                                "A24 output overlaps operand 3",
                                                "A24 output begins in the end of operand 0",
                                                "A24 output begins in the end of operand 1",
                                                "A24 output begins in the end of operand 2",
                                                "A24 output begins in the end of operand 3"};

static const char *const axis_fields[2][Q_MAX_DIMS] = {{"ne[0]", "ne[1]", "ne[2]", "ne[3]"},
                                                       {"nb[0]", "nb[1]", "nb[2]", "nb[3]"}};

/* Bytes its data must be a multiple of. */
static size_t data_align(const q_tensor *t)
{
    if (t->layout == Q_PANEL16 || t->dtype == Q_A8) {
        return Q_ALIGN;
    }
    return q_dtype_is_quantised(t->dtype) ? 2 : t->dtype == Q_F64 ? 8 : 4;
}

static void expect(bad_expected *want, q_error_code code, const char *field)
{
    want->code = code;
    want->field = field;
}

/* Output i on operand j, just before it or in its last bytes. False: not a case. */
static bool defect_alias(bad_call *b, uint32_t i, uint32_t defect, bad_expected *want)
{
    const bad_op *op = b->op;
    const bad_operand *o = op->operand;
    const uint32_t j = (defect - DEFECT_SAME) % BAD_TENSORS;
    q_tensor *out = &b->tensor[i];
    const q_tensor *in = &b->tensor[j];
    size_t step = data_align(out);
    size_t tail = (in->nb[0] * in->ne[0] - 1) / step * step;
    if (j >= bad_operands(op) || i == j || !o[i].output) {
        return false;
    }
    /* of two outputs the later one is named */
    expect(want, Q_ERR_ALIASING, o[j].output && j > i ? o[i].name : o[j].name);
    want->name = o[j].output && j > i ? o[j].name : o[i].name;
    out->data = in->data;
    if (defect < DEFECT_MEETS) {
        if ((o[i].equals >> j & 1) != 0) {
            expect(want, Q_OK, "");
        }
        return true;
    }
    if (defect < DEFECT_TAIL) {
        out->data = (uint8_t *)in->data - step;
        return out->nb[0] * out->ne[0] > step || out->dtype == Q_A8;
    }
    out->data = (uint8_t *)in->data + tail;
    return tail != 0;
}

static bool defect_kind(bad_call *b, uint32_t i, uint32_t defect, bool optional, bad_expected *want)
{
    q_tensor *t = &b->tensor[i];
    bool weights = bad_text_same(want->name, "weights");
    switch (defect) {
    case DEFECT_NULL:
        b->arg[i] = NULL;
        expect(want, Q_ERR_INVALID_ARG, "NULL");
        return !optional;
    case DEFECT_DATA_NULL:
        t->data = NULL;
        t->scales = NULL;
        expect(want, Q_ERR_INVALID_ARG, "data");
        return true;
    case DEFECT_DTYPE_UNKNOWN:
        t->dtype = 200;
        expect(want, Q_ERR_INVALID_DTYPE, "dtype");
        return true;
    case DEFECT_DTYPE_OTHER:
        t->dtype = weights ? Q_I32 : Q_F16;
        expect(want, Q_ERR_INVALID_DTYPE, "dtype");
        return true;
    case DEFECT_LAYOUT:
        t->layout = weights ? Q_LAYOUT_COUNT : Q_PANEL16;
        expect(want, Q_ERR_INVALID_LAYOUT, "layout");
        return true;
    default:
        t->device = Q_DEVICE_MOCK;
        expect(want, Q_ERR_INVALID_DEVICE, "device");
        return true;
    }
}

static bool defect_stride(q_tensor *t, uint32_t defect, bad_expected *want)
{
    const size_t align = data_align(t);
    const bool panel = t->layout == Q_PANEL16;
    switch (defect) {
    case DEFECT_ELEMENT:
        t->nb[3]++;
        expect(want, Q_ERR_INVALID_LAYOUT, "nb[3]");
        return !panel && t->dtype != Q_A8;
    case DEFECT_NARROW:
        t->nb[2] -= align;
        expect(want, Q_ERR_INVALID_LAYOUT, "nb[2]");
        return true;
    case DEFECT_NEGATIVE:
        t->nb[2] = 0 - (size_t)Q_ALIGN;
        expect(want, panel ? Q_ERR_INVALID_LAYOUT : Q_ERR_OVERFLOW, "nb[2]");
        return true;
    case DEFECT_NEGATIVE_HEAD:
        t->nb[1] = 0 - align;
        expect(want, Q_ERR_OVERFLOW, "nb[1]");
        return t->ne[1] > 1;
    case DEFECT_NEGATIVE_BATCH:
        t->nb[0] = 0 - align;
        expect(want, Q_ERR_OVERFLOW, "nb[0]");
        return t->ne[0] > 1;
    case DEFECT_HEADS_MEET:
        t->nb[1] -= align;
        expect(want, Q_ERR_INVALID_LAYOUT, "nb[1]");
        return t->ne[1] > 1;
    default:
        t->nb[0] -= align;
        expect(want, Q_ERR_INVALID_LAYOUT, "nb[0]");
        return t->ne[0] > 1;
    }
}

static bool defect_place(const bad_run *r, q_tensor *t, uint32_t defect, bad_expected *want)
{
    const size_t align = data_align(t);
    const bool panel = t->layout == Q_PANEL16;
    expect(want, Q_ERR_MISALIGNED, "data");
    switch (defect) {
    case DEFECT_ODD_DATA:
        t->data = (uint8_t *)t->data + 1;
        return true;
    case DEFECT_HALF_DATA:
        t->data = (uint8_t *)t->data + align / 2;
        return true;
    case DEFECT_ODD_ROW:
        t->nb[2]++;
        expect(want, panel ? Q_ERR_INVALID_LAYOUT : Q_ERR_MISALIGNED, "nb[2]");
        return true;
    case DEFECT_ODD_HEAD:
        t->nb[1]++;
        want->field = "nb[1]";
        return t->ne[1] > 1;
    case DEFECT_ODD_BATCH:
        t->nb[0]++;
        want->field = "nb[0]";
        return t->ne[0] > 1;
    case DEFECT_WRAPS:
        t->data = (void *)(0 - align);
        t->scales = NULL;
        expect(want, Q_ERR_OVERFLOW, "data");
        return true;
    default:
        t->data = r->ops.workspace.base;
        t->scales = NULL;
        expect(want, Q_ERR_ALIASING, "workspace");
        return true;
    }
}

uint32_t bad_defect_count(void)
{
    return DEFECTS;
}

const char *bad_defect_id(uint32_t defect)
{
    return defect_ids[defect];
}

bool bad_put_defect(const bad_run *r, bad_call *b, uint32_t i, uint32_t defect, bad_expected *want)
{
    const bad_op *op = b->op;
    q_tensor *t = &b->tensor[i];
    want->name = op->operand[i].name;
    if (defect < DEFECT_ZERO) {
        return defect_kind(b, i, defect, op->operand[i].optional, want);
    }
    if (defect < DEFECT_ELEMENT) {
        uint32_t axis = (defect - DEFECT_ZERO) % Q_MAX_DIMS;
        t->ne[axis] = defect < DEFECT_HUGE ? 0 : 0x80000000u;
        expect(want, Q_ERR_INVALID_SIZE, axis_fields[0][axis]);
        return true;
    }
    if (defect <= DEFECT_BATCHES_MEET) {
        return defect_stride(t, defect, want);
    }
    if (defect < DEFECT_SAME) {
        return defect_place(r, t, defect, want);
    }
    return defect_alias(b, i, defect, want);
}
