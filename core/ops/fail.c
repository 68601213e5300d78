/* SPDX-License-Identifier: MIT */
/*
 * fail.c: how an op reports a defect: the caller's q_diag in every build, the port's panic in debug
 * builds.
 */
#include "check.h"

/* what = "op: name" */
static void op_describe(q_diag *to, const q_op_call *c, q_error_code code, const char *name,
                        const char *field, uint64_t need, uint64_t have)
{
    char what[sizeof(to->what)];
    q_text text;
    q_text_init(&text, what, sizeof(what));
    q_text_str(&text, c->op);
    q_text_str(&text, ": ");
    q_text_str(&text, name);
    (void)q_fail(to, code, what, field, need, have);
}

q_error_code q_op_refuse(const q_op_call *c, q_error_code code, const char *name, const char *field,
                         uint64_t offset, uint64_t need, uint64_t have)
{
    if (c->diag != NULL) {
        op_describe(c->diag, c, code, name, field, need, have);
        c->diag->offset = offset;
    }
    return code;
}

#ifdef Q_DEBUG
/* The context itself may be the defect, so that it is asked for its port only once it is known to
   be one. */
static void op_panic(const q_op_call *c, q_error_code code, const char *name, const char *field,
                     uint64_t need, uint64_t have)
{
    const q_port *port = c->ctx != NULL && c->ctx->mark == Q_OP_MARK ? c->ctx->context.port : NULL;
    q_diag diag;
    if (port != NULL && port->panic != NULL) {
        op_describe(&diag, c, code, name, field, need, have);
        port->panic(port->user, &diag);
    }
}
#endif

q_error_code q_op_fail(const q_op_call *c, q_error_code code, const char *name, const char *field,
                       uint64_t need, uint64_t have)
{
    (void)q_op_refuse(c, code, name, field, 0, need, have);
#ifdef Q_DEBUG
    op_panic(c, code, name, field, need, have);
#endif
    return code;
}
