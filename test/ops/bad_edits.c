/* SPDX-License-Identifier: MIT */
/*
 * bad_edits.c: the defects of the table, put into a twin.
 */
#include "bad_inner.h"

static float float_of(uint64_t bits)
{
    return q_float_u32((uint32_t)bits);
}

static void edit_shape(bad_call *b, uint32_t operand, uint32_t axis, uint32_t value)
{
    uint32_t ne[Q_MAX_DIMS];
    q_tensor *t = &b->tensor[operand];
    memcpy(ne, t->ne, sizeof(ne));
    ne[axis] = value;
    if (!bad_shape(t, ne)) {
        t->ne[axis] = value; /* no such tensor: the op sees the size over the old strides */
    }
}

static void edit_wide(const bad_run *r, bad_call *b, uint64_t overlap)
{
    uint32_t n = bad_operands(b->op);
    for (uint32_t i = 0; i < n; i++) {
        q_tensor *t = &b->tensor[i];
        size_t width = t->nb[2];
        t->data =
            (void *)((uintptr_t)bad_slot(r, 0) + i * width - (i == n - 1 ? (uintptr_t)overlap : 0));
        for (uint32_t axis = 0; axis < 3; axis++) {
            t->nb[axis] *= n;
        }
    }
}

static void edit_kv_place(const bad_run *r, bad_call *b, uint32_t field, uint64_t value)
{
    q_kv *kv = &b->kv;
    switch (field) {
    case BAD_KV_K_ADD:
        kv->k = (uint8_t *)kv->k + value;
        break;
    case BAD_KV_V_ADD:
        kv->v = (uint8_t *)kv->v + value;
        break;
    case BAD_KV_K_HIGH:
        kv->k = (void *)(0 - (uintptr_t)Q_ALIGN);
        break;
    case BAD_KV_V_ON_K:
        kv->v = (uint8_t *)kv->k + value;
        break;
    case BAD_KV_K_ON_ARG:
        kv->k = b->tensor[0].data;
        break;
    case BAD_KV_V_ON_ARG:
        kv->v = b->tensor[bad_operands(b->op) - 1].data;
        break;
    case BAD_KV_K_ON_WORK:
        kv->k = r->ops.workspace.base;
        break;
    default:
        kv->v = r->ops.workspace.base;
        break;
    }
}

static void edit_kv(const bad_run *r, bad_call *b, uint32_t field, uint64_t value)
{
    q_kv *kv = &b->kv;
    switch (field) {
    case BAD_KV_NULL:
        b->kv_arg = NULL;
        break;
    case BAD_KV_STRUCT_SIZE:
        kv->struct_size = (uint32_t)value;
        break;
    case BAD_KV_DTYPE:
        kv->dtype = (uint8_t)value;
        break;
    case BAD_KV_DEVICE:
        kv->device = (uint8_t)value;
        break;
    case BAD_KV_RESERVED:
        kv->reserved[1] = (uint8_t)value;
        break;
    case BAD_KV_HEADS:
        kv->kv_heads = (uint32_t)value;
        break;
    case BAD_KV_HEAD_DIM:
        kv->head_dim = (uint32_t)value;
        break;
    case BAD_KV_CAPACITY:
        kv->capacity = (uint32_t)value;
        break;
    case BAD_KV_K_NULL:
        kv->k = NULL;
        break;
    case BAD_KV_V_NULL:
        kv->v = NULL;
        break;
    default:
        edit_kv_place(r, b, field, value);
        break;
    }
}

static void edit_config(bad_call *b, uint32_t field, uint64_t value)
{
    q_op_attention_config *c = &b->config;
    switch (field) {
    case BAD_CONFIG_NULL:
        b->config_arg = NULL;
        break;
    case BAD_CONFIG_STRUCT_SIZE:
        c->struct_size = (uint32_t)value;
        break;
    case BAD_CONFIG_SCALE:
        c->scale = float_of(value);
        break;
    case BAD_CONFIG_SOFTCAP:
        c->softcap = float_of(value);
        break;
    case BAD_CONFIG_POSITION:
        c->position = (uint32_t)value;
        break;
    default:
        c->window = (uint32_t)value;
        break;
    }
}

static void edit_tensor(bad_call *b, const bad_op_case *c)
{
    q_tensor *t = &b->tensor[c->operand];
    switch (c->kind) {
    case BAD_NE:
        edit_shape(b, c->operand, c->axis, (uint32_t)c->value);
        break;
    case BAD_PAIR:
        edit_shape(b, c->operand, c->axis, (uint32_t)c->value);
        edit_shape(b, bad_operands(b->op) - 1, c->axis, (uint32_t)c->value);
        break;
    case BAD_NB:
        t->nb[c->axis] = (size_t)c->value;
        break;
    case BAD_DTYPE:
        t->dtype = (uint8_t)c->value;
        (void)bad_shape(t, b->op->operand[c->operand].ne);
        break;
    case BAD_LAYOUT:
        t->layout = (uint8_t)c->value;
        (void)bad_shape(t, b->op->operand[c->operand].ne);
        break;
    case BAD_SCALES:
        t->scales = (uint8_t *)t->data + c->value;
        break;
    case BAD_DROP:
        b->arg[c->operand] = NULL;
        break;
    default:
        memcpy((uint8_t *)t->data + 4u * c->axis, &c->value, 4);
        break;
    }
}

void bad_edit(const bad_run *r, bad_call *b, const bad_op_case *c)
{
    switch (c->kind) {
    case BAD_SCALAR:
        b->scalar = float_of(c->value);
        break;
    case BAD_SECOND:
        b->second = float_of(c->value);
        break;
    case BAD_MAGNITUDE:
        memcpy(&b->magnitude, &c->value, sizeof(b->magnitude));
        break;
    case BAD_FLAGS:
        b->flags = (uint32_t)c->value;
        break;
    case BAD_POSITION:
        b->position = (uint32_t)c->value;
        break;
    case BAD_WIDE:
        edit_wide(r, b, c->value);
        break;
    case BAD_KV:
        edit_kv(r, b, c->axis, c->value);
        break;
    case BAD_CONFIG:
        edit_config(b, c->axis, c->value);
        break;
    case BAD_CTX:
        b->ctx.mark = 0;
        b->ctx_arg = c->value == 0 ? NULL : &b->ctx;
        break;
    default:
        edit_tensor(b, c);
        break;
    }
}
