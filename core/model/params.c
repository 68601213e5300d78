/* SPDX-License-Identifier: MIT */
/* What the slots of a session hold before training: drawn numbers, or the values of a file's tensors. */
#include "qorus/base/random.h"
#include "session.h"

/* Uniform in [-1, 1) or normal of deviation 1 (Box and Muller 1958); two numbers of one block. */
static double drawn(const q_random_place *place, uint32_t kind, uint64_t element)
{
    const double two_pi = 6.28318530717958647692;
    uint32_t words[4];
    double u;
    double v;
    q_random_block(place, (uint32_t)element, words);
    u = q_random_unit_f64((uint64_t)words[1] << 32 | words[0]);
    if (kind == Q_INIT_UNIFORM) {
        return 2 * u - 1;
    }
    v = q_random_unit_f64((uint64_t)words[3] << 32 | words[2]);
    return q_sqrt_f64(-2 * q_log_f64(1 - u)) * q_cos_f64(two_pi * v);
}

static void init_slot(const model_param *p, q_real *w, size_t n, uint64_t seed)
{
    q_random_place place;
    place.seed = seed;
    place.step = 0;
    place.node = Q_RANDOM_NODE_INIT;
    place.sample = q_graph_name_key(p->name);
    for (size_t i = 0; i < n; i++) {
        double value = p->init.kind == Q_INIT_CONSTANT ? 1 : drawn(&place, p->init.kind, i);
        w[i] = (q_real)(p->init.value * value);
    }
}

q_error_code q_session_init_params(q_session *session, uint64_t seed, q_diag *diag)
{
    q_fp_state fp;
    if (session == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_init_params", "session", 1, 0);
    }
    fp = q_fp_enter();
    for (uint32_t i = 0; i < session->plan->model->n.params; i++) {
        const model_param *p = &session->plan->model->params[i];
        if (p->init.kind != Q_INIT_NONE) {
            const uint32_t *ne = p->type.ne;
            init_slot(p, (q_real *)session->params[i].data, (size_t)ne[0] * ne[1] * ne[2] * ne[3], seed);
        }
    }
    q_fp_leave(fp);
    return Q_OK;
}

typedef void (*gather_kernel)(const q_work *work, const q_gather_args *a);

static gather_kernel gather_of(const q_kernels *k, uint32_t dtype)
{
    switch (dtype) {
    case Q_F32:
        return k->gather_f32;
    case Q_F16:
        return k->gather_f16;
    case Q_BF16:
        return k->gather_bf16;
    case Q_Q8_0:
        return k->gather_q8_0;
    case Q_Q4_0:
        return k->gather_q4_0;
    case Q_Q4_1:
        return k->gather_q4_1;
    default:
        return NULL;
    }
}

/* In a build for double, what files hold plain are floats all the same. */
static void load_floats(const q_tensor *to, const q_tensor *from)
{
    for (uint32_t r = 0; r < to->ne[2]; r++) {
        const float *x = (const float *)(const void *)((const uint8_t *)from->data + (size_t)r * from->nb[2]);
        q_real *out = (q_real *)(void *)((uint8_t *)to->data + (size_t)r * to->nb[2]);
        for (uint32_t i = 0; i < to->ne[3]; i++) {
            out[i] = (q_real)x[i];
        }
    }
}

q_error_code q_session_load_param(q_session *session, q_param param, const q_tensor *from, q_diag *diag)
{
    const char *who = "q_session_load_param";
    const q_tensor *to;
    q_gather_args a;
    q_run run;
    q_work work;
    q_fp_state fp;
    if (session == NULL || from == NULL || from->data == NULL || param >= session->plan->model->n.params) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, session == NULL ? "session" : from == NULL ? "from" : "param", 1, 0);
    }
    to = &session->params[param];
    if (session->plan->model->params[param].view.data != NULL || to->dtype != Q_REAL || to->layout != Q_PLAIN) {
        return q_fail(diag, Q_ERR_INVALID_ARG, session->plan->model->params[param].name, "not a slot of reals", 1, 0);
    }
    if (memcmp(from->ne, to->ne, sizeof(to->ne)) != 0 || to->ne[0] != 1 || to->ne[1] != 1) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, session->plan->model->params[param].name, "ne", to->ne[2], from->ne[2]);
    }
    if (gather_of(&session->context.backend->kernels, from->dtype) == NULL || from->layout > Q_PANEL16) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, session->plan->model->params[param].name, "dtype", Q_F32, from->dtype);
    }
    if (from->dtype == Q_F32 && from->layout == Q_PLAIN) {
        load_floats(to, from);
        return Q_OK;
    }
    memset(&a, 0, sizeof(a));
    memset(&run, 0, sizeof(run));
    memset(&work, 0, sizeof(work));
    a.rows.n = to->ne[2];
    a.k = to->ne[3];
    a.layout = from->layout;
    a.weights = from->data;
    a.weights_stride = from->nb[2];
    a.out = (q_real *)to->data;
    a.out_stride = to->nb[2];
    a.scale = 1;
    work.n_workers = 1;
    work.run = &run;
    fp = q_fp_enter();
    gather_of(&session->context.backend->kernels, from->dtype)(&work, &a);
    q_fp_leave(fp);
    return Q_OK;
}

q_error_code q_session_load_params(q_session *session, const q_file *file, uint32_t *n, q_diag *diag)
{
    uint32_t loaded = 0;
    if (session == NULL || file == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_load_params", session == NULL ? "session" : "file", 1, 0);
    }
    for (uint32_t i = 0; i < session->plan->model->n.params; i++) {
        const model_param *p = &session->plan->model->params[i];
        q_tensor view;
        uint32_t index;
        size_t length = 0;
        while (p->name[length] != '\0') {
            length++;
        }
        if (p->view.data == NULL && q_file_find(file, p->name, length, &index) == Q_OK) {
            q_error_code e;
            q_file_tensor(file, index, &view);
            e = q_session_load_param(session, i, &view, diag);
            if (e != Q_OK) {
                return e;
            }
            loaded++;
        }
    }
    if (n != NULL) {
        *n = loaded;
    }
    return loaded != 0 ? Q_OK : q_fail(diag, Q_ERR_NOT_FOUND, "q_session_load_params", "slots that the file has", 1, 0);
}
