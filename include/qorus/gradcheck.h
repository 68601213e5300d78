/* SPDX-License-Identifier: MIT */
/*
 * gradcheck.h: gradients of a training session against differences of its loss.
 *
 *     q_gradcheck_config config = q_gradcheck_defaults();
 *     q_gradcheck(session, &step, &config, &result, &diag);
 *     right = result.failed == 0 && result.checked != 0;
 *
 * Every trainable parameter is checked as backward sees it, through whatever layers lie between it and output 0: classes of
 * the library and of the caller, fused, computed again and on any backend. The gradient of an input is checked by letting
 * a parameter make it: the table of an embedding read by the ids 0, 1, 2 ... is the input, and its gradient the input's.
 *
 * An element's backward g is right if it agrees with d = (L(w + eps) - L(w - eps)) / 2eps:
 *
 *     |g - d| <= atol + rtol*|d| + rounding*max(|L(w + eps)|, |L(w - eps)|)/eps
 *
 * What has no derivative or is given another one on purpose (fake quantisation, simulated BF16 and F16) does not agree.
 */
#ifndef QORUS_GRADCHECK_H
#define QORUS_GRADCHECK_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* An element is right, too, if its backward lies between (L(w + eps) - L(w))/eps and (L(w) - L(w - eps))/eps, widened by
       the tolerance: a wide eps steps over kinks of ReLU and of maxima, and over bends. */
    Q_GRADCHECK_BETWEEN = 1u << 0
};

/* What was found of a parameter. */
typedef struct q_gradcheck_param {
    q_param param;
    uint32_t uses;       /* by how many places of nodes it is read */
    const char *name;
    const char *node;    /* the first that reads it */
    uint64_t elements;
    uint64_t checked;
    uint64_t failed;
    uint64_t worst;      /* the element farthest off, in units of its tolerance */
    double excess;       /* how far: |g - d| over the tolerance; above 1 it has failed; 1e300 where one is no number */
    double backward;     /* its g */
    double difference;   /* its d */
    double largest;      /* of all |d|: 0 means that the loss does not depend on the parameter, so that nothing was shown */
} q_gradcheck_param;

typedef struct q_gradcheck_config {
    uint32_t struct_size; /* sizeof(q_gradcheck_config) */
    uint32_t flags;       /* Q_GRADCHECK_* */
    uint32_t samples;     /* elements of each parameter that are looked at, evenly spread; 0: all */
    uint32_t reserved;    /* 0 */
    double eps;           /* > 0 */
    double atol;          /* >= 0 */
    double rtol;          /* >= 0 */
    double rounding;      /* error of the loss, relative to it, >= 0 */
    /* (optional) Told of every parameter with a gradient, in their order. */
    void (*seen)(void *user, const q_gradcheck_param *param);
    void *user;
} q_gradcheck_config;

typedef struct q_gradcheck_result {
    uint32_t params;         /* with a gradient */
    uint32_t reserved;
    uint64_t checked;        /* elements of all of them */
    uint64_t failed;
    double loss;             /* of the step, before anything moved */
    q_gradcheck_param worst; /* of the largest excess */
} q_gradcheck_result;

/*
 * All elements, with eps and tolerances for the build:
 *
 *   VARIANT=double  1e-6, 1e-5, 1e-3, rounding 0: those of PyTorch's gradcheck
 *   otherwise       2^-8, 1e-3, 1e-2, rounding 2^-21, Q_GRADCHECK_BETWEEN. A loss of 24 bits, some of them lost to a sum,
 *                   errs by 2^-21 of itself, say; that and the error of the difference, eps^2 of the third derivative, add up
 *                   to least near the cube root of 2^-24. This finds a wrong term of backward, not a small one.
 */
q_gradcheck_config q_gradcheck_defaults(void);

/*
 * Forward, backward, and two forwards for every element, all of the same step (with its seed and index, so that what is
 * dropped stays the same); spans start anew each time. Parameters are as before afterwards, gradients those of the step;
 * running statistics have moved as by that many steps. Errors: Q_ERR_INVALID_ARG (of the config, naming the field);
 * INVALID_STATE (not a training session); NOT_FOUND (nothing is trainable); NON_FINITE (a loss); those of forward and
 * backward. Cost: as said, and nothing is allocated.
 */
Q_NODISCARD q_error_code q_gradcheck(q_session *session, const q_step *step, const q_gradcheck_config *config,
                                     q_gradcheck_result *result, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_GRADCHECK_H */
