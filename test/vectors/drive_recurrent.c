/* SPDX-License-Identifier: MIT */
/* drive_recurrent.c: builds the arguments of the kernels of recurrent layers from a case; see drive.c. */
#include "drive.h"

/* State that a case may be without has no output either. */
static q_real *vec_state(vec_run *c, vec_role role)
{
    return (q_real *)vec_optional(c, role);
}

void vec_build_q_cell_args(vec_run *c, void *args)
{
    q_cell_args *a = (q_cell_args *)args;
    a->n = vec_u32(c);
    a->dim = vec_u32(c);
    a->begin = 0;
    a->end = a->dim;
    a->t = 0;
    a->activation = vec_u32(c);
    a->row = (const uint32_t *)vec_needed(c, VEC_IDS);
    a->gates = (q_real *)vec_needed(c, VEC_GATES);
    a->gates_stride = vec_stride(c, VEC_GATES);
    a->recurrent = (const q_real *)vec_needed(c, VEC_RECURRENT);
    a->recurrent_stride = vec_stride(c, VEC_RECURRENT);
    a->h = a->h_next = (q_real *)vec_needed(c, VEC_H);
    a->c = vec_state(c, VEC_C);
    a->state_stride = vec_stride(c, VEC_H);
    a->out = (q_real *)vec_needed(c, VEC_OUT);
    a->out_stride = vec_stride(c, VEC_OUT);
    a->h_prev = vec_state(c, VEC_H_PREV);
    a->c_prev = vec_state(c, VEC_C_PREV);
    a->prev_stride = vec_stride(c, VEC_H_PREV);
}

void vec_build_q_cell_grad_args(vec_run *c, void *args)
{
    q_cell_grad_args *a = (q_cell_grad_args *)args;
    a->n = vec_u32(c);
    a->dim = vec_u32(c);
    a->begin = 0;
    a->end = a->dim;
    a->t = 0;
    a->activation = vec_u32(c);
    a->row = (const uint32_t *)vec_needed(c, VEC_IDS);
    a->gates = (q_real *)vec_needed(c, VEC_GATES);
    a->gates_stride = vec_stride(c, VEC_GATES);
    a->h_prev = (const q_real *)vec_optional(c, VEC_H_PREV);
    a->c_prev = (const q_real *)vec_optional(c, VEC_C_PREV);
    a->prev_stride = a->h_prev != NULL ? vec_stride(c, VEC_H_PREV) : vec_stride(c, VEC_C_PREV);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dh = (q_real *)vec_needed(c, VEC_DH);
    a->dc = vec_state(c, VEC_DC);
    a->state_stride = vec_stride(c, VEC_DH);
    a->recurrent = (q_real *)vec_needed(c, VEC_RECURRENT);
    a->recurrent_stride = vec_stride(c, VEC_RECURRENT);
}
