/* SPDX-License-Identifier: MIT */
/* cases.h: the families of gradient cases, one function per file cases_<family>.c. */
#ifndef QORUS_TEST_GRADIENT_CASES_H
#define QORUS_TEST_GRADIENT_CASES_H

#include "rig.h"

void cases_gradcheck(void);
void cases_linear(void);
void cases_recurrent(void);
void cases_image(void);
void cases_language(void);
void cases_attention(void);
void cases_norm(void);
void cases_residual(void);
void cases_element(void);
void cases_loss(void);
void cases_shape(void);
void cases_models(void);
void cases_random(uint32_t n);

#endif /* QORUS_TEST_GRADIENT_CASES_H */
